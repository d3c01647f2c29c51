"""Read and write CVAT's "Segmentation mask 1.1": masks in the colors of labelmap.txt, in the folders of Pascal VOC.

    labelmap.txt                        name:red,green,blue:parts:actions
    ImageSets/Segmentation/default.txt  one name per line; train.txt, val.txt and test.txt are splits
    JPEGImages/NAME.jpg                 if the export includes images
    SegmentationClass/NAME.png          the class of each pixel, in the colors of labelmap.txt
    SegmentationObject/NAME.png         the objects, in Pascal VOC's colors; written for CVAT's importer, not read

Datumaro calls this format "VOC segmentation". Source: https://docs.cvat.ai/docs/dataset_management/formats/format-smask
CVAT's importer, which uses Datumaro's VOC extractor, has further requirements for a ZIP file of the folder: every color
in a mask must be in labelmap.txt, palettes are ignored, and names of list files must not contain "_". If an image has
no file in SegmentationObject/, each color of its file in SegmentationClass/ becomes a mask in CVAT, including the
color of ignored pixels.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from maskpencil.classes import IGNORE_INDEX, ClassSet
from maskpencil.data.class_files import IGNORED_LABELS, Label, classes_of_labelmap, read_labelmap
from maskpencil.data.formats.base import AddImage, LabeledImage, Recognized
from maskpencil.data.formats.voc import IMAGES, MASKS, VocForm, pair_by_lists
from maskpencil.data.layout import image_files, layout_of
from maskpencil.data.masks.encoding import MaskEncoding, color_number
from maskpencil.errors import DataError
from maskpencil.images import IMAGE_SUFFIXES, read_header, write_image
from maskpencil.known_classes import voc_color
from maskpencil.label_maps import IGNORE_COLOR, read_mask_pixels

LABELMAPS = ("labelmap.txt", "label_map.txt")
"""The possible names of the label file, which older documentation of Datumaro calls label_map.txt."""


def recognize(root: Path) -> Recognized | None:
    """Read `root` if it holds labelmap.txt and SegmentationClass/; otherwise return None.

    The images are in JPEGImages/, in images/ or directly in `root`. A label "ignored" marks ignored pixels. The values
    of gray masks are the gray colors of labels, such as 7 for a label with the color 7,7,7. If a value is not the color
    of a label, the values are the numbers of labels: their lines in labelmap.txt, from 0.

    Raises:
        DataError: there are no images, no image has a mask, labelmap.txt is not in its format, or two labels have the
            same color and the masks are in colors.
    """
    labelmap = next((root / name for name in LABELMAPS if (root / name).is_file()), None)
    if labelmap is None or not (root / MASKS).is_dir():
        return None
    labels = read_labelmap(labelmap)
    images, masks = _images(root), image_files(root / MASKS)
    if masks and not images:
        raise DataError(
            f"{root}: has masks in {MASKS}/ but no images; export again with images, or put the images into {IMAGES}/"
        )
    found, notes = pair_by_lists(root, images, masks)
    layout = layout_of(root, found, use_lists=False)
    first, *others = _encodings(labelmap, labels, next(iter(masks.values())))
    layout = replace(layout, notes=(*notes, *layout.notes))
    return Recognized("CVAT segmentation masks", layout, first, tuple(others))


def _images(root: Path) -> dict[str, Path]:
    """Return the images as {name without suffix: path}."""
    folder = next((root / name for name in (IMAGES, "images") if (root / name).is_dir()), None)
    if folder:
        return image_files(folder)
    files = sorted(path for path in root.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    return {path.stem: path for path in files}


def _encodings(labelmap: Path, labels: Sequence[Label], mask: Path) -> list[MaskEncoding]:
    """Return the possible encodings of the masks, the most likely encoding first.

    Masks are in colors if `mask` is an RGB image or has a palette of colors. The values of gray masks are either the
    gray colors of labels or the numbers of labels; if two labels have the same color, they are the numbers.

    Args:
        labelmap: the path of labelmap.txt, for messages.
        labels: the labels in labelmap.txt.
        mask: one of the masks, which shows whether the masks are in colors.

    Raises:
        DataError: two labels have the same color, and the masks are in colors.
    """
    classes = classes_of_labelmap(labelmap, labels)
    meanings = [IGNORE_INDEX if label.name in IGNORED_LABELS else classes.index(label.name) for label in labels]
    by_number = MaskEncoding("index", classes, codes={IGNORE_INDEX: IGNORE_INDEX} | dict(enumerate(meanings)))
    mode = read_header(mask).mode
    in_palette = mode == "P" and _has_colors(mask)
    owners: dict[int, str] = {}
    for label in labels:
        owner = owners.setdefault(color_number(label.color), label.name)
        if owner != label.name and (in_palette or mode.startswith("RGB")):
            raise DataError(
                f"{labelmap}: {owner!r} and {label.name!r} have the same color, {label.color}, so the masks do not "
                "distinguish them; give each label its own color and export again"
            )
        if owner != label.name:
            return [by_number]
    by_color = MaskEncoding("color", classes, codes=dict(zip(owners, meanings, strict=True)))
    return [by_color] if in_palette else [by_color, by_number]


def _has_colors(mask: Path) -> bool:
    """Return whether a mask has a palette other than the gray levels 0, 1, 2 and so on.

    If so, the colors identify the classes. With a palette of gray levels, the indices may identify the classes.
    """
    palette = read_mask_pixels(mask).palette
    return palette is not None and bool((palette != np.arange(len(palette))[:, None]).any())


BACKGROUND = "background"
"""The name of CVAT's label for pixels that belong to no object."""


@contextmanager
def write_cvat(root: Path, classes: ClassSet) -> Iterator[AddImage]:
    """Write copies of the images, and RGB masks of classes and of objects; a context manager, see `base.Writer`.

    All pixels of a class in an image become one object; background and ignored pixels do not belong to an object.
    Images without a split become CVAT's subset "default". All images are in one folder, see `voc.write_voc`. Repeated
    colors are replaced, see `base.with_distinct_colors`.

    Raises:
        DataError: labelmap.txt cannot hold the name of a class.
        OutputError: a file cannot be written.
    """
    form = VocForm(root, classes)
    class_colors = np.zeros((256, 3), dtype=np.uint8)
    class_colors[: len(classes)] = form.classes.colors
    class_colors[IGNORE_INDEX] = IGNORE_COLOR
    object_colors = np.zeros((256, 3), dtype=np.uint8)  # black means no object
    for index, name in enumerate(classes.names):
        if name != BACKGROUND:
            object_colors[index] = voc_color(index + 1)

    def add(image: LabeledImage) -> None:
        name = form.add(image)
        write_image(root / MASKS / f"{name}.png", class_colors[image.label_map])
        write_image(root / "SegmentationObject" / f"{name}.png", object_colors[image.label_map])

    yield add
    form.finish({split or "default": names for split, names in form.names.items()})
