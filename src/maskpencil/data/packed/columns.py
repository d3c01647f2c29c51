"""Find the columns of images and masks of a Hugging Face data set by names, contents and metadata."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from maskpencil.classes import ClassSet
from maskpencil.errors import DataError
from maskpencil.images import read_image

MASK_WORDS = {
    *("annotation", "groundtruth", "gt", "label", "mask", "seg", "segmap", "segmentation", "semantic", "target"),
    "truth",
}
IMAGE_WORDS = {"image", "img", "input", "photo", "picture", "pixel", "rgb"}
OTHER_WORDS = {
    *("color", "colored", "colour", "coloured", "depth", "disparity", "edge", "instance", "normal", "overlay"),
    "panoptic",
}
"""Words in the names of columns with other images."""

MAX_MASK_COLORS = 256
CLEARLY = 4
"""The largest ratio between the number of colors of a mask and of its image."""

COUNTED_PIXELS = 100_000


@dataclass(frozen=True)
class Columns:
    """The names of the two columns that make pairs."""

    image: str
    mask: str


def choose_columns(root: Path, samples: Mapping[str, Sequence[bytes]]) -> Columns:
    """Find the columns of images and of masks among those that hold images: two or more, with some of them.

    The names decide; if they do not and there are two columns, the one with far fewer colors holds the masks.

    Raises:
        DataError: it remains open which they are.
    """
    masks = [name for name in samples if _words(name) & MASK_WORDS and not _words(name) & OTHER_WORDS]
    images = [name for name in samples if _words(name) & IMAGE_WORDS and not _words(name) & (MASK_WORDS | OTHER_WORDS)]
    if len(masks) == 1 and len(images) == 1:
        return Columns(images[0], masks[0])
    if len(samples) == 2:
        one, other = samples
        if len(masks) == 1:
            return Columns(other if masks == [one] else one, masks[0])
        if len(images) == 1:
            return Columns(images[0], other if images == [one] else one)
        fewer, more = sorted(samples, key=lambda name: _colors(samples[name]))
        if _colors(samples[fewer]) <= min(MAX_MASK_COLORS, _colors(samples[more]) / CLEARLY):
            return Columns(more, fewer)
    raise DataError(
        f"{root}: has images in the columns {', '.join(samples)}, and their names do not say which two are images "
        "and masks; keep two with the data set's select_columns, named 'image' and 'mask', and save it again"
    )


def classes_in(metadata: bytes, mask: str) -> ClassSet | None:
    """Return the classes of the masks that the `huggingface` entry of a schema's metadata names, if it does.

    Looked for are `id2label` or `names` of the column `mask`, `id2label` of the whole, and the class labels of lists,
    such as those of the objects in an image. A single label of an image does not describe its mask.
    """
    try:
        content = json.loads(metadata)
    except (ValueError, RecursionError):
        return None
    info = _at(content, "info")
    features = _at(info, "features")
    own = _at(features, mask)
    found = [_at(own, "id2label"), _at(own, "names"), _at(info, "id2label"), _at(content, "id2label")]
    in_lists = {names for names in _labels_in_lists(features) if names}
    if len(in_lists) == 1:
        found.append(list(in_lists.pop()))
    names = next((names for entry in found if (names := _names(entry))), None)
    if names is None:
        return None
    try:
        return ClassSet(names)
    except DataError:
        return None


def _words(name: str) -> set[str]:
    return {word.removesuffix("s") for word in re.findall("[a-z]+", name.lower())}


def _colors(contents: Sequence[bytes]) -> int:
    """Return the most colors that one of the images has."""
    counts = [0]
    for content in contents:
        pixels = read_image(content).reshape(-1, 3)
        some = pixels[:: max(1, len(pixels) // COUNTED_PIXELS)].astype(np.uint32)
        counts.append(len(np.unique(some[:, 0] << 16 | some[:, 1] << 8 | some[:, 2])))
    return max(counts)


def _at(content: Any, key: str) -> Any:
    return content.get(key) if isinstance(content, dict) else None


def _names(entry: Any) -> tuple[str, ...] | None:
    """Read class names from a list, or from a mapping of their numbers, in which some may be missing."""
    if isinstance(entry, dict) and entry and all(re.fullmatch(r"\d{1,3}", key) for key in entry):
        by_number = {int(key): name for key, name in entry.items()}
        entry = [by_number.get(number, f"class_{number}") for number in range(max(by_number) + 1)]
    if isinstance(entry, list) and entry and all(isinstance(name, str) for name in entry):
        return tuple(entry)
    return None


def _labels_in_lists(features: Any) -> set[tuple[str, ...]]:
    found = set()
    open_ends = [(features, False)]
    while open_ends:  # no recursion: it may be nested as deep as JSON may be
        feature, in_list = open_ends.pop()
        if isinstance(feature, list):
            open_ends += [(inside, True) for inside in feature]
        elif isinstance(feature, dict):
            kind = feature.get("_type")
            if kind == "ClassLabel" and in_list:
                found.add(_names(feature.get("names")) or ())
            in_list = in_list or kind in ("Sequence", "List", "LargeList")
            open_ends += [(inside, in_list) for inside in feature.values()]
    return found
