"""Images with label maps for tools to write, and the comparison of what is read with them."""

import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from PIL import Image
from tests.helpers import label_maps

from maskpencil.classes import IGNORE_INDEX, ClassSet
from maskpencil.data.convert import convert
from maskpencil.data.folder import open_folder
from maskpencil.data.formats import LabeledImage
from maskpencil.data.formats.base import write_folder

LabelMap = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

CLASSES = ClassSet(("background", "tree", "car"), ((0, 0, 0), (40, 160, 60), (200, 30, 30)))
IGNORED = "__ignore__"
NAMES = {1: "tree", 2: "car", IGNORE_INDEX: IGNORED}
"""What tools call the numbers of the label maps; 0 is drawn by none of them."""

ORIENTATION = 0x0112
TRANSPOSED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""How the pixels of an image are stored that EXIF's orientation turns upright."""

EXAMPLES = settings(max_examples=int(os.environ.get("MASKPENCIL_EXAMPLES", "12")))
"""How often each test tries other images; make round-trips tries more often than make test."""

compared: list[str] = []
"""The library of each label map that was compared."""


def library(name: str) -> Any:
    """Return a module of a tool, or skip the tests of the file where it is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return import_module(name)
        except ModuleNotFoundError as error:
            pytest.skip(f"{error}; make round-trips installs it", allow_module_level=True)


@dataclass(frozen=True)
class Pair:
    """An image of the label map's size: a JPEG that EXIF turns by `orientation`, or a PNG where that is 0."""

    name: str
    label_map: LabelMap
    orientation: int = 0

    @property
    def file(self) -> str:
        return f"{self.name}.jpg" if self.orientation else f"{self.name}.png"

    def save(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        height, width = self.label_map.shape
        shown = Image.fromarray(
            np.arange(height * width * 3, dtype=np.uint32).astype(np.uint8).reshape(height, width, 3)
        )
        if not self.orientation:
            shown.save(folder / self.file)
            return folder / self.file
        exif = Image.Exif()
        exif[ORIENTATION] = self.orientation
        turn = TRANSPOSED[self.orientation]
        (shown if turn is None else shown.transpose(turn)).save(folder / self.file, exif=exif)
        return folder / self.file


def masks(label_map: LabelMap, names: Mapping[int, str] = NAMES) -> dict[str, Mask]:
    """Return the masks of the classes that occur, by name."""
    return {name: label_map == value for value, name in names.items() if (label_map == value).any()}


@st.composite
def _rectangles(draw: st.DrawFn) -> LabelMap:
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    label_map = np.zeros((height, width), dtype=np.uint8)
    for value in draw(st.lists(st.sampled_from([0, 1, 2, IGNORE_INDEX]), max_size=6)):
        top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
        bottom, right = draw(st.integers(top + 1, height)), draw(st.integers(left + 1, width))
        label_map[top:bottom, left:right] = value
    return label_map


any_label_map = label_maps | _rectangles()
orientations = st.sampled_from([0, *TRANSPOSED])


@st.composite
def two_pairs(draw: st.DrawFn, *, turned: bool = True, ignored: bool = True, empty: bool = True) -> list[Pair]:
    """Two images of sizes from 1 x 1 on: `turned` lets EXIF turn the first, `ignored` and `empty` allow such masks."""
    pairs = []
    for name in "ab":
        label_map = draw(any_label_map)
        if not ignored:
            label_map = np.where(label_map == IGNORE_INDEX, 0, label_map).astype(np.uint8)
        if not empty and not label_map.any():
            label_map[0, 0] = draw(st.sampled_from([1, 2]))
        pairs.append(Pair(name, label_map, draw(orientations) if turned and name == "a" else 0))
    return pairs


@contextmanager
def empty_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "data"


def assert_reads_as(
    root: Path, pairs: Sequence[Pair], *, undrawn: int = 0, expected: Callable[[LabelMap], LabelMap] | None = None
) -> None:
    """Compare what is read of a folder that a tool wrote with what the tool was given.

    Args:
        root: the folder.
        pairs: what the tool was given.
        undrawn: what pixels are that the tool draws nothing on.
        expected: changes a label map as the tool does.
    """
    data = open_folder(root)
    data.check_images()
    read = {
        pair.image.stem.removesuffix("_leftImg8bit"): data.read_pair(pair)[1]
        for own in data.splits.values()
        for pair in own
    }
    assert read.keys() == {pair.name for pair in pairs}
    names = [*data.classes.names]
    assert {*names} <= {*CLASSES.names}
    numbers = np.full(256, IGNORE_INDEX, dtype=np.uint8)  # tools order the classes by themselves
    numbers[: len(names)] = [CLASSES.names.index(name) for name in names]
    for pair in pairs:
        wanted = np.where(pair.label_map == 0, undrawn, pair.label_map)
        assert_same(numbers[read[pair.name]], expected(wanted) if expected else wanted)


def assert_same(found: npt.NDArray[Any], expected: npt.NDArray[Any]) -> None:
    """Compare two label maps, and count them."""
    compared.append(os.environ.get("PYTEST_CURRENT_TEST", "").partition("::")[0])
    np.testing.assert_array_equal(found, expected)


@contextmanager
def converted(pairs: Sequence[Pair], file_format: str) -> Iterator[Path]:
    """Yield what `maskpencil convert` writes in a format: the first pair in the split train, the second in val."""
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "source", Path(folder) / "out"
        with write_folder(source, CLASSES) as add:
            for split, pair in zip(("train", "val"), pairs, strict=True):
                add(LabeledImage(split, pair.name, pair.save(Path(folder) / "images"), pair.label_map))
        convert(open_folder(source), out, file_format)
        yield out
