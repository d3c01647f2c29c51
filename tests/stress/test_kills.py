"""Commands killed at random moments: the user's files stay, and what lies under a final name is whole."""

import hashlib
import random
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from tests.helpers import COMMAND, environment, times

pytestmark = pytest.mark.stress

KILLS = 20


@pytest.fixture
def source(data: Path, images: Path, video: Path, tmp_path: Path) -> Path:
    """The user's files: a data set, images, a video."""
    folder = tmp_path / "user"
    shutil.copytree(data, folder / "data")
    shutil.copytree(images, folder / "images")
    shutil.copy(video, folder)
    return folder


COMMANDS = {
    "predict": (["predict", "MODEL", "images", "--regions", "json", "--confidence"], True),
    "video": (["predict", "MODEL", "drive.mp4", "--masks", "video"], True),
    "annotations": (["predict", "MODEL", "images", "--annotations", "coco"], False),
    "convert": (["convert", "data", "--to", "voc"], False),
    "fix": (["check", "data", "--fix"], False),
}
"""The words of each command, and whether it continues in the folder of one that was killed."""


@pytest.mark.parametrize("name", COMMANDS)
def test_a_killed_command_leaves_whole_files_and_the_users_as_they_were(
    name: str, source: Path, model: Path, tmp_path: Path
) -> None:
    words, goes_on = COMMANDS[name]
    chance, before = random.Random(name), contents(source)
    began = time.monotonic()
    assert start(words, model, source, tmp_path / "whole").wait() == 0
    duration, whole = time.monotonic() - began, contents(tmp_path / "whole")
    done = 0
    for number in range(times(KILLS)):
        out = tmp_path / f"cut-{number}"
        process = start(words, model, source, out)
        time.sleep(chance.uniform(0, duration))
        done += process.poll() is not None
        process.kill()
        process.wait()
        assert contents(source) == before, f"kill {number} changed what is the user's"
        left = contents(out) if out.exists() else {}
        assert_whole(left, whole)
        if goes_on:
            assert start(words, model, source, out).wait() == 0, f"after kill {number} the command does not run again"
            assert named(contents(out)) == named(whole)
            assert not [path for path in contents(out) if is_hidden(path) and path not in whole], "left behind"
        shutil.rmtree(out, ignore_errors=True)
    assert done < times(KILLS) * 0.7, "too few were killed in the middle"


def start(words: list[str], model: Path, source: Path, out: Path) -> subprocess.Popen[bytes]:
    places = {"MODEL": model, **{name: source / name for name in ("data", "images", "drive.mp4")}}
    given = [str(places.get(word, word)) for word in words]
    given += [str(out)] if words[-1] == "--fix" else ["--out", str(out)]
    return subprocess.Popen(
        [COMMAND, *given],
        cwd=out.parent,  # where a check leaves its sheet
        env=environment(model.parent.parent / "cache"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def contents(folder: Path) -> dict[str, tuple[str, int]]:
    """The hash and the size of every file below a folder, by its path in it."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size)
        for path in files
    }


def is_hidden(path: str) -> bool:
    return any(part.startswith(".") for part in path.split("/"))


def named(files: dict[str, tuple[str, int]]) -> dict[str, object]:
    """Those under final names; of a Matroska file, which carries a random number, the size alone."""
    return {
        path: size if path.endswith(".mkv") else digest for path, (digest, size) in files.items() if not is_hidden(path)
    }


def assert_whole(left: dict[str, tuple[str, int]], whole: dict[str, tuple[str, int]]) -> None:
    """Every file of a killed command is that of one that was not, but for those which grow with every image."""
    complete = named(whole)
    for path, content in named(left).items():
        assert path in complete
        if path not in ("regions.json",):
            assert content == complete[path], f"{path} is not whole"
