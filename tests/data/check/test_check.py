"""Every fault, planted in a clean data set, is found with its files and remedy, and no other is reported."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskpencil.classes import IGNORE_INDEX, ClassSet, write_classes
from maskpencil.cli import main
from maskpencil.data.check import CheckReport, ClassCount, check, refuse_nonsense
from maskpencil.data.convert import write_fixed
from maskpencil.data.folder import open_folder
from maskpencil.errors import DataError
from maskpencil.images import read_image
from maskpencil.known_classes import VOC
from maskpencil.label_maps import read_label_map

NAMES = ("ground", "box", "ball")
COLORS = ((60, 110, 60), (210, 70, 50), (50, 80, 220))
SIZE = (48, 64)


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    """Eight pairs to train, four to validate, all different, without a fault."""
    root = tmp_path / "clean"
    for split, count in (("train", 8), ("val", 4)):
        for kind in ("images", "masks"):
            (root / kind / split).mkdir(parents=True)
        for number in range(count):
            image, label_map = scene(100 * (split == "val") + number)
            Image.fromarray(image).save(root / "images" / split / f"{split}{number}.png")
            Image.fromarray(label_map).save(root / "masks" / split / f"{split}{number}.png")
    write_classes(root / "classes.yaml", ClassSet(NAMES, COLORS))
    return root


def scene(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """An image (H, W, 3) of large boxes and balls in the colors of their classes, with noise, and its label map."""
    random = np.random.default_rng(seed)
    label_map = np.zeros(SIZE, dtype=np.uint8)
    rows, columns = np.indices(SIZE)
    top, left = random.integers(0, 24), random.integers(0, 30)
    label_map[top : top + 20, left : left + 26] = 1
    label_map[(rows - random.integers(10, 38)) ** 2 + (columns - random.integers(38, 54)) ** 2 < 81] = 2
    image = np.array(COLORS)[label_map] + random.normal(0, 10, (*SIZE, 3))
    return image.clip(0, 255).astype(np.uint8), label_map


def change_mask(root: Path, change: Callable[[np.ndarray], np.ndarray], pattern: str = "train/train0.png") -> None:
    for path in root.glob(f"masks/{pattern}"):
        Image.fromarray(change(np.array(Image.open(path)))).save(path)


def kinds(report: CheckReport) -> list[str]:
    return sorted(fault.kind for fault in report.faults)


def test_a_clean_set_has_no_faults(clean: Path) -> None:
    report = check(clean)
    assert report.faults == ()
    assert report.usable
    assert report.verdict == "fit for training: 12 pairs (8 train, 4 val), 3 classes, no faults"
    truth = np.concatenate([np.array(Image.open(path)).ravel() for path in clean.glob("masks/*/*.png")])
    assert [count.pixels for count in report.classes.values()] == np.bincount(truth).tolist()
    assert sum(count.share for count in report.classes.values()) == pytest.approx(1)
    assert [count.masks for count in report.classes.values()] == [12, 12, 12]


@pytest.mark.slow
def test_several_processes_see_the_same(clean: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maskpencil.data.check.inspect.MAX_PAIRS_WITHOUT_PROCESSES", 0)
    (clean / "images" / "train" / "train3.png").write_bytes(b"nothing")
    alone, together = check(clean, processes=1), check(clean, processes=2)
    assert together.to_dict() == alone.to_dict()
    assert kinds(together) == ["unreadable-images"]


# faults that are planted: what to do to the clean set, the kind that is found, its severity, and what is said


def remove(name: str) -> Callable[[Path], None]:
    return lambda root: (root / name).unlink()


def cut_short(name: str) -> Callable[[Path], None]:
    def plant(root: Path) -> None:
        content = (root / name).read_bytes()
        (root / name).write_bytes(content[: len(content) // 2])

    return plant


def scaled_mask(root: Path) -> None:
    path = root / "masks" / "train" / "train0.png"
    Image.open(path).resize((32, 24), Image.Resampling.NEAREST).save(path)


def turned_image(root: Path) -> None:
    """An image that EXIF turns by a quarter; the mask lies as the image is stored."""
    path = root / "images" / "train" / "train0.png"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(path).save(path, exif=exif)


def upside_down_image(root: Path) -> None:
    path = root / "images" / "train" / "train0.png"
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.open(path).save(path, exif=exif)


def colored_mask(root: Path) -> None:
    change_mask(root, lambda mask: np.array(COLORS, dtype=np.uint8)[mask])


def strange_value(root: Path) -> None:
    def change(mask: np.ndarray) -> np.ndarray:
        mask[:10, :10] = 7
        return mask

    change_mask(root, change)


def more_classes(root: Path) -> None:
    write_classes(root / "classes.yaml", ClassSet((*NAMES, "car", "tree")))


def balls_in_val_alone(root: Path) -> None:
    change_mask(root, lambda mask: np.where(mask == 2, 0, mask).astype(np.uint8), "train/*.png")


def almost_all_ground(root: Path) -> None:
    def change(mask: np.ndarray) -> np.ndarray:
        few = np.zeros_like(mask)
        left = np.flatnonzero(mask == 1)[0] % 20  # at another place in every mask
        few[5:9, left : left + 3] = 1
        few[20:23, 20:24] = 2
        return few

    change_mask(root, change, "*/*.png")


def only_ground(root: Path) -> None:
    change_mask(root, np.zeros_like, "*/*.png")


def empty_mask(root: Path) -> None:
    change_mask(root, np.zeros_like)


def void_mask(root: Path) -> None:
    change_mask(root, lambda mask: np.full_like(mask, IGNORE_INDEX))


def from_one(root: Path) -> None:
    change_mask(root, lambda mask: mask + 1, "*/*.png")


def smoothed_colors(root: Path) -> None:
    for path in root.glob("masks/*/*.png"):
        colors = Image.fromarray(np.array(COLORS, dtype=np.uint8)[np.array(Image.open(path))])
        colors.resize((128, 96), Image.Resampling.BICUBIC).resize(SIZE[::-1], Image.Resampling.BILINEAR).save(path)


def smoothed_numbers(root: Path) -> None:
    def change(mask: np.ndarray) -> np.ndarray:
        large = Image.fromarray(100 * (mask // 2)).resize((32, 24), Image.Resampling.BOX)
        smooth = np.array(large.resize(SIZE[::-1], Image.Resampling.BILINEAR)) / 100
        return np.round(2 * smooth).astype(np.uint8)

    change_mask(root, change, "*/*.png")


def mostly_nobodys_color(root: Path) -> None:
    smoothed_colors(root)
    path = root / "masks" / "train" / "train0.png"
    gradient = np.linspace(0, 255, SIZE[0] * SIZE[1]).reshape(SIZE)[..., None] * np.array([1.0, 0.2, 0.9])
    Image.fromarray(gradient.astype(np.uint8)).save(path)


def void_borders(root: Path) -> None:
    """Add a class that is only the border, three pixels wide, between the others."""

    def change(mask: np.ndarray) -> np.ndarray:
        border = np.zeros(mask.shape, dtype=bool)
        for row in (-1, 0, 1):
            for column in (-1, 0, 1):
                border |= np.roll(mask, (row, column), (0, 1)) != mask
        border[[0, -1]] = border[:, [0, -1]] = False
        return np.where(border, 3, mask).astype(np.uint8)

    change_mask(root, change, "*/*.png")
    write_classes(root / "classes.yaml", ClassSet((*NAMES, "edge")))


def specks(root: Path) -> None:
    def change(mask: np.ndarray) -> np.ndarray:
        mask[::12, ::12] = (mask[::12, ::12] + 1) % 3
        return mask

    change_mask(root, change)


def same_image_in_val(root: Path) -> None:
    for kind in ("images", "masks"):
        shutil.copy(root / kind / "train" / "train0.png", root / kind / "val" / "again.png")


def same_image_twice(root: Path) -> None:
    for kind in ("images", "masks"):
        shutil.copy(root / kind / "train" / "train0.png", root / kind / "train" / "again.png")


def saved_again(split: str) -> Callable[[Path], None]:
    def plant(root: Path) -> None:
        Image.open(root / "images" / "train" / "train0.png").save(root / "images" / split / "again.jpg", quality=90)
        shutil.copy(root / "masks" / "train" / "train0.png", root / "masks" / split / "again.png")

    return plant


def same_name(root: Path) -> None:
    for kind in ("images", "masks"):
        (root / kind / "val" / "val0.png").rename(root / kind / "val" / "train0.png")


def names_by_case(root: Path) -> None:
    for kind in ("images", "masks"):
        (root / kind / "train" / "train1.png").rename(root / kind / "train" / "TRAIN0.png")


def blank_image(root: Path) -> None:
    Image.new("RGB", SIZE[::-1], (90, 90, 90)).save(root / "images" / "train" / "train0.png")


FAULTS = {
    "an image without a mask": (
        remove("masks/train/train0.png"),
        "images-without-mask",
        "warning",
        "1 image without a mask left out (images/train/train0.png)",
    ),
    "a mask without an image": (
        remove("images/train/train0.png"),
        "masks-without-image",
        "warning",
        "1 mask without an image left out (masks/train/train0.png)",
    ),
    "an image cut short": (
        cut_short("images/train/train0.png"),
        "unreadable-images",
        "error",
        "train0.png: is damaged or cut short",
    ),
    "a mask cut short": (
        cut_short("masks/train/train0.png"),
        "unreadable-masks",
        "error",
        "train0.png: is damaged or cut short",
    ),
    "a mask of another size": (
        scaled_mask,
        "sizes-differ",
        "error",
        "train0.png: 32 x 24, but its image is 64 x 48",
    ),
    "an image that EXIF turns": (
        turned_image,
        "exif-rotation",
        "error",
        "masks in the stored orientation of their image, which EXIF rotates: 1",
    ),
    "an image upside down": (
        upside_down_image,
        "exif-rotation-doubtful",
        "warning",
        "images rotated or mirrored by EXIF while their masks are not: 1 (",
    ),
    "a value without a class": (
        strange_value,
        "values-without-class",
        "error",
        "train0.png: 7); name them in classes.yaml, or correct",
    ),
    "classes that never occur": (
        more_classes,
        "classes-never-seen",
        "warning",
        "classes that never occur: 2 of 5 (car, tree)",
    ),
    "a class in val alone": (
        balls_in_val_alone,
        "only-in-val",
        "warning",
        "classes that occur in val, but not in train: 1 (ball)",
    ),
    "one class almost everywhere": (
        almost_all_ground,
        "one-class-almost-all",
        "warning",
        "one class fills 99.22% of all pixels (ground)",
    ),
    "an empty mask": (empty_mask, "empty-masks", "note", "masks with only 'ground': 1 ("),
    "a mask ignored throughout": (void_mask, "void-masks", "warning", "masks with only ignored pixels: 1"),
    "smoothed colors": (
        smoothed_colors,
        "smoothed-borders",
        "warning",
        "compressed or smoothed masks, with values between the values of the classes: 12",
    ),
    "a border to be ignored": (
        void_borders,
        "looks-ignored",
        "warning",
        "classes in thin lines between other classes, like borders to ignore: 1 (edge = 3)",
    ),
    "slips of a brush": (
        specks,
        "specks",
        "note",
        "masks with many specks of at most 6 pixels, such as drawing errors: 1 (",
    ),
    "the same image twice": (
        same_image_twice,
        "duplicates",
        "warning",
        "once: 1 (images/train/again.png = images/train/train0.png)",
    ),
    "an image in two splits": (
        same_image_in_val,
        "duplicates-across-splits",
        "error",
        "(images/train/train0.png = images/val/again.png)",
    ),
    "almost the same image": (
        saved_again("train"),
        "near-duplicates",
        "note",
        "(images/train/again.jpg ~ images/train/train0.png)",
    ),
    "almost the same in another split": (
        saved_again("val"),
        "near-duplicates-across-splits",
        "warning",
        "(images/train/train0.png ~ images/val/again.jpg)",
    ),
    "the same name in two splits": (same_name, "same-name-in-splits", "warning", "(train0 in train and val)"),
    "names that differ in case": (
        names_by_case,
        "names-differ-in-case",
        "warning",
        "that differ only in case: 2 (images/train/TRAIN0.png and train0.png, ",
    ),
    "a blank image": (blank_image, "blank-images", "warning", "blank images, of the same brightness everywhere: 1"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("plant", "kind", "severity", "words"), FAULTS.values(), ids=FAULTS)
def test_a_planted_fault_is_found_and_no_other(
    clean: Path, plant: Callable[[Path], None], kind: str, severity: str, words: str
) -> None:
    plant(clean)
    report = check(clean)
    assert kinds(report) == [kind]
    found = report.faults[0]
    assert (found.severity, report.usable) == (severity, severity != "error")
    assert words in found.line
    assert found.count == len(found.files)
    assert "\n" not in found.line
    assert found.line.endswith(found.remedy)


def test_masks_all_of_one_class_are_refused(clean: Path) -> None:
    only_ground(clean)
    report = check(clean)
    assert "one-class" in kinds(report)
    assert not report.usable


def test_class_numbers_that_start_at_one_are_reported(clean: Path) -> None:
    from_one(clean)
    report = check(clean)
    assert kinds(report) == ["classes-never-seen", "off-by-one", "values-without-class"]
    off = next(fault for fault in report.faults if fault.kind == "off-by-one")
    assert off.what == "the class numbers of the masks start at 1, so that 'ground' never occurs and 3 has no class"
    (clean / "classes.yaml").unlink()
    assert "off-by-one" in kinds(check(clean))


def test_numbers_smoothed_between_classes_are_reported(clean: Path) -> None:
    smoothed_numbers(clean)
    smoothed = next(fault for fault in check(clean).faults if fault.kind == "smoothed-borders")
    assert "as if scaled with smoothing" in smoothed.what


def test_colors_of_no_class_are_reported(clean: Path) -> None:
    mostly_nobodys_color(clean)
    doubtful = next(fault for fault in check(clean).faults if fault.kind == "doubtful-colors")
    assert "train0.png" in doubtful.files[0]


def test_masks_saved_in_two_ways_are_reported(clean: Path) -> None:
    colored_mask(clean)
    (found,) = check(clean).faults
    assert (found.kind, found.severity) == ("values-without-class", "error")
    assert found.count == 11
    assert "name them in classes.yaml, or correct the masks" in found.line


def test_an_outlier_is_reported(clean: Path) -> None:
    for number in range(8, 20):
        image, label_map = scene(number)
        Image.fromarray(image).save(clean / "images" / "train" / f"train{number}.png")
        Image.fromarray(label_map).save(clean / "masks" / "train" / f"train{number}.png")
    assert check(clean).faults == ()
    bright = 255 - scene(3)[0] // 4
    Image.fromarray(bright).save(clean / "images" / "train" / "train3.png")
    report = check(clean)
    assert kinds(report) == ["unlike-the-rest"]
    assert "train/train3" in report.faults[0].files[0]


# --fix


@pytest.mark.slow
@pytest.mark.parametrize(
    ("plant", "change", "left"),
    [
        (cut_short("images/train/train0.png"), "left out: the image is damaged", 11),
        (cut_short("masks/train/train0.png"), "left out: its mask is damaged", 11),
        (scaled_mask, "scaled from 32 x 24 to 64 x 48", 12),
        (turned_image, "rotated as EXIF rotates the image", 12),
        (strange_value, "100 pixels of 7 are ignored", 12),
        (void_mask, "left out: its mask is ignored throughout", 11),
        (same_image_twice, "left out: a copy of another", 12),
        (same_image_in_val, "left out: a copy of another", 12),
        (names_by_case, "renamed to train0_2", 12),
        (remove("masks/train/train0.png"), "left out: has no mask", 11),
        (from_one, "1 subtracted from all class numbers", 12),
    ],
)
def test_a_clean_copy_is_written_and_every_change_with_it(
    clean: Path, tmp_path: Path, plant: Callable[[Path], None], change: str, left: int
) -> None:
    plant(clean)
    before = {path: path.read_bytes() for path in clean.rglob("*") if path.is_file()}
    out = tmp_path / "fixed"
    out.mkdir()
    changes = write_fixed(check(clean), out)
    assert {path: path.read_bytes() for path in clean.rglob("*") if path.is_file()} == before
    assert any(change in each.change for each in changes)
    log = (out / "changes.csv").read_text()
    assert log.startswith("file,change")
    assert change in log
    mended = check(out)
    assert [fault.kind for fault in mended.faults if fault.severity == "error"] == []
    assert sum(mended.splits.values()) == left
    assert open_folder(out).classes.names == NAMES


def test_a_clean_set_is_copied_as_it_is(clean: Path, tmp_path: Path) -> None:
    out = tmp_path / "fixed"
    out.mkdir()
    assert write_fixed(check(clean), out) == []
    for path in clean.glob("masks/*/*.png"):
        copy = out / path.relative_to(clean)
        np.testing.assert_array_equal(read_label_map(copy), np.array(Image.open(path)))
    for path in clean.glob("images/*/*.png"):
        assert (out / path.relative_to(clean)).read_bytes() == path.read_bytes()


def test_declared_classes_are_not_renumbered_on_a_guess(clean: Path, tmp_path: Path) -> None:
    change_mask(clean, lambda mask: np.where(mask == 0, 1, mask).astype(np.uint8), "*/*.png")
    out = tmp_path / "fixed"
    out.mkdir()
    report = check(clean)
    assert "off-by-one" in kinds(report)
    assert report.usable
    write_fixed(report, out)
    np.testing.assert_array_equal(
        read_label_map(out / "masks/val/val0.png"), np.array(Image.open(clean / "masks/val/val0.png"))
    )


def voc(root: Path) -> None:
    for kind, place in (("images", "JPEGImages"), ("masks", "SegmentationClass")):
        (root / place).mkdir()
        for path in root.glob(f"{kind}/*/*.png"):
            path.rename(root / place / path.name)
        shutil.rmtree(root / kind)
    (root / "classes.yaml").unlink()
    (root / "class_names.txt").write_text("__ignore__\n_background_\nbox\nball\ncar\nbus")


def plain_names(root: Path) -> None:
    (root / "classes.yaml").unlink()
    (root / "classes.txt").write_text("ground\nbox\nball\ncar\nbus")


def colors_of_voc(root: Path) -> None:
    (root / "classes.yaml").unlink()
    palette = np.array(VOC.palette, dtype=np.uint8)
    stripes = np.repeat(np.arange(12, dtype=np.uint8), 5)
    change_mask(root, lambda mask: palette[np.where(mask[:, :60] == 2, 0, stripes)], "*/*.png")
    for path in root.glob("images/*/*.png"):
        Image.open(path).crop((0, 0, 60, 48)).save(path)


@pytest.mark.parametrize("name_them", [more_classes, voc, plain_names, colors_of_voc])
def test_absent_classes_that_something_names_stay(
    clean: Path, tmp_path: Path, name_them: Callable[[Path], None]
) -> None:
    name_them(clean)
    report = check(clean)
    (fault,) = [fault for fault in report.faults if fault.kind == "classes-never-seen"]
    assert fault.remedy == "a network cannot learn them; add images that show them"
    out = tmp_path / "fixed"
    out.mkdir()
    assert write_fixed(report, out) == []
    assert open_folder(out).classes.names == report.encoding.classes.names
    assert fault in refuse_nonsense(open_folder(clean))


def test_subtracting_one_is_promised_only_where_it_is_done(clean: Path) -> None:
    change_mask(clean, lambda mask: np.where(mask == 0, 1, mask).astype(np.uint8), "*/*.png")
    (fault,) = [fault for fault in check(clean).faults if fault.kind == "off-by-one"]
    assert fault.remedy == "subtract 1 from all class numbers if 1 is the first class"


def test_class_names_may_hold_anything(clean: Path) -> None:
    write_classes(clean / "classes.yaml", ClassSet(("{n}", "{", "{x}", "%s"), (*COLORS, (1, 2, 3))))
    only_ground(clean)
    assert "masks with only" in " ".join(fault.line for fault in check(clean).faults)


def test_an_image_in_two_lists_is_in_both(clean: Path) -> None:
    for split in ("train", "val"):
        (clean / f"{split}.txt").write_text("train/train0\ntrain/train1\n")
    assert "only-in-val" not in kinds(check(clean))


def test_images_shared_with_other_splits_are_removed_from_train(clean: Path, tmp_path: Path) -> None:
    same_image_in_val(clean)
    out = tmp_path / "fixed"
    out.mkdir()
    write_fixed(check(clean), out)
    assert check(out).splits == {"train": 7, "val": 5}


# the command


@pytest.mark.slow
def test_the_command_lists_all_and_ends_with_a_verdict(clean: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    strange_value(clean)
    assert main(["check", str(clean), "--json", "report.json", "--fix", "fixed"]) == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert lines[0].startswith("error: masks with values that have no class: 1 (masks/train/train0.png: 7)")
    assert any(line.startswith("ground  ") and "#3c6e3c" in line for line in lines)
    assert "not fit for training: 12 pairs (8 train, 4 val); 1 error" in lines
    assert "masks are read as index" in printed.err
    assert read_image(tmp_path / "runs" / "check" / "clean" / "overlays.png").shape[1] > 600
    written = json.loads((tmp_path / "report.json").read_text())
    assert written["faults"][0]["files"] == ["masks/train/train0.png: 7"]
    assert main(["check", str(clean)]) == 1
    assert main(["check", "fixed"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("fit for training: 12 pairs (8 train, 4 val), 3 classes")


def test_ignored_pixels_are_counted_and_unknown_ones_are_not(clean: Path, tmp_path: Path, capsys) -> None:
    assert check(clean).ignored.pixels == 0
    strange_value(clean)  # 100 pixels of 7

    def ignore_rows(mask: np.ndarray) -> np.ndarray:
        mask[-12:] = IGNORE_INDEX
        return mask

    change_mask(clean, ignore_rows, "val/*.png")
    report = check(clean)
    assert report.ignored == ClassCount(4 * 12 * 64, pytest.approx(1 / 12), 4)
    assert report.to_dict()["ignored"] == {"pixels": 3072, "share": pytest.approx(1 / 12), "masks": 4}
    main(["check", str(clean), "--out", str(tmp_path / "sheet")])
    lines = capsys.readouterr().out.splitlines()
    assert "ignored pixels: 3,072, 8.33% of all pixels, in 4 of 12 images" in lines


def test_transparent_pixels_that_are_ignored_are_counted(clean: Path) -> None:
    def clear_corner(mask: np.ndarray) -> np.ndarray:
        alpha = np.full(mask.shape, 255, dtype=np.uint8)
        alpha[:10, :10] = 0
        return np.dstack([np.array(COLORS, dtype=np.uint8)[mask], alpha])

    change_mask(clean, clear_corner, "*/*.png")
    report = check(clean)
    assert report.encoding.alpha == "ignored"
    assert (report.ignored.pixels, report.ignored.masks) == (1200, 12)


def test_pixels_of_smoothed_masks_are_not_ignored(clean: Path) -> None:
    smoothed_colors(clean)
    report = check(clean)
    assert report.encoding.nearest
    assert report.ignored.pixels == 0


def test_masks_that_cannot_be_mapped_to_classes_are_one_line(clean: Path, capsys, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    colored_mask(clean)
    (clean / "classes.yaml").unlink()
    assert main(["check", str(clean)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("error: ")
    assert "save all masks in the same way" in lines[0]
    assert lines[-1] == "not fit for training: 12 pairs (8 train, 4 val); 1 error"


def test_a_set_whose_masks_are_all_damaged_is_reported(clean: Path) -> None:
    for path in clean.glob("masks/*/*.png"):
        path.write_bytes(path.read_bytes()[:40])
    report = check(clean)
    assert not report.usable
    damaged = next(fault for fault in report.faults if fault.kind == "unreadable-masks")
    assert (damaged.count, damaged.severity) == (12, "error")


def test_damaged_masks_of_class_numbers_without_a_class_file_are_reported(clean: Path) -> None:
    (clean / "classes.yaml").unlink()
    for path in clean.glob("masks/*/*.png"):
        path.write_bytes(path.read_bytes()[:40])
    report = check(clean)
    assert not report.usable
    assert "unreadable-masks" in kinds(report)


# masks that say nothing


@pytest.mark.slow
@pytest.mark.parametrize("fractions", [True, False])
@pytest.mark.parametrize("declared", [True, False])
def test_masks_of_which_none_can_be_read_are_one_fault(clean: Path, fractions: bool, declared: bool) -> None:
    for path in clean.glob("masks/*/*.png"):
        path.unlink()
        if fractions:
            Image.fromarray(np.random.default_rng(0).random(SIZE, dtype=np.float32)).save(path.with_suffix(".tif"))
        else:
            path.write_bytes(bytes(40))
    if not declared:
        (clean / "classes.yaml").unlink()
    report = check(clean)
    assert kinds(report) == ["unreadable-masks"]
    assert report.faults[0].count == 12
    assert (report.encoding, report.classes, report.usable) == (None, {}, False)
    with pytest.raises(DataError, match=r"; 12 masks cannot be read; maskpencil check lists all"):
        open_folder(clean)


def test_masks_of_whole_numbers_in_floats_are_read(clean: Path) -> None:
    before = check(clean)
    for path in list(clean.glob("masks/*/*.png")):
        Image.fromarray(np.array(Image.open(path)).astype(np.float32)).save(path.with_suffix(".tif"))
        path.unlink()
    report = check(clean)
    assert report.faults == ()
    assert report.classes == before.classes


def same_masks(root: Path, most: int) -> None:
    """Give the first masks the label map of another."""
    label_map = np.array(Image.open(root / "masks/val/val3.png"))
    for path in sorted(root.glob("masks/*/*.png"))[:most]:
        Image.fromarray(label_map).save(path)


def test_masks_that_are_all_the_same_say_nothing(clean: Path) -> None:
    same_masks(clean, 11)
    (fault,) = check(clean).faults
    assert (fault.kind, fault.severity, fault.count) == ("masks-alike", "warning", 12)
    assert fault.what.startswith("all 12 masks are the same, so they do not depend on their images")
    assert [fault.kind for fault in refuse_nonsense(open_folder(clean))] == ["masks-alike"]


def test_nearly_all_are_as_bad_and_fewer_may_be_meant(clean: Path) -> None:
    same_masks(clean, 10)
    assert check(clean).faults[0].what.startswith("11 of 12 masks are the same")
    scene_of_another = scene(77)[1]
    Image.fromarray(scene_of_another).save(clean / "masks/train/train0.png")
    assert check(clean).faults == ()


def test_empty_masks_are_not_counted_as_alike(clean: Path) -> None:
    for path in sorted(clean.glob("masks/*/*.png"))[:11]:
        Image.fromarray(np.zeros(SIZE, np.uint8)).save(path)
    assert "masks-alike" not in kinds(check(clean))


def test_palettes_that_contradict_each_other_are_said_with_what_counts(
    clean: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    palettes = {False: [color for rgb in COLORS for color in rgb], True: [60, 110, 60, 50, 80, 220, 210, 70, 50]}
    (clean / "classes.yaml").unlink()
    for number, path in enumerate(sorted(clean.glob("masks/*/*.png"))):
        exchanged = bool(number % 2)
        label_map = np.array(Image.open(path))
        image = Image.fromarray(np.array([0, 2, 1], np.uint8)[label_map] if exchanged else label_map)
        image.putpalette(palettes[exchanged])
        image.save(path)
    report = check(clean)
    (fault,) = report.faults
    assert (fault.kind, fault.severity) == ("palettes-differ", "warning")
    assert fault.what.startswith("the palettes of the masks contradict each other (number 1 is (210, 70, 50) in ")
    assert fault.what.endswith("): the colors are read, not the numbers")
    assert {COLORS[1], COLORS[2]} < {*report.encoding.classes.palette}
    assert main(["convert", str(clean), "--to", "folder", "--out", str(clean.with_name("out"))]) == 0
    assert "the colors are read, not the numbers" in capsys.readouterr().err


def test_palettes_that_contradict_the_classes_are_said(clean: Path) -> None:
    for path in clean.glob("masks/*/*.png"):
        image = Image.open(path)
        image.putpalette([*COLORS[0], *COLORS[2], *COLORS[1]])
        image.save(path)
    (fault,) = check(clean).faults
    assert fault.kind == "palettes-differ"
    assert fault.what.endswith("the color of 'ball'): the numbers are read, not the colors")


@pytest.mark.parametrize("others", ["gray", "palette"])
def test_palettes_that_show_gray_inverted_do_not_change_the_numbers(clean: Path, others: str) -> None:
    """As ImageJ saves masks whose look-up table is inverted."""
    (clean / "classes.yaml").unlink()
    ramp = [level for level in range(256) for _ in range(3)]
    truth = 0
    for number, path in enumerate(sorted(clean.glob("masks/*/*.png"))):
        binary = np.where(np.array(Image.open(path)) > 0, np.uint8(255), np.uint8(0))
        truth += int((binary > 0).sum())
        image = Image.fromarray(binary)
        if number % 2 or others == "palette":
            image.putpalette(ramp[::-1] if number % 2 else ramp)
        image.save(path)
    report = check(clean)
    assert report.encoding.kind == "binary"
    assert report.classes["foreground"].pixels == truth
    assert kinds(report) == (["palettes-differ"] if others == "palette" else [])
    assert any(
        "have a palette that shows their numbers inverted: the numbers are read" in note for note in report.notes
    )


# masks of two classes whose foreground may be the background


def in_colors(mask: np.ndarray) -> np.ndarray:
    return np.repeat(mask[..., None], 3, axis=2)


def in_opacity(mask: np.ndarray) -> np.ndarray:
    return np.dstack([np.full_like(in_colors(mask), 255), mask])


def as_they_are(mask: np.ndarray) -> np.ndarray:
    return mask


@pytest.mark.parametrize(
    ("form", "white", "shown"),
    [(as_they_are, 255, "white"), (as_they_are, 1, "1"), (in_colors, 255, "white"), (in_opacity, 255, "white")],
)
def test_a_foreground_that_covers_most_is_noted_and_the_remedy_names_it_background(
    clean: Path, form: Callable[[np.ndarray], np.ndarray], white: int, shown: str
) -> None:
    (clean / "classes.yaml").unlink()
    change_mask(clean, lambda mask: form(np.where(mask == 2, 0, white).astype(np.uint8)), "*/*.png")
    report = check(clean)
    (note,) = [fault for fault in report.faults if fault.kind == "mostly-foreground"]
    assert note.line.startswith(f"note: the foreground ({shown}) covers 9")
    assert note in refuse_nonsense(open_folder(clean))
    (clean / "classes.yaml").write_text(note.remedy.partition("in the data folder: ")[2])
    named = check(clean)
    assert named.usable
    assert "mostly-foreground" not in kinds(named)
    assert named.classes == dict(zip(("object", "background"), report.classes.values(), strict=True))


@pytest.mark.parametrize("named", [True, False])
def test_a_foreground_that_covers_less_or_that_has_a_name_is_not_noted(clean: Path, named: bool) -> None:
    (clean / "classes.yaml").unlink()
    if named:
        (clean / "classes.yaml").write_text("names: [ball, ground]")
    change_mask(clean, lambda mask: np.where(mask == (2 if named else 0), 0, 255).astype(np.uint8), "*/*.png")
    assert "mostly-foreground" not in kinds(check(clean))
