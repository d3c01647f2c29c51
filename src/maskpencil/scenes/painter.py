"""Paint a moment of a street: sky and ground, all objects from far to near, then the effects of a photograph."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from maskpencil.scenes.background import Canvas, Ground, paint_sky
from maskpencil.scenes.camera import NEAR, View
from maskpencil.scenes.facets import CAR, LANE_MARK, PAVEMENT, PERSON, ROAD, SCENE_CLASSES, SKY, TREE
from maskpencil.scenes.street import VIEW, Moment

Labels = npt.NDArray[np.uint8]

FINE = 4  # polygons are painted on a canvas finer by this factor, then averaged
SMALLEST = 1.5  # square pixels: the smallest bounding box of a polygon that is painted
# How far away, in meters for a pixel of focal length and an image one pixel high, a class is painted: cars down to a
# twelfth of the image's height, people down to a seventh.
REACH = np.full(len(SCENE_CLASSES), np.inf)
REACH[CAR], REACH[PERSON] = 1.4 * 12, 1.7 * 7


def paint(moment: Moment, size: tuple[int, int], rng: np.random.Generator) -> tuple[npt.NDArray[np.uint8], Labels]:
    """Paint the image (H, W, 3) and the label map (H, W) of a moment; `rng` draws the image's grain and rain."""
    view = View.of(moment, size)
    sky, woods = paint_sky(view)
    ground, classes = Ground(view).paint()
    canvas = np.concatenate([sky, ground])
    labels = np.concatenate([np.where(woods, TREE, SKY).astype(np.uint8), classes])
    _paint_facets(view, canvas, labels)
    return _develop(view, canvas, labels, rng), labels


def _paint_facets(view: View, canvas: Canvas, labels: Labels) -> None:
    """Paint all objects over the canvas (H, W, 3) and the labels (H, W)."""
    facets, weather = view.moment.facets, view.moment.look.weather
    columns, rows, distance = view.project(facets.vertices)
    ends = np.cumsum(facets.counts)
    starts = ends - facets.counts
    left, right = np.minimum.reduceat(columns, starts), np.maximum.reduceat(columns, starts)
    top, bottom = np.minimum.reduceat(rows, starts), np.maximum.reduceat(rows, starts)
    away = facets.depths - view.moment.along
    seen = (away > NEAR) & (away < np.minimum(VIEW, view.focal / view.height * REACH[facets.labels]))
    seen &= (right > 0) & (left < view.width) & (bottom > 0) & (top < view.height)
    seen &= (right - left) * (bottom - top) > SMALLEST
    order = np.flatnonzero(seen)
    order = order[np.argsort(-facets.depths[order], kind="stable")]

    colors = facets.colors[order] * weather.light[facets.lights[order]]
    haze = (1 - np.exp(-distance[starts[order]] * weather.haze))[:, np.newaxis]
    colors += haze * (weather.horizon - colors)
    # Four plain bands: red, green, blue, and the class plus one, so that one stroke paints color and label. The
    # mode is CMYK because Pillow averages RGBA with regard to transparency.
    inks = (255 * colors).round().clip(0, 255).astype(np.int64) @ (1, 1 << 8, 1 << 16)
    inks += (facets.labels[order] + 1) << 24
    fine = Image.new("CMYK", (FINE * view.width, FINE * view.height))
    draw = ImageDraw.Draw(fine)
    # Pillow takes whole pixels and paints both of a polygon's outermost ones; a quarter keeps its size.
    corners = np.floor(np.stack([columns, rows], axis=-1) * FINE - 0.25).clip(-8000, 32000).astype(np.int64)
    for start, end, ink in zip(starts[order].tolist(), ends[order].tolist(), inks.tolist(), strict=True):
        draw.polygon(corners[start:end].ravel().tolist(), fill=ink)

    middles = np.asarray(fine)[FINE // 2 :: FINE, FINE // 2 :: FINE, 3]
    np.copyto(labels, middles - np.uint8(1), where=middles > 0)
    covered = fine.getchannel("K").point([0] + [255] * 255).reduce(FINE)
    canvas *= 1 - np.asarray(covered, dtype=np.float32)[..., np.newaxis] / 255
    canvas += np.asarray(fine.reduce(FINE), dtype=np.float32)[..., :3] / 255


def _develop(view: View, canvas: Canvas, labels: Labels, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Turn the canvas into a photograph: reflections of a wet road, glow, vignetting, rain and grain."""
    weather = view.moment.look.weather
    if weather.wet > 0:
        _mirror(view, canvas, labels)
    if weather.glow > 0:
        canvas += np.float32(weather.glow) * _glow(canvas)
    canvas *= _rim(view.height, view.width)
    if weather.rain > 0:
        canvas += np.float32(0.16 * weather.rain) * _rain(view, rng)
    canvas += np.float32(weather.grain) * rng.standard_normal((view.height, view.width, 1), dtype=np.float32)
    return (255 * canvas + 0.5).clip(0, 255).astype(np.uint8)


def _mirror(view: View, canvas: Canvas, labels: Labels) -> None:
    """Add blurred reflections to the wet ground, stronger at flat viewing angles."""
    first = view.first_ground_row
    below = np.arange(view.height - first)
    above = canvas[np.maximum(first - 1 - (1.15 * below).astype(np.int64), 0)]
    soft = Image.fromarray((255 * above).clip(0, 255).astype(np.uint8))
    soft = soft.filter(ImageFilter.BoxBlur((view.width / 200, view.height / 24)))
    flat = view.moment.look.weather.wet * (0.55 * np.exp(-3.5 * below / view.height) + 0.05)[:, np.newaxis]
    share = (flat * np.isin(labels[first:], (ROAD, LANE_MARK, PAVEMENT))).astype(np.float32)[..., np.newaxis]
    canvas[first:] += share * (np.asarray(soft, dtype=np.float32) / 255 - canvas[first:])


def _glow(canvas: Canvas) -> Canvas:
    """Return the glow around bright places."""
    bright = Image.fromarray((510 * (canvas - np.float32(0.72)).clip(0, 0.5)).astype(np.uint8))
    soft = bright.filter(ImageFilter.GaussianBlur(canvas.shape[1] / 60))
    return np.asarray(soft, dtype=np.float32) / np.float32(510)


def _rain(view: View, rng: np.random.Generator) -> Canvas:
    """Draw streaks of rain (H, W, 1)."""
    canvas = Image.new("L", (view.width, view.height))
    draw = ImageDraw.Draw(canvas)
    for x, y, length in (rng.random((120, 3)) * (view.width, view.height, 1)).tolist():
        reach = (0.03 + 0.06 * length) * view.height
        draw.line([x, y, x - 0.12 * reach, y + reach], fill=round(90 + 160 * length))
    return np.asarray(canvas, dtype=np.float32)[..., np.newaxis] / np.float32(255)


@lru_cache(maxsize=4)
def _rim(height: int, width: int) -> Canvas:
    """Return the vignetting of the lens (H, W, 1)."""
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, np.newaxis]
    x = np.linspace(-1, 1, width, dtype=np.float32)[np.newaxis]
    return np.float32(1.02) - np.float32(0.065) * ((x**2 + y**2) ** np.float32(1.5))[..., np.newaxis]
