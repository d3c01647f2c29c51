"""Masks like those in reports of users of Pascal VOC, CVAT and Roboflow, named by repository and number."""

import io
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from maskpencil.data.folder import open_folder
from maskpencil.errors import DataError
from maskpencil.known_classes import VOC, voc_color

pytestmark = pytest.mark.slow

SIZE = (32, 48)
Map = npt.NDArray[np.uint8]
Files = dict[str, Any]
VOC_PALETTE = np.array([voc_color(number) for number in range(256)], dtype=np.uint8)


class Report(NamedTuple):
    """What a report's input must give: label maps by the names of images, names of classes, splits; or an error."""

    number: str
    files: Files
    maps: Mapping[str, Map] = {}
    names: tuple[str, ...] = ()
    splits: Mapping[str, int] = {}
    error: str = ""


def photo(number: int = 0) -> Map:
    return np.random.default_rng(number).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


def stripes(*values: int, first: int = 0) -> Map:
    """Stripes of the values; the upper rows hold only the first."""
    found = np.repeat(np.array(values, dtype=np.uint8), SIZE[1] // len(values))[None].repeat(SIZE[0], axis=0)
    found[: 6 + first] = values[0]
    return found


def in_palette(mask: Map, palette: Map = VOC_PALETTE) -> Image.Image:
    image = Image.fromarray(mask)
    image.putpalette(palette.tobytes())
    return image


def jpeg(mask: Map) -> bytes:
    file = io.BytesIO()
    Image.fromarray(mask).save(file, "JPEG", quality=90)
    return file.getvalue()


def gray_rgb(mask: Map) -> Map:
    return np.dstack([mask] * 3)


VOC_MAPS = {f"2007_00000{n}": stripes(0, 1, 15, 255, first=n) for n in range(5)}
VOC_NAMES = list(VOC_MAPS)
IN_LISTS = {"train": 4, "val": 1}


def voc(write: Callable[[Map], Any], folder: str = "SegmentationClass", images: str = "JPEGImages") -> Files:
    files: Files = {}
    for number, (name, label_map) in enumerate(VOC_MAPS.items()):
        files[f"{images}/{name}.jpg"], files[f"{folder}/{name}.png"] = photo(number), write(label_map)
    return files


def lists(pattern: str = "{}", folder: str = "ImageSets/Segmentation/", train: str = "train") -> Files:
    text = [pattern.replace("{}", name) + "\n" for name in VOC_NAMES]
    return {f"{folder}{train}.txt": "".join(text[:4]), f"{folder}val.txt": text[4]}


def colored(mask: Map) -> Map:
    return VOC_PALETTE[mask]


def plain(mask: Map) -> Map:
    return mask


def stretched(mask: Map) -> Map:
    return np.select([mask == 1, mask == 15, mask == 255], [17, 182, 255]).astype(np.uint8)


PATHS = "/JPEGImages/{}.jpg /SegmentationClassAug/{}.png"
SBD = {"train.txt": "2007_000000\n", "img/2007_000000.jpg": photo(), "cls/2007_000000.mat": b"MATLAB 5.0 MAT-file"}


def nested(files: Files, above: str) -> Files:
    return {f"{above}/{name}": content for name, content in files.items()}


def converted(*orders: tuple[str, ...]) -> Files:
    """What labelme_json_to_dataset writes: each image with its own numbers."""
    files: Files = {}
    for number, names in enumerate(orders):
        own = f"img_{number}_json/"
        files |= {f"{own}img.png": photo(number), f"{own}label.png": in_palette(stripes(0, 1, 2, first=number))}
        files |= {f"{own}label_viz.png": photo(9), f"{own}label_names.txt": "\n".join(("_background_", *names))}
    return files


OF_VOC = {"maps": VOC_MAPS, "names": VOC.names}
PASCAL_VOC = [
    Report("divamgupta/image-segmentation-keras#257", voc(colored), **OF_VOC),
    Report("DrSleep/tensorflow-deeplab-resnet#189", voc(plain, "SegmentationClassAug"), **OF_VOC),
    Report("DrSleep/tensorflow-deeplab-resnet#189 in three channels", voc(gray_rgb), **OF_VOC),
    Report(
        "DrSleep/tensorflow-deeplab-lfov#13",
        voc(plain, "SegmentationClassAug")
        | {f"SegmentationClass/{VOC_NAMES[0]}.png": in_palette(VOC_MAPS[VOC_NAMES[0]])}
        | lists(PATHS),
        **OF_VOC,
        splits=IN_LISTS,
    ),
    Report(
        "CVI-SZU/CLIMS#19",
        voc(in_palette) | lists("/JPEGImages/{}.jpg /SegmentationClass/{}.png"),
        **OF_VOC,
        splits=IN_LISTS,
    ),
    Report(
        "MendelXu/zsseg.baseline#11",
        voc(plain, "SegmentationClassAug") | lists(folder=""),
        **OF_VOC,
        splits=IN_LISTS,
    ),
    Report(
        "hszhao/semseg#72",
        voc(plain, "SegmentationClassAug")
        | {"ImageSets/Segmentation/train.txt": VOC_NAMES[3]}
        | lists(train="trainaug"),
        **OF_VOC,
        splits=IN_LISTS,
    ),
    Report("kaixin96/PANet#28", SBD, error=r"\.mat files are not read, save them as PNG"),
    Report("visinf/1-stage-wseg#17", voc(in_palette, "cls_png", "img") | lists(folder=""), **OF_VOC, splits=IN_LISTS),
    Report(
        "shahsohil/sunets#5",
        voc(in_palette) | {n: c for n, c in voc(stretched, "SegmentationClass/pre_encoded").items() if "pre_" in n},
        **OF_VOC,
    ),
    Report("DrSleep/tensorflow-deeplab-resnet#38", nested(voc(in_palette), "VOCdevkit/VOC2012"), **OF_VOC),
    Report(
        "divamgupta/image-segmentation-keras#117",
        voc(lambda mask: np.array(Image.fromarray(colored(mask)).convert("L"))),
        error="holds the values 38, 147, 220, and all masks hold values that the published .*; name their classes",
    ),
    Report(
        "wkentaro/labelme#749",
        {**voc(in_palette, "SegmentationClassPNG"), "class_names.txt": "__ignore__\n"},
        error=r"class_names\.txt: .* got 0; name each label in a line of labels\.txt, and run labelme2voc\.py again",
    ),
    Report(
        "wkentaro/labelme#479",
        converted(("apple", "pea"), ("pea", "apple")),
        error="the class number 1 is 'pea', but in .* it is 'apple'; convert all JSON files together by labelme2voc",
    ),
    Report(
        "wkentaro/labelme#479 with the same labels in all",
        converted(("apple", "pea"), ("apple", "pea")),
        {f"img_{n}_json": stripes(0, 1, 2, first=n) for n in range(2)},
        ("_background_", "apple", "pea"),
    ),
]

CVAT_MAPS = {f"frame_{n:06}": stripes(0, 1, 2, first=n) for n in range(5)}
FRAMES = list(CVAT_MAPS)
CVAT_COLORS = np.array([(0, 0, 0), (48, 112, 32), (176, 112, 32)], dtype=np.uint8)
LABELMAP = "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:48,112,32::\ndog:176,112,32::\n"
CVAT_NAMES = ("background", "cat", "dog")
OF_CVAT = {"maps": CVAT_MAPS, "names": CVAT_NAMES}


def cvat(write: Callable[[Map], Any], labelmap: str = LABELMAP, name: str = "labelmap.txt", **subsets: slice) -> Files:
    files: Files = {name: labelmap}
    for number, (frame, label_map) in enumerate(CVAT_MAPS.items()):
        files |= {f"JPEGImages/{frame}.jpg": photo(number), f"SegmentationClass/{frame}.png": write(label_map)}
    texts = {subset: "\n".join(FRAMES[some]) for subset, some in subsets.items()}
    return files | {f"ImageSets/Segmentation/{subset}.txt": text for subset, text in texts.items()}


def cats(mask: Map) -> Map:
    return CVAT_COLORS[mask]


def white(mask: Map) -> Map:
    return np.where(mask > 0, 255, 0).astype(np.uint8)


def tool_in_form(folder: str, labels: str, images: str = "imgsFine/leftImg8bit") -> Files:
    files: Files = {"label_colors.txt": labels}
    for number, (frame, label_map) in enumerate(CVAT_MAPS.items()):
        files[f"{images}/{folder}/{frame}_leftImg8bit.png"] = photo(number)
        files[f"gtFine/{folder}/{frame}_gtFine_labelIds.png"] = label_map
        files[f"gtFine/{folder}/{frame}_gtFine_color.png"] = cats(label_map)
    return files


LABEL_COLORS = "0 0 0 background\n48 112 32 cat\n176 112 32 dog\n"
WHITE = {name: (label_map > 0).astype(np.uint8) for name, label_map in CVAT_MAPS.items()}
DEFECT = LABELMAP.replace("cat:48,112,32::\ndog:176,112,32", "defect:255,255,255")
CVAT = [
    Report("cvat-ai/cvat#2032", cvat(cats), **OF_CVAT),
    Report(
        "cvat-ai/cvat#1736",
        cvat(cats, "cat:48,112,32::\nbackground:0,0,0::\ndog:176,112,32::\n"),
        {name: np.array([1, 0, 2], dtype=np.uint8)[label_map] for name, label_map in CVAT_MAPS.items()},
        ("cat", "background", "dog"),
    ),
    Report(
        "cvat-ai/cvat#6274",
        cvat(cats, "Bone:255,0,204::\nbackground:0,0,0::\n"),
        error=r"holds the color \(48, 112, 32\), \(176, 112, 32\), which has no meaning",
    ),
    Report("cvat-ai/cvat#7847", cvat(white, DEFECT), WHITE, ("background", "defect")),
    Report("cvat-ai/cvat#7847 in color", cvat(lambda mask: gray_rgb(white(mask)), DEFECT), WHITE),
    Report("cvat-ai/cvat#7847 by number", cvat(plain), **OF_CVAT),
    Report("IndustryEssentials/ymir#1166", cvat(cats, "background:00::\nroad:07::\n"), error="has the color '00'"),
    Report("open-edge-platform/datumaro#590", cvat(cats, name="label_map.txt"), **OF_CVAT),
    Report("cvat-ai/cvat#2178", cvat(cats, "a:0,0,0::\nbackground:0,0,0::\n"), error="'a' and 'background' have the s"),
    Report(
        "open-edge-platform/datumaro#543",
        {name: content for name, content in cvat(cats).items() if "JPEG" not in name},
        error="has masks in SegmentationClass/ but no images; export again with images, or put the images into",
    ),
    Report(
        "cvat-ai/cvat#9433",
        cvat(cats, Train=slice(3), Validation=slice(3, 4), Test=slice(4, 5)),
        **OF_CVAT,
        splits={"train": 3, "val": 1, "test": 1},
    ),
    Report("cvat-ai/cvat#3758", tool_in_form("default", LABEL_COLORS), **OF_CVAT),
    Report("cvat-ai/cvat#6269", tool_in_form("train", LABEL_COLORS, "leftImg8bit"), **OF_CVAT),
    Report("cvat-ai/cvat#6600", tool_in_form("default", "background\ncat\ndog\n"), **OF_CVAT),
]

ROBOFLOW_MAPS = {f"img{n}_jpg.rf.{n}a1b2c": stripes(0, 1, 2, first=n) for n in range(5)}
SHARES = {"train": slice(3), "valid": slice(3, 4), "test": slice(4, 5)}
TABLE = "Pixel Value, Class\n0, background\n1, car\n2, road\n"
ROBOFLOW_NAMES = ("background", "car", "road")
OF_ROBOFLOW = {"maps": ROBOFLOW_MAPS, "names": ROBOFLOW_NAMES, "splits": {"train": 3, "val": 1, "test": 1}}


def roboflow(write: Callable[[Map], Any], table: str = TABLE, pattern: str = "{}/{}.jpg {}/{}_mask.png") -> Files:
    files: Files = {"README.roboflow.txt": "Exported"}
    for split, some in SHARES.items():
        files[f"{split}/_classes.csv"] = table
        for number, name in enumerate(list(ROBOFLOW_MAPS)[some]):
            image, mask = (path.format(split, name) for path in pattern.split())
            files |= {image: photo(number), mask: write(ROBOFLOW_MAPS[name])}
    return files


def without_tables(files: Files) -> Files:
    return {name: content for name, content in files.items() if not name.endswith(".csv")}


BLACK_AND_WHITE = {name: (label_map > 0).astype(np.uint8) for name, label_map in ROBOFLOW_MAPS.items()}
IN_JPEG = "{}/{}.jpg {}/{}_mask.jpg"
FROM_ONE = {f"{n}": stripes(1, 2, first=n) for n in range(2)}
ROBOFLOW = [
    Report("luxonis/luxonis-ml: no space in the table", roboflow(plain, TABLE.replace(", ", ",")), **OF_ROBOFLOW),
    Report(
        "luxonis/luxonis-ml: a mask that is no image",
        roboflow(plain) | {"train/b.jpg": photo(), "train/b_mask.png": b"not an image"},
        error=r"b_mask\.png: is text, not an image",
    ),
    Report(
        "mantasu/glasses-detector#23", roboflow(jpeg, pattern=IN_JPEG), error="is in a lossy format, whose compression"
    ),
    Report(
        "mantasu/glasses-detector#23 in black and white",
        roboflow(lambda mask: jpeg(white(mask)), "Pixel Value, Class\n0, face\n255, glasses\n", IN_JPEG),
        BLACK_AND_WHITE,
        ("face", "glasses"),
    ),
    Report("roboflow/roboflow-python#165", roboflow(plain, TABLE + "3, door\n"), ROBOFLOW_MAPS),
    Report("roboflow/notebooks#23: in a folder of its own", nested(roboflow(plain), "Balloon-1"), **OF_ROBOFLOW),
    Report("DLopatkin/Heracleum-Dataset#1", roboflow(gray_rgb), **OF_ROBOFLOW),
    Report(
        "a README: folders of their own and one table",
        without_tables(roboflow(plain, pattern="{}_images/{}.jpg {}_masks/{}_mask.png")) | {"_classes.csv": TABLE},
        **OF_ROBOFLOW,
    ),
    Report(
        "Jordan-Pierce/yolo-tiling#27",
        roboflow(plain, pattern="{}/images/{}.jpg {}/masks/{}_mask.png"),
        **OF_ROBOFLOW,
    ),
    Report("open-mmlab/mmsegmentation#3411", without_tables(roboflow(plain)), ROBOFLOW_MAPS),
    Report(
        "Junjue-Wang/LoveDA#25",
        {f"images/{name}.png": photo() for name in FROM_ONE}
        | {f"masks/{name}.png": label_map for name, label_map in FROM_ONE.items()}
        | {"_classes.csv": "Pixel Value, Class\n1, background\n2, building\n"},
        FROM_ONE,
        ("class_0", "background", "building"),
    ),
    Report(
        "CompVis/taming-transformers#8",
        roboflow(lambda mask: np.where(mask == 2, 7, mask).astype(np.uint8)),
        error="holds the value 7, which has no meaning in this data set; expected 0 to 2, 255",
    ),
]


@pytest.mark.parametrize("report", [*PASCAL_VOC, *CVAT, *ROBOFLOW], ids=lambda report: report.number.replace(" ", "-"))
def test_what_users_have_reported_is_read_or_refused_with_a_reason(report: Report, tmp_path) -> None:
    for name, content in report.files.items():
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str | bytes):
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        else:
            (content if isinstance(content, Image.Image) else Image.fromarray(content)).save(path)
    if report.error:
        with pytest.raises(DataError, match=report.error) as caught:
            open_folder(tmp_path / "data")
        assert "\n" not in str(caught.value)
        return
    folder = open_folder(tmp_path / "data")
    folder.check_images()
    pairs = [pair for pairs in folder.splits.values() for pair in pairs]
    stems = {pair: pair.image.stem.removesuffix("_leftImg8bit") for pair in pairs}
    own = {pair.image.parent.name if stem == "img" else stem: pair for pair, stem in stems.items()}
    for name, expected in report.maps.items():
        np.testing.assert_array_equal(folder.read_pair(own[name])[1], expected)
    assert folder.classes.names == report.names or not report.names
    assert {split: len(pairs) for split, pairs in folder.splits.items()} == report.splits or not report.splits
