"""Read Cityscapes, and the data sets that CVAT and Datumaro export in the format of Cityscapes.

    leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png
    gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png

Source: Cordts et al., "The Cityscapes Dataset for Semantic Urban Scene Understanding", CVPR 2016;
https://github.com/mcordts/cityscapesScripts; https://docs.cvat.ai/docs/dataset_management/formats/format-cityscapes
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from maskpencil.classes import IGNORE_INDEX
from maskpencil.data.class_files import read_label_colors
from maskpencil.data.formats.base import Recognized, has_other_classes
from maskpencil.data.layout import Found, Layout, image_files, layout_of
from maskpencil.data.layout.splits import SPLIT_ALIASES
from maskpencil.data.masks.encoding import MaskEncoding, color_number
from maskpencil.errors import DataError
from maskpencil.known_classes import CITYSCAPES, CITYSCAPES_LABELS, CITYSCAPES_TRAIN_IDS

IMAGES, IMAGE_ENDING = "leftImg8bit", "_leftImg8bit"
FINE, COARSE = "gtFine", "gtCoarse"
LABELS = "label_colors.txt"
"""The file that lists the labels in exports of CVAT and Datumaro, which may differ from Cityscapes' labels."""

STARTS = (FINE, COARSE, IMAGES, "imgsFine")
"""The beginnings of folder names, one of which every Cityscapes data folder has among its subfolders."""

DEEP = ("", "*/")
"""The beginnings of the patterns that find `leftImg8bit/` and `gtFine/` one or two levels below a subfolder of the data
folder, since each archive may be unpacked into its own folder."""

MAX_FOLDERS = 20
"""A data folder with more subfolders is not read as Cityscapes."""

LABEL_IDS = MaskEncoding(
    "index",
    CITYSCAPES,
    codes={label_id % 256: train_id for label_id, train_id in CITYSCAPES_TRAIN_IDS.items()},  # -1 is 255 in a byte
)
TRAIN_IDS = MaskEncoding(
    "index", CITYSCAPES, codes={IGNORE_INDEX: IGNORE_INDEX} | {index: index for index in range(len(CITYSCAPES))}
)
_NOT_EVALUATED = (
    *((0, 0, 0), (111, 74, 0), (81, 0, 81), (250, 170, 160), (230, 150, 140), (180, 165, 180), (150, 100, 100)),
    *((150, 120, 90), (0, 0, 90), (0, 0, 110)),
)
"""The colors of labels that the benchmark does not evaluate.

Pole groups and license plates are not included, since they have the colors of poles and cars.
"""

COLORS = MaskEncoding(
    "color",
    CITYSCAPES,
    codes={color_number(color): IGNORE_INDEX for color in _NOT_EVALUATED}
    | {color_number(color): index for index, color in enumerate(CITYSCAPES.palette)},
)

BY_KIND = {"labelIds": LABEL_IDS, "labelTrainIds": TRAIN_IDS, "color": COLORS}
"""The encoding of masks by the last word of their names, in order of preference.

labelIds are the published masks. Users create labelTrainIds themselves, with a table that they may change. Colors do
not distinguish all labels.
"""


def recognize(root: Path) -> Recognized | None:
    """Read `root` if it holds `leftImg8bit/` and masks in `gtFine/` or `gtCoarse/`; otherwise return None.

    If both folders of masks exist, `gtFine/` is read. The folders may also be in subfolders of `root`, as after
    unpacking each archive into its own folder. None is also returned if a classes.yaml does not name exactly 19
    classes.

    If `root` holds a label_colors.txt, the data set is an export of CVAT or Datumaro, and each line of this file is a
    class. Otherwise the data set is Cityscapes itself. Its test split is left out, since its masks were never published
    and the masks in `gtFine/test` are dummies. `train_extra` is used for training.

    Raises:
        DataError: no image has a mask, for example if there is only the test split, or label_colors.txt is not a list
            of colors and labels.
    """
    folders = [path for path in sorted(root.iterdir()) if path.is_dir()] if root.is_dir() else []
    if len(folders) > MAX_FOLDERS or not any(folder.name.startswith(STARTS) for folder in folders):
        return None
    images = _find(folders, IMAGES)
    found = [(name, folder) for name in (FINE, COARSE) if (folder := _find(folders, name))]
    if not found or images is None or has_other_classes(root, len(CITYSCAPES)):
        return None
    (name, folder), *others = found
    if (root / LABELS).is_file():
        return _of_tools(root, images, folder, name)
    masks = {split: _files(folder / split) for split in ("train", "train_extra", "val")}
    every = [each for files in masks.values() for each in files]
    kind = next((kind for kind in BY_KIND if any(each.endswith(f"_{name}_{kind}") for each in every)), None)
    has_test = (images / "test").is_dir()
    if kind is None:
        if not has_test or any((images / split).is_dir() for split in masks):
            return None
        raise DataError(
            f"{root}: holds only the test split of Cityscapes, whose masks were never published; add the folders "
            "train/ and val/"
        )
    pairs = Found()
    for split, files in masks.items():
        own = _ending_with(IMAGE_ENDING, _files(images / split))
        pairs.match(split.removesuffix("_extra"), own, _ending_with(f"_{name}_{kind}", files))
    layout = layout_of(root, pairs)
    notes = ["test left out, its masks are dummies"] if has_test else []
    notes += [f"{other}/ left out" for other, _ in others]
    if kind == "color":
        notes.append("groups of poles are read as poles and license plates as cars, since their colors are the same")
    return Recognized("Cityscapes", replace(layout, notes=(*notes, *layout.notes)), BY_KIND[kind], published=True)


def recognize_masks(layout: Layout) -> Recognized | None:
    """Recognize Cityscapes' masks in folders with other names, by an ending of all mask names such as _gtFine_labelIds.

    `folder.find_folder` calls this function if no reader recognizes a folder. Return None if the endings differ.

    Args:
        layout: the pairs of images and masks.
    """
    masks = [pair.mask for pairs in layout.splits.values() for pair in pairs]
    for kind, encoding in BY_KIND.items():
        ends = tuple(f"_{name}_{kind}" for name in (FINE, COARSE))
        if masks and all(isinstance(mask, Path) and mask.stem.endswith(ends) for mask in masks):
            return Recognized("Cityscapes", layout, encoding)
    return None


def _of_tools(root: Path, images: Path, folder: Path, name: str) -> Recognized | None:
    """Read an export of CVAT or Datumaro in the folders of Cityscapes.

    Return None if no mask name ends with labelIds or labelTrainIds. The subsets of the export may have any names; a
    subset named after a split, such as train, becomes that split. A mask value is a line number of label_colors.txt,
    see `encoding_by_labels`.

    Args:
        root: the folder of the data set.
        images: the folder `leftImg8bit`.
        folder: the folder of masks.
        name: the name of the folder of masks, gtFine or gtCoarse.

    Raises:
        DataError: no image has a mask, or label_colors.txt is not a list of colors and labels.
    """
    encoding = encoding_by_labels(root)
    files, names = image_files(folder), {split: split for split in SPLIT_ALIASES}
    names |= {alias: split for split, aliases in SPLIT_ALIASES.items() for alias in aliases}
    kind = next((kind for kind in ("labelIds", "labelTrainIds") if any(each.endswith(kind) for each in files)), None)
    if kind is None:
        return None
    found = Found()
    subsets = {each.partition("/")[0] for each in files}
    for subset in sorted(subsets):
        masks = {each.removeprefix(f"{subset}/"): path for each, path in files.items() if each.startswith(f"{subset}/")}
        own = _ending_with(IMAGE_ENDING, _files(images / subset))
        found.match(names.get(subset.lower(), ""), own, _ending_with(f"_{name}_{kind}", masks))
    name = "Cityscapes" if encoding is LABEL_IDS else "Cityscapes' form"
    return Recognized(name, layout_of(root, found), encoding)


def encoding_by_labels(root: Path) -> MaskEncoding:
    """Return the encoding of masks whose values are line numbers, from 0, in the label_colors.txt in `root`.

    Return `LABEL_IDS`, the encoding of Cityscapes, if there is no such file, or if it lists the labels of Cityscapes in
    their order.

    Raises:
        DataError: the file is not a list of colors and labels, such as CamVid's label_colors.txt.
    """
    path = root / LABELS
    if not path.is_file():
        return LABEL_IDS
    try:
        classes = read_label_colors(path)
    except DataError as error:
        raise DataError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from error
    if [*map(_plain, classes.names)] == [*map(_plain, CITYSCAPES_LABELS[: len(classes)])]:
        return LABEL_IDS
    return MaskEncoding("index", classes, codes={IGNORE_INDEX: IGNORE_INDEX} | {i: i for i in range(len(classes))})


def _plain(name: str) -> str:
    return "".join(name.lower().split())  # Datumaro writes "trafficlight" for "traffic light"


def _find(folders: Sequence[Path], name: str) -> Path | None:
    """Return the folder called `name` among `folders`, or else up to two levels below them; None if it is missing."""
    inside = (path for above in DEEP for folder in folders for path in sorted(folder.glob(f"{above}{name}")))
    return next((path for path in (*(each for each in folders if each.name == name), *inside) if path.is_dir()), None)


def _files(folder: Path) -> dict[str, Path]:
    return image_files(folder) if folder.is_dir() else {}


def _ending_with(ending: str, files: Mapping[str, Path]) -> dict[str, Path]:
    """Return the files whose names end with `ending`, as {name without `ending`: path}."""
    return {name.removesuffix(ending): path for name, path in files.items() if name.endswith(ending)}
