"""Validation images that are also in train."""

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskpencil.cli import main
from maskpencil.data.check import check
from maskpencil.data.check.images import check_copies
from maskpencil.data.check.masks import refuse_nonsense
from maskpencil.data.convert import write_fixed
from maskpencil.data.folder import open_folder
from maskpencil.errors import DataError


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_folder, tmp_path / "data"))


def copy_train(folder: Path, *, renamed: bool = False, keep: int = 0) -> None:
    """Make val a copy of train, but for `keep` images of its own."""
    for kind in ("images", "masks"):
        for path in sorted((folder / kind / "val").iterdir())[keep:]:
            path.unlink()
        for path in (folder / kind / "train").iterdir():
            name = f"v{path.name}" if renamed or keep else path.name
            shutil.copy(path, folder / kind / "val" / name)


def lines(folder: Path) -> list[str]:
    return [fault.line for fault in refuse_nonsense(open_folder(folder))]


@pytest.mark.parametrize(
    ("spoil", "share", "file"),
    [
        (copy_train, "6 of 6 (images/val/0.png = images/train/0.png, ", "all 6 images of val"),
        (
            lambda folder: copy_train(folder, renamed=True),
            "6 of 6 (images/val/v0.png = images/train/0.png, ",
            "all 6 images of val",
        ),
        (
            lambda folder: copy_train(folder, keep=1),
            "6 of 7 (images/val/v0.png = images/train/0.png, ",
            "6 of the 7 images of val",
        ),
    ],
)
def test_a_validation_that_is_train_is_reported_in_one_line(
    spoil: Callable[[Path], None], share: str, file: str, folder: Path
) -> None:
    spoil(folder)
    (line,) = [line for line in lines(folder) if "also in train" in line]
    assert line.startswith(
        f"warning: images of val that are also in train, so the network is scored on training images: {share}"
    )
    (fault,) = [fault for fault in check(folder).faults if fault.kind == "duplicates-across-splits"]
    assert f"so the network is scored on training images: 6, among them {file}" in fault.what
    assert fault.remedy == "remove them from the other splits (train would lose most of its images), as --fix does"


def test_one_copy_among_others_is_reported_too(folder: Path) -> None:
    shutil.copy(folder / "images/train/2.png", folder / "images/val/1.png")
    assert any(
        "scored on training images: 1 of 3 (images/val/1.png = images/train/2.png); maskpencil check DATA --fix CLEAN"
        in line
        for line in lines(folder)
    )


def test_nothing_is_reported_of_images_that_differ(folder: Path) -> None:
    assert not any("also in train" in line for line in lines(folder))


def test_files_of_one_size_and_one_beginning_are_distinguished(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (200, 200, 3), dtype=np.uint8)
    for split, number in (("train", 0), ("train", 1), ("val", 2), ("val", 3)):
        image[0, 0] = number  # of the last row: BMP begins below
        for kind, pixels in (("images", image), ("masks", np.eye(200, dtype=np.uint8))):
            path = tmp_path / kind / split / f"{number}.{'bmp' if kind == 'images' else 'png'}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    splits = open_folder(tmp_path).splits
    assert len({pair.image.stat().st_size for pairs in splits.values() for pair in pairs}) == 1
    assert check_copies(splits, tmp_path) == []
    shutil.copy(tmp_path / "images/train/0.bmp", tmp_path / "images/val/3.bmp")
    (fault,) = check_copies(splits, tmp_path)
    assert fault.files == ("images/val/3.bmp = images/train/0.bmp",)


def test_only_files_of_one_size_are_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    splits, opened = open_folder(folder).splits, Counter()
    sizes = Counter(pair.image.stat().st_size for pairs in splits.values() for pair in pairs)
    alone = {pair.image for pairs in splits.values() for pair in pairs if sizes[pair.image.stat().st_size] == 1}
    plain = Path.open
    monkeypatch.setattr(Path, "open", lambda self, *a, **k: (opened.update([self]), plain(self, *a, **k))[1])
    check_copies(splits, folder)
    assert alone
    assert not alone & set(opened)


def test_a_fixed_copy_of_a_data_set_whose_validation_is_train_can_be_trained_on(folder: Path, tmp_path: Path) -> None:
    copy_train(folder)
    out = tmp_path / "clean"
    out.mkdir()
    write_fixed(check(folder), out)
    clean = open_folder(out)
    assert {split: len(pairs) > 0 for split, pairs in clean.splits.items()} == {"train": True, "val": True}
    assert sum(map(len, clean.splits.values())) == 6
    assert check_copies(clean.splits, out) == []


def test_a_few_copies_still_leave_train(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "images/train/2.png", folder / "images/val/1.png")
    out = tmp_path / "clean"
    out.mkdir()
    write_fixed(check(folder), out)
    assert not (out / "images/train/2.png").exists()
    assert (out / "images/val/1.png").is_file()


@pytest.mark.parametrize("declared", [True, False])
def test_classes_without_a_pixel_are_reported_by_train_with_or_without_a_class_file(declared: bool, save_files) -> None:
    label_map = np.zeros((40, 40), np.uint8)
    label_map[:10], label_map[30:] = 5, 17
    random = np.random.default_rng(0)
    files = {f"masks/{i}.png": label_map for i in range(6)}
    files |= {f"images/{i}.png": random.integers(0, 256, (40, 40, 3), dtype=np.uint8) for i in range(6)}
    if declared:
        files["classes.yaml"] = f"names: [{', '.join(f'c{i}' for i in range(18))}]"
    (line,) = [line for line in lines(save_files(files)) if "never occur" in line]
    assert line.startswith("warning: classes that never occur: 15 of 18 (")
    assert ("--fix CLEAN" in line) != declared


def test_the_command_reports_both(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy_train(folder)
    (folder / "classes.yaml").write_text("names: [ground, box, ball, a, b, c, d, e]")
    assert main(["check", str(folder)]) == 1
    printed = capsys.readouterr().out
    assert (
        "images in several splits, so the network is scored on training images: 6, among them all 6 images of val"
        in printed
    )
    assert "warning: classes that never occur: 5 of 8 (a, b, c, d, e)" in printed


@pytest.mark.slow
def test_a_training_reports_copies_before_it_begins(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_further(*_: object, **__: object) -> None:
        raise DataError("enough is seen")

    copy_train(folder)
    monkeypatch.setattr("maskpencil.training.train.build_trainer", no_further)
    assert main(["train", str(folder), "--out", str(tmp_path / "run"), "--weights", "none", "--epochs", "1"]) == 1
    assert "that are also in train, so the network is scored on training images: 6 of 6" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_copies_in_lists_are_named_by_their_split_and_by_their_path(folder: Path) -> None:
    for kind in ("images", "masks"):
        for path in sorted((folder / kind).glob("*/*.png")):
            path.rename(folder / kind / f"{path.parent.name}_{path.name}")
        for split in ("train", "val", "test"):
            shutil.rmtree(folder / kind / split, ignore_errors=True)
        shutil.copy(folder / kind / "train_2.png", folder / kind / "other.png")
    (folder / "train.txt").write_text("train_1\ntrain_2\ntrain_0\n")
    (folder / "val.txt").write_text("other\nval_0\ntrain_0\n")
    for fault in (
        next(fault for fault in check(folder).faults if fault.kind == "duplicates-across-splits"),
        next(fault for fault in refuse_nonsense(open_folder(folder)) if fault.kind == "copies-of-train"),
    ):
        assert fault.count == 2
        files = {part for text in fault.files for part in text.split(" = ")}
        assert files == {f"{split}: images/{name}.png" for split, name in IN_LISTS}


IN_LISTS = (("train", "train_0"), ("train", "train_2"), ("val", "train_0"), ("val", "other"))


@pytest.mark.parametrize(
    ("split", "what"), [("train", "images that occur more than once: 2"), ("val", "scored on training images: 2")]
)
def test_copies_with_different_masks_come_first_and_are_for_the_user_to_decide(
    split: str, what: str, folder: Path
) -> None:
    for number in (0, 2):
        shutil.copy(folder / f"images/train/{number}.png", folder / f"images/{split}/again{number}.png")
        shutil.copy(folder / "masks/train/2.png", folder / f"masks/{split}/again{number}.png")
    (fault,) = [fault for fault in check(folder).faults if fault.kind.startswith("duplicates")]
    assert f"{what}, " in fault.what
    assert fault.what.endswith(", 1 with different masks")
    assert fault.files[0].endswith(": different masks")
    assert "again0" in fault.files[0]
    assert "different" not in fault.files[1]
    assert fault.remedy.endswith("; where the masks differ, first remove the wrong mask and its image")


def test_one_copy_with_another_mask_is_one(folder: Path) -> None:
    shutil.copy(folder / "images/train/0.png", folder / "images/train/again.png")
    shutil.copy(folder / "masks/train/2.png", folder / "masks/train/again.png")
    (fault,) = [fault for fault in check(folder).faults if fault.kind == "duplicates"]
    assert fault.what == "images that occur more than once: 1 with different masks"
    assert fault.files == ("images/train/0.png = images/train/again.png",)
