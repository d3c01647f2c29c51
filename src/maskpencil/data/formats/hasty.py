"""Read Hasty (CloudFactory's Vision AI), versions 1.0 and 1.1: a JSON with polygons, masks and boxes of all images.

Sources: https://docs.cloudfactory.com/export-formats/hasty-json-v1.1 and, for the runs of masks, `hasty/label_utils.py`
in https://github.com/cloudfactory/hasty-python and https://community.hasty.ai/t/encoding-of-rle/20
"""

from pathlib import Path

import numpy as np

from maskpencil.classes import Color
from maskpencil.data.drawing import Bitmap, Polygon, box
from maskpencil.data.formats.annotations import Entry, checked_size, mentions, read_json
from maskpencil.data.formats.base import Recognized
from maskpencil.data.formats.drawn import Area, DrawnImages, color_of, files_in_format, polygon_of

KEYS = ("export_format_version", "label_classes", "images")
NOT_ANNOTATED = ("NEW", "SKIPPED")

EXPORT = "download the images from Hasty and put them there, in folders named as its data sets"


def recognize(root: Path, images: Path | None = None) -> Recognized | None:
    """Read `root` if JSON files below it are in Hasty's format; otherwise return None.

    Labels are drawn in the order of `z_index`. For each label its mask is drawn, or else its polygon, or else its box.
    The classes have the order and colors of the file. Images without labels and with the status new or skipped are left
    out.

    Args:
        root: the data folder.
        images: the folder of the images; if None, images are searched for below `root`.

    Raises:
        DataError: an entry is not in Hasty's format, or all images are missing.
    """
    files = files_in_format(root, {".json"}, lambda path: mentions(path, KEYS))
    contents = {path: content for path in files if isinstance(content := read_json(path), dict) and "images" in content}
    if not contents:
        return None
    found = DrawnImages(root, "Hasty", images)
    if found.has_masks:
        return None
    colors: dict[str, Color | None] = {}
    for path, fields in contents.items():
        content = Entry.of(path, "", fields)
        with found.collecting_errors():
            for entry in content.entries("label_classes", "label class"):
                colors.setdefault(entry.text("class_name"), color_of(entry.fields.get("color")))
            for image in content.entries("images", "image", id_key="image_name"):
                with found.collecting_errors():
                    _add(image, found)
    return found.recognized(EXPORT, labels=colors, colors={name: color for name, color in colors.items() if color})


def _add(entry: Entry, found: DrawnImages) -> None:
    labels = entry.entries("labels", "label")
    if not labels and entry.fields.get("image_status") in NOT_ANNOTATED:
        found.leave_out(
            entry, "{image|images} with the status new or skipped", "annotate them in Hasty and export again"
        )
        return
    folder = str(entry.fields.get("dataset_name") or ".")
    place = found.search.place
    image = found.find(entry, entry.text("image_name"), place / folder, place / "images" / folder)
    size = checked_size(entry.fields.get("height"), entry.fields.get("width"), str(entry))
    drawn: list[tuple[float, Area]] = []
    for label in labels:
        with found.collecting_errors():
            if shape := _shape(label):
                drawn.append((label.number("z_index", 0), Area(label.text("class_name"), shape)))
            else:
                found.without_area(label)
    if image:
        found.add(image, entry, [area for _, area in sorted(drawn, key=lambda each: each[0])], size=size)


def _shape(label: Entry) -> Polygon | Bitmap | None:
    """Return the mask, polygon or box of a label; None if it has no area.

    Raises:
        DataError: the label is not in Hasty's format.
    """
    if "mask" in label:
        return _mask(label)
    if "polygon" in label:
        return polygon_of(label.pairs("polygon"))
    if "bbox" not in label:
        return None
    left, top, right, bottom = _box(label)
    return polygon_of(box(left, top, right - left, bottom - top))


def _mask(label: Entry) -> Bitmap | None:
    """Decode a mask from its runs; return None if the mask is empty.

    A run is a pair of numbers: the index of its first pixel, counted from 1 along the rows of the mask's box, and its
    length in pixels.

    Raises:
        DataError: the pairs are not whole numbers, or a run leaves the box.
    """
    left, top, right, bottom = (int(value) for value in _box(label))
    height, width = checked_size(bottom - top, right - left, f"{label}: its box")
    runs = label.numbers("mask").astype(np.int64)
    if len(runs) % 2 or (runs < 0).any() or (label.numbers("mask") % 1).any():
        raise label.wrong("mask", "pairs of whole numbers, the first pixel and the length of each run")
    starts, ends = runs[::2] - 1, runs[::2] - 1 + runs[1::2]
    if (starts < 0).any() or (ends > height * width).any():
        raise label.wrong("mask", f"runs inside its box of {width} x {height} pixels")
    changes = np.zeros(height * width + 1, dtype=np.int64)
    np.add.at(changes, starts, 1)
    np.add.at(changes, ends, -1)
    mask = np.cumsum(changes[:-1]).reshape(height, width) > 0
    return Bitmap.of(0, mask, (top, left)) if mask.any() else None


def _box(label: Entry) -> list[float]:
    """Return the box of a label, [left, top, right, bottom] in pixels.

    Raises:
        DataError: the box is missing or does not have 4 numbers.
    """
    corners: list[float] = label.numbers("bbox").tolist()
    if len(corners) != 4:
        raise label.wrong("bbox", "4 numbers: left, top, right and bottom")
    return corners
