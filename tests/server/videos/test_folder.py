import os
import stat
import time
from pathlib import Path

import pytest
from tests.server.clients import Brightness

from maskpencil.errors import ConfigError
from maskpencil.files import locked
from maskpencil.server import ServeOptions, serve
from maskpencil.server.videos.folder import MARKER, MAX_EMPTY_AGE, private_folder, remove_abandoned

NAME = "maskpencil-videos-0123456789abcdef"


def abandoned(place: Path, *, marker: str | None = MARKER) -> Path:
    """A folder as a killed server leaves it."""
    (place / "a-video").mkdir(parents=True)
    (place / "a-video" / "video").write_bytes(b"a video")
    if marker:
        (place / marker).touch()
    return place


def test_the_folder_is_private_and_ends_with_the_block(tmp_path):
    with private_folder(tmp_path) as folder:
        assert folder.parent == tmp_path
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        (folder / "file").touch()
    assert list(tmp_path.iterdir()) == []


def test_the_folders_of_servers_that_were_killed_are_removed(tmp_path):
    old = [abandoned(tmp_path / NAME.replace("0", digit)) for digit in "0ef"]
    with private_folder(tmp_path) as folder:
        assert list(tmp_path.iterdir()) == [folder]
    assert not any(map(Path.exists, old))


def test_the_folder_of_a_server_that_runs_stays(tmp_path):
    with private_folder(tmp_path) as one, private_folder(tmp_path) as other:
        (one / "file").touch()
        remove_abandoned(tmp_path)
        assert {one, other} == set(tmp_path.iterdir())
        assert (one / "file").exists()


def test_a_folder_that_a_server_has_just_made_stays_and_a_forgotten_one_goes(tmp_path):
    new = tmp_path / NAME
    new.mkdir()
    remove_abandoned(tmp_path)
    assert new.exists()
    before = time.time() - 2 * MAX_EMPTY_AGE
    os.utime(new, (before, before))
    remove_abandoned(tmp_path)
    assert not new.exists()


@pytest.mark.parametrize(
    "name", ["maskpencil-videos", "maskpencil-videos-mine", f"{NAME}0", f"x{NAME}", NAME.upper(), f"{NAME}.bak"]
)
def test_folders_with_other_names_stay(name, tmp_path):
    own = abandoned(tmp_path / name)
    remove_abandoned(tmp_path)
    assert (own / "a-video" / "video").exists()


def test_what_no_server_made_stays(tmp_path):
    own = abandoned(tmp_path / NAME, marker=None)
    before = time.time() - 2 * MAX_EMPTY_AGE
    os.utime(own, (before, before))
    target = abandoned(tmp_path / "elsewhere")
    (tmp_path / NAME.replace("0", "e")).symlink_to(target)
    (tmp_path / NAME.replace("0", "f")).write_text("a file")
    remove_abandoned(tmp_path)
    assert (own / "a-video" / "video").exists()
    assert (target / "a-video" / "video").exists()
    assert len(list(tmp_path.iterdir())) == 4


def test_a_folder_that_another_process_locks_stays(tmp_path):
    own = abandoned(tmp_path / NAME)
    with locked(own, exclusive=False):
        remove_abandoned(tmp_path)
    assert (own / "a-video" / "video").exists()


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").touch()
    for place in (tmp_path / "nowhere", tmp_path / "file"):
        message = rf"^--video-folder {place}: no folder for videos can be made there \("
        with (
            pytest.raises(ConfigError, match=message),
            serve(Brightness(), options=ServeOptions(port=0, video_folder=place)),
        ):
            pass
