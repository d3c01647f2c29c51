from collections.abc import Callable, Iterator

import pytest
from tests.server.clients import Served, starting


@pytest.fixture
def start() -> Iterator[Callable[..., Served]]:
    """Start servers with the given options at free ports of this computer; they stop after the test."""
    with starting() as started:
        yield started


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    """A server that all tests of a module ask."""
    with starting() as started:
        yield started()
