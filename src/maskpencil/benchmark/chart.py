"""The comparison of runtimes as an image."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from maskpencil.benchmark.runtimes import RuntimeResult
from maskpencil.images import RGBImage
from maskpencil.visualize import INK, PAPER

BAR, CHOSEN = (150, 175, 200), (30, 120, 200)
COLUMNS = ("ms", "images/s", "times first", "MiB at most", "same class", "of a matrix product")
_ROW, _TEXT, _NAMES, _BARS, _COLUMN = 34, 15, 190, 320, 150


def cells(result: RuntimeResult, first: float) -> list[str]:
    """Return the texts for a result under `COLUMNS`, besides the seconds of the `first` way."""
    return [
        f"{1000 * result.seconds:.1f}",
        f"{1 / result.seconds:.1f}",
        f"{first / result.seconds:.2f}",
        f"{result.memory / 2**20:.0f}",
        f"{result.agreement:.2%}",
        "-" if result.rate is None or result.peak is None else f"{result.rate / result.peak:.0%}",
    ]


def chart(results: Sequence[RuntimeResult], title: str) -> RGBImage:
    """Draw a bar as long as an image takes for every result, and what else is known of it: (H, W, 3)."""
    width = _NAMES + _BARS + _COLUMN * len(COLUMNS) + _ROW
    sheet = Image.new("RGB", (width, _ROW * (len(results) + 3)), PAPER)
    draw, letters = ImageDraw.Draw(sheet), ImageFont.load_default(_TEXT)
    draw.text((_ROW, _ROW // 2), title, fill=INK, font=letters)
    slowest = max(result.seconds for result in results)
    rows = [("", list(COLUMNS)), *((result.name, cells(result, results[0].seconds)) for result in results)]
    for number, (name, texts) in enumerate(rows):
        top = _ROW * (number + 1) + _ROW // 2
        middle = top + _ROW // 2
        draw.text((_ROW, middle), name, fill=INK, font=letters, anchor="lm")
        if number:
            result = results[number - 1]
            length = max(1, round((_BARS - _ROW) * result.seconds / slowest))
            color = CHOSEN if result.is_default else BAR
            draw.rectangle((_NAMES, top + 6, _NAMES + length, top + _ROW - 6), fill=color)
        for column, text in enumerate(texts, start=1):
            draw.text((_NAMES + _BARS + _COLUMN * column, middle), text, fill=INK, font=letters, anchor="rm")
    return np.array(sheet)
