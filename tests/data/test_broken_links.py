"""Symbolic links whose targets do not exist are named: in the error if nothing is left, else in a warning."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from maskpencil.data.check import check
from maskpencil.data.convert import write_fixed
from maskpencil.data.faults import Fault
from maskpencil.data.folder import open_folder
from maskpencil.data.layout import Places
from maskpencil.errors import DataError

pytestmark = pytest.mark.skipif(os.name == "nt", reason="links need rights there")

NOWHERE = Path("/nowhere/else")


@pytest.fixture
def data(tiny_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_folder, tmp_path / "data"))


def broken(root: Path, places: Places | None = None) -> list[Fault]:
    report = check(root, places=places) if places else check(root)
    return [fault for fault in report.faults if fault.kind == "broken-links"]


def link_away(root: Path, *folders: str) -> int:
    """Replace the images in the folders by links to nowhere, and return their number."""
    files = [path for folder in folders for path in sorted((root / folder).rglob("*.png"))]
    for path in files:
        path.unlink()
        path.symlink_to(NOWHERE / path.name)
    return len(files)


def test_a_pair_of_broken_links_among_others_is_a_warning(data: Path, tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (data / folder / "train" / "lost.png").symlink_to(NOWHERE / "lost.png")
    (fault,) = broken(data)
    assert fault.line == (
        "warning: 2 symbolic links point to files that do not exist (images/train/lost.png, masks/train/lost.png); "
        "restore the files, or remove the links"
    )
    assert fault.line in open_folder(data).notes
    changes = {change.file: change.change for change in write_fixed(check(data), tmp_path / "fixed")}
    assert changes["images/train/lost.png"] == "left out: points to a file that does not exist"


@pytest.mark.parametrize("folders", [("images",), ("masks",), ("images", "masks")])
def test_broken_links_are_the_reason_why_there_are_no_pairs(data: Path, folders: tuple[str, ...]) -> None:
    count = link_away(data, *folders)
    what = f"{data}: has no pairs of images and masks: {count} symbolic links point to files that do not exist ("
    with pytest.raises(DataError, match=re.escape(what)):
        open_folder(data)
    with pytest.raises(DataError, match=re.escape(what)):
        open_folder(data, places=Places(images=data / "images", masks=data / "masks"))


def test_broken_links_are_named_beside_another_reason(tmp_path: Path) -> None:
    for name in ("images/1.jpg", "images/2.jpg", "masks/a.png", "masks/b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "images" / "3.jpg").symlink_to(NOWHERE)
    named = r"2 images and 2 masks, but no mask with the name .* train.txt; 1 symbolic link points to a file"
    with pytest.raises(DataError, match=named):
        open_folder(tmp_path)


def test_a_folder_that_is_a_broken_link_is_named(data: Path) -> None:
    shutil.rmtree(data / "masks")
    (data / "masks").symlink_to(NOWHERE)
    with pytest.raises(DataError, match=r"1 symbolic link points to a file that does not exist \(masks\); restore"):
        open_folder(data)


def test_a_data_folder_that_is_a_broken_link_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(NOWHERE)
    with pytest.raises(DataError, match="data: is a symbolic link to /nowhere/else, which does not exist; expected"):
        open_folder(tmp_path / "data", places=Places(masks=tmp_path))


def test_broken_links_are_named_if_all_images_of_annotations_are_missing(tmp_path: Path) -> None:
    shapes = [{"label": "leaf", "points": [[0, 0], [9, 0], [9, 9]], "shape_type": "polygon"}]
    for name in "abc":
        content = {"shapes": shapes, "imagePath": f"{name}.png", "imageHeight": 16, "imageWidth": 16}
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
        (tmp_path / f"{name}.png").symlink_to(NOWHERE / f"{name}.png")
    named = r"all their images are missing .*; 3 symbolic links point to .* not exist \(a.png, b.png, c.png\); restore"
    with pytest.raises(DataError, match=named):
        open_folder(tmp_path)


def test_links_in_linked_folders_are_followed_once(data: Path, tmp_path: Path) -> None:
    (data / "masks").rename(tmp_path / "elsewhere")
    (data / "masks").symlink_to(tmp_path / "elsewhere")
    (data / "masks" / "train" / "loop").symlink_to(tmp_path / "elsewhere")
    (data / "masks" / "train" / "lost.png").symlink_to(NOWHERE)
    (data / "circle.png").symlink_to(data / "circle.png")
    (data / ".hidden.png").symlink_to(NOWHERE)
    (fault,) = broken(data)
    assert fault.files == ("circle.png", "masks/train/lost.png")


def test_links_to_files_are_read(data: Path, tmp_path: Path) -> None:
    (data / "images").rename(tmp_path / "photos")
    for path in sorted((tmp_path / "photos").rglob("*.png")):
        link = data / "images" / path.relative_to(tmp_path / "photos")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path)
    assert broken(data) == []
    assert np.sum(list(check(data).splits.values())) == 9
