"""Files of several pages: a pair for each page, a class for each page, or a warning that counts."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from maskpencil.cli import main
from maskpencil.data.check import check
from maskpencil.data.drawing import ClassPages
from maskpencil.data.folder import DataFolder, open_folder
from maskpencil.data.layout import Places
from maskpencil.errors import DataError, ImageError
from maskpencil.images import read_image
from maskpencil.label_maps import read_label_map

SIZE = (40, 48)
PAGES = 4


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def truth(seed: int) -> npt.NDArray[np.uint8]:
    """A label map of the classes 0, 1 and 2."""
    label_map = np.zeros(SIZE, np.uint8)
    for number in (1, 2):
        top, left = np.random.default_rng(10 * seed + number).integers(0, 24, 2)
        label_map[top : top + 14, left : left + 16] = number
    return label_map


def photo(seed: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(1000 + seed).integers(0, 256, SIZE, dtype=np.uint8)


def save(path: Path, pages: Sequence[npt.NDArray[np.generic]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [Image.fromarray(page) for page in pages]
    options = {"lossless": True} if path.suffix == ".webp" else {}
    images[0].save(path, save_all=True, append_images=images[1:], **options)
    return path


def stacks(root: Path, count: int = 3, *, suffix: str = ".tif", names: str = "s{}") -> list[npt.NDArray[np.uint8]]:
    """Write pairs of `PAGES` pages each; returns the label maps of all pages in order."""
    truths = []
    for number in range(count):
        own = [truth(PAGES * number + page) for page in range(PAGES)]
        name = names.format(number)
        save(root / f"images/{name}{suffix}", [photo(PAGES * number + page) for page in range(PAGES)])
        save(root / f"masks/{name}{suffix}", [label_map * np.uint8(100) for label_map in own])
        truths += own
    return truths


def read(folder: DataFolder) -> dict[str, tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]]:
    return {pair.name: folder.read_pair(pair) for pairs in folder.splits.values() for pair in pairs}


@pytest.mark.parametrize("suffix", [".tif", ".png", ".webp"])
def test_each_page_becomes_a_pair(tmp_path: Path, suffix: str) -> None:
    truths = stacks(tmp_path / "data", suffix=suffix)
    folder = open_folder(tmp_path / "data")
    pairs = read(folder)
    assert sorted(pairs) == [f"s{number}_p{page:04d}" for number in range(3) for page in range(1, PAGES + 1)]
    for seed, name in enumerate(sorted(pairs)):
        image, label_map = pairs[name]
        np.testing.assert_array_equal(image[..., 0], photo(seed))
        np.testing.assert_array_equal(label_map, truths[seed])
    assert {pair.name[:2] for pair in folder.pairs("val")}.isdisjoint(pair.name[:2] for pair in folder.pairs("train"))
    assert any(
        line.startswith("warning: images and masks of several pages are read as 12 pairs") for line in folder.notes
    )


def test_pages_of_16_bits_keep_their_numbers_and_names_keep_their_folders(tmp_path: Path) -> None:
    for number in range(2):
        name = f"day.{number}/cells.{number}"
        save(
            tmp_path / f"data/images/{name}.tif",
            [photo(page).astype(np.uint16) * np.uint16(257) for page in range(PAGES)],
        )
        save(tmp_path / f"data/masks/{name}.tif", [truth(page).astype(np.uint16) for page in range(PAGES)])
    pairs = read(open_folder(tmp_path / "data"))
    assert "day.1/cells.1_p0004" in pairs
    np.testing.assert_array_equal(pairs["day.1/cells.1_p0004"][0][..., 0], photo(3))
    np.testing.assert_array_equal(pairs["day.1/cells.1_p0004"][1], truth(3))


def test_check_and_convert_see_the_pages_as_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truths = stacks(tmp_path / "data")
    report = check(tmp_path / "data")
    assert sum(report.splits.values()) == 3 * PAGES
    assert [fault.kind for fault in report.faults] == ["stacks"]
    assert (
        report.faults[0].files == tuple(f"images/s{number}.tif: 4 pages" for number in (0, 2, 1))
        or report.faults[0].count == 3
    )
    assert main(["convert", str(tmp_path / "data"), "--to", "folder", "--out", str(tmp_path / "out")]) == 0
    assert "warning: images and masks of several pages are read as 12 pairs" in capsys.readouterr().err
    written = sorted((tmp_path / "out/masks").rglob("*.png"), key=lambda path: path.name)
    assert [path.stem for path in written][-1] == "s2_p0004"
    for path, label_map in zip(written, truths, strict=True):
        np.testing.assert_array_equal(read_label_map(path), label_map)


def test_the_pages_are_written_once_and_anew_when_a_file_changes(tmp_path: Path, cache: Path) -> None:
    stacks(tmp_path / "data")
    open_folder(tmp_path / "data")
    (first,) = (cache / "maskpencil/unpacked").glob("data-*")
    open_folder(tmp_path / "data")
    assert [*(cache / "maskpencil/unpacked").glob("data-*")] == [first]
    save(tmp_path / "data/masks/s1.tif", [np.roll(truth(page), 3, axis=1) for page in range(PAGES)])
    pairs = read(open_folder(tmp_path / "data", places=Places(images=Path("images"), masks=Path("masks"))))
    assert len([*(cache / "maskpencil/unpacked").glob("data-*")]) == 2
    assert len(pairs) == 3 * PAGES


def test_pairs_of_other_numbers_of_pages_are_left_out_with_a_warning(tmp_path: Path) -> None:
    stacks(tmp_path / "data")
    save(tmp_path / "data/masks/s1.tif", [truth(page) for page in range(PAGES - 1)])
    report = check(tmp_path / "data")
    (fault,) = [fault for fault in report.faults if fault.kind == "several-pages-masks"]
    assert (fault.severity, fault.count) == ("warning", 1)
    assert fault.line.startswith(
        "warning: 1 mask with more or fewer pages than their image left out (masks/s1.tif: 3 pages, "
    )
    assert sum(report.splits.values()) == 2 * PAGES


def test_where_nothing_is_left_it_is_an_error(tmp_path: Path) -> None:
    stacks(tmp_path / "data")
    for number in range(3):
        save(tmp_path / f"data/masks/s{number}.tif", [truth(page) for page in range(PAGES - 1)])
    with pytest.raises(
        DataError, match=r"data: 3 masks with more or fewer pages than their image left out \(.*s0\.tif: 3 pages"
    ):
        open_folder(tmp_path / "data")


def test_images_of_several_pages_with_one_mask_are_a_warning_that_counts(tmp_path: Path) -> None:
    for number in range(4):
        save(tmp_path / f"data/images/a{number}.tif", [photo(number), photo(50), photo(60)])
        save(tmp_path / f"data/masks/a{number}.png", [truth(number)])
    folder = open_folder(tmp_path / "data")
    assert any(
        line.startswith("warning: images with several pages, whose mask has one page; only the first page is read: 4 (")
        for line in folder.notes
    )
    for number, (_, (image, _)) in enumerate(sorted(read(folder).items())):
        np.testing.assert_array_equal(image, read_image(tmp_path / f"data/images/a{number}.tif"))


def class_pages(root: Path, count: int = 4) -> None:
    for number in range(count):
        save(root / f"images/a{number}.png", [photo(number)])
        pages = [(truth(number) == c) * np.uint8(255) for c in (1, 2)]
        save(root / f"masks/a{number}.tif", pages)


def test_black_and_white_pages_that_never_overlap_are_classes(tmp_path: Path) -> None:
    class_pages(tmp_path / "data")
    folder = open_folder(tmp_path / "data")
    assert any("each mask has 2 pages, which are read as 2 classes: page 1 is class 1" in note for note in folder.notes)
    for number, (_, (_, label_map)) in enumerate(sorted(read(folder).items())):
        np.testing.assert_array_equal(label_map, truth(number))
    report = check(tmp_path / "data")
    assert report.usable
    assert report.faults == ()


def test_empty_pages_are_no_class_however_many(tmp_path: Path) -> None:
    class_pages(tmp_path / "data")
    one, empty = (truth(1) == 1) * np.uint8(255), np.zeros(SIZE, np.uint8)
    save(tmp_path / "data/masks/a1.tif", [one, *[empty] * 259])
    np.testing.assert_array_equal(ClassPages(tmp_path / "data/masks/a1.tif").read().values, one // 255)


def test_the_numbers_that_are_stamped_on_pages_are_the_classes(tmp_path: Path) -> None:
    class_pages(tmp_path / "data")
    for number in range(4):
        pages = [(truth(number) == c) * np.uint8(stamp) for c, stamp in ((1, 17), (2, 5))]
        save(tmp_path / f"data/masks/a{number}.tif", pages)
    for number, (_, (_, label_map)) in enumerate(sorted(read(open_folder(tmp_path / "data")).items())):
        np.testing.assert_array_equal(label_map, np.array([0, 17, 5])[truth(number)])


def test_an_empty_page_is_no_class_whatever_its_number(tmp_path: Path) -> None:
    class_pages(tmp_path / "data")
    for number in range(4):
        save(tmp_path / f"data/masks/a{number}.tif", [(truth(number) == 2) * np.uint8(2), np.zeros(SIZE, np.uint8)])
    for number, (_, (_, label_map)) in enumerate(sorted(read(open_folder(tmp_path / "data")).items())):
        np.testing.assert_array_equal(label_map, np.array([0, 0, 2])[truth(number)])


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        ("overlap", "page 2 overlaps an earlier page"),
        ("size", "page 2 differs from page 1 in size"),
        ("numbers", "page 1 holds more than one number besides 0"),
        ("repeated", "page 2 holds class 7, as an earlier page does"),
        ("color", "page 1 is colored"),
    ],
)
def test_other_pages_of_one_image_are_refused(tmp_path: Path, kind: str, what: str) -> None:
    class_pages(tmp_path / "data")
    one, two = truth(1) == 1, truth(1) == 2
    pages = {
        "overlap": [one * np.uint8(255)] * 2,
        "size": [one * np.uint8(255), two[:-1] * np.uint8(255)],
        "numbers": [truth(1), np.zeros(SIZE, np.uint8)],
        "repeated": [one * np.uint8(7), two * np.uint8(7)],
        "color": [np.stack([one * np.uint8(200), two * np.uint8(90), one * np.uint8(3)], axis=-1)] * 2,
    }
    save(tmp_path / "data/masks/a1.tif", pages[kind])
    with pytest.raises(
        ImageError, match=rf"a1\.tif: {what}; expected one page per class, since the image has one page"
    ):
        open_folder(tmp_path / "data")


def test_as_many_pages_as_objects_are_left_out(tmp_path: Path) -> None:
    class_pages(tmp_path / "data")
    save(tmp_path / "data/masks/a2.tif", [(truth(2) == 1) * np.uint8(255)] * 3)
    with pytest.raises(DataError, match=r"4 masks with more or fewer pages than their image left out"):
        open_folder(tmp_path / "data")


@pytest.mark.parametrize("inside", [True, False])
def test_a_single_volume_trains_on_its_first_pages_and_validates_on_the_last(tmp_path: Path, inside: bool) -> None:
    root = tmp_path / "data"
    names = ("images/v.tif", "labels/v.tif") if inside else ("train-volume.tif", "train-labels.tif")
    save(root / names[0], [photo(page) for page in range(10)])
    save(root / names[1], [(truth(page) > 0) * np.uint8(255) for page in range(10)])
    if not inside:
        save(root / "test-volume.tif", [photo(page + 70) for page in range(10)])
    folder = open_folder(root)
    assert {split: len(pairs) for split, pairs in folder.splits.items()} == {"train": 8, "val": 2}
    assert any("one volume of 10 pages" in note and "scores will be too high" in note for note in folder.notes)
    assert inside or any("pages 9 to 10 are for validation, test-volume.tif left out" in note for note in folder.notes)
    for number, (pair) in enumerate([*folder.pairs("train"), *folder.pairs("val")]):
        image, label_map = folder.read_pair(pair)
        np.testing.assert_array_equal(image[..., 0], photo(number))
        np.testing.assert_array_equal(label_map, truth(number) > 0)


def test_another_volume_validates_as_the_warning_says(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save(tmp_path / f"data/{name}-volume.tif", [photo(page) for page in range(4)])
        save(tmp_path / f"data/{name}-labels.tif", [(truth(page) > 0) * np.uint8(255) for page in range(4)])
    folder = open_folder(tmp_path / "data")
    assert {split: {pair.name[0] for pair in pairs} for split, pairs in folder.splits.items()} in (
        {"train": {"a"}, "val": {"b"}},
        {"train": {"b"}, "val": {"a"}},
    )
    assert not any("one volume" in note for note in folder.notes)


def test_a_damaged_stack_is_our_error(tmp_path: Path) -> None:
    stacks(tmp_path / "data")
    path = tmp_path / "data/masks/s0.tif"
    whole = path.read_bytes()
    for length in range(10, len(whole), len(whole) // 9):
        path.write_bytes(whole[:length])
        with suppress(DataError):
            assert any(line.startswith("warning: ") and "s0" in line for line in open_folder(tmp_path / "data").notes)
    path.write_bytes(whole[: len(whole) - 40])
    with pytest.raises(DataError, match=r"masks/s0\.tif: is damaged or cut short"):
        open_folder(tmp_path / "data")
