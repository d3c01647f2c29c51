"""KITTI, Mapillary Vistas, BDD100K and Oxford pets as in public reports, each named by repository and number."""

import io
import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from tests.data.formats.reports import Files, Report, check

from maskpencil.known_classes import CITYSCAPES

pytestmark = pytest.mark.slow

SIZE = (12, 20)
IMAGE = np.full((*SIZE, 3), 90, dtype=np.uint8)
IGNORED = 255


def png(pixels: npt.ArrayLike, palette: Any = None) -> bytes:
    image = Image.fromarray(np.asarray(pixels, dtype=np.uint8))
    if palette is not None:
        image.putpalette(palette)
    file = io.BytesIO()
    image.save(file, format="PNG")
    return file.getvalue()


def numbers(*values: int, size: tuple[int, int] = SIZE) -> npt.NDArray[np.uint8]:
    """Equal stripes of these numbers, from left to right."""
    return np.repeat(np.array(values, dtype=np.uint8), -(-size[1] // len(values)))[None, : size[1]].repeat(size[0], 0)


RED, MAGENTA, BLACK = (255, 0, 0), (255, 0, 255), (0, 0, 0)
ROAD = np.array([RED, MAGENTA, BLACK], dtype=np.uint8)[numbers(0, 1, 2)]
ROAD_MAP = numbers(0, 1, IGNORED)
ROAD_CLASSES = ("not road", "road")


def road(folder: str = "", names: tuple[str, ...] = ("um_000000", "umm_000001"), **more: Any) -> Files:
    files: dict[str, Any] = {}
    for name in names:
        kind, number = name.split("_")
        files[f"{folder}training/image_2/{name}.png"] = IMAGE
        files[f"{folder}training/gt_image_2/{kind}_road_{number}.png"] = ROAD
    return files | more


ROAD_MAPS = {"um_000000.png": ROAD_MAP, "umm_000001.png": ROAD_MAP}
LISTS = {
    "train.txt": "training/image_2/um_000000.png training/gt_image_2/um_road_000000.png\n\n",
    "val.txt": "training/image_2/umm_000001.png training/gt_image_2/umm_road_000001.png\n",
}
SEMANTIC = numbers(7, 26, 4)  # road, car, static: ids of Cityscapes
SEMANTIC_MAP = numbers(0, 13, IGNORED)


def semantic(mask: Any = SEMANTIC, folder: str = "training/", **more: Any) -> Files:
    files: dict[str, Any] = {}
    for name in ("000000_10", "000001_10"):
        files[f"{folder}image_2/{name}.png"] = IMAGE
        files[f"{folder}semantic/{name}.png"] = mask
    return files | more


SEMANTIC_MAPS = dict.fromkeys(("000000_10.png", "000001_10.png"), SEMANTIC_MAP)
OTHER_SIZE = (11, 18)

KITTI = [
    Report("MarvinTeichmann/KittiSeg#38", "black blocks are no class", road(), ROAD_MAPS, ROAD_CLASSES),
    Report(
        "MarvinTeichmann/KittiSeg#145",
        "lists of two paths a line, with an empty line",
        road() | LISTS,
        ROAD_MAPS,
        ROAD_CLASSES,
    ),
    Report(
        "MarvinTeichmann/KittiSeg#193",
        "images of other sizes",
        road()
        | {
            "training/image_2/uu_000002.png": IMAGE[:11, :18],
            "training/gt_image_2/uu_road_000002.png": ROAD[:11, :18],
        },
        ROAD_MAPS | {"uu_000002.png": ROAD_MAP[:11, :18]},
        ROAD_CLASSES,
    ),
    Report(
        "MarvinTeichmann/KittiSeg#199",
        "the channel that says road, and masks of the lane beside",
        road() | {"training/gt_image_2/um_lane_000000.png": np.full((*SIZE, 3), RED, dtype=np.uint8)},
        ROAD_MAPS,
        ROAD_CLASSES,
        "1 um_lane masks left out",
    ),
    Report("MarvinTeichmann/KittiSeg#92", "data_road/ in a folder", road("data_road/"), ROAD_MAPS, ROAD_CLASSES),
    Report(
        "udacity/sdc-issue-reports#1009",
        "training and test images",
        road() | {"testing/image_2/um_000000.png": IMAGE, "training/calib/um_000000.txt": "P0: 1 0"},
        ROAD_MAPS,
        ROAD_CLASSES,
        "testing/ left out",
    ),
    Report(
        "open-mmlab/mmsegmentation#1602",
        "label ids of Cityscapes, not train ids",
        semantic(),
        SEMANTIC_MAPS,
        CITYSCAPES.names,
    ),
    Report(
        "borisdayma/lightning-kitti#6",
        "void labels, and -1 for license plates",
        semantic(numbers(33, 255, 10)),
        dict.fromkeys(SEMANTIC_MAPS, numbers(18, IGNORED, IGNORED)),
        CITYSCAPES.names,
    ),
    Report(
        "bonlime/keras-deeplab-v3-plus#66",
        "colors and objects beside the label ids, and images at the next time",
        semantic()
        | {f"training/semantic_rgb/00000{n}_10.png": ROAD for n in range(2)}
        | {f"training/instance/00000{n}_10.png": SEMANTIC.astype(np.uint16) * 256 for n in range(2)}
        | {"training/image_2/000000_11.png": IMAGE, "testing/image_2/000000_10.png": IMAGE},
        SEMANTIC_MAPS,
        CITYSCAPES.names,
        "instance/ left out, it numbers objects",
    ),
    Report(
        "cvat-ai/cvat#3659",
        "exported by CVAT, with classes of its own",
        semantic(numbers(0, 2, 1), "default/", **{"label_colors.txt": "0 0 0 background\n9 9 9 cat\n200 0 0 big dog"}),
        dict.fromkeys(SEMANTIC_MAPS, numbers(0, 2, 1)),
        ("background", "cat", "big dog"),
    ),
    Report(
        "open-edge-platform/datumaro#481",
        "label_colors.txt without colors, masks of 16 bits",
        semantic(numbers(0, 2, 1).astype(np.uint16), "train/", **{"label_colors.txt": " background\n tree\n car\n"}),
        dict.fromkeys(SEMANTIC_MAPS, numbers(0, 2, 1)),
        ("background", "tree", "car"),
    ),
    Report(
        "open-edge-platform/datumaro#282",
        "subsets train and val",
        semantic(folder="train/")
        | {"val/image_2/000005_10.png": IMAGE, "val/semantic/000005_10.png": SEMANTIC},
        SEMANTIC_MAPS | {"000005_10.png": SEMANTIC_MAP},
        CITYSCAPES.names,
    ),
    Report(
        "autonomousvision/kitti360Scripts#32",
        "KITTI-360: masks in other folders than the images, and colors beside",
        {
            f"data_2d_raw/2013_05_28_drive_0000_sync/image_00/data_rect/0000000{n}.png": IMAGE for n in (250, 251, 252)
        }
        | {
            f"data_2d_semantics/train/2013_05_28_drive_0000_sync/image_00/{kind}/0000000{n}.png": mask
            for n in (250, 251)
            for kind, mask in (
                ("semantic", SEMANTIC),
                ("semantic_rgb", ROAD),
                ("instance", SEMANTIC.astype(np.uint16) * 1000),
                ("confidence", SEMANTIC.astype(np.uint16) * 257),
            )
        },
        None,
        (),
        "say where the images are: --images FOLDER --masks semantic",
    ),
]  # fmt: skip

VISTAS = [
    {"name": "nature--sky", "readable": "Sky", "color": [70, 130, 180], "evaluate": True, "instances": False},
    {"name": "object--vehicle--car", "readable": "Car", "color": [0, 0, 142], "evaluate": True, "instances": True},
    {"name": "construction--flat--road", "readable": "Road", "color": [128, 64, 128], "evaluate": True},
    {"name": "void--unlabeled", "readable": "Unlabeled", "color": [0, 0, 0], "evaluate": False, "instances": False},
]
VISTAS_NAMES = ("nature--sky", "object--vehicle--car", "construction--flat--road")
CONFIG = json.dumps({"labels": VISTAS, "version": "1.1", "folder_structure": "{split}/{content}/{image_id}.{ext}"})
PALETTE = [level for label in VISTAS for level in label["color"]]  # type: ignore[attr-defined]
LABELS = numbers(0, 2, 3, 1)
VISTAS_MAP = numbers(0, 2, IGNORED, 1)


def vistas(release: str = ".", config: str = "config.json", folder: str = "", labels: Any = None) -> dict[str, Any]:
    files: dict[str, Any] = {f"{folder}{config}": CONFIG}
    for split, name in (("training", "a_B-1"), ("validation", "c_D-2")):
        files[f"{folder}{split}/images/{name}.jpg"] = IMAGE
        files[f"{folder}{split}/{release}/labels/{name}.png"] = png(LABELS, PALETTE) if labels is None else labels
    return files


VISTAS_MAPS = {"a_B-1.jpg": VISTAS_MAP, "c_D-2.jpg": VISTAS_MAP}
OBJECTS = LABELS.astype(np.uint16) * 256 + 1
INSTANCES = {
    f"{split}/instances/{name}.png": OBJECTS for split, name in (("training", "a_B-1"), ("validation", "c_D-2"))
}
PANOPTIC = {
    f"{split}/panoptic/panoptic_2018.json": json.dumps({"images": [], "annotations": [], "categories": []})
    for split in ("training", "validation")
}

MAPILLARY = [
    Report(
        "mapillary/mapillary_vistas#10",
        "label ids in labels/, objects in instances/",
        vistas() | INSTANCES,
        VISTAS_MAPS,
        VISTAS_NAMES,
    ),
    Report(
        "mapillary/mapillary_vistas#7",
        "palettes for viewers only, and pixels without a label",
        vistas(labels=png(LABELS, [9, 9, 9] * 4)),
        VISTAS_MAPS,
        VISTAS_NAMES,
    ),
    Report(
        "open-mmlab/mmsegmentation#2576",
        "two releases in one folder",
        vistas("v1.2", "config_v1.2.json") | vistas("v2.0", "config_v2.0.json"),
        VISTAS_MAPS,
        VISTAS_NAMES,
        r"v1\.2 left out",
    ),
    Report(
        "JIA-Lab-research/PanopticFCN#27",
        "panoptic masks beside the labels",
        vistas() | INSTANCES | PANOPTIC,
        VISTAS_MAPS,
        VISTAS_NAMES,
    ),
    Report(
        "Luodian/Mapillary2COCO#7",
        "polygons of version 2.0 beside the labels",
        vistas("v2.0", "config_v2.0.json")
        | {
            f"{split}/v2.0/polygons/{name}.json": json.dumps({"width": 20, "height": 12, "objects": []})
            for split, name in (("training", "a_B-1"), ("validation", "c_D-2"))
        },
        VISTAS_MAPS,
        VISTAS_NAMES,
    ),
    Report("mseg-dataset/mseg-api#27", "version 1.1", vistas(), VISTAS_MAPS, VISTAS_NAMES),
    Report(
        "ksaito-ut/openworld_ldet#6",
        "unpacked into a folder of its name",
        vistas("v2.0", "config_v2.0.json", "mapillary-vistas-dataset_public_v2.0/"),
        VISTAS_MAPS,
        VISTAS_NAMES,
    ),
    Report(
        "elnino9ykl/WildPASS#4",
        "renamed to the files of Cityscapes, whose label ids end at 33",
        {
            f"{folder}/{split}/x/{name}_{end}.png": content
            for split, name in (("train", "a"), ("val", "c"))
            for folder, end, content in (
                ("leftImg8bit", "leftImg8bit", IMAGE),
                ("gtFine", "gtFine_labelIds", numbers(13, 55, 65)),
            )
        },
        None,
        (),
        "55",
    ),
    Report(
        "ansleliu/LightNet#25",
        "objects in instances/ alone, no labels",
        {"config.json": CONFIG} | {k: v for k, v in vistas().items() if "/images/" in k} | INSTANCES,
        None,
        (),
        "number objects, not classes, and labels/ with the class masks is missing",
    ),
    Report(
        "Oslandia/deeposlandia#83",
        "labels that another program aggregated: contains_id, family",
        vistas()
        | {
            "config.json": json.dumps(
                {"labels": [label | {"family": "x", "contains_id": [n]} for n, label in enumerate(VISTAS)]}
            )
        },
        VISTAS_MAPS,
        VISTAS_NAMES,
    ),
    Report(
        "facebookresearch/Mask2Former#44",
        "images that one split alone has labels for",
        {k: v for k, v in vistas().items() if not k.startswith("validation/./labels")}
        | {"training/images/e.jpg": IMAGE, "training/labels/e.png": png(LABELS, PALETTE)},
        {"a_B-1.jpg": VISTAS_MAP, "e.jpg": VISTAS_MAP},
        VISTAS_NAMES,
    ),
]

TRAIN_IDS = numbers(0, 13, IGNORED, 10)
COLORS = np.array([*CITYSCAPES.palette, BLACK], dtype=np.uint8)[np.minimum(TRAIN_IDS, 19)]
NAMES = {"train": ("78ac84ba-07bd30c2", "0004a4c0-d4dff0ad"), "val": ("80a9e37d-e4548ac1",)}
BDD_MAPS = {f"{name}.jpg": TRAIN_IDS for names in NAMES.values() for name in names}


def bdd(
    images: str = "images/10k", masks: str = "labels/sem_seg/masks", end: str = "", mask: Any = TRAIN_IDS
) -> dict[str, Any]:
    files = {f"{images}/{split}/{name}.jpg": IMAGE for split, names in NAMES.items() for name in names}
    return files | {f"{masks}/{split}/{name}{end}.png": mask for split, names in NAMES.items() for name in names}


def without(files: Files, *ends: str) -> Files:
    return {name: content for name, content in files.items() if not name.endswith(ends)}


BDD_COLORS = {k: v for k, v in bdd(masks="labels/sem_seg/colormaps", mask=COLORS).items() if "/colormaps/" in k}
BDD_POLYGONS = {
    f"labels/sem_seg/{folder}/sem_seg_{split}.json": json.dumps(
        [{"name": f"{NAMES[split][0]}.jpg", "labels": [{"id": "0", "category": "static", "poly2d": []}]}]
    )
    for folder, split in (("polygons", "train"), ("rles", "val"))
}
DRIVABLE = numbers(2, 0, 1)
BDD100K = [
    Report(
        "bdd100k/bdd100k#103",
        "images without masks, and masks without images",
        without(bdd(), "labels/sem_seg/masks/train/78ac84ba-07bd30c2.png")
        | {"labels/sem_seg/masks/train/fee92217-63b3f87f.png": TRAIN_IDS},
        {name: TRAIN_IDS for name in BDD_MAPS if not name.startswith("78ac")},
        CITYSCAPES.names,
        "1 image without a mask left out",
    ),
    Report(
        "bdd100k/bdd100k#127",
        "images without labels",
        without(bdd(), "78ac84ba-07bd30c2.png"),
        {name: TRAIN_IDS for name in BDD_MAPS if not name.startswith("78ac")},
        CITYSCAPES.names,
        "1 image without a mask left out",
    ),
    Report(
        "ucbdrive/bdd100k#97",
        "the first release: labels/ and color_labels/",
        bdd("images", "labels", "_train_id")
        | {k: v for k, v in bdd(masks="color_labels", end="_train_color", mask=COLORS).items() if "color_" in k},
        BDD_MAPS,
        CITYSCAPES.names,
    ),
    Report(
        "ucbdrive/bdd100k#43",
        "the first release in bdd100k/seg/",
        {f"bdd100k/seg/{name}": content for name, content in bdd("images", "labels", "_train_id").items()},
        BDD_MAPS,
        CITYSCAPES.names,
    ),
    Report(
        "bdd100k/bdd100k#259",
        "polygons with categories that the masks do not have",
        bdd() | BDD_COLORS | BDD_POLYGONS,
        BDD_MAPS,
        CITYSCAPES.names,
    ),
    Report(
        "bdd100k/bdd100k#54",
        "boxes of detection alone",
        {k: v for k, v in bdd().items() if k.startswith("images")}
        | {"labels/bdd100k_labels_images_val.json": json.dumps([{"name": "80a9e37d-e4548ac1.jpg", "labels": []}])},
        None,
        (),
        "has no pairs of images and masks",
    ),
    Report(
        "hendrycks/anomaly-seg#14",
        "100k images beside the masks of 10k",
        bdd("images/100k") | BDD_COLORS | {"images/100k/train/0000f77c-6257be58.jpg": IMAGE},
        BDD_MAPS,
        CITYSCAPES.names,
        "1 image without a mask left out",
    ),
    Report(
        "bdd100k/bdd100k#99",
        "the drivable area, with colors beside",
        bdd("images/100k", "labels/drivable/masks", mask=DRIVABLE)
        | {k: v for k, v in bdd(masks="labels/drivable/colormaps", mask=COLORS).items() if "/colormaps/" in k},
        dict.fromkeys(BDD_MAPS, DRIVABLE),
        ("direct", "alternative", "background"),
    ),
    Report(
        "ucbdrive/bdd100k#12",
        "the drivable area of the first release: drivable_maps/labels, _drivable_id",
        bdd("images/100k", "drivable_maps/labels", "_drivable_id", numbers(0, 1, 2)),
        None,
        (),
        "has no pairs of images and masks",
    ),
    Report(
        "cardwing/Codes-for-Lane-Detection#233",
        "lanes, of which each bit says something",
        bdd("images/100k", "labels/lane/masks", mask=numbers(255, 32, 8)),
        None,
        (),
        "hold bits for kind, style and direction of lanes",
    ),
    Report(
        "bdd100k/bdd100k#82",
        "masks of objects: four channels",
        bdd(masks="labels/ins_seg/bitmasks", mask=np.dstack([TRAIN_IDS, TRAIN_IDS, TRAIN_IDS, TRAIN_IDS])),
        None,
        (),
        "hold numbers of objects",
    ),
    Report(
        "bdd100k/bdd100k#3",
        "masks of objects beside the semantic ones",
        bdd() | {k: v for k, v in bdd(masks="labels/ins_seg/colormaps", mask=COLORS).items() if "ins_seg" in k},
        BDD_MAPS,
        CITYSCAPES.names,
    ),
]

TRIMAP = numbers(2, 1, 3)
PET_MAP = numbers(0, 1, IGNORED)
PETS_NAMES = ("Abyssinian_1", "american_pit_bull_terrier_2", "Sphynx_12")
LISTED = {
    "annotations/trainval.txt": "Abyssinian_1 1 1 1\namerican_pit_bull_terrier_2 2 2 1\n",
    "annotations/test.txt": "Sphynx_12 34 1 12\n",
    "annotations/list.txt": "#Image CLASS-ID SPECIES BREED ID\nAbyssinian_1 1 1 1\n",
    "annotations/README": "Pixel Annotations: 1: Foreground 2:Background 3: Not classified",
}


def pets(mask: Any = TRIMAP, folder: str = "") -> dict[str, Any]:
    images = {f"{folder}images/{name}.jpg": IMAGE for name in PETS_NAMES}
    return images | {f"{folder}annotations/trimaps/{name}.png": mask for name in PETS_NAMES}


def encoded(kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(IMAGE).save(file, format=kind)
    return file.getvalue()


PET_MAPS = {f"{name}.jpg": PET_MAP for name in PETS_NAMES}
PET_CLASSES = ("background", "pet")
OXFORD = [
    Report(
        "tensorflow/datasets#5349",
        "JPEG files that are GIF, PNG and BMP",
        pets()
        | {f"images/{name}.jpg": encoded(kind) for name, kind in zip(PETS_NAMES, ("GIF", "PNG", "BMP"), strict=True)},
        PET_MAPS,
        PET_CLASSES,
    ),
    Report(
        "PaddlePaddle/PaddleSeg#50",
        "mini_pet: the same folders, but 0 to 2",
        pets(numbers(0, 1, 2)),
        dict.fromkeys((f"{name}.jpg" for name in PETS_NAMES), numbers(0, 1, 2)),
        ("class_0", "class_1", "class_2"),
        "no classes.yaml",
    ),
    Report(
        "divamgupta/image-segmentation-keras#254",
        "trimaps count from 1, and the last is no class",
        pets() | LISTED,
        PET_MAPS,
        PET_CLASSES,
        "the border around each pet is ignored",
    ),
    Report("jakeret/unet#3", "37 classes of breeds in the lists", pets() | LISTED, PET_MAPS, PET_CLASSES),
    Report(
        "pytorch/vision#5116",
        "in oxford-iiit-pet/, as torchvision unpacks it",
        pets(folder="oxford-iiit-pet/") | {f"oxford-iiit-pet/{k}": v for k, v in LISTED.items()},
        PET_MAPS,
        PET_CLASSES,
    ),
    Report(
        "Graviti-AI/tensorbay-python-sdk#941",
        "files of macOS beside the trimaps, as in the archive",
        pets() | LISTED | {f"annotations/trimaps/._{name}.png": b"\0\5\26\7Mac OS X" for name in PETS_NAMES},
        PET_MAPS,
        PET_CLASSES,
    ),
    Report(
        "pytorch/vision#8388",
        "lines with four columns, and one name without files",
        pets() | LISTED | {"annotations/test.txt": "Sphynx_12 34 1 12\nSphynx_13 34 1 12\n"},
        PET_MAPS,
        PET_CLASSES,
        "1 name in test.txt without an image or a trimap left out",
    ),
    Report(
        "keras-team/keras-io#1200",
        "archives that nobody unpacked",
        {"images.tar.gz": b"\x1f\x8b\x08\0", "annotations.tar.gz": b"\x1f\x8b\x08\0"},
        None,
        (),
        r"; unpack annotations\.tar\.gz and images\.tar\.gz",
    ),
    Report(
        "bourdakos1/Custom-Object-Detection#39",
        "boxes alone, no trimaps",
        {k: v for k, v in pets().items() if k.startswith("images")}
        | {f"annotations/xmls/{name}.xml": "<annotation><object/></annotation>" for name in PETS_NAMES},
        None,
        (),
        "has no pairs of images and masks",
    ),
    Report(
        "mlverse/torchvision#162",
        "boxes of heads and MATLAB files beside",
        pets()
        | LISTED
        | {f"annotations/xmls/{name}.xml": "<annotation><object/></annotation>" for name in PETS_NAMES}
        | {"images/Abyssinian_1.mat": b"MATLAB 5.0"},
        PET_MAPS,
        PET_CLASSES,
    ),
]


@pytest.mark.parametrize("report", [*KITTI, *MAPILLARY, *BDD100K, *OXFORD], ids=str)
def test_data_of_reports_is_read_as_it_is_or_refused(save_files, report: Report) -> None:
    check(save_files, report)
