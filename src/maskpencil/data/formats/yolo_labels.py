"""The lines of a YOLO label file: `CLASS x1 y1 x2 y2 ...`, a polygon each, in shares of the image's width and height.

Source: https://docs.ultralytics.com/datasets/segment and `verify_image_label` in
https://github.com/ultralytics/ultralytics/blob/main/ultralytics/data/utils.py
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from maskpencil.errors import DataError
from maskpencil.regular_files import refuse_special

TOLERANCE = 0.01
"""Shares may lie so far out of 0..1, as Ultralytics allows."""

EXPECTED = "expected a class number and at least 3 points, 'CLASS x1 y1 x2 y2 x3 y3 ...'"


@dataclass(frozen=True)
class LabelLine:
    """An object: the number of its class and its corners, (n, 2) shares of width and height; a box has none but 4."""

    class_number: int
    corners: npt.NDArray[np.float64]
    is_box: bool

    @property
    def area(self) -> float:
        """The share of the image within the corners, by the shoelace formula: holes that are cut out count not."""
        x, y = self.corners.T
        return abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2


def read_label_file(path: Path, class_count: int) -> list[LabelLine]:
    """Read the objects of an image, in the order of the file; lines of 4 numbers after the class are boxes.

    Raises:
        DataError: a line is not in its form, names a class from `class_count` on, or leads out of the image.
    """
    refuse_special(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error}); {EXPECTED} a line") from error
    return [
        _read_line(line, f"{path}: line {number}", class_count)
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]


def _read_line(line: str, where: str, class_count: int) -> LabelLine:
    try:
        numbers = np.array(line.split(), dtype=np.float64)
    except ValueError as error:
        raise DataError(f"{where} is {_cut(line)}; {EXPECTED}") from error
    shares = numbers[1:]
    if len(shares) < 4 or len(shares) % 2 or not np.isfinite(numbers).all():
        raise DataError(f"{where} is {_cut(line)}; {EXPECTED}")
    if not (numbers[0] % 1 == 0 and 0 <= numbers[0] < class_count):
        raise DataError(
            f"{where} has the class {line.split()[0][:20]}; expected 0 to {class_count - 1}, as the YAML file names "
            f"{class_count} classes; add the class there or correct the line"
        )
    if shares.min() < -TOLERANCE or shares.max() > 1 + TOLERANCE:
        strange = shares[(shares < -TOLERANCE) | (shares > 1 + TOLERANCE)][0]
        raise DataError(
            f"{where} has the coordinate {strange:g}; expected shares of the image's width and height, 0 to 1"
        )
    corners = shares.reshape(-1, 2)
    if len(corners) == 2:
        middle, half = corners[0], corners[1] / 2
        corners = middle + half * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
    return LabelLine(int(numbers[0]), corners, is_box=len(shares) == 4)


def _cut(line: str) -> str:
    return repr(line if len(line) <= 40 else f"{line[:40]}...")
