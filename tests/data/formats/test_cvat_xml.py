import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from tests.helpers import left_out
from tests.mask_codes import cvat_code

from maskpencil.data.check import check
from maskpencil.data.convert import write_fixed
from maskpencil.data.folder import DataFolder, open_folder
from maskpencil.data.formats.cvat_xml import recognize
from maskpencil.data.layout import Places
from maskpencil.errors import DataError

SIZE = (32, 48)
IMAGE = np.zeros((*SIZE, 3), dtype=np.uint8)
BLOB = np.hypot(*(np.indices(SIZE) - np.array([15, 20])[:, None, None])) < 8


def element(tag: str, *inside: str, **attributes: Any) -> str:
    own = "".join(f" {key}={quoteattr(str(value))}" for key, value in attributes.items())
    return f"<{tag}{own}>{''.join(inside)}</{tag}>"


def polygon(label: str, left: float, top: float, right: float, bottom: float, **more: Any) -> str:
    points = ";".join(f"{x:.2f},{y:.2f}" for x, y in ((left, top), (right, top), (right, bottom), (left, bottom)))
    return element("polygon", label=label, source="manual", occluded=0, points=points, **{"z_order": 0, **more})


def mask(label: str, pixels: npt.NDArray[np.bool_], *, less: int = 0, **more: Any) -> str:
    """A mask as CVAT writes it: runs along the rows of the smallest box, whose sides are stated `less` too short."""
    code, (left, top, width, height) = cvat_code(pixels)
    place = {"left": left, "top": top, "width": width - less, "height": height - less}
    return element("mask", label=label, rle=code, **place, **{"z_order": 0, **more})


def image(name: str, *shapes: str, size: tuple[int, int] = SIZE, **more: Any) -> str:
    return element("image", *shapes, id=0, name=name, width=size[1], height=size[0], **more)


LABELS = (("car", "#ff0000", "any"), ("road", "#00ff00", "polygon"))


def content(*images: str, labels: tuple[tuple[str, str, str], ...] = LABELS, subset: str = "") -> str:
    entries = [f"<label><name>{n}</name><color>{c}</color><type>{t}</type></label>" for n, c, t in labels]
    task = element("task", "<id>7</id>", element("subset", subset), element("labels", *entries))
    meta = element("meta", task, "<dumped>2024-03-09 10:00:00+00:00</dumped>")
    head = '<?xml version="1.0" encoding="utf-8"?>\n'
    return head + element("annotations", "<version>1.1</version>", meta, *images)


AGAIN = (
    "draw the shapes again if they should cover something; maskpencil check DATA --fix OUT writes the data without them"
)
CAR = polygon("car", 10, 5, 20, 15)


@pytest.fixture
def open_with(save_files):
    """Open a task of the images a and b, with these shapes in both."""

    def open_task(*shapes: str, files: Mapping[str, Any] | None = None) -> DataFolder:
        images = {f"images/{name}.png": IMAGE for name in "ab"}
        texts = {"annotations.xml": content(image("a.png", *shapes), image("b.png", *shapes))}
        folder = open_folder(save_files({**images, **texts, **(files or {})}))
        folder.check_images()
        return folder

    return open_task


def drawn(folder: DataFolder) -> npt.NDArray[np.uint8]:
    return folder.read_pair(folder.pairs("val")[0])[1]


def test_polygons_have_the_labels_and_colors_of_the_task(open_with) -> None:
    folder = open_with(CAR, polygon("road", 0, 20, 48, 32))
    assert "read as CVAT for images: 3 classes (background, car, road)" in folder.notes
    assert folder.classes.palette == ((0, 0, 0), (255, 0, 0), (0, 255, 0))
    expected = np.zeros(SIZE, dtype=np.uint8)
    expected[5:15, 10:20] = 1
    expected[20:] = 2
    np.testing.assert_array_equal(drawn(folder), expected)


@pytest.mark.parametrize("less", [0, 1])
@pytest.mark.parametrize("cut", [None, (slice(0, 8), slice(0, 6))])
def test_masks_are_runs_along_the_rows_of_their_box(open_with, less: int, cut: Any) -> None:
    pixels = BLOB.copy()
    pixels[15, 10:14] = False  # a hole that is open to the left
    if cut:
        pixels = np.zeros(SIZE, dtype=bool)
        pixels[cut] = True  # the first run is empty
    folder = open_with(mask("road", pixels, less=less))
    np.testing.assert_array_equal(drawn(folder), np.where(pixels, 2, 0))


def test_z_order_says_what_lies_over_what(open_with) -> None:
    folder = open_with(mask("road", BLOB, z_order=1), polygon("car", 0, 0, 48, 32), polygon("road", 0, 0, 9, 9))
    expected = np.where(BLOB, 2, 1)
    expected[:9, :9] = 2
    np.testing.assert_array_equal(drawn(folder), expected)
    below = open_with(mask("road", BLOB, z_order=-1), polygon("car", 0, 0, 48, 32))
    assert (drawn(below) == 1).all()


def test_boxes_and_ellipses_turn_about_their_middle(open_with) -> None:
    box = element("box", label="car", xtl="4.0", ytl="14.0", xbr="24.0", ybr="18.0", rotation="90.0")
    round_one = element("ellipse", label="road", cx="38.0", cy="16.0", rx="8.0", ry="8.0")
    label_map = drawn(open_with(box, round_one))
    rows, columns = np.indices(SIZE) + 0.5
    distances = np.hypot(columns - 38, rows - 16)
    expected = np.zeros(SIZE, dtype=np.uint8)
    expected[6:26, 12:16] = 1
    expected[distances < 8] = 2
    clear = abs(distances - 8) > 0.05  # the ellipse is a polygon
    np.testing.assert_array_equal(label_map[clear], expected[clear])


def test_what_has_no_area_is_left_out_with_a_warning_and_tags_without_one(open_with) -> None:
    line = element("polyline", label="car", points="1.0,1.0;9.0,9.0")
    dots = element("points", label="car", points="1.0,1.0")
    flat = element("polygon", label="car", points="1.0,1.0;5.0,5.0;9.0,9.0")
    two, none = (element("polygon", label="car", points=points) for points in ("1.0,1.0;5.0,5.0", ""))
    tag = element("tag", element("attribute", "yes", name="night"), label="car")
    strange = element("splat", label="car")
    folder = open_with(tag, line, dots, flat, two, none, strange, CAR)
    assert (drawn(folder) == 1).sum() == 100
    warnings = [note for note in folder.notes if note.startswith("warning")]
    assert [re.sub(r" \(.*?\);", ";", warning) for warning in warnings] == [
        "warning: 2 polylines, which have no area, left out; draw them as polygons or masks, or remove them",
        "warning: 2 points, which have no area, left out; draw them as polygons or masks, or remove them",
        "warning: 2 annotations of the unknown kind splat left out; draw them as polygons or masks, or remove them",
        f"warning: 6 shapes without an area left out; {AGAIN}",
    ]
    assert "annotations.xml: image 'a.png', line 2: polyline 2" in warnings[0]


def test_check_lists_what_is_left_out(save_files) -> None:
    line = element("polyline", label="car", points="1.0,1.0;9.0,9.0")
    files = {f"{name}.png": IMAGE + number * 60 for number, name in enumerate("abc")}
    text = content(image("a.png", CAR, line), image("b.png", CAR), image("c.png"))
    report = check(save_files({**files, "task.xml": text}))
    kinds = {fault.kind: fault for fault in report.faults}
    assert kinds["annotations-left-out"].files == ("task.xml: image 'a.png', line 2: polyline 2",)
    assert kinds["images-without-area"].files == ("c.png",)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("a.png", "images/a.png"),
        ("a.png", "a.png"),
        ("day 1/a.png", "images/day 1/a.png"),
        ("/home/me/shots/a.png", "shots/a.png"),
        ("C:\\shots\\a.png", "images/a.png"),
        ("a.PNG", "images/a.png"),
        ("frame_000000", "images/frame_000000.PNG"),  # frames of a video have no suffix in the XML
        ("a.jpg", "images/a.png"),  # converted since
        ("a.png", "default/images/a.png"),
        ("a%20b.png", "images/a b.png"),
    ],
)
def test_images_are_found_beside_in_images_or_by_their_names(save_files, name: str, place: str) -> None:
    others = {f"images/other {n}.png": IMAGE for n in range(2)}
    names = [f"other {n}.png" for n in range(2)]
    text = content(image(name, CAR), *(image(other, CAR) for other in names))
    root = save_files({place.lower(): IMAGE, **others, "annotations.xml": text})
    folder = open_folder(root)
    assert root / place.lower() in {pair.image for pairs in folder.splits.values() for pair in pairs}


def test_subsets_of_a_project_are_the_splits(save_files) -> None:
    files = {f"images/{split}/{name}.png": IMAGE for split in ("Train", "Validation") for name in "ab"}
    images = [image(f"{n}.png", CAR, subset=split) for split in ("Train", "Validation") for n in "ab"]
    folder = open_folder(save_files({**files, "annotations.xml": content(*images)}))
    assert {split: [pair.name for pair in pairs] for split, pairs in folder.splits.items()} == {
        "train": ["a", "b"],
        "val": ["a", "b"],
    }


def test_several_tasks_are_read_together(save_files) -> None:
    files = {f"task_{n}/images/a.png": IMAGE for n in range(3)}
    texts = {f"task_{n}/annotations.xml": content(image("a.png", CAR)) for n in range(3)}
    folder = open_folder(save_files({**files, **texts}))
    assert sorted(pair.name for pairs in folder.splits.values() for pair in pairs) == [f"task_{n}/a" for n in range(3)]


def test_an_image_that_two_files_describe_must_be_the_same_in_both(save_files) -> None:
    files = {"a.png": IMAGE, "b.png": IMAGE, "1.xml": content(image("a.png", CAR), image("b.png", CAR))}
    assert len(open_folder(save_files({**files, "2.xml": content(image("a.png", CAR))})).pairs("train")) == 1
    with pytest.raises(
        DataError, match=r"2\.xml: image 'a\.png', line 2: has the image a\.png, for which 1\.xml: .* has"
    ):
        open_folder(save_files({**files, "2.xml": content(image("a.png"))}))


def test_labels_without_area_and_parts_of_skeletons_are_no_classes(save_files) -> None:
    labels = (("night", "#000001", "tag"), ("pole", "#000002", "polyline"), ("car", "#000003", "rectangle"))
    part = "<label><name>nose</name><type>points</type><parent>body</parent></label>"
    text = content(image("a.png", CAR), image("b.png", CAR), labels=labels).replace("</labels>", f"{part}</labels>")
    folder = open_folder(save_files({"a.png": IMAGE, "b.png": IMAGE, "x.xml": text}))
    assert folder.classes.names == ("background", "car")


def test_utf_16_and_marks_of_windows_are_read(save_files) -> None:
    root = save_files({"a.png": IMAGE, "b.png": IMAGE})
    text = content(image("a.png", polygon("Straße", 0, 0, 9, 9)), image("b.png")).replace("utf-8", "utf-16")
    (root / "annotations.xml").write_text(text, encoding="utf-16")
    assert open_folder(root).classes.names == ("background", "car", "road", "Straße")
    (root / "annotations.xml").write_text(text.replace("utf-16", "utf-8"), encoding="utf-8-sig")
    assert open_folder(root).classes.names == ("background", "car", "road", "Straße")


def test_a_size_that_is_not_the_image_s_is_refused(save_files) -> None:
    root = save_files({"a.png": IMAGE, "b.png": IMAGE})
    text = content(image("a.png", CAR, size=(64, 96)), image("b.png", CAR, size=(64, 96)))
    (root / "x.xml").write_text(text, encoding="utf-8")
    with pytest.raises(
        DataError, match=r"2 annotations cannot be understood \(.*a\.png.*states 96 x 64 pixels, but a\.png is 48 x"
    ):
        open_folder(root)


def test_an_image_that_exif_turns_is_read_as_it_is_seen(save_files) -> None:
    root = save_files({"b.jpg": IMAGE})
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(IMAGE).save(root / "a.jpg", exif=exif)
    seen = content(image("a.jpg", CAR, size=SIZE[::-1]), image("b.jpg", CAR))
    (root / "x.xml").write_text(seen, encoding="utf-8")
    folder = open_folder(root)
    sizes = [folder.read_pair(pair)[1].shape for pair in (*folder.pairs("train"), *folder.pairs("val"))]
    assert sorted(sizes) == [SIZE, SIZE[::-1]]
    (root / "x.xml").write_text(content(image("a.jpg", CAR), image("b.jpg", CAR)), encoding="utf-8")
    with pytest.raises(
        DataError,
        match=r"is 48 x 32 in the file, but the image is shown as 32 x 48, since EXIF rotates it, and the outlines",
    ):
        open_folder(root)


BOX = {"label": "car", "xtl": 1, "ytl": 1, "xbr": 5, "ybr": 5}
MASK = {"label": "car", "rle": "0, 16", "left": 0, "top": 0, "width": 4, "height": 4}


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (element("polygon", points="0,0;5,0;5,5"), "'label' is missing; expected a text"),
        (element("polygon", label="car"), "'points' is missing; expected a text"),
        (element("polygon", label="car", points="0,0;5,0;5;5"), "expected points as 'x,y;x,y;x,y'"),
        (element("polygon", label="car", points="0,0;5,0;nan,5"), "expected coordinates from -16777216 to 16777216"),
        (element("polygon", label="car", points="0,0;5,0;1e30,5"), "expected coordinates from -16777216 to 16777216"),
        (element("polygon", label="car", points="0,0;5,0;5,5", z_order="top"), "'z_order' is 'top'; expected a number"),
        (element("box", **{**BOX, "xtl": "left"}), "'xtl' is 'left'; expected a number"),
        (element("box", **{**BOX, "rotation": "inf"}), "'rotation' is 'inf'; expected a number from -16777216"),
        (element("ellipse", label="car", cx=1, cy=1, rx=4), "'ry' is missing; expected a number"),
        (element("mask", **{**MASK, "rle": "0, 15"}), "its runs add up to 15 pixels, but its box of 4 x 4 has 16"),
        (element("mask", **{**MASK, "rle": "0, 17"}), "its runs add up to 17 pixels, but its box of 4 x 4 has 16"),
        (element("mask", **{**MASK, "rle": "-1, 17"}), "its runs add up to 16 pixels, but its box"),
        (element("mask", **{**MASK, "rle": "a"}), "'rle' is 'a'; expected whole numbers"),
        (element("mask", **{**MASK, "left": 0.5}), "'left' is '0.5'; expected a whole number"),
        (
            element("mask", **{**MASK, "width": 10**7, "height": 10**7}),
            "its runs add up to 16 pixels, but its box of 10000000",
        ),
        (element("mask", **{**MASK, "rle": f"0, {10**14}", "width": 10**7, "height": 10**7}), "million can be read"),
    ],
)
def test_a_shape_that_cannot_be_is_an_error_that_names_it(open_with, shape: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        open_with(shape)
    text = str(caught.value)
    assert text.startswith("2 annotations cannot be understood (")
    assert re.search(r"annotations\.xml: image 'a\.png', line 2: \w+ 1: .*" + re.escape(message), text)
    assert "\n" not in text


BOMB = '<!DOCTYPE a [<!ENTITY b "bbbbbbbbbb"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]>'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (content(image("a.png", CAR))[:-9], r"is not valid XML"),
        (content(image("a.png", CAR)).replace("utf-8", "klingon"), r"is not valid XML"),
        (content().replace("<annotations", f"{BOMB}<annotations"), r"has a document type"),
        (content(image("a.png", "<g>" * 50 + "</g>" * 50)), r"is nested more than 32 levels deep"),
        (content(element("track", id=0, label="car")), r"is a 'CVAT for video 1\.1' file.*export the task"),
        (content(image("gone.png", CAR)), r"names 1 image \('gone\.png'\), but none of them is below .*with images"),
        (content(image("../../a.png", CAR)), r"names the image '\.\./\.\./a\.png', which is outside"),
        (content(element("image", name="a.png", width=48)), r"line 2: 'height' is missing"),
        (content(element("image", name="", width=48, height=32)), r"'name' is ''; expected a text"),
    ],
)
def test_a_file_that_cannot_be_is_an_error(save_files, text: str, message: str) -> None:
    root = save_files({"photos/z.png": IMAGE, "annotations.xml": text})
    with pytest.raises(DataError, match=message):
        open_folder(root)


def test_absent_images_and_others_are_named(open_with) -> None:
    text = content(image("a.png", CAR), image("b.png", CAR), image("gone.png", CAR))
    notes = open_with(files={"annotations.xml": text, "images/alone.png": IMAGE}).notes
    assert left_out(notes, "images without a mask") == ["alone.png"]
    assert left_out(notes, "masks without an image") == ["gone.png"]


def test_other_folders_are_left_to_other_rules(save_files, tiny_folder: Path, tmp_path: Path) -> None:
    voc = "<annotation><filename>a.png</filename><object><name>car</name></object></annotation>"
    root = save_files({"Annotations/a.xml": voc, "JPEGImages/a.png": IMAGE, "empty.xml": ""})
    ready = save_files({"../ready/images/a.png": IMAGE, "../ready/masks/a.png": IMAGE[..., 0]}).parent / "ready"
    (ready / "annotations.xml").write_text(content(image("a.png", CAR)), encoding="utf-8")
    for folder in (root, tiny_folder, tmp_path / "nowhere", ready):
        assert recognize(folder) is None


def test_the_images_may_be_in_a_folder_that_the_user_names(save_files, tmp_path: Path) -> None:
    save_files({"../photos/a.png": IMAGE, "../photos/b.png": IMAGE})
    root = save_files({"x.xml": content(image("a.png", CAR), image("b.png", CAR))})
    with pytest.raises(DataError, match=r"but none of them is below .*, or say where the images are: --images FOLDER"):
        open_folder(root)
    folder = open_folder(root, places=Places(images=tmp_path / "photos"))
    assert (drawn(folder) == 1).sum() == 100


def test_images_with_an_error_are_left_out_of_a_fixed_copy(save_files, tmp_path: Path) -> None:
    broken = element("polygon", label="car", points="0,0;5,0;x")
    images = {f"{name}.png": IMAGE + number * 60 for number, name in enumerate("abc")}
    root = save_files(
        {**images, "x.xml": content(image("a.png", CAR), image("b.png", CAR, broken), image("c.png", CAR))}
    )
    report = check(root)
    kinds = {fault.kind: fault for fault in report.faults}
    assert kinds["annotations-not-understood"].severity == "error"
    assert "images-without-mask" not in kinds
    write_fixed(report, tmp_path / "fixed")
    folder = open_folder(tmp_path / "fixed")
    assert {pair.name for pairs in folder.splits.values() for pair in pairs} == {"a", "c"}


def test_shapes_that_reach_out_of_the_image_are_cut_off_with_a_warning(open_with) -> None:
    folder = open_with(polygon("car", -20, 5, 10, 15))
    assert (drawn(folder) == 1).sum() == 100
    assert any("2 shapes extend beyond their image and are cut off at its edge" in note for note in folder.notes)
