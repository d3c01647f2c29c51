"""Convert Hugging Face data sets with columns of images and masks to files.

These data sets consist of `.parquet` files, as on the Hub, or are written by `save_to_disk`: `dataset_dict.json` names
the splits, and in each split, or in the folder itself if there are no splits, `state.json` names Arrow streams. An
image is a struct of its encoded `bytes` and a `path`, or only the bytes.

Sources: https://huggingface.co/docs/datasets/image_dataset, https://huggingface.co/docs/datasets/repository_structure
"""

import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from maskpencil.classes import ClassSet, write_classes
from maskpencil.data.class_files import CLASS_FILES, READERS, UNCERTAIN, names_by_value
from maskpencil.data.formats.annotations import read_json
from maskpencil.data.layout.splits import split_in
from maskpencil.data.packed.archives import Budget
from maskpencil.data.packed.arrow_tables import read_rows, read_schema
from maskpencil.errors import DataError, MaskPencilError
from maskpencil.images import IMAGE_SUFFIXES, read_image
from maskpencil.label_maps import read_mask_pixels
from maskpencil.plain_text import counted

COPIED_FILES = (*CLASS_FILES, *(name for name in READERS if name not in UNCERTAIN))
OTHER_SPLITS = {"dev": "val", "eval": "test", "evaluation": "test"}
"""Names of splits that occur on the Hub besides the usual names."""

SIDE_FILE = "metadata.parquet"
"""The name of a table that describes image files beside it, and holds no images."""

FOLDERS_DEEP = 4
MAX_ENTRIES = 10_000
SAMPLED_ROWS = 3
"""The number of rows whose images are decoded to classify the columns."""

SUFFIXES = {
    b"\x89PNG": ".png",
    b"\xff\xd8\xff": ".jpg",
    b"RIFF": ".webp",
    b"GIF8": ".gif",
    b"II*\0": ".tif",
    b"MM\0*": ".tif",
    b"BM": ".bmp",
}
"""The suffix of an image file by its first bytes."""

NUMPY = b"\x93NUMPY"
"""The first bytes of a file of a NumPy array."""

MASK_WORDS = {
    *("annotation", "groundtruth", "gt", "label", "mask", "seg", "segmap", "segmentation", "semantic", "target"),
    "truth",
}
IMAGE_WORDS = {"image", "img", "input", "photo", "picture", "pixel", "rgb"}
OTHER_WORDS = {
    *("color", "colored", "colour", "coloured", "depth", "disparity", "edge", "instance", "normal", "overlay"),
    "panoptic",
}
"""Words in the names of columns whose images are neither inputs nor masks."""

MAX_MASK_COLORS = 256
MAX_COLOR_RATIO = 4
"""The largest ratio between the number of colors of a mask and of its image."""

COUNTED_PIXELS = 100_000


@dataclass(frozen=True)
class Columns:
    """The names of the columns of images and of masks."""

    image: str
    mask: str


@dataclass(frozen=True)
class Shard:
    """A file of rows; `split` is train, val, test, or "" if its name contains no split."""

    path: Path
    split: str


def find_shards(root: Path) -> tuple[Shard, ...]:
    """Return the files of a data set in the order of its rows; () if `root` is not a Hugging Face data set.

    A folder is a Hugging Face data set if `save_to_disk` wrote it, or if it holds `.parquet` files and no images.

    Raises:
        DataError: the folder holds several data sets, or files are missing.
    """
    if root.suffix.lower() == ".parquet" and root.is_file():
        return (Shard(root, _split(root.stem)),)
    if not root.is_dir():
        return ()
    if (root / "dataset_dict.json").is_file():
        return tuple(shard for name in _saved_splits(root) for shard in _saved(root / name, _split(name)))
    if (root / "state.json").is_file():
        return tuple(_saved(root, ""))
    return _parquet_shards(root)


def class_files(root: Path) -> list[Path]:
    """Return the files beside a data set that name its classes."""
    return [path for name in COPIED_FILES if (path := root / name).is_file()] if root.is_dir() else []


def write_images(root: Path, shards: Sequence[Shard], target: Path) -> tuple[str, ...]:
    """Write `images/SPLIT/000000.jpg` and `masks/SPLIT/000000.png`, and so on, into the empty folder `target`.

    Images are copied byte for byte. Class files beside the data set are copied; without a class file, `classes.yaml` is
    written if the metadata names the classes. Returns notes.

    Raises:
        DataError: pyarrow is not installed, a file is damaged, or there are no columns with images and masks.
        OutputError: the disk has too little free space.
    """
    some_known = any(shard.split for shard in shards)
    chosen = [shard for shard in shards if shard.split or not some_known]
    columns = _columns(root, chosen)
    budget = Budget(root, sum(shard.path.stat().st_size for shard in chosen), target)
    counts: Counter[str] = Counter()
    left_out = 0
    for shard in chosen:
        for side in ("images", "masks"):
            (target / side / shard.split).mkdir(parents=True, exist_ok=True)
        for image, mask in read_rows(shard.path, [columns.image, columns.mask]):
            if image is None or mask is None:
                left_out += 1
                continue
            for side, column, content in (("images", columns.image, image), ("masks", columns.mask, mask)):
                if content.startswith(NUMPY):
                    raise DataError(
                        f"{shard.path}: the column {column!r} holds NumPy arrays, not images; encode them as PNG, for "
                        f"example with dataset.cast_column({column!r}, Image()), and save the data set again"
                    )
                budget.claim(len(content))
                name = f"{counts[shard.split]:06}{_suffix(content)}"
                (target / side / shard.split / name).write_bytes(content)
            counts[shard.split] += 1
    notes = [f"images are from the column {columns.image!r}, masks from {columns.mask!r}"]
    if left_out:
        notes.append(f"{counted(left_out, 'row')} without image or mask left out")
    if others := [shard.path.name for shard in shards if shard not in chosen]:
        notes.append(
            f"{counted(len(others), 'file')} of other splits left out ({others[0]}{', ...' * (len(others) > 1)})"
        )
    if given := class_files(root):
        for path in given:
            shutil.copyfile(path, target / path.name)
    else:
        notes += _name_classes(chosen[0].path, columns.mask, target)
    return tuple(notes)


def _split(name: str) -> str:
    words = re.findall("[a-z]+", name.lower())
    return split_in(name) or next((OTHER_SPLITS[word] for word in words if word in OTHER_SPLITS), "")


def _saved_splits(root: Path) -> list[str]:
    path = root / "dataset_dict.json"
    content = read_json(path)
    names = content.get("splits") if isinstance(content, dict) else None
    if not isinstance(names, list):
        return []
    for name in names:
        if not isinstance(name, str) or not re.fullmatch(r"\w[\w.-]*", name) or not (root / name).is_dir():
            raise DataError(
                f"{path}: names the split {name!r:.80}, but there is no such folder beside it; save the data set again"
            )
    return names


def _saved(folder: Path, split: str) -> Iterator[Shard]:
    path = folder / "state.json"
    content = read_json(path)
    entries = content.get("_data_files") if isinstance(content, dict) else None
    for entry in entries if isinstance(entries, list) else ():
        name = entry.get("filename") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not re.fullmatch(r"\w[\w.-]*\.arrow", name) or not (folder / name).is_file():
            raise DataError(f"{path}: names the file {name!r:.80}, which is missing; save the data set again")
        yield Shard(folder / name, split)


def _parquet_shards(root: Path) -> tuple[Shard, ...]:
    shards, sets = [], set()
    for path in _parquet_files(root):
        *folders, name = path.relative_to(root).with_suffix("").parts
        shards.append(Shard(path, next((split for part in (name, *folders[::-1]) if (split := _split(part))), "")))
        sets.add("/".join(part for part in folders if part != "data" and not _split(part)))
    if len(sets) > 1:
        named = ", ".join(sorted(name or "." for name in sets)[:5])
        raise DataError(f"{root}: holds several data sets ({named}); open one of these folders, or move it elsewhere")
    return tuple(shards)


def _parquet_files(root: Path) -> list[Path]:
    """Return the parquet files below `root`; [] if there are images, or too many other files for such a data set."""
    found, folders, seen = [], [root], 0
    for _ in range(FOLDERS_DEEP):
        below: list[Path] = []
        for folder in folders:
            for entry in _entries(folder):
                suffix = Path(entry.name).suffix.lower()
                seen += 1
                if suffix in IMAGE_SUFFIXES or seen > MAX_ENTRIES:
                    return []
                if suffix == ".parquet" and entry.name != SIDE_FILE and entry.is_file():
                    found.append(Path(entry.path))
                elif entry.is_dir(follow_symlinks=False):
                    below.append(Path(entry.path))
        folders = below
    return sorted(found)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except PermissionError:
        return []


def _columns(root: Path, shards: Sequence[Shard]) -> Columns:
    schemas = {shard.path: read_schema(shard.path) for shard in shards}
    path = max(schemas, key=lambda path: len(schemas[path].images))  # test images may come without masks
    names = schemas[path].images
    if len(names) < 2:
        columns = ", ".join(f"{name}: {kind:.40}" for name, kind in schemas[path].columns.items())
        raise DataError(
            f"{root}: has {len(names) or 'no'} column with images; expected two, one of images and one of masks, such "
            f"as 'image' and 'mask' (found {columns:.300}); add masks to the data set"
        )
    samples: dict[str, list[bytes]] = {name: [] for name in names}
    for contents in islice(read_rows(path, names), SAMPLED_ROWS):
        for name, content in zip(names, contents, strict=True):
            samples[name] += [] if content is None else [content]
    return choose_columns(root, samples)


def _name_classes(path: Path, mask: str, target: Path) -> list[str]:
    """Write classes.yaml if the metadata names classes that agree with the first masks, and return notes."""
    classes = classes_in(read_schema(path).metadata, mask)
    if classes is None:
        return []
    for file in sorted((target / "masks").rglob("*.*"))[:SAMPLED_ROWS]:
        try:
            values = read_mask_pixels(file).values
        except MaskPencilError:  # reported when all masks are read
            return []
        if values.ndim != 2 or values[values != classes.ignore_index].max(initial=0) >= len(classes):
            return [f"the metadata names {counted(len(classes), 'class')} that do not fit the masks; not used"]
    write_classes(target / CLASS_FILES[0], classes)
    return []


def _suffix(content: bytes) -> str:
    return next((suffix for mark, suffix in SUFFIXES.items() if content.startswith(mark)), ".png")


def choose_columns(root: Path, samples: Mapping[str, Sequence[bytes]]) -> Columns:
    """Find the column of images and the column of masks, given sample images of two or more columns.

    The names of the columns decide. If the names are unclear and there are two columns, the column with far fewer
    colors holds the masks.

    Raises:
        DataError: the columns cannot be identified.
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
        if _colors(samples[fewer]) <= min(MAX_MASK_COLORS, _colors(samples[more]) / MAX_COLOR_RATIO):
            return Columns(more, fewer)
    raise DataError(
        f"{root}: has images in the columns {', '.join(samples)}, and their names do not say which two are images "
        "and masks; keep two columns with select_columns, name them 'image' and 'mask', and save the data set again"
    )


def classes_in(metadata: bytes, mask: str) -> ClassSet | None:
    """Return the classes that the JSON text `metadata` names for the masks in the column `mask`; None if it names none.

    The first of these entries that names classes is used: `id2label` of the column `mask`, `names` of this column,
    `id2label` of the whole data set, and the class labels in lists, such as lists of the objects in an image, if all
    lists have the same labels. Class labels outside of lists describe a whole image, not a mask, and are not used.

    `metadata` is the entry `huggingface` in the metadata of the table's schema.
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
    """Return the number of colors in the image that has the most colors."""
    counts = [0]
    for content in contents:
        pixels = read_image(content).reshape(-1, 3)
        some = pixels[:: max(1, len(pixels) // COUNTED_PIXELS)].astype(np.uint32)
        counts.append(len(np.unique(some[:, 0] << 16 | some[:, 1] << 8 | some[:, 2])))
    return max(counts)


def _at(content: Any, key: str) -> Any:
    return content.get(key) if isinstance(content, dict) else None


def _names(entry: Any) -> tuple[str, ...] | None:
    """Read class names from a list, or from a mapping of numbers to names, in which numbers may be missing."""
    if isinstance(entry, dict) and entry and all(re.fullmatch(r"\d{1,3}", key) for key in entry):
        with suppress(DataError):
            entry = names_by_value(entry)
    if isinstance(entry, list) and entry and all(isinstance(name, str) for name in entry):
        return tuple(entry)
    return None


def _labels_in_lists(features: Any) -> set[tuple[str, ...]]:
    found = set()
    open_ends = [(features, False)]
    while open_ends:  # not recursive, since JSON may be nested deeply
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
