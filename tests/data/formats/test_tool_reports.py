"""Hasty, V7 Darwin, Labelbox, Ground Truth and Supervisely as in public reports, each by repository and number.

Of Hasty few reports are public, so that its documentation and the libraries that read its files stand in.
"""

import io
import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from tests.data.formats.reports import Files, Report, check
from tests.mask_codes import darwin_code, hasty_code, supervisely_code

pytestmark = pytest.mark.slow

SIZE = (24, 32)
IMAGE = np.full((*SIZE, 3), 90, dtype=np.uint8)
NOTHING = np.zeros(SIZE, dtype=np.uint8)
SQUARE = NOTHING.copy()
SQUARE[5:15, 10:20] = 1
CORNERS = [[10, 5], [20, 5], [20, 15], [10, 15]]
FLAT = [value for corner in CORNERS for value in corner]
HOLED = SQUARE.copy()
HOLED[7:10, 12:15] = 0
HOLE = [[12, 7], [15, 7], [15, 10], [12, 10]]
IMAGES: Files = {"a.png": IMAGE, "b.png": IMAGE}
BOTH = {"a.png": SQUARE, "b.png": NOTHING}
CAR = ("background", "car")


def hasty_image(name: str, *labels: Any, **more: Any) -> dict[str, Any]:
    status = {"image_status": "DONE", "dataset_name": "Dataset 1", "tags": []}
    return {"image_name": name, "width": SIZE[1], "height": SIZE[0], "labels": list(labels)} | status | more


def hasty_label(name: str = "car", **shape: Any) -> dict[str, Any]:
    nothing = {"polygon": None, "mask": None, "z_index": 0, "attributes": {}}
    return {"id": "x", "class_name": name, "bbox": [10, 5, 20, 15]} | nothing | shape


def hasty(*images: Any, version: str = "1.1", classes: Any = ("car",), **more: Any) -> str:
    listed = [{"class_name": name, "color": "#1f78b44d", "class_type": "object"} for name in classes]
    head = {"project_name": "x", "create_date": "2019-10-22 19:04:16Z", "export_format_version": version}
    return json.dumps(head | {"label_classes": listed, "images": list(images)} | more)


def hasty_of(*labels: Any, folder: str = "Dataset 1/", **more: Any) -> Files:
    images = {f"{folder}{name}": IMAGE for name in ("a.png", "b.png")}
    return images | {"export.json": hasty(hasty_image("a.png", *labels), hasty_image("b.png"), **more)}


HASTY = [
    Report("help.hasty.ai hasty-json-v1.1", "boxes without polygon or mask", hasty_of(hasty_label()), BOTH, CAR),
    Report(
        "hasty.gitbook.io hasty-json-v1.0",
        "version 1.0, without attributes and tags",
        hasty_of(hasty_label(polygon=CORNERS), version="1.0"),
        BOTH,
        CAR,
    ),
    Report(
        "cloudfactory/hasty-python label_utils.py",
        "masks as runs in their box, counted from 1",
        hasty_of(hasty_label(mask=hasty_code(HOLED[5:15, 10:20] > 0))),
        {"a.png": HOLED, "b.png": NOTHING},
        CAR,
    ),
    Report(
        "help.hasty.ai hasty-json-v1.1",
        "classes of the type background, drawn by z_index",
        hasty_of(
            hasty_label(polygon=CORNERS, z_index=2),
            hasty_label("road", polygon=[[0, 0], [32, 0], [32, 24], [0, 24]], bbox=[0, 0, 32, 24], z_index=1),
            classes=("road", "car"),
        ),
        {"a.png": SQUARE + 1, "b.png": NOTHING},
        ("background", "road", "car"),
    ),
    Report(
        "help.hasty.ai hasty-json-v1.1",
        "images that are new or skipped",
        hasty_of(hasty_label(polygon=CORNERS))
        | {
            "Dataset 1/c.png": IMAGE,
            "export.json": hasty(
                hasty_image("a.png", hasty_label(polygon=CORNERS)),
                hasty_image("b.png"),
                hasty_image("c.png", image_status="SKIPPED"),
            ),
        },
        BOTH,
        CAR,
        "1 image with the status new or skipped left out",
    ),
    Report(
        "cloudfactory/hasty-python README",
        "one name in two data sets",
        {
            "train/a.png": IMAGE,
            "test/b.png": IMAGE,
            "train/c.png": IMAGE,
            "export.json": hasty(
                hasty_image("a.png", hasty_label(polygon=CORNERS), dataset_name="train"),
                hasty_image("b.png", dataset_name="test"),
                hasty_image("c.png", hasty_label(), dataset_name="train"),
            ),
        },
        {"a.png": SQUARE, "b.png": NOTHING, "c.png": SQUARE},
        CAR,
    ),
    Report(
        "hasty.ai supported-import-types",
        "the list that Hasty imports, without classes and sizes",
        IMAGES | {"import.json": json.dumps([{"image_name": "a.png", "labels": [hasty_label(polygon=CORNERS)]}])},
        None,
        (),
        "has no pairs of images and masks",
    ),
    Report(
        "hasty.ai semantic-segmentation-png",
        "masks as PNG with label_classes.json",
        {f"images/{name}": IMAGE for name in ("a.png", "b.png")}
        | {
            "masks/a.png": SQUARE,
            "masks/b.png": NOTHING,
            "label_classes.json": json.dumps([{"png_index": 1, "class_name": "car", "color": "#ff00004d"}]),
        },
        BOTH,
        CAR,
    ),
    Report(
        "cocodataset/cocoapi#379",
        "COCO exported by Hasty: runs as numbers, ids from 0",
        IMAGES
        | {
            "coco.json": json.dumps(
                {
                    "images": [
                        {"id": n, "file_name": f"{name}.png", "width": 32, "height": 24, "dataset_name": "Dataset 1"}
                        for n, name in enumerate("ab")
                    ],
                    "categories": [{"id": 1, "name": "car", "supercategory": "car"}],
                    "annotations": [
                        {"id": 0, "image_id": 0, "category_id": 1, "segmentation": [FLAT], "iscrowd": 0}
                    ],
                }
            )
        },
        BOTH,
        CAR,
    ),
    Report(
        "help.hasty.ai hasty-json-v1.1",
        "a mask that leaves its box",
        hasty_of(hasty_label(mask=[1, 300])),
        None,
        (),
        "'mask' is .* expected runs inside its box of 10 x 10 pixels",
    ),
]  # fmt: skip


def path(points: Any = CORNERS) -> list[dict[str, float]]:
    return [{"x": x, "y": y} for x, y in points]


def darwin(name: str, *annotations: Any, file: str = "", folder: str = "/", **more: Any) -> str:
    source = [{"file_name": file or name, "url": "https://darwin.v7labs.com/x"}]
    slot = {"type": "image", "slot_name": "0", "width": SIZE[1], "height": SIZE[0], "source_files": source} | more
    item = {"name": name, "path": folder, "source_info": {"item_id": "1"}, "slots": [slot]}
    return json.dumps({"version": "2.0", "schema_ref": "x", "item": item, "annotations": list(annotations)})


def drawn(name: str = "car", **shape: Any) -> dict[str, Any]:
    return {"id": "1", "name": name, "slot_names": ["0"], "properties": [], **shape}


POLYGON = drawn(bounding_box={"x": 10, "y": 5, "w": 10, "h": 10}, polygon={"paths": [path()]})
LAYER = {"dense_rle": darwin_code(HOLED), "mask_annotation_ids_mapping": {"1": 1}, "total_pixels": NOTHING.size}
RASTER = [drawn(mask={}), drawn("__raster_layer__", raster_layer=LAYER) | {"id": "2"}]


def darwin_of(*annotations: Any, images: str = "images/", **more: Any) -> Files:
    files: dict[str, Any] = {f"{images}{name}.png": IMAGE for name in "ab"}
    place = "releases/latest/annotations/"
    return files | {f"{place}a.json": darwin("a.png", *annotations, **more), f"{place}b.json": darwin("b.png")}


def darwin_1(name: str, *annotations: Any) -> str:
    own = {"width": SIZE[1], "height": SIZE[0], "filename": "0001.png", "original_filename": name, "path": "/"}
    return json.dumps({"dataset": "x", "image": own, "annotations": list(annotations)})


DARWIN = [
    Report(
        "v7labs/darwin-py#1173",
        "masks of the brush, which the COCO export drops",
        darwin_of(*RASTER),
        {"a.png": HOLED, "b.png": NOTHING},
        CAR,
    ),
    Report(
        "v7labs/darwin-py#1177",
        "a raster layer of an odd number of values",
        darwin_of(RASTER[0], drawn("__raster_layer__", raster_layer=LAYER | {"dense_rle": LAYER["dense_rle"][:-1]})),  # type: ignore[index]
        None,
        (),
        "expected pairs of whole numbers, a value and the length of its run",
    ),
    Report(
        "v7labs/darwin-py#1178",
        "a mask that others hide, which owns no pixel",
        darwin_of(*RASTER, drawn("road", mask={}) | {"id": "9"}),
        {"a.png": HOLED, "b.png": NOTHING},
        CAR,
    ),
    Report(
        "v7labs/darwin-py#969",
        "complex polygons of several paths",
        darwin_of(drawn(polygon={"paths": [path(), path(HOLE)]})),
        {"a.png": HOLED, "b.png": NOTHING},
        CAR,
    ),
    Report(
        "v7labs/darwin-py#87",
        "complex polygons of version 1: additional_paths",
        {"a.png": IMAGE, "b.png": IMAGE, "b.json": darwin_1("b.png")}
        | {"a.json": darwin_1("a.png", {"name": "car", "polygon": {"path": path(), "additional_paths": [path(HOLE)]}})},
        {"a.png": HOLED, "b.png": NOTHING},
        CAR,
    ),
    Report(
        "v7labs/darwin-py#43",
        "complex polygons of version 1: complex_polygon",
        {"a.png": IMAGE, "b.png": IMAGE, "b.json": darwin_1("b.png")}
        | {"a.json": darwin_1("a.png", {"name": "car", "complex_polygon": {"path": [path(), path(HOLE)]}})},
        {"a.png": HOLED, "b.png": NOTHING},
        CAR,
    ),
    Report(
        "v7labs/darwin-py#686",
        "the box inside the polygon",
        {"a.png": IMAGE, "b.png": IMAGE, "b.json": darwin_1("b.png")}
        | {"a.json": darwin_1("a.png", {"name": "car", "polygon": {"path": path(), "bounding_box": {"x": 0, "y": 0}}})},
        BOTH,
        CAR,
    ),
    Report(
        "v7labs/darwin-py#721",
        "one path of version 2 without its list",
        darwin_of(drawn(polygon={"paths": path()})),
        BOTH,
        CAR,
    ),
    Report(
        "v7labs/darwin-py#767",
        "renamed in Darwin: the image has the name of source_files",
        {"images/x 1.png": IMAGE, "images/b.png": IMAGE, "b.json": darwin("b.png")}
        | {"a.json": darwin("a.png", POLYGON, file="x 1.png")},
        {"x 1.png": SQUARE, "b.png": NOTHING},
        CAR,
    ),
    Report(
        "v7labs/darwin-py#838",
        "images in the folders of Darwin",
        {"images/north/a.png": IMAGE, "images/south/a.png": np.zeros((*SIZE, 3), dtype=np.uint8), "images/b.png": IMAGE}
        | {"annotations/north/a.json": darwin("a.png", POLYGON, folder="/north")}
        | {"annotations/b.json": darwin("b.png")},
        {"a.png": SQUARE, "b.png": NOTHING},
        CAR,
    ),
    Report(
        "v7labs/darwin-py#539",
        "annotators and reviewers",
        darwin_of(POLYGON | {"annotators": [{"email": "x", "full_name": "x"}], "reviewers": []}),
        BOTH,
        CAR,
    ),
    Report(
        "v7labs/darwin-py#762",
        "raster layers of videos",
        darwin_of(*RASTER) | {"v.json": darwin("v.mp4", POLYGON | {"frames": {"0": {}}, "ranges": [[0, 1]]})},
        {"a.png": HOLED, "b.png": NOTHING},
        CAR,
        "file of videos or of several images side by side left out",
    ),
    Report(
        "NKI-AI/dlup#162",
        "boxes, points and tags beside polygons",
        darwin_of(
            drawn(bounding_box={"x": 10, "y": 5, "w": 10, "h": 10}),
            drawn("note", keypoint={"x": 1, "y": 2}),
            drawn("day", tag={}),
        ),
        BOTH,
        CAR,
        "annotation of the kind keypoint",
    ),
]


def labelbox(name: str, *objects: Any, url: str = "", **more: Any) -> dict[str, Any]:
    label = {
        "label_kind": "Default",
        "label_details": {"created_at": "2023-01-01"},
        "annotations": {"objects": list(objects)},
    }
    data = {"id": "ckx", "external_id": name, "row_data": url or f"https://storage.labelbox.com/{name}"}
    size = {"height": SIZE[0], "width": SIZE[1], "mime_type": "image/png"}
    own = {"data_row": data, "media_attributes": size, "projects": {"cl1": {"name": "x", "labels": [label]}}}
    return own | more


def lb_object(name: str = "car", **shape: Any) -> dict[str, Any]:
    return {
        "feature_id": "f",
        "name": name,
        "value": name,
        "annotation_kind": "ImagePolygon",
        "classifications": [],
    } | shape


def lines(*rows: Any) -> str:
    return "\n".join(json.dumps(row) for row in rows) + "\n"


LB_POLYGON = lb_object(polygon=path())
LB_BOX = lb_object(annotation_kind="ImageBoundingBox", bounding_box={"top": 5, "left": 10, "height": 10, "width": 10})


def version_1(label: Any, **more: Any) -> dict[str, Any]:
    return {
        "ID": "cj",
        "DataRow ID": "cj",
        "Labeled Data": "https://x/a.png",
        "Label": label,
        "External ID": "a.png",
    } | more


OLDER = "is an older export of Labelbox .* export the project again, as NDJSON"
ADDRESS = "https://firebasestorage.example/v0/b/x/o/cjo%2Fe7d6%2F{}.png?alt=media&token=d4c4925a"
WKT = "MULTIPOLYGON (((10 5, 20 5, 20 15, 10 15)))"
LABELBOX = [
    Report(
        "Labelbox/labelbox-custom-labeling-apps#109",
        "an export of 2018: a list of geometries",
        IMAGES | {"export.json": json.dumps([version_1({"car": [{"geometry": [{"x": 1, "y": 2}]}]})])},
        None,
        (),
        OLDER,
    ),
    Report(
        "Labelbox/labelbox-custom-labeling-apps#152",
        "an export of 2018: well-known text, without data rows",
        IMAGES
        | {
            "export.json": json.dumps(
                [{"ID": "cj", "Labeled Data": "https://x/a.png", "Label": {"car": WKT}, "Project Name": "x"}]
            )
        },
        None,
        (),
        OLDER,
    ),
    Report(
        "Labelbox/labelbox-custom-labeling-apps#101",
        "an export of 2018: skipped images",
        IMAGES | {"export.json": json.dumps([version_1("Skip"), version_1({"model": "none"})])},
        None,
        (),
        OLDER,
    ),
    Report(
        "ultralytics/JSON2YOLO#39",
        "an export of version 1: masks at addresses",
        IMAGES | {"export.json": json.dumps([version_1({"objects": [{"value": "car", "instanceURI": "https://x"}]})])},
        None,
        (),
        OLDER,
    ),
    Report(
        "ultralytics/JSON2YOLO#102",
        "lines in a file that is called .json",
        IMAGES | {"export.json": lines(labelbox("a.png", LB_POLYGON), labelbox("b.png"))},
        BOTH,
        CAR,
    ),
    Report(
        "ultralytics/JSON2YOLO#19",
        "boxes and polygons in one project",
        IMAGES | {"export.ndjson": lines(labelbox("a.png", LB_POLYGON), labelbox("b.png", LB_BOX))},
        {"a.png": SQUARE, "b.png": SQUARE},
        CAR,
    ),
    Report(
        "ultralytics/ultralytics#22786",
        "boxes alone",
        {f"images/{name}": IMAGE for name in IMAGES}
        | {"export.ndjson": lines(labelbox("a.png", LB_BOX), labelbox("b.png"))},
        BOTH,
        CAR,
    ),
    Report(
        "Labelbox/labelbox-python#335",
        "names without a suffix, and images without objects",
        IMAGES | {"export.ndjson": lines(labelbox("a", LB_POLYGON), labelbox("b"))},
        BOTH,
        CAR,
    ),
    Report(
        "Labelbox/labelbox-custom-labeling-apps#38",
        "skipped images, which have no labels",
        IMAGES
        | {"c.png": IMAGE}
        | {
            "export.ndjson": lines(
                labelbox("a.png", LB_POLYGON), labelbox("b.png"), labelbox("c.png", projects={"cl1": {"labels": []}})
            )
        },
        BOTH,
        CAR,
        "1 images that nobody has labeled, or that were skipped, left out",
    ),
    Report(
        "Labelbox/labelbox-custom-labeling-apps#126",
        "classifications of whole images",
        IMAGES
        | {
            "export.ndjson": lines(
                labelbox("a.png", LB_POLYGON),
                labelbox("b.png")
                | {
                    "projects": {
                        "cl1": {"labels": [{"annotations": {"objects": [], "classifications": [{"name": "weather"}]}}]}
                    }
                },
            )
        },
        BOTH,
        CAR,
    ),
    Report(
        "Labelbox/labelbox-python#1142",
        "masks at addresses",
        IMAGES
        | {
            "export.ndjson": lines(
                labelbox("a.png", lb_object(annotation_kind="ImageSegmentationMask", mask={"url": "https://x"})),
                labelbox("b.png"),
            )
        },
        None,
        (),
        "1 of 1 objects are masks at web addresses .* masks/, named as the image in images/",
    ),
    Report(
        "cocodataset/cocoapi#229",
        "COCO exported by Labelbox: ids as texts, names as addresses",
        IMAGES
        | {
            "coco.json": json.dumps(
                {
                    "info": {"url": "labelbox.com"},
                    "images": [
                        {"id": f"cj{name}", "file_name": ADDRESS.format(name), "width": 32, "height": 24}
                        for name in "ab"
                    ],
                    "annotations": [
                        {"id": 1, "image_id": "cja", "category_id": 1, "segmentation": [FLAT], "iscrowd": 0}
                    ],
                    "categories": [{"id": 1, "name": "car", "supercategory": "car"}],
                }
            )
        },
        BOTH,
        CAR,
    ),
]  # fmt: skip

COLORS = {"0": ("BACKGROUND", "#ffffff"), "1": ("car", "#2ca02c")}
WHITE, GREEN = (255, 255, 255), (44, 160, 44)
COLORED = np.array([WHITE, GREEN], dtype=np.uint8)[SQUARE]


def with_palette(numbers: npt.NDArray[np.uint8], palette: Any) -> bytes:
    image = Image.fromarray(numbers)
    image.putpalette([level for color in palette for level in color])
    file = io.BytesIO()
    image.save(file, format="PNG")
    return file.getvalue()


GT_META = {
    "internal-color-map": {
        key: {"class-name": name, "hex-color": color, "confidence": 0.1} for key, (name, color) in COLORS.items()
    },
    "type": "groundtruth/semantic-segmentation",
    "human-annotated": "yes",
    "job-name": "labeling-job/job",
}
FAILED = {"failure-reason": "ClientError: the image cannot be read", "job-name": "labeling-job/job"}


def ground_truth(name: str, **changed: Any) -> dict[str, Any]:
    row = {"source-ref": f"s3://bucket/photos/{name}.png", "job-ref": f"s3://bucket/job/{name}_mask.png"}
    return row | {"job-ref-metadata": GT_META} | changed


def gt_of(*rows: Any, mask: Any = COLORED, name: str = "output.manifest") -> Files:
    files = {f"photos/{each}.png": IMAGE for each in "ab"} | {f"job/{each}_mask.png": mask for each in "ab"}
    return files | {f"manifests/output/{name}": lines(*(rows or map(ground_truth, "ab")))}


def one_class(key: str, number: int) -> dict[str, Any]:
    """Metadata that name one color, under a number that others use for another class."""
    return GT_META | {"internal-color-map": {key: GT_META["internal-color-map"][str(number)]}}  # type: ignore[index]


DATED = "s3://bucket/annotations/{}_2019-11-19T15:20:06.123456.png"
KIND = {"class-name": "anomaly", "confidence": 1, "type": "groundtruth/image-classification", "job-name": "x"}
GT_MAPS = {"a.png": SQUARE, "b.png": SQUARE}
GT_CLASSES = ("BACKGROUND", "car")
BOXES = {"class-map": {"0": "car"}, "type": "groundtruth/object-detection", "job-name": "labeling-job/x"}
VIDEO = {"class-map": {"0": "car"}, "type": "groundtruth/video-object-detection", "job-name": "labeling-job/x"}
GROUND_TRUTH = [
    Report("aws/amazon-sagemaker-examples#1384", "masks in the colors of the manifest", gt_of(), GT_MAPS, GT_CLASSES),
    Report(
        "aws/amazon-sagemaker-examples#1506",
        "palettes whose numbers are others than those of the classes",
        gt_of(mask=with_palette(1 - SQUARE, [GREEN, WHITE])),
        GT_MAPS,
        GT_CLASSES,
    ),
    Report(
        "aws/amazon-sagemaker-examples#1503",
        "numbers that differ from mask to mask",
        gt_of() | {"job/b_mask.png": with_palette(SQUARE + 6, [(0, 0, 0)] * 6 + [WHITE, GREEN])},
        GT_MAPS,
        GT_CLASSES,
    ),
    Report(
        "aws/amazon-sagemaker-examples#1682",
        "boxes of video frames",
        gt_of({"source-ref": "s3://b/input.json", "x-ref": "s3://b/SeqLabel.json", "x-ref-metadata": VIDEO}),
        None,
        (),
        "type groundtruth/video-object-detection; such jobs have no masks; use the manifest of",
    ),
    Report(
        "aws/amazon-sagemaker-examples#643",
        "boxes",
        gt_of({"source-ref": "s3://b/photos/a.png", "x": {"annotations": []}, "x-metadata": BOXES}),
        None,
        (),
        "type groundtruth/object-detection; such jobs have no masks",
    ),
    Report(
        "aws/amazon-sagemaker-examples#4056",
        "a record that is cut short",
        gt_of() | {"manifests/output/output.manifest": lines(*map(ground_truth, "ab"))[:-30]},
        None,
        (),
        "line 2 is not valid JSON",
    ),
    Report(
        "docs.aws.amazon.com sms-data-output",
        "the adjustment of an earlier job in the same lines",
        gt_of(*(ground_truth(n) | {"again-ref": "s3://b/x.png", "again-ref-metadata": GT_META} for n in "ab")),
        None,
        (),
        r"has masks of several jobs \(job-ref, again-ref\)\S* .*; remove all but one from the file",
    ),
    Report(
        "docs.aws.amazon.com sms-data-output",
        "an image that the workers failed on, without a mask",
        gt_of(*map(ground_truth, "ab"), {"source-ref": "s3://b/photos/c.png", "job-ref-metadata": FAILED}),
        GT_MAPS,
        GT_CLASSES,
        "1 lines of images whose labeling failed left out",
    ),
    Report(
        "superannotateai/superannotate-python-sdk (its reader of SageMaker)",
        "names of masks with times, whose colons programs on Windows replace",
        gt_of(*(ground_truth(n, **{"job-ref": DATED.format(n)}) for n in "ab"))
        | {f"annotations/{n}_2019-11-19T15_20_06.123456.png": COLORED for n in "ab"},
        GT_MAPS,
        GT_CLASSES,
    ),
    Report(
        "docs.aws.amazon.com lookout-for-vision manifest",
        "a second job of the same images, for their kind",
        gt_of(*(ground_truth(n) | {"anomaly-label": 1, "anomaly-label-metadata": KIND} for n in "ab")),
        GT_MAPS,
        GT_CLASSES,
    ),
    Report(
        "docs.aws.amazon.com sms-data-output",
        "lines that name the colors of their own image alone, each from 0",
        gt_of(ground_truth("a", **{"job-ref-metadata": one_class("0", 1)}), ground_truth("b")),
        GT_MAPS,
        None,
    ),
]  # fmt: skip


def sly(*objects: Any, **changed: Any) -> str:
    size = {"height": SIZE[0], "width": SIZE[1]}
    return json.dumps({"description": "", "tags": [], "size": size, "objects": list(objects)} | changed)


def meta(*classes: str, shape: str = "any", **more: Any) -> str:
    listed = [
        {"title": name, "shape": shape, "color": "#FF0000", "id": n} for n, name in enumerate(classes or ("car",))
    ]
    return json.dumps({"classes": listed, "tags": [], "projectType": "images"} | more)


def figure(title: str = "car", **more: Any) -> dict[str, Any]:
    points = {"exterior": [[10, 5], [19, 5], [19, 14], [10, 14]], "interior": []}
    server = {"id": 1, "classId": 2, "labelerLogin": "x", "createdAt": "2020", "updatedAt": "2020", "tags": []}
    return server | {"classTitle": title, "geometryType": "polygon", "points": points, "nnCreated": False} | more


def bitmap(mask: npt.NDArray[np.uint8], how: str = "palette", origin: Any = (0, 0)) -> dict[str, Any]:
    return figure(geometryType="bitmap", bitmap={"data": supervisely_code(mask > 0, how), "origin": list(origin)})


def sly_of(*objects: Any, classes: str = "", **changed: Any) -> Files:
    files = {f"ds1/img/{name}": IMAGE for name in IMAGES}
    own = {"ds1/ann/a.png.json": sly(*objects, **changed), "ds1/ann/b.png.json": sly()}
    return files | own | {"meta.json": classes or meta()}


def stems(files: Files) -> Files:
    return {name.replace(".png.json", ".json"): content for name, content in files.items()}


SUPERVISELY = [
    Report(
        "supervisely-ecosystem/persons#1",
        "masks in base64 that no image program opens",
        sly_of(bitmap(HOLED)),
        {"a.png": HOLED, "b.png": NOTHING},
        CAR,
    ),
    Report(
        "ViacheslavDanilov/oct_segmentation#6",
        "figures of a video: geometry inside",
        sly_of(classes=meta(projectType="videos"))
        | {
            "ds1/img/c.png": IMAGE,
            "ds1/ann/c.png.json": sly(figure()),
            "ds1/ann/a.png.json": json.dumps(
                {
                    "size": {"height": 24, "width": 32},
                    "framesCount": 1,
                    "objects": [{"key": "k", "classTitle": "car", "tags": []}],
                    "frames": [{"index": 0, "figures": [{"objectKey": "k", "geometryType": "bitmap", "geometry": {}}]}],
                }
            )
        },
        {"b.png": NOTHING, "c.png": SQUARE},
        CAR,
        "1 files of videos left out",
    ),
    Report(
        "supervisely/supervisely#1744",
        "objectId or instance beside the figure, and no size",
        sly_of(figure(objectId=7, instance="k"), size={"height": None, "width": None}),
        BOTH,
        CAR,
    ),
    Report(
        "supervisely/supervisely#822",
        "classes that meta.json has lost",
        sly_of(figure(), classes=meta("road")),
        {"a.png": 2 * SQUARE, "b.png": NOTHING},
        ("background", "road", "car"),
    ),
    Report(
        "supervisely/supervisely#3",
        "files of 2018, named without the suffix of the image",
        stems(sly_of(figure() | {"geometryType": None, "type": "polygon"}, classes=meta(shape="polygon"))),
        BOTH,
        CAR,
    ),
    Report(
        "matterport/Mask_RCNN#2161",
        "bitmaps on a part of the image, as balloon.py has polygons",
        sly_of(bitmap(SQUARE[5:15, 10:20], "alpha", (10, 5))),
        BOTH,
        CAR,
    ),
    Report(
        "voxel51/fiftyone#4443",
        "images outside of ds/img, and metadata in img_info/",
        {
            **{k: v for k, v in sly_of(figure()).items() if "/img/" not in k},
            **{f"photos/{name}": IMAGE for name in IMAGES},
            "ds1/img_info/a.png.json": json.dumps({"id": 1, "name": "a.png", "meta": {"size": 3}, "objects": 1}),
        },
        BOTH,
        CAR,
    ),
    Report(
        "wpilibsuite/wpilib-docs#2198",
        "several data sets in one project, and masks for people beside",
        {
            **sly_of(figure()),
            **{f"ds2/img/{name}.png": IMAGE for name in "cd"},
            **{f"ds2/ann/{name}.png.json": sly() for name in "cd"},
            "ds1/masks_human/a.png": IMAGE,
            "ds1/masks_machine/a.png": SQUARE,
        },
        BOTH | {"c.png": NOTHING, "d.png": NOTHING},
        CAR,
    ),
    Report(
        "supervisely/supervisely#548",
        "meta.json in the folder of the data set",
        {k.replace("meta.json", "ds1/meta.json"): v for k, v in sly_of(figure()).items()},
        BOTH,
        CAR,
    ),
    Report(
        "supervisely/supervisely#731",
        "meta.json without classes",
        sly_of(figure(), classes=json.dumps({"tags": []})),
        None,
        (),
        r"meta\.json: 'classes' is missing; expected a list",
    ),
    Report(
        "pieterblok/maskal#4",
        "files of another program, with polygons over the edge",
        sly_of(
            figure(
                points={"exterior": [[-3, -3], [40, -3], [40, 3], [-3, 3]], "interior": []}, labelerLogin=None, id=None
            )
        ),
        {"a.png": np.where(np.arange(24)[:, None] <= 3, 1, NOTHING), "b.png": NOTHING},
        CAR,
    ),
    Report(
        "supervisely/supervisely#56",
        "an export that ended early: an annotation of no bytes",
        sly_of(figure()) | {"ds1/img/c.png": IMAGE, "ds1/ann/c.png.json": ""},
        None,
        (),
        r"c\.png\.json: is cut short",
    ),
]  # fmt: skip


@pytest.mark.parametrize("report", [*HASTY, *DARWIN, *LABELBOX, *GROUND_TRUTH, *SUPERVISELY], ids=str)
def test_data_of_reports_is_read_as_it_is_or_refused(save_files, report: Report) -> None:
    check(save_files, report)
