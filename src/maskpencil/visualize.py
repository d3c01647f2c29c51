"""Draw label maps: colors, overlays, boxes, legends, contact sheets."""

import unicodedata
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont, ImageOps

from maskpencil.classes import IGNORE_INDEX, ClassSet, Color
from maskpencil.images import RGBImage
from maskpencil.label_maps import IGNORE_COLOR, LabelMap

PAPER = (250, 250, 250)
INK = (40, 40, 40)
BOUNDARY = (255, 140, 0)
MAX_LEGEND_CLASSES = 24
_BAND = 1024
"""The number of rows that are drawn at once."""

LEAST_SIDES = 5
"""The smallest ratio of a box's longer side to the thickness of its frame; smaller boxes get no frame."""

MAX_TAG_SHARE = 4
"""The largest ratio of a tag's area to its box's area; a larger tag, which would hide the image, is left out."""


class Boxed(Protocol):
    """The attributes of a region that `boxes` needs; `Region` has them."""

    @property
    def class_index(self) -> int:
        """The index of the region's class, which gives the color and the name."""

    @property
    def number(self) -> int:
        """The number of the region among the regions of its class, from 1."""

    @property
    def box(self) -> tuple[int, int, int, int]:
        """The box (x0, y0, x1, y1) around the region in pixels, half open."""


def colorize(label_map: LabelMap, classes: ClassSet) -> RGBImage:
    """Draw every class in its color: turn class indices (H, W) into an image (H, W, 3) uint8."""
    return np.frombuffer(_palette(classes), np.uint8).reshape(256, 3)[label_map]


def overlay(image: RGBImage, label_map: LabelMap, classes: ClassSet, *, opacity: float = 0.5) -> RGBImage:
    """Blend the class colors into the image, except at ignored pixels.

    `opacity` is the share of the color, 0..1. Returns (H, W, 3), the size of `image` and `label_map`.
    """
    blended = np.empty(image.shape, np.uint8)
    palette = _palette(classes)
    for top in range(0, len(image), _BAND):  # so that large images need little extra memory
        rows = slice(top, top + _BAND)
        colored = Image.fromarray(label_map[rows])
        colored.putpalette(palette)  # several times as quick as an index into an array
        blended[rows] = np.asarray(Image.blend(Image.fromarray(image[rows]), colored.convert("RGB"), opacity))
    ignored = label_map == IGNORE_INDEX
    if ignored.any():
        blended[ignored] = image[ignored]
    return blended


def boundaries(image: RGBImage, target: LabelMap, prediction: LabelMap) -> RGBImage:
    """Draw the class boundaries of a target in white and of a prediction in orange over the darkened image.

    Image, target and prediction have the same height and width; returns (H, W, 3). Nothing is drawn where the target is
    ignored.
    """
    drawn = image // 2
    for label_map, color in ((target, PAPER), (prediction, BOUNDARY)):
        drawn[_edges(label_map) & (target != IGNORE_INDEX)] = color
    return drawn


def boxes(image: RGBImage, regions: Sequence[Boxed], classes: ClassSet) -> RGBImage:
    """Draw a frame in the class's color within the box of each region, and a tag with its class and number.

    A line of one pixel sets each frame off from its surroundings. Small boxes are drawn over large boxes; regions so
    small that a frame would hide them get no frame. A tag lies above, in or below its box; it is left out if it would
    hide the tag of a larger box, or if it is much larger than its box. Returns (H, W, 3), the size of `image`.
    """
    canvas = Image.fromarray(image)
    draw = ImageDraw.Draw(canvas)
    font = _font(size := max(10, round(0.8 * _text_size(canvas.width))))
    thickness, margin, tag_height = max(1, size // 6), size // 3, size + size // 3
    seen = [region for region in regions if _longer_side(region) >= LEAST_SIDES * thickness]
    largest_first = sorted(seen, key=_box_area, reverse=True)
    for region in largest_first:
        x0, y0, x1, y1 = region.box
        color = classes.palette[region.class_index]
        draw.rectangle((x0 - 1, y0 - 1, x1, y1), outline=_ink_on(color))
        draw.rectangle((x0, y0, x1 - 1, y1 - 1), outline=color, width=thickness)
    tagged = np.zeros(image.shape[:2], dtype=bool)
    for region in largest_first:
        x0, y0, x1, y1 = region.box
        text = f"{_printable(classes, region.class_index)} {region.number}"
        tag_width = round(font.getlength(text)) + 2 * margin
        if tag_width * tag_height > MAX_TAG_SHARE * _box_area(region):
            continue
        above, within, below = y0 - tag_height, y0, y1
        has_room = tag_width <= x1 - x0 and 2 * tag_height <= y1 - y0
        left = max(0, min(x0, canvas.width - tag_width))
        for top in (above, within, below) if has_room else (above, below, within):
            place = tagged[max(0, top) : top + tag_height, left : left + tag_width]
            if top >= 0 and top + tag_height <= canvas.height and not place.any():
                place[:] = True
                color = classes.palette[region.class_index]
                draw.rectangle((left, top, left + tag_width - 1, top + tag_height - 1), fill=color)
                draw.text((left + margin, top + tag_height // 2), text, fill=_ink_on(color), font=font, anchor="lm")
                break
    return np.array(canvas)


def legend(
    classes: ClassSet,
    *,
    width: int,
    indices: Sequence[int] | None = None,
    counts: Mapping[int, int] | None = None,
) -> RGBImage:
    """Draw a strip (height, width, 3) with a swatch and the name of each class, in as many rows as needed.

    A name that is too long for a row is cut. A name in a script other than Latin, which the built-in font lacks, is
    replaced by "class N".

    Args:
        classes: the names and colors.
        width: the width of the strip in pixels.
        indices: the classes to name, by default all; `IGNORE_INDEX` gets a crossed-out swatch.
        counts: numbers by class index, which the legend shows in parentheses after the names.
    """
    chosen = tuple(range(len(classes)) if indices is None else indices)
    return _legend(classes, width, chosen, tuple((counts or {}).items()))


@lru_cache(maxsize=32)
def _legend(classes: ClassSet, width: int, chosen: tuple[int, ...], counted: tuple[tuple[int, int], ...]) -> RGBImage:
    """Draw a `legend` and cache it: images of one size usually share a legend, and text takes long to draw."""
    counts = dict(counted)
    font = _font(size := _text_size(width))
    gap, row_height = size // 2, size + size // 2 + 2
    places: list[tuple[int, int, int, str]] = []
    x, y = gap, gap // 2
    for index in chosen:
        count = f" ({counts[index]})" if index in counts else ""
        room = width - size - 3 * gap - round(font.getlength(count))
        name = _shortened(_printable(classes, index), font, room) + count
        needed = size + gap + round(font.getlength(name))
        if x > gap and x + needed + gap > width:
            x, y = gap, y + row_height
        places.append((x, y, index, name))
        x += needed + 2 * gap
    strip = Image.new("RGB", (width, y + row_height + gap // 2), PAPER)
    draw = ImageDraw.Draw(strip)
    for x, y, index, name in places:
        swatch = (x, y + 2, x + size - 1, y + size + 1)
        draw.rectangle(swatch, fill=IGNORE_COLOR if index == IGNORE_INDEX else classes.palette[index], outline=INK)
        if index == IGNORE_INDEX:
            draw.line(swatch, fill=INK)
        draw.text((x + size + gap, y + 2 + size // 2), name, fill=INK, font=font, anchor="lm")
    drawn = np.array(strip)
    drawn.flags.writeable = False
    return drawn


def with_legend(
    image: RGBImage,
    classes: ClassSet,
    *,
    indices: Sequence[int] | None = None,
    label_map: LabelMap | None = None,
    counts: Mapping[int, int] | None = None,
) -> RGBImage:
    """Add a legend below an image; an image too narrow for a readable legend is centered on a wider sheet.

    If there are more than `MAX_LEGEND_CLASSES` classes and `label_map` is given, the legend names at most
    `MAX_LEGEND_CLASSES` of them, the most frequent in `label_map`. For `indices` and `counts` see `legend`.
    """
    if len(classes) > MAX_LEGEND_CLASSES and label_map is not None:
        present = np.bincount(label_map.ravel(), minlength=256)
        among = np.array(range(len(classes)) if indices is None else indices)
        largest_first = among[np.argsort(-present[among], kind="stable")]
        indices = [int(index) for index in largest_first[:MAX_LEGEND_CLASSES] if present[index]]
    width = max(image.shape[1], 240)
    strip = legend(classes, width=width, indices=indices, counts=counts)
    sheet = np.empty((image.shape[0] + strip.shape[0], width, 3), dtype=np.uint8)
    if width > image.shape[1]:
        sheet[:] = PAPER
    left = (width - image.shape[1]) // 2
    sheet[: image.shape[0], left : left + image.shape[1]] = image
    sheet[image.shape[0] :] = strip
    return sheet


def contact_sheet(rows: Sequence[Sequence[RGBImage]], *, captions: Sequence[str], cell_width: int = 320) -> RGBImage:
    """Lay out rows of images below the captions of the columns; each image is scaled to a width of `cell_width` pixels.

    Rows may differ in height, but each must have as many images as there are captions.
    """
    gap = 6
    columns = len(captions)
    cells = [[_scaled(image, cell_width) for image in row] for row in rows]
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


def heat(image: RGBImage, values: npt.NDArray[np.floating]) -> RGBImage:
    """Draw numbers (H, W) as a heat map over a gray image: transparent at 0, then red, and yellow at the maximum."""
    greatest = float(values.max(initial=0.0))
    share = Image.fromarray(grayscale(values / greatest if greatest else values))
    colors = ImageOps.colorize(share, black=(90, 0, 90), mid=(230, 60, 20), white=(255, 235, 60))
    faint = Image.fromarray(image).convert("L").convert("RGB")
    return np.asarray(Image.composite(colors, faint, share.point(lambda level: min(215, 2 * level))))


def grayscale(values: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    """Convert numbers (H, W) in 0..1 to gray levels 0-255."""
    levels: npt.NDArray[np.uint8] = np.round(np.clip(values, 0, 1) * 255).astype(np.uint8)
    return levels


def _palette(classes: ClassSet) -> bytes:
    """Return the colors of all 256 class indices as 768 bytes: red, green and blue of each."""
    table = np.full((256, 3), IGNORE_COLOR, dtype=np.uint8)
    table[: len(classes)] = classes.colors
    return table.tobytes()


def _scaled(image: RGBImage, width: int) -> Image.Image:
    height = max(1, round(image.shape[0] * width / image.shape[1]))
    enlarged = width > image.shape[1]
    return Image.fromarray(image).resize(
        (width, height), Image.Resampling.NEAREST if enlarged else Image.Resampling.BOX
    )


def _edges(label_map: LabelMap) -> npt.NDArray[np.bool_]:
    """Return a boolean mask (H, W) of the pixels whose right or lower neighbor has another class.

    A pixel is not marked if it is ignored or if that neighbor is ignored.
    """
    valid = label_map != IGNORE_INDEX
    edges = np.zeros(label_map.shape, dtype=bool)
    edges[:, :-1] |= (label_map[:, :-1] != label_map[:, 1:]) & valid[:, :-1] & valid[:, 1:]
    edges[:-1] |= (label_map[:-1] != label_map[1:]) & valid[:-1] & valid[1:]
    return edges


def _box_area(region: Boxed) -> int:
    x0, y0, x1, y1 = region.box
    return (x1 - x0) * (y1 - y0)


def _longer_side(region: Boxed) -> int:
    x0, y0, x1, y1 = region.box
    return max(x1 - x0, y1 - y0)


def _ink_on(color: Color) -> Color:
    """Return a dark or a light color for text, whichever is readable on `color`."""
    red, green, blue = color
    return INK if 0.3 * red + 0.59 * green + 0.11 * blue > 140 else PAPER  # about as bright as the color looks


def _printable(classes: ClassSet, index: int) -> str:
    """Return the name of a class in ASCII, without accents, for the built-in font; "class N" for other scripts."""
    if index == IGNORE_INDEX:
        return "no class"
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
