"""Inputs after public reports about the files of CVAT, VIA and Supervisely, each named by repository and number."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from tests.mask_codes import supervisely_code

from maskpencil.data.folder import open_folder
from maskpencil.errors import DataError

pytestmark = pytest.mark.slow

SIZE = (32, 48)
IMAGE = np.zeros((*SIZE, 3), dtype=np.uint8)
SQUARE = np.zeros(SIZE, dtype=np.uint8)
SQUARE[5:15, 10:20] = 1
"""A square of one class, which most inputs draw."""

Files = dict[str, Any]


def label_maps(save_files, files: Files) -> dict[str, npt.NDArray[np.uint8]]:
    folder = open_folder(save_files(files))
    folder.check_images()
    return {pair.image.stem: folder.read_pair(pair)[1] for pairs in folder.splits.values() for pair in pairs}


def cvat(*images: str, labels: str = "<label><name>car</name><attributes></attributes></label>", task: str = "") -> str:
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n  <meta>\n    <task>\n'
        f"      <id>7</id><mode>annotation</mode>{task}<labels>{labels}</labels>\n    </task>\n  </meta>\n"
        + "\n".join(images)
        + "\n</annotations>\n"
    )


def image_of(name: str, *shapes: str, **attributes: str) -> str:
    more = "".join(f' {key}="{value}"' for key, value in attributes.items())
    return f'<image id="0" name="{name}" width="48" height="32"{more}>{"".join(shapes)}</image>'


POLYGON = '<polygon label="car" occluded="0" points="10.00,5.00;20.00,5.00;20.00,15.00;10.00,15.00"></polygon>'
MASK_HEAD = '<mask label="car" source="manual" occluded="0" z_order="0"'
# a square of 10 x 10 in a box of 11 x 10, whose last column is empty
RUNS = "0, " + ", ".join(["10, 1"] * 10)

CVAT_REPORTS: dict[str, Files] = {
    "cvat#5828: an odd number of runs": {
        "a.png": IMAGE,
        "x.xml": cvat(image_of("a.png", f'{MASK_HEAD} rle="{RUNS}" left="10" top="5" width="11" height="10"/>')),
    },
    "cvat#6487: the runs do not add up to the box, whose sides are one too short (cvat#5905)": {
        "a.png": IMAGE,
        "x.xml": cvat(image_of("a.png", f'{MASK_HEAD} rle="{RUNS}" left="10" top="5" width="10" height="9"/>')),
    },
    "cvat#8124: runs along rows, not columns": {
        "a.png": IMAGE,
        "x.xml": cvat(
            image_of("a.png", f'{MASK_HEAD} rle="0, 100" left="10" top="5" width="10" height="10"></mask>'),
        ),
    },
    "cvat#10451: an empty mask, and one that begins above and left of the image": {
        "a.png": IMAGE,
        "x.xml": cvat(
            image_of(
                "a.png",
                POLYGON,
                f'{MASK_HEAD} rle="0" left="0" top="0" width="1" height="1"/>',
                f'{MASK_HEAD} rle="0, 4" left="-2" top="-2" width="2" height="2"/>',
            )
        ),
    },
    "fiftyone#1254: the subset is in the task alone, the images in a folder of its name": {
        "images/default/a.png": IMAGE,
        "x.xml": cvat(image_of("a.png", POLYGON), task="<subset>default</subset>"),
    },
    "fiftyone#1237: names are paths of a file share": {
        "images/a.png": IMAGE,
        "x.xml": cvat(image_of("/mnt/share/set/a.png", POLYGON)),
    },
    "fiftyone#7057: names have folders that the copy lacks": {
        "a.png": IMAGE,
        "x.xml": cvat(image_of("coco8-seg/images/train/a.png", POLYGON)),
    },
    "fiftyone#3366: no labels are declared": {
        "data/a.png": IMAGE,
        "labels.xml": cvat(image_of("a.png", POLYGON), labels=""),
    },
    "datumaro#58: a project of several tasks and subsets": {
        "images/Train/a.png": IMAGE,
        "annotations.xml": cvat(image_of("a.png", POLYGON, subset="Train", task_id="1")),
    },
    "cvat#837: ids of images mean nothing": {
        "a.png": IMAGE,
        "x.xml": cvat(image_of("a.png", POLYGON).replace('id="0"', 'id="837"')),
    },
    "cvat#413: without z_order": {"a.png": IMAGE, "x.xml": cvat(image_of("a.png", POLYGON))},
    "cvat#6515: a point list that ends with a semicolon": {
        "a.png": IMAGE,
        "x.xml": cvat(image_of("a.png", POLYGON.replace('15.00"', '15.00;"'))),
    },
    "cvat#3832: a box that is turned": {
        "a.png": IMAGE,
        "x.xml": cvat(
            image_of("a.png", '<box label="car" xtl="10" ytl="5" xbr="20" ybr="15" rotation="180.00" z_order="0"/>')
        ),
    },
}


@pytest.mark.parametrize("report", CVAT_REPORTS)
def test_files_of_cvat_give_the_square(save_files, report: str) -> None:
    files = CVAT_REPORTS[report]
    name = next(name for name in files if name.endswith(".png"))
    text = next(name for name in files if name.endswith(".xml"))
    second = image_of("b.png", **({"subset": "Train"} if "subset=" in files[text] else {}))
    other = files[text].replace("</annotations>", f"{second}</annotations>")
    folder = name.rpartition("/")[0]
    maps = label_maps(save_files, {**files, text: other, f"{folder}/b.png".lstrip("/"): IMAGE})
    np.testing.assert_array_equal(maps["a"], SQUARE)


def portrait(root: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(IMAGE).save(root / "a.jpg", exif=exif)


def test_portraits_that_cvat_saw_lying_are_turned_where_the_outlines_tell(save_files) -> None:
    """cvat#733, cvat#738, cvat#1059: photographs turned by EXIF, annotated as they are stored."""
    wide = POLYGON.replace("20.00", "47.00")
    root = save_files({"b.jpg": IMAGE, "x.xml": cvat(image_of("a.jpg", wide), image_of("b.jpg", POLYGON))})
    portrait(root)
    stored = np.zeros(SIZE, dtype=np.uint8)
    stored[5:15, 10:47] = 1
    maps = label_maps(save_files, {})
    np.testing.assert_array_equal(maps["a"], np.rot90(stored, -1))
    np.testing.assert_array_equal(maps["b"], SQUARE)


def test_portraits_of_which_the_outlines_do_not_tell_are_refused_and_the_remedy_works(save_files) -> None:
    """cvat#1059: the outlines fit the photograph both ways."""
    root = save_files({"b.jpg": IMAGE, "x.xml": cvat(image_of("a.jpg", POLYGON), image_of("b.jpg", POLYGON))})
    portrait(root)
    with pytest.raises(
        DataError, match=r"the image is shown as 32 x 48, since EXIF rotates it, .* exiftool -Orientation= FILE"
    ):
        open_folder(root)
    Image.fromarray(IMAGE).save(root / "a.jpg")  # as exiftool leaves it
    np.testing.assert_array_equal(label_maps(save_files, {})["a"], SQUARE)


CORNERS = {"all_points_x": [10, 20, 20, 10, 10], "all_points_y": [5, 5, 15, 15, 5]}
SHAPE = {"name": "polygon", **CORNERS}


def via(*regions: Any, attributes: Any = None, name: str = "a.png", **more: Any) -> str:
    listed = [{"shape_attributes": SHAPE, "region_attributes": attributes or {}}] if not regions else list(regions)
    entry = {"filename": name, "size": 9, "regions": listed, "file_attributes": {}, **more}
    return json.dumps({f"{name}9": entry, "b.png9": {"filename": "b.png", "size": 9, "regions": [], **more}})


def numbered(regions: Any) -> Any:
    return {str(number): region for number, region in enumerate(regions)}


VIA_REPORTS: dict[str, Files] = {
    "matterport/Mask_RCNN#700: two attributes that say the same": {
        "via.json": via(attributes={"name": "cellphone", "categories": "cellphone"})
    },
    "matterport/Mask_RCNN#928: regions of version 1 by number": {
        "via.json": json.dumps(
            {
                name: {**entry, "fileref": "", "base64_img_data": "", "regions": numbered(entry["regions"])}
                for name, entry in json.loads(via(attributes={"Image": "1"})).items()
            }
        )
    },
    "matterport/Mask_RCNN#1149: the class is a number in an attribute called Image": {
        "via.json": via(attributes={"Image": "1"})
    },
    "matterport/Mask_RCNN#608: outlined without any attribute": {"via.json": via()},
    "matterport/Mask_RCNN#1337: an image without regions": {"via.json": via(attributes={"Food": "1"})},
    "matterport/Mask_RCNN#2500: a project of 2.0.10": {
        "via_project.json": json.dumps(
            {
                "_via_settings": {"ui": {}, "core": {"default_filepath": "./"}, "project": {"name": "x"}},
                "_via_img_metadata": json.loads(via(attributes={"class": "car"})),
                "_via_attributes": {"region": {"class": {"type": "text"}}, "file": {}},
                "_via_data_format_version": "2.0.10",
                "_via_image_id_list": ["a.png9", "b.png9"],
            }
        )
    },
    "priya-dwivedi/Deep-Learning#44: settings beside the metadata, and no version": {
        "via_region_data.json": json.dumps(
            {"_via_settings": {"ui": {}}, "_via_img_metadata": json.loads(via(attributes={"name": "dent"}))}
        )
    },
    "airctic/icevision#590: other attributes, one of them a list of boxes to check": {
        "via.json": via(attributes={"label": "z", "object": "z", "qualities": {"is_rotated": True}})
    },
    "pknu-wap/UnderTheSea#3: names with blanks": {
        "via.json": via(attributes={"fish": "bream"}, name="acantho _latus_1.png"),
        "acantho _latus_1.png": IMAGE,
    },
    "SUYEgit/Surgery-Robot-Detection-Segmentation#4: the attribute is called name": {
        "via.json": via(attributes={"name": "a"})
    },
    "ox-vgg/via#6: regions of version 3 as numbers": {
        "via_project.json": json.dumps(
            {
                "project": {"pid": "x", "vid_list": ["1", "2"]},
                "config": {},
                "attribute": {},
                "file": {n: {"fid": n, "fname": f"{name}.png", "type": 2} for n, name in (("1", "a"), ("2", "b"))},
                "view": {n: {"fid_list": [n]} for n in "12"},
                "metadata": {
                    "13_UhCt8LGA": {"vid": "1", "flg": 0, "z": [], "xy": [7, 10, 5, 20, 5, 20, 15, 10, 15], "av": {}}
                },
            }
        )
    },
    "SkalskiP/make-sense#153: another tool's VGG export, and an empty one beside it": {
        "labels_my-project_2024.json": json.dumps(
            {
                name: {
                    "fileref": "",
                    "size": 9,
                    "filename": name,
                    "base64_img_data": "",
                    "file_attributes": {},
                    "regions": {"0": {"shape_attributes": SHAPE, "region_attributes": {"label": "car"}}},
                }
                for name in ("a.png", "b.png")
            }
        ),
        "labels_empty.json": "{}",
    },
}


@pytest.mark.parametrize("report", VIA_REPORTS)
def test_files_of_via_give_the_square(save_files, report: str) -> None:
    maps = label_maps(save_files, {"a.png": IMAGE, "b.png": IMAGE, **VIA_REPORTS[report]})
    np.testing.assert_array_equal(next(maps[name] for name in ("acantho _latus_1", "a") if name in maps), SQUARE)


def test_a_comment_in_the_json_of_via_is_an_error_that_names_the_file(save_files) -> None:
    """SriRamGovardhanam/wastedata-Mask_RCNN-multiple-classes#13: a line of text before the JSON."""
    with pytest.raises(DataError, match=r"via\.json: is not valid JSON"):
        open_folder(save_files({"a.png": IMAGE, "via.json": "// a sample, delete this line\n" + via()}))


def supervisely(*objects: Any, **changed: Any) -> str:
    size = {"height": SIZE[0], "width": SIZE[1]}
    return json.dumps({"description": "", "tags": [], "size": size, "objects": list(objects), **changed})


def meta(*classes: tuple[str, str], **changed: Any) -> str:
    listed = [{"title": title, "shape": shape, "color": "#FF0000"} for title, shape in classes or [("car", "polygon")]]
    return json.dumps({"classes": listed, "tags": [], **changed})


def points(*exterior: tuple[int, int], interior: Any = ()) -> dict[str, Any]:
    return {"points": {"exterior": [list(point) for point in exterior], "interior": list(interior)}}


SIDES = points((10, 5), (19, 5), (19, 14), (10, 14))
FIGURE = {"classTitle": "car", "geometryType": "polygon", "tags": [], **SIDES}
BITMAP = {
    "classTitle": "car",
    "geometryType": "bitmap",
    "bitmap": {"data": supervisely_code(SQUARE > 0), "origin": [0, 0]},
}

SUPERVISELY_REPORTS: dict[str, Files] = {
    "supervisely/supervisely#3: polygons as of 2018, without geometryType": {
        "meta.json": meta(),
        "ds/ann/a.json": supervisely({"classTitle": "car", "bitmap": None, "type": "polygon", **SIDES}, name="a"),
    },
    "matterport/Mask_RCNN#2161: bitmaps in place of polygons": {
        "meta.json": meta(("car", "bitmap")),
        "ds/ann/a.png.json": supervisely(BITMAP),
    },
    "supervisely/supervisely#548: meta.json in the data set's folder": {
        "ds/meta.json": meta(),
        "ds/ann/a.png.json": supervisely(FIGURE),
    },
    "supervisely/supervisely#359: keypoints beside polygons": {
        "meta.json": meta(("car", "polygon"), ("pose", "graph")),
        "ds/ann/a.png.json": supervisely(FIGURE, {"classTitle": "pose", "geometryType": "graph", "nodes": {}}),
    },
    "supervisely/supervisely#609: an object of another geometry than its class": {
        "meta.json": meta(("car", "polygon")),
        "ds/ann/a.png.json": supervisely(BITMAP),
    },
    "supervisely/supervisely#112: a bitmap that was drawn on a part": {
        "meta.json": meta(("car", "any")),
        "ds/ann/a.png.json": supervisely(
            {**BITMAP, "bitmap": {"data": supervisely_code(SQUARE[5:15, 10:20] > 0), "origin": [10, 5]}}
        ),
    },
    "supervisely-ecosystem/export-to-coco-mask (README): a hole that another shape fills": {
        "meta.json": meta(),
        "ds/ann/a.png.json": supervisely(
            {**FIGURE, **points(*SIDES["points"]["exterior"], interior=[[[12, 7], [15, 7], [15, 10], [12, 10]]])},
            {**FIGURE, **points((12, 7), (15, 7), (15, 10), (12, 10))},
        ),
    },
    "pieterblok/maskal#4: a meta.json of another program, with more keys": {
        "meta.json": meta(projectType="images", projectSettings={"multiView": {"enabled": False}}, tags_images=[]),
        "ds/ann/a.png.json": supervisely({**FIGURE, "nnCreated": True, "nnUpdated": False, "labelerLogin": None}),
    },
    "supervisely/supervisely#902: fields of the server beside the shape": {
        "meta.json": meta(("car", "rectangle")),
        "ds/ann/a.png.json": supervisely(
            {
                "id": 5, "classId": 7, "classTitle": "car", "geometryType": "rectangle", "area": "100",
                **points((10, 5), (19, 14)),
            }
        ),
    },
    "supervisely docs of 2018: tags are texts": {
        "meta.json": meta(tags=["lunch"]),
        "ds/ann/a.json": supervisely({**FIGURE, "tags": ["fresh"]}, tags=["lunch"]),
    },
}  # fmt: skip


@pytest.mark.parametrize("report", SUPERVISELY_REPORTS)
def test_files_of_supervisely_give_the_square(save_files, report: str) -> None:
    files = {"ds/img/a.png": IMAGE, "ds/img/b.png": IMAGE, "ds/ann/b.png.json": supervisely()}
    maps = label_maps(save_files, {**files, **SUPERVISELY_REPORTS[report]})
    np.testing.assert_array_equal(maps["a"], SQUARE)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        # supervisely/supervisely#731 and #780
        ({"meta.json": '{"tags": []}'}, r"meta\.json: 'classes' is missing; expected a list"),
        # supervisely/supervisely#730
        ({"ds/ann/a.png.json": supervisely(FIGURE)[:-1] + "\x01"}, r"ds/ann/a\.png\.json: is not valid JSON"),
        # supervisely/supervisely#1391
        (
            {"ds/ann/a.png.json": supervisely(size={"height": 48, "width": 40})},
            r"states 40 x 48 pixels, but a\.png is 48",
        ),
    ],
)
def test_files_of_supervisely_that_cannot_be_are_errors(save_files, files: Files, message: str) -> None:
    whole = {"meta.json": meta(), "ds/img/a.png": IMAGE, "ds/ann/a.png.json": supervisely(FIGURE)}
    with pytest.raises(DataError, match=message):
        open_folder(save_files({**whole, "ds/img/b.png": IMAGE, "ds/ann/b.png.json": supervisely(FIGURE), **files}))
