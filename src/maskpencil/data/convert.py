"""Write copies of data sets: in the format of another tool, or without the faults that a check found."""

import csv
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from maskpencil.classes import IGNORE_INDEX, ClassSet
from maskpencil.data.check.images import superfluous_copies
from maskpencil.data.check.inspect import PairFacts
from maskpencil.data.check.masks import leaves_out_absent, same_names
from maskpencil.data.check.report import CheckReport
from maskpencil.data.drawing import Drawing, mask_pixels
from maskpencil.data.folder import DataFolder
from maskpencil.data.formats import WRITERS, LabeledImage
from maskpencil.data.formats.base import FreeNames, refuse_names, write_folder
from maskpencil.data.masks.encoding import MaskEncoding
from maskpencil.errors import ConfigError, DataError
from maskpencil.files import folder_written_whole, written_whole
from maskpencil.images import Header
from maskpencil.label_maps import LabelMap, turned_as_shown
from maskpencil.plain_text import csv_cell


def convert(data: DataFolder, out: Path, file_format: str, *, report: Callable[[int, int], None] | None = None) -> int:
    """Write all pairs of a data set to `out` in the format of another tool, and return the number of pairs.

    Args:
        data: the data set.
        out: the folder to write, which must not exist or must be empty; it is written completely or not at all.
        file_format: a key of `formats.WRITERS`.
        report: called after each pair with the numbers of pairs (done, total).

    Raises:
        ConfigError: `file_format` is unknown.
        DataError: the format cannot hold the masks, or a mask cannot be read.
        OutputError: `out` cannot be written, is not empty, or another process is writing it.
    """
    if file_format not in WRITERS:
        raise ConfigError(f"the format must be one of {', '.join(WRITERS)}, but got {file_format!r}")
    pairs = [(split, pair) for split, pairs in data.splits.items() for pair in pairs]
    refuse_names((pair.image for _, pair in pairs), file_format)
    names = FreeNames()
    with folder_written_whole(out, fresh=True) as folder, WRITERS[file_format](folder, data.classes) as add:
        for done, (split, pair) in enumerate(pairs, start=1):
            _, label_map = data.read_pair(pair)
            add(LabeledImage(split, names.free(split, pair.name), pair.image, label_map))
            if report:
                report(done, len(pairs))
    return len(pairs)


LOG = "changes.csv"
LEFT_OUT = {
    "images-without-mask": "left out: has no mask",
    "masks-without-image": "left out: has no image",
    "masks-not-read": "left out: its image has another mask",
    "images-not-read": "left out: is named after another image",
    "broken-links": "left out: points to a file that does not exist",
    "annotations-not-understood": "left out with its image: cannot be understood",
    "annotations-without-area": "left out: has no area",
    "annotations-without-outline": "left out: has no outline",
    "annotations-of-unlisted-images": "left out: its image is not listed",
    "annotations-outside": "cut off at the edge of the image",
}
"""The texts in changes.csv for files and annotations that `write_fixed` leaves out or cuts off, by kind of fault."""

SAME_SHAPE = 0.02
"""The largest relative difference in aspect ratio at which a mask is scaled to its image."""


@dataclass(frozen=True)
class Change:
    """A change that `write_fixed` made, and the file that it concerns."""

    file: str
    change: str


def write_fixed(report: CheckReport, out: Path, *, progress: Callable[[int, int], None] | None = None) -> list[Change]:
    """Write the usable part of a checked data set to `out`, list every change in `out`/changes.csv, and return them.

    `out` must not exist or must be empty, and is written completely or not at all. Images are copied, upright if EXIF
    rotates them; masks become palette PNGs of class numbers; a classes.yaml names the classes. Masks are rotated or
    scaled to the size of their image, values without a class become ignored pixels, and class numbers that start at 1
    are changed to start at 0.

    Left out are files and annotations that cannot be read, images without a mask, masks with only ignored pixels or
    with another aspect ratio than their image, and all but one of several copies of an image, see
    `superfluous_copies`.

    Args:
        report: the result of the check.
        out: the folder to write.
        progress: called after each pair with the numbers of pairs (done, total).

    Raises:
        DataError: the encoding of the masks is unknown, or no pair is left.
        OutputError: the copy cannot be written, `out` is not empty, or another process is writing it.
    """
    if report.encoding is None:
        raise DataError(
            f"{report.root}: the encoding of the masks is unknown, so no copy is written; correct the errors in "
            "the report of the check"
        )
    encoding, changes = _renumbered(report, report.encoding)
    copies = superfluous_copies(report.seen)
    names = FreeNames()
    with folder_written_whole(out, fresh=True) as folder:
        with write_folder(folder, encoding.classes) as add:
            for done, view in enumerate(report.seen, start=1):
                label_map, texts = (
                    _mended(view, encoding) if id(view) not in copies else (None, ["left out: a copy of another image"])
                )
                changes += [
                    Change(str(view.pair.image if label_map is None else view.pair.mask), change) for change in texts
                ]
                if label_map is not None:
                    name = names.free(view.split, view.pair.name)
                    if name != view.pair.name:
                        changes.append(Change(str(view.pair.image), f"renamed to {name}"))
                    if view.image.header and view.image.header.orientation != 1:
                        change = "its pixels rotated as EXIF says, the EXIF orientation removed"
                        changes.append(Change(str(view.pair.image), change))
                    add(LabeledImage(view.split, name, view.pair.image, label_map))
                if progress:
                    progress(done, len(report.seen))
            if not names.taken:
                raise DataError(
                    f"{report.root}: has no usable pair of image and mask, so no copy is written; correct the faults "
                    "in the report of the check"
                )
        for fault in report.faults:
            if fault.kind in LEFT_OUT:
                changes += [Change(file, LEFT_OUT[fault.kind]) for file in fault.files]
        with written_whole(folder / LOG) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            rows = ((csv_cell(change.file), csv_cell(change.change)) for change in changes)
            csv.writer(file).writerows([("file", "change"), *rows])
    return changes


def _renumbered(report: CheckReport, encoding: MaskEncoding) -> tuple[MaskEncoding, list[Change]]:
    """Return a corrected encoding, and the changes.

    Classes whose names differ only in case and spaces become one class. If the class numbers certainly start at 1, 1 is
    subtracted from each. Otherwise, classes without a pixel are left out and the other classes are renumbered, unless a
    class file, a format or a published palette names the classes, see `leaves_out_absent`.
    """
    classes, changes = encoding.classes, list[Change]()
    meaning = list(range(len(classes)))
    for first, *others in same_names(classes):
        for name in others:
            meaning[classes.index(name)] = classes.index(first)
            changes.append(Change(str(report.root), f"the class {name!r} joined with {first!r}"))
    table = {value: index if index == IGNORE_INDEX else meaning[index] for value, index in encoding.table.items()}
    wanted = sorted({*meaning})
    if any(fault.kind == "off-by-one" and fault.severity == "error" for fault in report.faults):
        table = {value + 1 if index != IGNORE_INDEX else value: index for value, index in table.items()}
        changes.append(Change(str(report.root), "1 subtracted from all class numbers"))
    elif leaves_out_absent(encoding, declared=report.declared):
        seen = {name for name, count in report.classes.items() if count.pixels}
        absent = [index for index in wanted if classes.names[index] not in seen]
        wanted = [index for index in wanted if index not in absent]
        if absent == [0]:
            changes.append(Change(str(report.root), "1 subtracted from all class numbers"))
        elif absent:
            few = ", ".join(map(str, absent[:6])) + (", ..." if absent[6:] else "")
            changes.append(
                Change(str(report.root), f"class numbers without a pixel left out ({few}), others renumbered")
            )
    if not changes:
        return encoding, []
    place = {index: number for number, index in enumerate(wanted)}
    kept = ClassSet(
        tuple(" ".join(classes.names[index].split()) for index in wanted),
        tuple(classes.palette[index] for index in wanted),
    )
    codes = {value: place.get(index, IGNORE_INDEX) for value, index in table.items()}
    return replace(encoding, classes=kept, codes=codes), changes


def _mended(view: PairFacts, encoding: MaskEncoding) -> tuple[LabelMap | None, list[str]]:
    """Read the label map of a pair and correct its faults.

    Return the label map, or None if the pair must be left out, and descriptions of the changes.
    """
    if view.image.error or view.image.header is None:
        return None, [f"left out: the image {view.image.error}"]
    if view.mask.error or view.mask.facts is None:
        return None, [f"left out: its mask {view.mask.error}"]
    texts = []
    values = view.mask.facts.values_for(encoding.kind)
    strange = [] if encoding.nearest else [value for value in values if value not in encoding.table]
    if strange:
        encoding = replace(encoding, codes={**encoding.table, **dict.fromkeys(strange, IGNORE_INDEX)})
        texts.append(
            f"{sum(values[value] for value in strange)} pixels of {encoding.shown(sorted(strange)[:5])} are ignored"
        )
    if encoding.nearest and any(value not in encoding.table for value in values):
        texts.append("compressed or smoothed: each pixel took the nearest class")
    try:
        label_map = encoding.decode(mask_pixels(view.pair.mask), view.pair.mask)
    except DataError as error:  # such as colors among numbers
        return None, [f"left out: its mask {str(error).removeprefix(f'{view.pair.mask}: ')}"]
    if (label_map == IGNORE_INDEX).all():
        return None, ["left out: its mask is ignored throughout"]
    fitted, change = _fitted(label_map, view.image.header, drawn=isinstance(view.pair.mask, Drawing))
    return fitted, [*texts, *change]


def _fitted(label_map: LabelMap, header: Header, *, drawn: bool) -> tuple[LabelMap | None, list[str]]:
    """Rotate or scale a label map to the size of its upright image, and describe the change.

    `header` is the header of the image, and `drawn` is whether the mask was drawn from shapes. The returned label map
    is None if the aspect ratios of mask and image differ, or if it is unknown whether the shapes are rotated.
    """
    height, width = header.shown_size
    if label_map.shape == (height, width):
        return label_map, []
    if label_map.shape == header.size and drawn:  # only the stated size may be as stored, and the shapes as shown
        return None, ["left out: EXIF rotates its image, and it is unknown whether its shapes are rotated too"]
    if label_map.shape == header.size:
        return turned_as_shown(label_map, header.orientation), ["rotated as EXIF rotates the image"]
    found = f"{label_map.shape[1]} x {label_map.shape[0]}"
    if abs(label_map.shape[1] / label_map.shape[0] * height / width - 1) > SAME_SHAPE:
        return None, [f"left out: its mask is {found}, with another aspect ratio than {width} x {height}"]
    scaled = Image.fromarray(label_map).resize((width, height), Image.Resampling.NEAREST)
    return np.asarray(scaled), [f"scaled from {found} to {width} x {height}"]
