"""Named pipes, devices and sockets in data are left out and reported; as named arguments they are errors."""

import os
import shutil
from pathlib import Path

import pytest

from maskpencil.classes import read_classes
from maskpencil.cli import main
from maskpencil.data.folder import open_folder
from maskpencil.data.formats.annotations import read_json
from maskpencil.data.formats.yolo import read_rows
from maskpencil.data.layout import Places
from maskpencil.data.layout.splits import find_lists
from maskpencil.errors import DataError, ImageError, MaskPencilError
from maskpencil.images import read_header, read_image
from maskpencil.regular_files import read_lines

pytestmark = pytest.mark.skipif(os.name == "nt", reason="no such files")


@pytest.fixture
def data(tiny_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_folder, tmp_path / "data"))


PLACES = (
    "images/train/pipe.png",
    "masks/train/pipe.png",
    "masks/train/0.png",
    "classes.yaml",
    "train.txt",
    "tasks.json",
    "annotations/instances.json",
    "labelmap.txt",
    "data.yaml",
    "pipe.parquet",
    "pipe.zip",
    "state.json",
    "_classes.csv",
    "ImageSets/Segmentation/train.txt",
)


@pytest.mark.parametrize("place", PLACES)
def test_a_pipe_in_a_data_set_is_left_out_and_reported(data: Path, place: str) -> None:
    (data / place).parent.mkdir(parents=True, exist_ok=True)
    (data / place).unlink(missing_ok=True)
    os.mkfifo(data / place)
    folder = open_folder(data)
    assert sum(map(len, folder.splits.values())) == 9 - (place == "masks/train/0.png")
    assert f"1 named pipes, devices or sockets left out ({data / place})" in folder.notes


def test_files_that_only_look_special_are_read(data: Path) -> None:
    (data / "images/train/0.png").rename(data / "0.png")
    (data / "images/train/0.png").symlink_to(data / "0.png")
    os.mkfifo(data / ".hidden")
    folder = open_folder(data)
    assert len(folder.pairs("train")) == 6
    assert not any("pipes" in note for note in folder.notes)


def test_a_link_to_a_device_is_a_device(data: Path) -> None:
    (data / "images/train/zero.png").symlink_to("/dev/zero")
    assert any("left out" in note and "zero.png" in note for note in open_folder(data).notes)


@pytest.mark.parametrize("read", [read_image, read_header, read_classes, read_json])
def test_a_file_that_is_named_is_refused_at_once(tmp_path: Path, read) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(MaskPencilError, match=r"pipe: .*is a .*pipe.* regular file") as caught:
        read(tmp_path / "pipe")
    assert isinstance(caught.value, ImageError if read in (read_image, read_header) else DataError)


def test_lists_and_labels_are_refused_at_once(tmp_path: Path) -> None:
    for read in (lambda path: read_lines(path, "names"), read_rows):
        with pytest.raises(DataError, match="is a device; expected a regular file"):
            read(Path("/dev/zero"))
    assert find_lists(tmp_path) == {}


def test_a_split_file_that_is_a_pipe_is_refused_at_once(data: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "splits.txt")
    with pytest.raises(DataError, match=r"splits.txt: is a named pipe"):
        open_folder(data, places=Places(split_file=tmp_path / "splits.txt"))


@pytest.mark.parametrize("name", ["pipe.zip", "pipe.parquet", "pipe", "pipe.png"])
def test_data_that_is_a_pipe_is_refused_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    os.mkfifo(tmp_path / name)
    for words in (["check"], ["convert", "--to", "voc"]):
        assert main([words[0], str(tmp_path / name), *words[1:]]) == 1
        assert name in capsys.readouterr().err
