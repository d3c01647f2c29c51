"""The unit of systemd in docs."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.helpers import COMMAND

from maskpencil.cli import main

UNIT = Path(__file__).parents[2] / "docs" / "maskpencil.service"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd")
def test_systemd_reads_the_unit_without_a_word(tmp_path: Path) -> None:
    path = tmp_path / "maskpencil.service"
    path.write_text(UNIT.read_text(encoding="utf-8").replace("/opt/maskpencil/bin/maskpencil", str(COMMAND)))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", path], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, [line for line in done.stderr.splitlines() if "maskpencil" in line]) == (0, [])


def test_the_command_of_the_unit_is_one_of_maskpencil(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "token").write_text("a-token-of-this-test")
    command = re.search(r"^ExecStart=(.*)$", UNIT.read_text(encoding="utf-8"), re.MULTILINE)[1].replace(
        "%d", str(tmp_path)
    )  # type: ignore[index]
    program, *words = command.split()
    assert program == "/opt/maskpencil/bin/maskpencil"
    assert main(words) == 1
    assert "/srv/maskpencil/model: " in capsys.readouterr().err
