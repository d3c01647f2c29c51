"""Masks as users of other tools reported them, made small; each is named for the report."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageFilter

from maskpencil.data.check import check
from maskpencil.data.folder import open_folder
from maskpencil.errors import DataError

pytestmark = pytest.mark.slow

SIZE = (40, 48)
COUNT = 6
Truth = npt.NDArray[np.uint8]
Write = Callable[[Path, int, Truth], None]
"""Takes the path without suffix, the number of the mask, and its label map of the classes 0, 1 and 2."""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def truth(seed: int) -> Truth:
    label_map = np.zeros(SIZE, np.uint8)
    for number in (1, 2):
        top, left = np.random.default_rng(10 * seed + number).integers(0, 24, 2)
        label_map[top : top + 14, left : left + 16] = number
    return label_map


def photo(seed: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(1000 + seed).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


def object_of(label_map: Truth) -> Truth:
    return np.where(label_map > 0, np.uint8(255), np.uint8(0))


def tiff(path: Path, image: Image.Image, **options: Any) -> None:
    image.save(path.with_suffix(".tif"), **options)


def fax(path: Path, number: int, label_map: Truth) -> None:
    """ImageMagick's fax, which is white on 0, among plain files: what is white is the object in all."""
    options = {"compression": "group4", "tiffinfo": {262: 0}} if number % 2 else {}
    tiff(path, Image.fromarray(object_of(label_map)).convert("1"), **options)


def inverted_table(path: Path, number: int, label_map: Truth) -> None:
    """ImageJ's masks: 255 is the object, shown black where the table is inverted."""
    values = object_of(label_map)
    # Pillow inverts what it writes with this tag
    tiff(path, Image.fromarray(255 - values if number % 2 else values), tiffinfo={262: 0 if number % 2 else 1})


def floats(path: Path, _: int, label_map: Truth) -> None:
    tiff(path, Image.fromarray(label_map.astype(np.float32)))


def cut_out(path: Path, number: int, label_map: Truth) -> None:
    """The photograph without its background, as tools that remove it write."""
    alpha = object_of(label_map)
    Image.fromarray(np.dstack([photo(number) * (alpha > 0)[..., None], alpha])).save(path.with_suffix(".png"))


def opaque(path: Path, _: int, label_map: Truth) -> None:
    Image.fromarray(object_of(label_map)).convert("RGBA").save(path.with_suffix(".png"))


def red_numbers(path: Path, _: int, label_map: Truth) -> None:
    red = np.dstack([label_map, label_map * 0, label_map * 0, np.full_like(label_map, 255)])
    Image.fromarray(red).save(path.with_suffix(".png"))


def classes_and_objects(path: Path, number: int, label_map: Truth) -> None:
    channels = np.zeros((*SIZE, 3), np.uint16)
    channels[..., 2] = label_map  # OpenCV's last is red
    channels[..., 1] = np.where(label_map == 2, 400 + number, 0)
    cv2.imwrite(str(path.with_suffix(".png")), channels)


def indexed_png(path: Path, _: int, label_map: Truth) -> None:
    image = Image.fromarray(label_map)
    image.putpalette([0, 0, 0, 200, 10, 10, 10, 200, 10])
    image.save(path.with_suffix(".png"))


def indexed_tiff(path: Path, _: int, label_map: Truth) -> None:
    image = Image.fromarray(label_map)
    image.putpalette([0, 0, 0, 255, 255, 255, 9, 9, 9])
    tiff(path, image)


def nearly_black(path: Path, _: int, label_map: Truth) -> None:
    Image.fromarray(np.repeat(label_map[..., None], 3, axis=2)).save(path.with_suffix(".png"))


def one_bit(path: Path, _: int, label_map: Truth) -> None:
    Image.fromarray(object_of(label_map)).convert("1").save(path.with_suffix(".png"))


def stamped_pages(path: Path, _: int, label_map: Truth) -> None:
    first, second = (Image.fromarray((label_map == c) * np.uint8(stamp)) for c, stamp in ((1, 17), (2, 99)))
    tiff(path, first, save_all=True, append_images=[second])


def all_classes(label_map: Truth) -> Truth:
    return label_map


def two_classes(label_map: Truth) -> Truth:
    return (label_map > 0).astype(np.uint8)


REPORTED: dict[str, tuple[Write, Callable[[Truth], Truth]]] = {
    "image-rs/image-tiff#296": (fax, two_classes),
    "MouseLand/cellpose#9": (inverted_table, two_classes),
    "ilastik/ilastik#2605": (floats, all_classes),
    "OPHoperHPO/image-background-remove-tool#86": (cut_out, two_classes),
    "Cheng-Lin-Li/SegCaps#16": (opaque, two_classes),
    "carla-simulator/carla#151": (red_numbers, all_classes),
    "yzou2/CRST#36": (classes_and_objects, all_classes),
    "facebookresearch/detectron2#1760": (indexed_png, all_classes),
    "fastai/fastai#2663": (indexed_tiff, all_classes),
    "DLopatkin/Heracleum-Dataset#1": (nearly_black, all_classes),
    "ImageMarkup/isic-challenge-scoring#8": (one_bit, two_classes),
    "talmolab/sleap-io#421": (stamped_pages, all_classes),
}


def write(root: Path, mask: Write) -> Sequence[Truth]:
    truths = [truth(number) for number in range(COUNT)]
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    for number, label_map in enumerate(truths):
        Image.fromarray(photo(number)).save(root / f"images/p{number}.png")
        mask(root / f"masks/p{number}", number, label_map)
    return truths


@pytest.mark.parametrize("report", REPORTED)
def test_a_reported_mask_is_read_as_it_was_meant(tmp_path: Path, report: str) -> None:
    mask, meant = REPORTED[report]
    truths = write(tmp_path / "data", mask)
    folder = open_folder(tmp_path / "data")
    pairs = {pair.name: pair for pairs in folder.splits.values() for pair in pairs}
    combinations = {
        (int(read), int(true))
        for number, label_map in enumerate(truths)
        for read, true in zip(folder.read_label_map(pairs[f"p{number}"]).ravel(), meant(label_map).ravel(), strict=True)
    }
    assert len(combinations) == len({read for read, _ in combinations}) == len({true for _, true in combinations})
    assert (0, 0) in combinations  # the background is the first class
    assert check(tmp_path / "data").usable


def test_a_series_of_label_images_is_a_pair_for_each_page(tmp_path: Path) -> None:
    """talmolab/sleap-io#422: pages are times, each with the numbers of all classes."""
    for kind in ("images", "masks"):
        (tmp_path / "data" / kind).mkdir(parents=True)
    for series in range(3):
        for kind, pages in (
            ("images", [photo(10 * series + page) for page in range(4)]),
            ("masks", [truth(10 * series + page) for page in range(4)]),
        ):
            first, *others = (Image.fromarray(page) for page in pages)
            tiff(tmp_path / f"data/{kind}/t{series}", first, save_all=True, append_images=others)
    folder = open_folder(tmp_path / "data")
    pairs = {pair.name: pair for pairs in folder.splits.values() for pair in pairs}
    for series in range(3):
        for page in range(4):
            image, label_map = folder.read_pair(pairs[f"t{series}_p{page + 1:04d}"])
            np.testing.assert_array_equal(image, photo(10 * series + page))
            np.testing.assert_array_equal(label_map, truth(10 * series + page))


def test_frames_of_a_gif_have_palettes_of_their_own(tmp_path: Path) -> None:
    """python-pillow/Pillow#5966: only the first frame is of palette numbers."""
    for kind in ("images", "masks"):
        (tmp_path / "data" / kind).mkdir(parents=True)
    colors = np.array([(0, 0, 0), (200, 10, 10), (10, 200, 10)], np.uint8)
    for series in range(3):
        frames = [truth(10 * series + page) for page in range(3)]
        first, *others = (Image.fromarray(colors[frame]) for frame in frames)
        first.save(tmp_path / f"data/masks/t{series}.gif", save_all=True, append_images=others)
        first, *others = (Image.fromarray(photo(10 * series + page)) for page in range(3))
        tiff(tmp_path / f"data/images/t{series}", first, save_all=True, append_images=others)
    folder = open_folder(tmp_path / "data")
    pairs = {pair.name: pair for pairs in folder.splits.values() for pair in pairs}
    palette = [folder.classes.palette.index(tuple(map(int, color))) for color in colors]
    for series in range(3):
        for page in range(3):
            label_map = folder.read_label_map(pairs[f"t{series}_p{page + 1:04d}"])
            np.testing.assert_array_equal(label_map, np.array(palette)[truth(10 * series + page)])


def test_a_matte_with_soft_borders_is_the_mask(tmp_path: Path) -> None:
    """openvinotoolkit/open_model_zoo#3684: the truth is the alpha of a photograph."""

    def matte(path: Path, number: int, label_map: Truth) -> None:
        soft = np.asarray(Image.fromarray(object_of(label_map)).filter(ImageFilter.GaussianBlur(1)))
        Image.fromarray(np.dstack([photo(number), soft])).save(path.with_suffix(".png"))

    truths = write(tmp_path / "data", matte)
    folder = open_folder(tmp_path / "data")
    pairs = {pair.name: pair for pairs in folder.splits.values() for pair in pairs}
    for number, label_map in enumerate(truths):
        assert (folder.read_label_map(pairs[f"p{number}"]) != two_classes(label_map)).mean() < 0.02


def test_colors_in_another_order_than_the_classes_are_a_warning(tmp_path: Path) -> None:
    """open-mmlab/mmsegmentation#3531: the palette of the files is not that of the classes."""
    write(tmp_path / "data", indexed_png)
    text = "names: [back, green, red]\npalette: [[0, 0, 0], [10, 200, 10], [200, 10, 10]]\n"
    (tmp_path / "data/classes.yaml").write_text(text)
    (fault,) = [fault for fault in check(tmp_path / "data").faults if fault.severity == "warning"]
    assert fault.what.endswith("the color of 'red'): the numbers are read, not the colors")


def test_more_numbers_than_classes_are_refused(tmp_path: Path) -> None:
    """angelolab/Nimbus-Inference#18: a number of 32 bits for each of 70,000 cells."""
    write(tmp_path / "data", lambda path, _, t: tiff(path, Image.fromarray(t.astype(np.int32) * 35_000)))
    with pytest.raises(DataError, match=r"holds the values 0 to 70000; expected class numbers from 0 to 254"):
        open_folder(tmp_path / "data")
