"""A folder of pictures and masks, understood without a configuration file."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from maskpencil.classes import ClassSet, read_classes
from maskpencil.data.formats import recognize
from maskpencil.data.layout import Pair, find_layout
from maskpencil.data.masks import MaskEncoding, MaskFacts, check_values, count_classes, discover_encoding, scan_masks
from maskpencil.errors import DataError
from maskpencil.images import LabelMap, RGBImage, read_image

CLASS_FILES = ("classes.yaml", "classes.yml")


@dataclass(frozen=True)
class DataFolder:
    """Pairs of pictures and masks in splits, and what the masks mean.

    `splits` maps train, val and test, as far as they exist, to pairs. `notes` says in words how the folder was read.
    """

    root: Path
    splits: Mapping[str, tuple[Pair, ...]]
    encoding: MaskEncoding
    facts: Mapping[Path, MaskFacts]
    notes: tuple[str, ...]

    @property
    def classes(self) -> ClassSet:
        """The classes of the masks."""
        return self.encoding.classes

    def pairs(self, split: str) -> tuple[Pair, ...]:
        """The pairs of one split.

        Raises:
            DataError: the folder has no such split.
        """
        if not self.splits.get(split):
            raise DataError(f"{self.root}: has no {split!r} pictures; it has {', '.join(self.splits)}")
        return self.splits[split]

    def read_pair(self, pair: Pair) -> tuple[RGBImage, LabelMap]:
        """Read a picture (H, W, 3) and its label map (H, W).

        Raises:
            ImageError: a file is not a readable picture.
            DataError: their sizes differ, or a mask value is no class.
        """
        image, label_map = read_image(pair.image), self.encoding.read(pair.mask)
        _compare_sizes(pair, image.shape[:2], label_map.shape)
        return image, label_map

    def class_counts(self, split: str) -> npt.NDArray[np.int64]:
        """The pixels of each class in each mask of a split, (masks, K)."""
        return count_classes([self.facts[pair.mask] for pair in self.pairs(split)], self.encoding)

    def check_pictures(self, report: Callable[[int, int], None] | None = None) -> dict[str, list[tuple[int, int]]]:
        """Decode every picture once, so that a broken one is found before training and not an hour into it.

        `report` hears (done, of). Returns the (height, width) of the pictures of each split.

        Raises:
            ImageError: a file is not a readable picture.
            DataError: a picture and its mask differ in size.
        """
        pairs = [(split, pair) for split, pairs in self.splits.items() for pair in pairs]
        sizes: dict[str, list[tuple[int, int]]] = {split: [] for split in self.splits}
        with ThreadPoolExecutor(max_workers=4) as pool:  # decoding leaves the interpreter lock
            images = pool.map(lambda entry: read_image(entry[1].image).shape, pairs)
            for done, ((split, pair), (height, width, _)) in enumerate(zip(pairs, images, strict=True), start=1):
                _compare_sizes(pair, (height, width), self.facts[pair.mask].size)
                sizes[split].append((height, width))
                if report:
                    report(done, len(pairs))
        return sizes


def open_folder(
    root: str | Path,
    *,
    classes: ClassSet | None = None,
    report: Callable[[int, int], None] | None = None,
) -> DataFolder:
    """Find pairs, splits, classes and mask encoding of a folder.

    Public data sets that `formats` has a reader for are read as they were unpacked; a classes.yaml in them gives their
    classes other names and colours. Every other folder is read by the rules of `layout.find_layout`. Every mask file is
    read once; `report` hears (done, of). `classes` is used where neither a reader nor a classes.yaml names them.

    Raises:
        DataError: no folder, no pairs, names that do not fit, or masks whose values stand for no class.
        ImageError: a mask is not a readable picture.
    """
    recognized = recognize(Path(root))
    layout = recognized.layout if recognized else find_layout(Path(root))
    given = next((layout.root / name for name in CLASS_FILES if (layout.root / name).is_file()), None)
    notes = [*layout.notes]
    if given:
        classes = read_classes(given)
        notes.append(f"{len(classes)} classes from {given.name}")
    masks = sorted({pair.mask for pairs in layout.splits.values() for pair in pairs})
    facts = scan_masks(masks, report and (lambda done: report(done, len(masks))))
    if recognized:
        encoding = _renamed(recognized.encoding, classes, given) if given and classes else recognized.encoding
        check_values(facts, encoding)
        notes.insert(0, f"read as {recognized.name}: {_count(encoding.classes)}")
    else:
        encoding = discover_encoding(facts, classes)
        if not given:
            source = "the masks show" if classes is None else "taken are the given"
            notes.append(f"no classes.yaml: {source} {_count(encoding.classes)}")
    notes.append(f"masks are read as {encoding.kind}")
    return DataFolder(layout.root, layout.splits, encoding, {f.path: f for f in facts}, tuple(notes))


def _compare_sizes(pair: Pair, image: Sequence[int], mask: Sequence[int]) -> None:
    if tuple(image) != tuple(mask):
        raise DataError(
            f"{pair.mask}: is {mask[1]} x {mask[0]} pixels, its picture {pair.image.name} is {image[1]} x {image[0]}"
            "; save the mask at the picture's size (nearest neighbour) or remove the pair"
        )


def _renamed(encoding: MaskEncoding, classes: ClassSet, path: Path) -> MaskEncoding:
    if len(classes) != len(encoding.classes):
        raise DataError(
            f"{path}: names {_count(classes)}, but the masks hold {_count(encoding.classes)}; name as many, in that "
            "order, or remove the file"
        )
    return replace(encoding, classes=classes)


def _count(classes: ClassSet) -> str:
    return f"{len(classes)} classes ({_few(classes.names)})"


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
