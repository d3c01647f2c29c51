"""Label maps made visible: colours, overlays, legends, contact sheets."""

import unicodedata
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from maskpencil.classes import IGNORE_INDEX, ClassSet
from maskpencil.images import IGNORE_COLOR, LabelMap, RGBImage

PAPER = (250, 250, 250)
INK = (40, 40, 40)
MAX_LEGEND_CLASSES = 24


def colorize(label_map: LabelMap, classes: ClassSet) -> RGBImage:
    """Draw every class in its colour: (H, W) indices to (H, W, 3)."""
    table = np.full((256, 3), IGNORE_COLOR, dtype=np.uint8)
    table[: len(classes)] = classes.colors
    return table[label_map]


def overlay(image: RGBImage, label_map: LabelMap, classes: ClassSet, *, opacity: float = 0.5) -> RGBImage:
    """Lay the class colours over the picture; ignored pixels stay as they are.

    `opacity` is the share of the colour, 0..1. Returns (H, W, 3), the size of `image` and `label_map`.
    """
    # both factors come from tables, so that a film frame costs two look-ups and a sum
    shares = np.round(np.arange(256) * opacity).astype(np.uint8)
    picture_table = np.arange(256, dtype=np.uint8) - shares  # rounded against the colours', so that no sum exceeds 255
    color_table = np.zeros((256, 3), dtype=np.uint8)
    color_table[: len(classes)] = shares[classes.colors]
    blended = picture_table.take(image) + color_table.take(label_map, axis=0)  # take is quicker than an index here
    ignored = label_map == IGNORE_INDEX
    if ignored.any():
        blended[ignored] = image[ignored]
    return blended


def legend(classes: ClassSet, *, width: int, indices: Sequence[int] | None = None) -> RGBImage:
    """Draw a strip `width` pixels wide with a swatch and the name of each class, in as many rows as it takes.

    `indices` chooses the classes; without it all are named. A name too long for a row is cut; one in another script
    than Latin, which the built-in font lacks, becomes the class's number. Returns (rows, width, 3).
    """
    chosen = range(len(classes)) if indices is None else indices
    font = _font(size := _text_size(width))
    gap, row_height = size // 2, size + size // 2 + 2
    places: list[tuple[int, int, int, str]] = []
    x, y = gap, gap // 2
    for index in chosen:
        name = _shortened(_printable(classes, index), font, width - size - 3 * gap)
        needed = size + gap + round(font.getlength(name))
        if x > gap and x + needed + gap > width:
            x, y = gap, y + row_height
        places.append((x, y, index, name))
        x += needed + 2 * gap
    strip = Image.new("RGB", (width, y + row_height + gap // 2), PAPER)
    draw = ImageDraw.Draw(strip)
    for x, y, index, name in places:
        draw.rectangle((x, y + 2, x + size - 1, y + size + 1), fill=classes.palette[index], outline=INK)
        draw.text((x + size + gap, y + 2 + size // 2), name, fill=INK, font=font, anchor="lm")
    return np.asarray(strip)


def with_legend(picture: RGBImage, classes: ClassSet, *, label_map: LabelMap | None = None) -> RGBImage:
    """Put a legend under a picture; a picture narrower than the legend's shortest readable row is centred on paper.

    With a `label_map` and many classes only those that occur in it are named.
    """
    indices: Sequence[int] | None = None
    if len(classes) > MAX_LEGEND_CLASSES and label_map is not None:
        present = np.bincount(label_map.ravel(), minlength=256)[: len(classes)]
        indices = [int(i) for i in np.argsort(-present, kind="stable")[:MAX_LEGEND_CLASSES] if present[i]]
    width = max(picture.shape[1], 240)
    strip = legend(classes, width=width, indices=indices)
    sheet = np.full((picture.shape[0] + strip.shape[0], width, 3), PAPER, dtype=np.uint8)
    left = (width - picture.shape[1]) // 2
    sheet[: picture.shape[0], left : left + picture.shape[1]] = picture
    sheet[picture.shape[0] :] = strip
    return sheet


def contact_sheet(rows: Sequence[Sequence[RGBImage]], *, captions: Sequence[str], cell_width: int = 320) -> RGBImage:
    """Lay pictures out in rows, each scaled to `cell_width` pixels, under one line of captions.

    Rows may differ in height, not in their number of pictures.
    """
    gap = 6
    columns = len(captions)
    cells = [[_scaled(picture, cell_width) for picture in row] for row in rows]
    heights = [max(cell.height for cell in row) for row in cells]
    size = _text_size(cell_width)
    header = 2 * size + gap
    sheet = Image.new("RGB", (gap + columns * (cell_width + gap), header + sum(h + gap for h in heights)), PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, caption in enumerate(captions):
        x = gap + column * (cell_width + gap)
        draw.text((x + cell_width // 2, header // 2), caption, fill=INK, font=_font(size), anchor="mm")
    y = header
    for row, height in zip(cells, heights, strict=True):
        for column, cell in enumerate(row):
            sheet.paste(cell, (gap + column * (cell_width + gap), y))
        y += height + gap
    return np.asarray(sheet)


def grayscale(values: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    """Turn (H, W) numbers in 0..1 into grey levels 0-255."""
    levels: npt.NDArray[np.uint8] = np.round(np.clip(values, 0, 1) * 255).astype(np.uint8)
    return levels


def _scaled(picture: RGBImage, width: int) -> Image.Image:
    image = Image.fromarray(picture)
    height = max(1, round(picture.shape[0] * width / picture.shape[1]))
    enlarged = width > picture.shape[1]
    return image.resize((width, height), Image.Resampling.NEAREST if enlarged else Image.Resampling.BOX)


def _printable(classes: ClassSet, index: int) -> str:
    """The name in ASCII, which is all that the built-in font has: without accents, or "class N"."""
    letters = unicodedata.normalize("NFKD", classes.names[index].replace("ß", "ss"))
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return plain if plain.isascii() else f"class {index}"


def _shortened(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, room: int) -> str:
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(f"{text}…") > room:
        text = text[:-1]
    return f"{text}…"


def _text_size(width: int) -> int:
    return min(28, max(11, round(width / 45)))


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
