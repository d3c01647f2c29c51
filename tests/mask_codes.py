"""Masks in the codes of annotation tools, for tests of their readers."""

import base64
import io
import zlib
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Mask = npt.NDArray[np.bool_]


def cvat_code(mask: Mask) -> tuple[str, tuple[int, int, int, int]]:
    """CVAT's runs along the rows of the smallest box, and this box: left, top, width and height."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    part = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    runs = [(bool(value), len(list(run))) for value, run in groupby(part.ravel())]
    counts = [0] * runs[0][0] + [length for _, length in runs]
    return ", ".join(map(str, counts)), (int(columns[0]), int(rows[0]), part.shape[1], part.shape[0])


def supervisely_code(mask: Mask, how: str = "palette", *, packed: bool = True) -> str:
    """Supervisely's text: a PNG that shows the mask as palette, alpha or gray, packed by zlib or not, in base64."""
    image = Image.fromarray(mask.astype(np.uint8) * (1 if how == "palette" else 255))
    options: dict[str, Any] = {}
    if how == "palette":  # as Supervisely's library writes it
        image.putpalette([0, 0, 0, 255, 255, 255])
        options = {"transparency": 0}
    if how == "alpha":
        image = Image.merge("RGBA", [Image.new("L", image.size, 255)] * 3 + [image])
    file = io.BytesIO()
    image.save(file, format="PNG", **options)
    return base64.b64encode(zlib.compress(file.getvalue()) if packed else file.getvalue()).decode()


def hasty_code(mask: Mask) -> list[int]:
    """Hasty's pairs: the first pixel of each run, counted from 1 along the rows, and its length."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.ravel(), [0]])))
    return [number for start, end in edges.reshape(-1, 2).tolist() for number in (start + 1, end - start)]


def darwin_code(values: npt.NDArray[np.integer]) -> list[int]:
    """Darwin's pairs: a value, and the length of its run along the rows."""
    runs = [(int(value), len(list(run))) for value, run in groupby(values.ravel())]
    return [number for pair in runs for number in pair]
