from collections import Counter

import pytest
from tests.round_trips.pairs import compared


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell how many label maps were compared, unless other processes ran the tests."""
    for file, count in Counter(compared).items():
        terminalreporter.write_line(f"{file}: {count} label maps compared")
