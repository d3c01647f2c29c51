import os
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from maskpencil.errors import ModelError, OutputError
from maskpencil.files import (
    folder_written_whole,
    new_folder,
    numbered_folder,
    recover_folder,
    refuse_unwritable,
    remove_leftovers,
    run_name,
    short_name,
    written_whole,
)
from maskpencil.regular_files import refuse_special, special_kind

DIE_DURING_THE_SWAP = """
import os, sys
from pathlib import Path
from maskpencil.files import folder_written_whole

calls, rename = 0, Path.rename

def dying_rename(self, target):
    global calls
    calls += 1
    if calls == int(sys.argv[2]):
        os._exit(9)
    return rename(self, target)

Path.rename = dying_rename
with folder_written_whole(sys.argv[1]) as folder:
    (folder / "weights").write_text("new")
    if sys.argv[2] == "0":
        os._exit(9)
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write_folder(path: Path, content: str) -> None:
    with folder_written_whole(path) as folder:
        (folder / "part").mkdir()
        (folder / "part" / "weights").write_text(content)


def test_results_are_named_after_folders_and_files(tmp_path):
    (tmp_path / "my.data").mkdir()
    (tmp_path / "set.tar.gz").touch()
    assert [short_name(tmp_path / name) for name in ("my.data", "set.tar.gz")] == ["my.data", "set"]


@pytest.mark.parametrize(
    ("model", "name"),
    [("runs/train/street/model", "street"), ("runs/export/street/model.onnx", "street"), ("best.model", "best")],
)
def test_a_model_is_named_after_its_run(tmp_path: Path, model: str, name: str) -> None:
    assert run_name(tmp_path / model) == name


def test_a_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    with written_whole(tmp_path / "deep" / "scores.json") as temporary:
        assert temporary.suffix == ".json"
        temporary.write_text("{}")
        assert not (tmp_path / "deep" / "scores.json").exists()
    assert names(tmp_path / "deep") == ["scores.json"]
    assert (tmp_path / "deep" / "scores.json").read_text() == "{}"


def test_a_file_stays_as_it_was_when_the_block_raises(tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), written_whole(path) as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert names(tmp_path) == ["scores.json"]


@pytest.mark.skipif(os.name == "nt", reason="permissions are POSIX")
def test_permissions_follow_the_umask_whatever_the_writer_does(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with written_whole(tmp_path / "file") as temporary:
            temporary.unlink()
            temporary.touch(mode=0o600)  # as safetensors does
        with folder_written_whole(tmp_path / "folder") as folder:
            (folder / "weights").touch(mode=0o600)
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("file", "folder", "folder/weights")]
    assert modes == [0o640, 0o750, 0o640]


def test_an_unwritable_path_is_an_error_of_this_package(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for write in (written_whole, folder_written_whole):
        refused = pytest.raises(OutputError, match=r"file.below: cannot be written \(.*choose a folder")
        with refused, write(tmp_path / "file" / "below"):
            raise AssertionError("the block must not run")
    with pytest.raises(OutputError, match="cannot be written"):
        numbered_folder(tmp_path / "file" / "below")


def test_an_output_that_could_not_be_written_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file" / "below", tmp_path):
        with pytest.raises(OutputError, match=rf"{place}: cannot be written"):
            refuse_unwritable(place)
    refuse_unwritable(tmp_path / "new" / "scores.json")
    assert not any((tmp_path / "new").iterdir())


def test_a_full_disk_while_writing_is_an_error_of_this_package(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No space left"), written_whole(tmp_path / "video.mp4"):
        raise OSError(28, "No space left on device")
    assert names(tmp_path) == []


def test_only_temporary_files_of_killed_writers_are_removed(tmp_path: Path) -> None:
    for name in ("kept.csv", ".hidden", ".mine.backup.csv", "deep/kept.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    for name in ("metrics.csv", "deep/epoch.png", "LICENSE"):
        code = "import os, sys\nfrom maskpencil.files import written_whole as w\nwith w(sys.argv[1]): os._exit(9)"
        assert subprocess.run([sys.executable, "-c", code, str(tmp_path / name)], check=False).returncode == 9
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 7
    remove_leftovers(tmp_path)
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"kept.csv", ".hidden", ".mine.backup.csv", "deep/kept.png"}


@pytest.mark.skipif(os.name == "nt", reason="folders cannot be locked")
def test_temporary_files_of_running_processes_are_kept(tmp_path: Path) -> None:
    with written_whole(tmp_path / "deep" / "video.mp4") as temporary:
        temporary.write_text("half")
        remove_leftovers(tmp_path)
        assert temporary.exists()
        refuse_unwritable(tmp_path / "deep" / "video.mp4")
        assert temporary.exists()
    assert names(tmp_path / "deep") == ["video.mp4"]


def test_hidden_files_of_the_user_are_kept(tmp_path: Path) -> None:
    mine = [".a.1a2b3c4d.png", ".maskpencil", ".maskpencil-notes.txt", ".maskpencil-1a2b3c", ".model.new"]
    for name in mine:
        (tmp_path / name).touch()
    remove_leftovers(tmp_path)
    recover_folder(tmp_path / "model")
    assert names(tmp_path) == sorted(mine)


def test_subfolders_are_left_out_on_request(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "below"):
        folder.mkdir(exist_ok=True)
        (folder / ".maskpencil-0123456789ab.png").touch()
    remove_leftovers(tmp_path, deep=False)
    assert names(tmp_path) == ["below"]
    assert names(tmp_path / "below") == [".maskpencil-0123456789ab.png"]


def test_names_of_the_maximum_length_are_written(tmp_path: Path) -> None:
    for name in ("x" * 255, "x" * 4 + "." + "y" * 250, "\u304a" * 83 + ".json"):
        with written_whole(tmp_path / name) as temporary:
            temporary.touch()
        assert (tmp_path / name).exists()


@pytest.mark.skipif(os.name == "nt", reason="no such files")
def test_a_device_or_pipe_is_never_replaced_by_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "null").symlink_to("/dev/null")
    for name, kind in (("pipe", "a named pipe"), ("null", "a device")):
        refused = pytest.raises(OutputError, match=f"{name}: is {kind}")
        with refused, written_whole(tmp_path / name):
            raise AssertionError("the block must not run")
    assert names(tmp_path) == ["null", "pipe"]


@pytest.mark.skipif(os.name == "nt", reason="no such files")
def test_special_files_are_recognized_without_opening_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        monkeypatch.chdir(tmp_path)  # names of sockets are short
        listening.bind("socket")
    found = [special_kind(tmp_path / name) for name in ("pipe", "link", "socket")]
    assert found == ["a named pipe", "a named pipe", "a socket"]
    assert [special_kind(path) for path in ("/dev/null", tmp_path, __file__, "absent", "a\0b", "x" * 9999)] == [
        "a device",
        *[None] * 5,
    ]
    with pytest.raises(ModelError, match="pipe: is a named pipe; expected a regular file"):
        refuse_special(tmp_path / "pipe", error=ModelError)


def test_a_fresh_folder_replaces_nothing(tmp_path: Path) -> None:
    for name in ("empty", "taken"):
        (tmp_path / name).mkdir()
    (tmp_path / "taken" / "mine").touch()
    for name in ("absent", "empty"):
        with folder_written_whole(tmp_path / name, fresh=True) as folder:
            (folder / "file").touch()
        assert names(tmp_path / name) == ["file"]
    refused = pytest.raises(OutputError, match="taken: is not empty; expected a new or an empty folder")
    with refused, folder_written_whole(tmp_path / "taken", fresh=True):
        raise AssertionError("the block must not run")
    assert names(tmp_path) == ["absent", "empty", "taken"]
    assert names(tmp_path / "taken") == ["mine"]


def test_files_that_the_user_adds_to_a_fresh_folder_meanwhile_stay(tmp_path: Path) -> None:
    refused = pytest.raises(OutputError, match="out: cannot be written")
    with refused, folder_written_whole(tmp_path / "out", fresh=True):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "mine").touch()
    assert names(tmp_path) == ["out"]
    assert names(tmp_path / "out") == ["mine"]


@pytest.mark.skipif(os.name == "nt", reason="folders cannot be locked")
def test_a_folder_has_one_writer_at_a_time(tmp_path: Path) -> None:
    with folder_written_whole(tmp_path / "out", fresh=True) as folder:
        (folder / "file").touch()
        refused = pytest.raises(OutputError, match="out: is being written by another process; wait")
        with refused, folder_written_whole(tmp_path / "out", fresh=True):
            raise AssertionError("the block must not run")
        recover_folder(tmp_path / "out")
    assert names(tmp_path / "out") == ["file"]


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="folders cannot be locked")
def test_only_one_of_many_processes_writes_a_folder(tmp_path: Path) -> None:
    code = """if True:
        import sys, time
        from maskpencil.errors import OutputError
        from maskpencil.files import folder_written_whole
        start, out, name = float(sys.argv[1]), sys.argv[2], sys.argv[3]
        time.sleep(max(0, start - time.time()))
        try:
            with folder_written_whole(out, fresh=True) as folder:
                (folder / name).touch()
                time.sleep(0.2)
        except OutputError:
            sys.exit(3)
    """
    start = str(time.time() + 1)
    commands = [[sys.executable, "-c", code, start, str(tmp_path / "out"), str(number)] for number in range(6)]
    processes = [subprocess.Popen(command) for command in commands]
    codes = [process.wait(60) for process in processes]
    assert sorted(codes) == [0, 3, 3, 3, 3, 3]
    assert names(tmp_path / "out") == [str(codes.index(0))]
    assert names(tmp_path) == ["out"]


def test_a_new_folder_that_stays_empty_is_removed(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), new_folder(tmp_path / "out"):
        raise ZeroDivisionError
    assert names(tmp_path) == []
    with new_folder(tmp_path / "out") as folder:
        (folder / "file").touch()
    assert names(tmp_path / "out") == ["file"]


def test_a_folder_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    write_folder(tmp_path / "model", "old")
    (tmp_path / "model" / "extra").touch()
    write_folder(tmp_path / "model", "new")
    assert names(tmp_path) == ["model"]
    assert names(tmp_path / "model") == ["part"]
    assert (tmp_path / "model" / "part" / "weights").read_text() == "new"


def test_a_folder_stays_as_it_was_when_the_block_raises(tmp_path: Path) -> None:
    write_folder(tmp_path / "model", "old")
    with pytest.raises(ZeroDivisionError), folder_written_whole(tmp_path / "model") as folder:  # noqa: PT012
        (folder / "part").touch()
        raise ZeroDivisionError
    assert names(tmp_path) == ["model"]
    assert (tmp_path / "model" / "part" / "weights").read_text() == "old"


def test_a_folder_stays_as_it_was_when_the_new_one_cannot_be_moved_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path / "model", "old")
    rename = Path.rename

    def failing_rename(path: Path, target: Path) -> Path:
        if path.name.endswith("-new"):
            raise OSError(5, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", failing_rename)
    with pytest.raises(OutputError, match="Input/output error"):
        write_folder(tmp_path / "model", "new")
    assert names(tmp_path) == ["model"]
    assert (tmp_path / "model" / "part" / "weights").read_text() == "old"


@pytest.mark.parametrize("step", [0, 1, 2])
def test_a_process_that_dies_at_any_step_leaves_a_whole_folder(tmp_path: Path, step: int) -> None:
    write_folder(tmp_path / "model", "old")
    command = [sys.executable, "-c", DIE_DURING_THE_SWAP, str(tmp_path / "model"), str(step)]
    assert subprocess.run(command, check=False).returncode == 9
    recover_folder(tmp_path / "model")
    assert names(tmp_path) == ["model"]
    assert (tmp_path / "model" / "part" / "weights").read_text() == "old"


def test_writing_again_repairs_the_folder_of_a_dead_process(tmp_path: Path) -> None:
    write_folder(tmp_path / "model", "old")
    command = [sys.executable, "-c", DIE_DURING_THE_SWAP, str(tmp_path / "model"), "2"]
    assert subprocess.run(command, check=False).returncode == 9
    with pytest.raises(ZeroDivisionError), folder_written_whole(tmp_path / "model"):
        raise ZeroDivisionError
    assert (tmp_path / "model" / "part" / "weights").read_text() == "old"
    write_folder(tmp_path / "model", "newer")
    assert names(tmp_path) == ["model"]
    assert (tmp_path / "model" / "part" / "weights").read_text() == "newer"


def test_a_copy_of_the_folder_made_by_the_user_is_not_touched(tmp_path: Path) -> None:
    write_folder(tmp_path / "model", "old")
    write_folder(tmp_path / "model.old", "a copy")
    write_folder(tmp_path / "model", "new")
    assert (tmp_path / "model.old" / "part" / "weights").read_text() == "a copy"


def test_nothing_is_overwritten_a_taken_name_gets_a_number(tmp_path: Path) -> None:
    made = [numbered_folder(tmp_path / "runs" / "road") for _ in range(2)]
    assert [path.name for path in made] == ["road", "road"], "an empty folder is free"
    made = []
    for _ in range(3):
        made.append(numbered_folder(tmp_path / "runs" / "road"))
        (made[-1] / "file").touch()
    assert [path.name for path in made] == ["road", "road-2", "road-3"]


def test_a_name_taken_by_a_file_gets_a_number(tmp_path: Path) -> None:
    (tmp_path / "road").touch()
    assert numbered_folder(tmp_path / "road") == tmp_path / "road-2"


def test_the_current_folder_gets_a_numbered_sibling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "file").touch()
    monkeypatch.chdir(tmp_path / "here")
    assert numbered_folder(".") == tmp_path / "here-2"


@pytest.mark.slow
def test_the_folder_of_a_process_killed_just_now_can_be_written_again(tmp_path):
    left = tmp_path / ".out.maskpencil-new"
    left.mkdir()
    with folder_written_whole(tmp_path / "out") as folder:
        (folder / "file").write_text("whole")
    assert (tmp_path / "out" / "file").read_text() == "whole"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
