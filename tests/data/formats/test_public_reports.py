"""Inputs like those in reports of users of annotation tools, each named by the repository and number of its report."""

import base64
import io
import json
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from maskpencil.data.folder import open_folder
from maskpencil.data.layout import Places
from maskpencil.errors import DataError

pytestmark = pytest.mark.slow

SIZE = (32, 48)
IMAGE = np.full((*SIZE, 3), 90, dtype=np.uint8)
NOTHING = np.zeros(SIZE, dtype=np.uint8)
BOX = [[10, 5], [30, 5], [30, 25], [10, 25]]
FLAT = [value for point in BOX for value in point]
BOXED = NOTHING.copy()
BOXED[5:25, 10:30] = 1
PORTRAIT = np.zeros((48, 32), dtype=np.uint8)
PORTRAIT[10:44, 4:28] = 1
Files = Mapping[str, Any]


class Report(NamedTuple):
    """What a report's input must give: the label map of the image a, and a part of a warning or of the error."""

    number: str
    files: Files
    expected: npt.NDArray[np.uint8] | None
    says: str = ""
    images: str | None = None


def portrait() -> bytes:
    """A photograph that is stored lying on its side, (32, 48), and shown upright, (48, 32)."""
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.fromarray(np.full((*SIZE, 3), 90, dtype=np.uint8)).save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


def coco(*annotations: Any, names: Any = ("a.png", "b.png"), size: Any = SIZE, **more: Any) -> str:
    images = [{"id": n, "file_name": name, "height": size[0], "width": size[1]} for n, name in enumerate(names, 1)]
    own = [{"id": n, "image_id": 1, "category_id": 1, "iscrowd": 0} | each for n, each in enumerate(annotations)]
    content = {"images": images, "annotations": own, "categories": [{"id": 1, "name": "car"}], "info": {}}
    return json.dumps(content | more)


def with_images(files: Files, pattern: str = "images/{}.png") -> Files:
    return {**files, pattern.format("a"): IMAGE, pattern.format("b"): IMAGE}


def coco_of(*annotations: Any, **more: Any) -> Files:
    return with_images({"coco.json": coco(*annotations, **more)})


GOOD = {"segmentation": [FLAT]}
UPRIGHT = [4, 10, 28, 10, 28, 44, 4, 44]
STRETCHED = [value * (1.5 if place % 2 == 0 else 1 / 1.5) for place, value in enumerate(UPRIGHT)]
COUNTS = [len(list(run)) for _, run in groupby(BOXED.T.ravel())]
WITHOUT_AREA = "1 shape without an area left out"

COCO = [
    Report("tensorpack/tensorpack#1041", coco_of({"segmentation": [[10, 5, 30, 25]]}, GOOD), BOXED, WITHOUT_AREA),
    Report("cvat-ai/cvat#6014", coco_of({"segmentation": [COUNTS]}), None, "like run lengths"),
    Report("cvat-ai/cvat#1769", coco_of({"segmentation": [[39.0, 8.5, 39.0, 8.5]]}, GOOD), BOXED, WITHOUT_AREA),
    Report("jsbroks/coco-annotator#169", coco_of({"segmentation": [[7, 7], FLAT]}), BOXED, "part 1 of 2 is a polygon"),
    Report("roboflow/supervision#205", coco_of({"segmentation": FLAT}), BOXED),
    Report("cvat-ai/cvat#298", coco_of({**GOOD, "image_id": "1"}), BOXED),
    Report(
        "jsbroks/coco-annotator#312",
        coco_of(GOOD, {**GOOD, "image_id": 774}),
        BOXED,
        "1 annotation of images that are not listed left out",
    ),
    Report(
        "HumanSignal/label-studio#6608",
        {
            "result.json": coco(
                {"segmentation": [STRETCHED]},
                names=("images/a.jpg",) * 1 + ("images/b.png",),
                info={"contributor": "Label Studio"},
            ),
            "images/a.jpg": portrait(),
            "images/b.png": IMAGE,
        },
        PORTRAIT,
    ),
    Report(
        "DLR-RM/BlenderProc#93",
        coco_of({"image_id": 2, "segmentation": [[1, 1, 46, 1, 46, 9]]}, GOOD, size=SIZE[::-1]),
        BOXED,
    ),
    Report(
        "PaddleCV-SIG/PaddleLabel#172",
        coco_of({"segmentation": [[5, 10, 25, 10, 25, 45]]}, size=SIZE[::-1]),
        None,
        "the outlines do not show",
    ),
    Report(
        "HumanSignal/label-studio#7294",
        with_images(
            {"result.json": coco(GOOD, names=("..\\..\\label-studio\\media\\upload\\4\\cb0618f6-a.png", "b.png"))},
        ),
        BOXED,
        "1 image has other names than in the annotations",
    ),
    Report(
        "open-edge-platform/datumaro#1630",
        with_images(
            {f"Annotations/{n}.json": coco(*own, names=(f"{n}.png",)) for n, own in (("a", [GOOD]), ("b", []))},
            "Images/{}.png",
        ),
        BOXED,
    ),
    Report("cocodataset/cocoapi#76", coco_of({**GOOD, "image_id": 2}), NOTHING),
    Report(
        "vailabel/vailabel-studio#277", coco_of({**GOOD, "image_id": None, "item_id": 1}), None, "'image_id' is None"
    ),
    Report(
        "cocodataset/cocoapi#135",
        coco_of({"iscrowd": 1, "segmentation": {"size": list(SIZE), "counts": COUNTS}}),
        BOXED,
    ),
    Report("CSAILVision/placeschallenge#4", coco_of({"segmentation": {"size": list(SIZE), "counts": COUNTS}}), BOXED),
    Report("ryouchinsa/Rectlabel-support#219", coco_of({"segmentation": [10, 5, 30, 5, 30, 25, 10, 25]}), BOXED),
]


def yolo(*lines: str, names: str = "[car, road]") -> Files:
    files = {"data.yaml": f"train: images\nnames: {names}\n", "labels/a.txt": "\n".join(lines)}
    return with_images({**files, "labels/b.txt": line(BOX)})


def line(points: Any, number: Any = 0, *more: Any) -> str:
    shares = (f"{x / 48:.7g} {y / 32:.7g}" for x, y in points)
    return " ".join((str(number), *shares, *map(str, more)))


RIGHT_HALF = NOTHING.copy()
RIGHT_HALF[:16, 24:] = 1


def half(right: float, top: float = 0) -> str:
    """The upper right quarter, with a corner in place of its own."""
    return f"0 0.5 {top} {right} {top} {right} 0.5 0.5 0.5"


YOLO = [
    Report("ultralytics/yolov5#10632", yolo(half(1.0021)), RIGHT_HALF),
    Report("ultralytics/ultralytics#13924", yolo(half(1.0371)), RIGHT_HALF, "1 shape extends beyond its image"),
    Report("ultralytics/ultralytics#20138", yolo(half(1.857923)), None, "has the coordinate 1.85792"),
    Report("HumanSignal/label-studio#5481", yolo(half(1.0001915708812261, -0.0011254847734823994)), RIGHT_HALF),
    Report("HumanSignal/label-studio#5014", yolo("1 0.3 0.5002 0.6 1.0004", line(BOX)), None),
    Report(
        "ultralytics/ultralytics#5890",
        yolo(line(BOX, 0, 0.91), line(BOX, 0, 0.8)) | {"labels/b.txt": line(BOX, 0, 0.5)},
        BOXED,
        "2 label files have an extra number at the end of every line",
    ),
    Report("ryouchinsa/Rectlabel-support#240", yolo(line(BOX), "0 0.5 0.5 0.2 0.2 0.9"), None, "line 2 is"),
    Report("ultralytics/yolov5#3656", yolo(half(1.4)), None, "has the coordinate 1.4"),
    Report("ultralytics/yolov3#569", yolo("0 10 5 30 5 30 25 10 25"), None, "has the coordinate 10"),
    Report("cvat-ai/cvat#10691", yolo(""), NOTHING),
    Report("ultralytics/yolov3#1601", yolo(line(BOX, 2)), None, "has the class 2; expected 0 to 1"),
    Report(
        "ultralytics/ultralytics#951", yolo(line(BOX, 78), line(BOX, 15)), None, "2 annotations cannot be understood"
    ),
    Report(
        "GreatV/labelme2yolo#25",
        yolo("0 -0.000571034136546178 0 0.5 0 0.5 0.5 -0.000571034136546178 0.5"),
        np.where(np.indices(SIZE)[1] < 24, np.where(np.indices(SIZE)[0] < 16, 1, 0), 0).astype(np.uint8),
    ),
    Report("roboflow/supervision#615", yolo(line(BOX), names="[Car, Car]"), None, "occurs more than once"),
]


def shape(label: Any, points: Any, kind: Any = "polygon", **more: Any) -> dict[str, Any]:
    return {"label": label, "points": points, "shape_type": kind, "group_id": None, "flags": {}, **more}


def labelme(*shapes: Any, path: str = "a.png", **more: Any) -> str:
    content = {"version": "5.5.0", "flags": {}, "shapes": list(shapes), "imagePath": path, "imageData": None}
    return json.dumps(content | {"imageHeight": 32, "imageWidth": 48} | more, ensure_ascii=False)


def labelme_of(*shapes: Any, **more: Any) -> Files:
    return with_images({"a.json": labelme(*shapes, **more), "b.json": labelme(path="b.png")}, "{}.png")


CAR = shape("car", BOX)


def png(pixels: npt.NDArray[Any]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


LABELME = [
    Report("wkentaro/labelme#606", labelme_of(shape("car", [[3, 3], [9, 9]]), CAR), BOXED, WITHOUT_AREA),
    Report(
        "wkentaro/labelme#1553",
        labelme_of(shape("car", [[10, 5], [29, 24]], "mask", mask=png(np.full((20, 20), 255, np.uint8)))),
        BOXED,
    ),
    Report(
        "wkentaro/labelme#299",
        with_images({"a.json": labelme(shape("汽车", BOX)).encode("gb2312")}, "{}.png"),
        None,
        r"not UTF-8 at byte \d+, perhaps GB18030.*iconv -f GB18030 -t UTF-8 FILE > NEW",
    ),
    Report(
        "CVHub520/X-AnyLabeling#51",
        with_images(
            {"a.json": labelme(CAR).encode("utf-16"), "b.json": labelme(path="b.png").encode("utf-16")}, "{}.png"
        ),
        BOXED,
    ),
    Report(
        "wkentaro/labelme#1725",
        with_images(
            {"json/a.json": labelme(CAR, path="..\\files\\a.png"), "json/b.json": labelme(path="..\\files\\b.png")},
            "files/{}.png",
        ),
        BOXED,
    ),
    Report(
        "roboflow/supervision#2581",
        with_images(
            {
                "annotations/a.json": labelme(CAR, path="..\\images\\a.png"),
                "annotations/b.json": labelme(path="..\\images\\b.png"),
            }
        ),
        BOXED,
    ),
    Report("wkentaro/labelme#272", labelme_of(CAR, imageData=None), BOXED),
    Report(
        "wkentaro/labelme#252",
        {
            "a.json": labelme(CAR, path="D:\\1.bmp", imageData=png(IMAGE)),
            "b.json": labelme(path="D:\\2.bmp", imageData=png(IMAGE)),
        },
        BOXED,
    ),
    Report(
        "wkentaro/labelme#1585",
        with_images({"out/a.json": labelme(CAR), "out/b.json": labelme(path="b.png")}, "../photos/{}.png"),
        BOXED,
        images="../photos",
    ),
    Report(
        "bubbliiiing/yolact-pytorch#15", labelme_of(shape("car", BOX[:3], "line"), CAR), None, "is a line of 3 points"
    ),
    Report(
        "wkentaro/labelme#914",
        with_images({"a.json": labelme(CAR), "b.json": labelme(path="b.png")}, "{}.png") | {"a.png": IMAGE[..., 0]},
        BOXED,
    ),
    Report(
        "wkentaro/labelme#852",
        labelme_of(CAR, shape("__ignore__", [[0, 0], [48, 0], [48, 2], [0, 2]])),
        np.where(np.indices(SIZE)[0] < 2, 255, BOXED).astype(np.uint8),
    ),
    Report(
        "fcakyon/labelme2coco#9",
        {
            "a.json": labelme(
                shape("car", np.array(UPRIGHT).reshape(-1, 2).tolist()), path="a.jpg", imageHeight=48, imageWidth=32
            ),
            "a.jpg": portrait(),
            "b.json": labelme(path="b.png"),
            "b.png": IMAGE,
        },
        PORTRAIT,
    ),
]


def polygon(points: Any, label: str = "car", **more: Any) -> dict[str, Any]:
    shares = [[100 * x / 48, 100 * y / 32] for x, y in points]
    value = {"points": shares, "closed": True, "polygonlabels": [label]}
    return {
        "type": "polygonlabels",
        "original_width": 48,
        "original_height": 32,
        "image_rotation": 0,
        "value": value,
    } | more


def brush(mask: npt.NDArray[np.bool_]) -> dict[str, Any]:
    bits = f"{mask.size * 4:032b}00111" + "0010001101111111"
    bits += "".join(f"111{4 * len(list(run)) - 1:016b}{255 * value:08b}" for value, run in groupby(mask.ravel()))
    bits += "0" * (-len(bits) % 8)
    rle = [int(bits[place : place + 8], 2) for place in range(0, len(bits), 8)]
    return {"type": "brushlabels", "value": {"format": "rle", "rle": rle, "brushlabels": ["car"]}}


def tasks(*results: Any, images: tuple[str, str] = ("a.png", "b.png"), **more: Any) -> str:
    own = [
        {"id": 1, "data": {"image": name}, "annotations": [{"id": 1, "result": list(found)}], **more}
        for name, found in zip(images, (results, ()), strict=True)
    ]
    return json.dumps(own)


def tasks_of(*results: Any, **more: Any) -> Files:
    return with_images({"project.json": tasks(*results, **more)})


ROTATED = {
    "type": "rectanglelabels",
    "original_width": 48,
    "original_height": 32,
    "image_rotation": 0,
    "value": {
        "x": 100 * 30 / 48,
        "y": 100 * 5 / 32,
        "width": 100 * 20 / 48,
        "height": 100 * 20 / 32,
        "rotation": 90,
        "rectanglelabels": ["car"],
    },
}
ELLIPSE = {"type": "ellipselabels", "value": {"x": 50, "y": 50, "radiusX": 0, "radiusY": 0, "ellipselabels": ["car"]}}

LABEL_STUDIO = [
    Report("HumanSignal/label-studio-sdk#366", tasks_of(polygon([]), polygon(BOX)), BOXED, WITHOUT_AREA),
    Report("HumanSignal/label-studio#382", tasks_of(brush(BOXED > 0)), BOXED),
    Report("HumanSignal/label-studio#1416", tasks_of(brush(BOXED > 0), ELLIPSE), BOXED, WITHOUT_AREA),
    Report(
        "HumanSignal/label-studio#6771",
        tasks_of(polygon(BOX), images=("/data/upload/1/0a1b2c3d-a.png", "/data/upload/1/1a1b2c3d-b.png")),
        BOXED,
    ),
    Report(
        "HumanSignal/label-studio#7096",
        {
            "project.json": tasks(
                polygon(BOX), images=("/data/local-files/?d=image/a/001.png", "/data/local-files/?d=image/b/001.png")
            ),
            "image/a/001.png": IMAGE,
            "image/b/001.png": IMAGE,
        },
        BOXED,
    ),
    Report(
        "HumanSignal/label-studio#9870",
        {"project.json": tasks(polygon(BOX)), "images/zzz.png": IMAGE},
        None,
        "but none of them is below .* --images FOLDER",
    ),
    Report(
        "HumanSignal/label-studio#9870 with --images",
        with_images({"project.json": tasks(polygon(BOX))}, "../elsewhere/{}.png"),
        BOXED,
        images="../elsewhere",
    ),
    Report(
        "HumanSignal/label-studio#5481",
        tasks_of(polygon([[24, 0], [52, 0], [52, 16], [24, 16]])),
        RIGHT_HALF,
        "1 shape extends beyond its image",
    ),
    Report("HumanSignal/label-studio#7998", tasks_of(brush(np.ones((8, 8), dtype=bool))), None, "the brush holds 256"),
    Report("HumanSignal/label-studio#2293", tasks_of(ROTATED), BOXED),
    Report(
        "HumanSignal/label-studio-ml-backend#156",
        tasks_of(polygon(BOX, original_width=32, original_height=48)),
        None,
        "was drawn on 32 x 48 pixels, but its image is shown as 48 x 32",
    ),
    Report(
        "HumanSignal/label-studio-frontend#151",
        tasks_of(polygon(BOX, image_rotation=90)),
        None,
        "'image_rotation' is 90",
    ),
    Report(
        "HumanSignal/label-studio-converter#220",
        tasks_of(polygon(BOX)) | {"task-1-annotation-1-by-1-tag-car-0.png": BOXED * 255},
        BOXED,
    ),
    Report(
        "HumanSignal/label-studio-sdk#368",
        with_images({"task-1-annotation-1-by-1-tag-car-0.png": BOXED * 255}),
        None,
        "PNG masks of Label Studio, .* export the project as JSON too",
    ),
]


def datumaro(*annotations: Any, names: tuple[str, str] = ("a", "b"), **more: Any) -> str:
    items = [
        {"id": name, "annotations": list(own), "image": {"path": f"{name}.png", "size": list(SIZE)}} | more
        for name, own in zip(names, (annotations, ()), strict=True)
    ]
    labels = [{"name": name, "parent": "", "attributes": []} for name in ("background", "car")]
    return json.dumps({"info": {}, "categories": {"label": {"labels": labels}}, "items": items})


def datumaro_of(*annotations: Any) -> Files:
    return with_images({"annotations/default.json": datumaro(*annotations)}, "images/default/{}.png")


def area(kind: str = "polygon", **more: Any) -> dict[str, Any]:
    return {"id": 0, "type": kind, "attributes": {}, "group": 0, "label_id": 1, "z_order": 0, **more}


PARTS = BOXED.copy()
PARTS[12:16] = 0
RLE = {"counts": COUNTS, "size": list(SIZE)}
PARTS_RLE = {"counts": [len(list(run)) for _, run in groupby(PARTS.T.ravel())], "size": list(SIZE)}
TURNED = {"bbox": [10, 5, 20, 20], "attributes": {"rotation": 90.0, "occluded": False}}

DATUMARO = [
    Report("cvat-ai/cvat#7458", datumaro_of(area("mask", rle=PARTS_RLE)), PARTS),
    Report(
        "cvat-ai/cvat#1769", datumaro_of(area(points=[39.0, 8.5, 39.0, 8.5]), area(points=FLAT)), BOXED, WITHOUT_AREA
    ),
    Report("open-edge-platform/datumaro#1074", datumaro_of(area("mask", rle=RLE)), BOXED),
    Report(
        "open-edge-platform/datumaro#626",
        {
            "annotations/default.json": datumaro(area(points=FLAT), names=("left/a", "left/b")),
            "images/default/left/a.png": IMAGE,
            "images/default/left/b.png": IMAGE,
        },
        BOXED,
    ),
    Report("open-edge-platform/datumaro#1887", datumaro_of(area("bbox", **TURNED)), BOXED),
    Report(
        "open-edge-platform/datumaro#2011",
        datumaro_of(area("bbox", bbox=[0, 0, 48, 32], group=3), area(points=FLAT, group=3)),
        BOXED,
    ),
    Report("cvat-ai/cvat#8115", datumaro_of(area(points=FLAT), area("skeleton", elements=[])), BOXED, "1 skeleton"),
    Report(
        "cvat-ai/cvat#9460",
        datumaro_of(area("mask", rle={"counts": [5, 99999], "size": list(SIZE)})),
        None,
        "a run length is not between 0 and the 1536 pixels",
    ),
    Report(
        "tier4/tier4_perception_dataset#197",
        datumaro_of(area("mask", rle={**RLE, "size": [48, 32]})),
        None,
        r"expected \[32, 48\], the height and width",
    ),
    Report("cvat-ai/cvat#2851", datumaro_of(area(points=FLAT), area(points=[1, 1, 1, 1, 1, 1])), BOXED, WITHOUT_AREA),
    Report(
        "open-edge-platform/geti#5765",
        {"annotations/default.json": datumaro(area(points=FLAT)), "images/z.png": IMAGE},
        None,
        "none of them is below .* --images FOLDER",
    ),
    Report(
        "open-edge-platform/geti#5765 with --images",
        with_images({"annotations/default.json": datumaro(area(points=FLAT))}, "../photos/{}.png"),
        BOXED,
        images="../photos",
    ),
]


@pytest.mark.parametrize(
    "report", [*COCO, *YOLO, *LABELME, *LABEL_STUDIO, *DATUMARO], ids=lambda report: report.number.replace(" ", "-")
)
def test_what_users_have_reported_is_read_or_refused_with_a_reason(report: Report, save_files, tmp_path: Path) -> None:
    files = {name: content for name, content in report.files.items() if not isinstance(content, bytes)}
    root = save_files(files or {"a.txt": ""})
    for name, content in report.files.items():
        if isinstance(content, bytes):
            (root / name).write_bytes(content)
    places = Places(images=root / report.images) if report.images else Places()
    if report.expected is None and report.says:
        with pytest.raises(DataError, match=report.says):
            open_folder(root, places=places)
        return
    folder = open_folder(root, places=places)
    pairs = [pair for pairs in folder.splits.values() for pair in pairs]
    (pair,) = (pair for pair in pairs if "a" in (pair.image.stem, pair.image.parent.name))
    notes = "\n".join(folder.notes)
    assert report.says in notes if report.says else "warning" not in notes
    if report.expected is not None:
        np.testing.assert_array_equal(folder.read_pair(pair)[1], report.expected)
