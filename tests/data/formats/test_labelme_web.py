from typing import Any

import numpy as np
import pytest

from maskpencil.data.check import check
from maskpencil.data.folder import open_folder
from maskpencil.errors import DataError

SIZE = (30, 40)
PHOTO = np.random.default_rng(0).integers(0, 255, (*SIZE, 3), dtype=np.uint8)


def polygon(left: int, top: int, right: int, bottom: int) -> str:
    corners = ((left, top), (right, top), (right, bottom), (left, bottom))
    points = "".join(f"<pt>\n<x>{x}</x>\n<y>{y}</y></pt>" for x, y in corners)
    return f"<polygon><username>me</username>{points}</polygon>"


def thing(name: str, shape: str, *, deleted: int = 0) -> str:
    return f"<object><name>{name}</name><deleted>{deleted}</deleted><id>0</id>{shape}</object>"


def document(image: str, *things: str, folder: str = "") -> str:
    size = f"<imagesize><nrows>{SIZE[0]}</nrows><ncols>{SIZE[1]}</ncols></imagesize>"
    place = f"<folder>{folder}</folder>"
    return f"<annotation><filename>{image}</filename>{place}{''.join(things)}{size}</annotation>"


def brushed(mask: str) -> str:
    scribbles = "<scribbles><scribble_name>a_scribble_2.png</scribble_name></scribbles>"
    return f"<segm><box><xmin>1</xmin></box><mask>{mask}</mask>{scribbles}</segm>"


def test_polygons_and_brushed_masks_are_drawn_and_deleted_objects_are_not(save_files) -> None:
    area = np.zeros(SIZE, dtype=np.uint8)
    area[20:25, 5:9] = 255
    objects = [
        thing("car", polygon(10, 5, 20, 15)),
        thing("tree", polygon(0, 0, 5, 5), deleted=1),
        thing("plate", brushed("a_mask_2.png")),
    ]
    files: dict[str, Any] = {
        "a.png": PHOTO,
        "a.xml": document("a.png", *objects),
        "b.png": PHOTO[::-1],
        "b.xml": document("b.png", thing("car", polygon(0, 0, 4, 4))),
        "Masks/a_mask_2.png": area,
        "Scribbles/a_scribble_2.png": area,
    }
    folder = open_folder(save_files(files))
    assert folder.classes.names == ("background", "car", "plate")
    maps = {pair.name: folder.read_pair(pair)[1] for pairs in folder.splits.values() for pair in pairs}
    expected = np.zeros(SIZE, dtype=np.uint8)
    expected[5:15, 10:20], expected[20:25, 5:9] = 1, 2
    np.testing.assert_array_equal(maps["a"], expected)
    assert maps["b"].sum() == 16
    assert not any("without a mask" in note for note in folder.notes)


def test_images_lie_in_the_folders_of_the_tool(save_files) -> None:
    files: dict[str, Any] = {}
    for number in range(3):
        files[f"Images/yard/{number}.png"] = np.roll(PHOTO, number, axis=0)
        content = document(f"{number}.png", thing("leaf", polygon(2, 2, 9 + number, 9)), folder="yard")
        files[f"Annotations/yard/{number}.xml"] = content
    report = check(save_files(files))
    assert "read as LabelMe (web): 2 classes (background, leaf)" in report.notes
    assert report.verdict.startswith("fit for training: 3 pairs (")


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (thing("car", "<polygon><pt><x>1</x><y>far</y></pt></polygon>"), "object 1, line"),
        (thing("car", brushed("lost.png")), "names the mask 'lost.png', which is missing; put it into Masks/"),
        (thing("", polygon(1, 1, 5, 5)), "'name' is ''"),
    ],
)
def test_what_cannot_be_understood_is_named(save_files, bad: str, told: str) -> None:
    files: dict[str, Any] = {"a.png": PHOTO, "b.png": PHOTO[::-1], "a.xml": document("a.png", bad)}
    files["b.xml"] = document("b.png", thing("car", polygon(1, 1, 5, 5)))
    with pytest.raises(DataError, match=r"a\.xml") as error:
        open_folder(save_files(files))
    assert told in str(error.value)


def test_objects_without_a_shape_are_left_out_with_a_warning(save_files) -> None:
    files: dict[str, Any] = {"a.png": PHOTO, "b.png": PHOTO[::-1]}
    files["a.xml"] = document("a.png", thing("car", polygon(1, 1, 5, 5)), thing("car", ""))
    files["b.xml"] = document("b.png", thing("car", polygon(1, 1, 5, 5)))
    notes = open_folder(save_files(files)).notes
    assert "warning: 1 object without a polygon or a mask left out" in " ".join(notes)
