import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from maskpencil.classes import ClassSet
from maskpencil.data.check import check
from maskpencil.data.convert import write_fixed
from maskpencil.data.drawing import Polygon, RunLengths
from maskpencil.data.folder import open_folder
from maskpencil.data.formats.orientation import Exchanged, Reading, as_shown, find_reading, reaches_out
from maskpencil.errors import DataError
from maskpencil.images import Header
from maskpencil.label_maps import turned_as_shown
from maskpencil.regions import find_regions

STORED, SHOWN = (20, 30), (30, 20)
Box = tuple[float, float, float, float]


def rectangle(box: Box) -> list[float]:
    left, top, right, bottom = box
    return [left, top, right, top, right, bottom, left, bottom]


def outline(box: Box) -> Polygon:
    return Polygon(1, (np.array(rectangle(box), dtype=np.float32).reshape(-1, 2),))


def filled(shape: Any, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    mask = np.zeros(size, dtype=np.uint8)
    window, inside = shape.fill(size)
    mask[window] = inside
    return mask


@given(st.integers(1, 8), st.tuples(*[st.integers(0, 20)] * 4))
def test_outlines_turn_as_the_pixels_of_the_image_do(orientation: int, box: tuple[int, int, int, int]) -> None:
    header = Header("RGB", STORED, orientation)
    mask = filled(outline(box), STORED)
    runs = RunLengths(1, STORED, np.diff(np.flatnonzero(np.diff(mask.T.ravel(), prepend=0, append=2)), prepend=0))
    for shape in (outline(box), runs):
        turned = as_shown(shape, Reading.STORED, header)
        np.testing.assert_array_equal(filled(turned, header.shown_size), turned_as_shown(mask, orientation))


@pytest.mark.parametrize(
    ("boxes", "otherwise", "reading"),
    [
        ([(1, 1, 9, 28)], None, Reading.SHOWN),  # beyond the sides in the file
        ([(1, 1, 9, 9), (1, 1, 9, 28)], Reading.STRETCHED, Reading.SHOWN),
        ([(1, 1, 28, 9)], None, None),  # beyond the sides as shown, by a tool that is not known
        ([(1, 1, 28, 9)], Reading.STRETCHED, Reading.STRETCHED),
        ([(1, 1, 28, 9)], Reading.STORED, Reading.STORED),
        ([(1, 1, 28, 9), (1, 1, 9, 28)], Reading.STORED, None),  # they contradict each other
        ([(1, 1, 9, 9)], Reading.STORED, None),  # either may be
        ([], Reading.STORED, None),
    ],
)
def test_the_places_of_outlines_tell_what_they_are_of(
    boxes: list[Box], otherwise: Reading | None, reading: Reading | None
) -> None:
    header = Header("RGB", STORED, 6)
    images = [Exchanged(STORED, header, [outline(box)]) for box in boxes]
    assert find_reading(images, otherwise) is reading


def test_run_lengths_tell_by_their_size() -> None:
    header = Header("RGB", STORED, 6)
    for size, reading in ((STORED, Reading.STORED), (SHOWN, Reading.SHOWN), ((7, 7), None)):
        shape = RunLengths(1, size, np.array([0, size[0] * size[1]]))
        assert find_reading([Exchanged(STORED, header, [shape])], None) is reading


def test_sides_that_are_exchanged_without_exif_are_those_of_the_image_only_if_an_outline_shows_it() -> None:
    header = Header("RGB", SHOWN, 1)
    for box, reading in (((1, 1, 9, 28), Reading.SHOWN), ((1, 1, 28, 9), None), ((1, 1, 9, 9), None)):
        assert find_reading([Exchanged(STORED, header, [outline(box)])], Reading.STORED) is reading


def test_outlines_over_the_edge_are_noticed_beyond_a_margin() -> None:
    assert not reaches_out(outline((0, 0, 20.9, 30.9)), SHOWN)
    assert reaches_out(outline((0, 0, 23, 30)), SHOWN)
    assert reaches_out(outline((-2, 0, 20, 30)), SHOWN)


def coco(boxes: dict[str, Box], size: tuple[int, int], contributor: str = "") -> str:
    images = [{"id": n, "file_name": f"{n}.jpg", "height": size[0], "width": size[1]} for n in "123"]
    annotations = [
        {"id": n, "image_id": name, "category_id": 1, "segmentation": [rectangle(box)]}
        for n, (name, box) in enumerate(boxes.items())
    ]
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "tree"}]}
    return json.dumps(content | {"info": {"contributor": contributor}})


@pytest.fixture
def photographs(save_files):
    """Write a JSON, and three images of 20 rows and 30 columns that EXIF turns upright."""

    def save(text: str, name: str = "coco.json") -> Path:
        root = save_files({name: text})
        exif = Image.Exif()
        exif[0x0112] = 8
        for number in "123":
            pixels = np.random.default_rng(int(number)).integers(0, 255, (*STORED, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / f"{number}.jpg", exif=exif)
        return root

    return save


TRUTH = (2, 5, 18, 27)


def expected(box: tuple[int, int, int, int] = TRUTH) -> npt.NDArray[np.uint8]:
    left, top, right, bottom = box
    mask = np.zeros(SHOWN, dtype=np.uint8)
    mask[top:bottom, left:right] = 1
    return mask


@pytest.mark.parametrize(
    ("size", "contributor", "box"),
    [
        (SHOWN, "", TRUTH),  # the tool turned the image
        (STORED, "", TRUTH),  # it only wrote the sides as stored
        (STORED, "Label Studio", TRUTH),
        (STORED, "Label Studio", (2 * 1.5, 5 / 1.5, 18 * 1.5, 27 / 1.5)),  # shares of the image, times sides as stored
    ],
)
def test_coco_of_photographs_that_exif_turns_is_drawn_on_them_as_shown(
    photographs, size: tuple[int, int], contributor: str, box: Box
) -> None:
    folder = open_folder(photographs(coco(dict.fromkeys("13", box), size, contributor)))
    maps = {pair.name: folder.read_pair(pair)[1] for pairs in folder.splits.values() for pair in pairs}
    np.testing.assert_array_equal(maps["1"], expected())
    np.testing.assert_array_equal(maps["2"], np.zeros(SHOWN))


@pytest.mark.parametrize("box", [(3, 2, 25, 18), (2, 2, 18, 18)])
def test_what_cannot_be_told_is_refused_and_never_fixed(photographs, tmp_path: Path, box: Box) -> None:
    root = photographs(coco({"1": box}, STORED))
    with pytest.raises(
        DataError,
        match=r"image '1\.jpg' is 30 x 20 in the file, but the image is shown as 20 x 30, since EXIF rotates it",
    ):
        open_folder(root)
    report = check(root)
    assert not report.usable
    assert next(fault.kind for fault in report.faults if fault.severity == "error") == "annotations-not-understood"
    changes = write_fixed(report, tmp_path / "fixed")
    written = [path.stem for path in (tmp_path / "fixed" / "masks").rglob("*.png")]
    assert sorted(written) == ["2", "3"]
    assert any("'1.jpg' is 30 x 20" in each.file and each.change.startswith("left out") for each in changes)


def test_the_remedy_for_outlines_of_the_pixels_as_stored_works(photographs) -> None:
    root = photographs(coco({"1": (3, 2, 25, 18)}, STORED))
    with pytest.raises(DataError, match=r"remove the EXIF orientation from the images: exiftool -Orientation= FILE"):
        open_folder(root)
    for path in root.glob("*.jpg"):
        Image.open(path).save(path)  # writes no EXIF
    folder = open_folder(root)
    pair = next(pair for pairs in folder.splits.values() for pair in pairs if pair.name == "1")
    mask = np.zeros(STORED, dtype=np.uint8)
    mask[2:18, 3:25] = 1
    np.testing.assert_array_equal(folder.read_pair(pair)[1], mask)


def labelme(name: str, box: Box, size: tuple[int, int]) -> str:
    points = np.array(rectangle(box)).reshape(-1, 2).tolist()
    content = {"imagePath": f"{name}.jpg", "imageHeight": size[0], "imageWidth": size[1]}
    return json.dumps(content | {"shapes": [{"label": "tree", "points": points, "shape_type": "polygon"}]})


def test_labelme_files_of_the_pixels_as_stored_are_turned(photographs) -> None:
    stored = (30 - 27, 2, 30 - 5, 18)  # turned by 90 degrees to the left, it is TRUTH
    root = photographs(labelme("1", stored, STORED), "1.json")
    (root / "2.json").write_text(labelme("2", TRUTH, SHOWN))
    folder = open_folder(root)
    for pairs in folder.splits.values():
        for pair in pairs:
            np.testing.assert_array_equal(folder.read_pair(pair)[1], expected())
    (root / "2.json").write_text(labelme("2", TRUTH, STORED))
    with pytest.raises(DataError, match=r"2 annotations cannot be understood .* the outlines do not show"):
        open_folder(root)


def test_regions_of_a_turned_label_map_are_the_turned_regions() -> None:
    stored = np.zeros(STORED, dtype=np.uint8)
    stored[3:9, 10:25] = 1
    stored[5:7, 12:14] = 0
    header = Header("RGB", STORED, 6)
    rings = find_regions(stored, ClassSet(("a", "b")), wanted=["b"])[0].polygons[0]
    shape = Polygon(1, tuple(np.array(ring, dtype=np.float32) for ring in rings))
    turned = filled(as_shown(shape, Reading.STORED, header), SHOWN)
    np.testing.assert_array_equal(turned, turned_as_shown(stored, 6))
