"""Paint a moment of a street: sky and ground, all objects from far to near, then the effects of a photograph."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from maskpencil.scenes.facets import CAR, LANE_MARK, PAVEMENT, PERSON, ROAD, SCENE_CLASSES, SKY, TREE, Floats
from maskpencil.scenes.street import CORNER, SIDE_STREET, VIEW, ZEBRA, Moment

NEAR = 0.5  # meters: nothing nearer to the camera is drawn


@dataclass(frozen=True)
class View:
    """A pinhole camera at one moment.

    `focal` is the focal length in pixels; the column `middle` and the row `horizon` are the vanishing point of a
    straight street.
    """

    moment: Moment
    height: int
    width: int
    focal: float
    middle: float
    horizon: float

    @classmethod
    def of(cls, moment: Moment, size: tuple[int, int]) -> "View":
        """Return the camera at a moment, for an image of `size` (height, width)."""
        height, width = size
        focal = 0.82 * max(width, 1.2 * height)  # 63 degrees across a wide image
        return cls(
            moment,
            height,
            width,
            focal,
            middle=width / 2 + focal * moment.yaw,
            horizon=0.52 * height + focal * moment.pitch,
        )

    @property
    def first_ground_row(self) -> int:
        """The first row of pixels whose center is below the horizon."""
        return int(np.clip(np.round(self.horizon), 1, self.height - 1))

    def project(self, points: Floats) -> tuple[Floats, Floats, Floats]:
        """Project street points (M, 3) to pixel columns, pixel rows and distances, (M,) each.

        Columns and rows are counted from the top left corner, with fractions. Distances are in meters along the street,
        from the camera. Points behind the camera are moved to just in front of it.
        """
        distance = np.maximum(points[:, 2] - self.moment.along, NEAR)
        scale = self.focal / distance
        right = points[:, 0] - self.moment.right + self.moment.bend / 2 * distance**2
        return self.middle + right * scale, self.horizon - (points[:, 1] - self.moment.height) * scale, distance


Canvas = npt.NDArray[np.float32]

SIDE = 256


@lru_cache(maxsize=1)
def noise_tile() -> Canvas:
    """Return a tile (256, 256) of noise from 0 to 1 that repeats without a seam."""
    rng = np.random.default_rng(0)
    tile = np.zeros((SIDE, SIDE), dtype=np.float32)
    for cells in (8, 16, 32, 64, 128):
        lattice = np.pad(rng.random((cells, cells), dtype=np.float32), (0, 1), mode="wrap")
        position = np.arange(SIDE) * cells / SIDE
        low = position.astype(np.int64)
        part = smooth_step((position - low).astype(np.float32))
        rows = lattice[low] * (1 - part[:, np.newaxis]) + lattice[low + 1] * part[:, np.newaxis]
        tile += (rows[:, low] * (1 - part) + rows[:, low + 1] * part) / np.float32(cells**0.8)
    tile -= tile.min()
    tile /= tile.max()
    return tile


def noise_at(x: Canvas, y: Canvas) -> Canvas:
    """Interpolate the noise, a tile that repeats, at positions in pixels; `x` and `y` have the same shape."""
    tile = noise_tile()
    left, top = np.floor(x), np.floor(y)
    dx, dy = x - left, y - top
    i, j = left.astype(np.int32) % SIDE, top.astype(np.int32) % SIDE
    i1, j1 = (i + 1) % SIDE, (j + 1) % SIDE
    upper = tile[j, i] * (1 - dx) + tile[j, i1] * dx
    lower = tile[j1, i] * (1 - dx) + tile[j1, i1] * dx
    return (upper * (1 - dy) + lower * dy).astype(np.float32, copy=False)


def smooth_step(x: Canvas) -> Canvas:
    """Return 0 below 0, 1 above 1, and a smooth curve in between."""
    part: Canvas = np.clip(x, 0, 1)
    stepped: Canvas = part * part * (3 - 2 * part)
    return stepped


def paint_sky(view: View) -> tuple[Canvas, npt.NDArray[np.bool_]]:
    """Return the colors (R, W, 3) of the R rows above the horizon, and a boolean mask (R, W) of the distant woods."""
    moment, weather = view.moment, view.moment.look.weather
    rows = np.arange(view.first_ground_row, dtype=np.float32)[:, np.newaxis]
    rise = np.maximum((np.float32(view.horizon - 0.5) - rows) / np.float32(view.focal), 0)
    columns = np.arange(view.width, dtype=np.float32)[np.newaxis]
    angle = (columns + np.float32(0.5 - view.middle)) / np.float32(view.focal)
    bearing = angle + np.float32(moment.heading) + 0 * rise
    horizon, zenith = weather.horizon.astype(np.float32), weather.zenith.astype(np.float32)
    sun_side = np.float32(np.sign(weather.sun[0]))

    height = (1 - np.exp(-4.5 * rise))[..., np.newaxis]
    sky = horizon * (1 - height) + zenith * height + 0 * bearing[..., np.newaxis]
    if weather.cloudiness > 0:
        # Clouds hang under a ceiling: the lower in the sky, the farther and the denser.
        far = 1 / (rise + np.float32(0.16))
        x, y = 14 * far * bearing + np.float32(0.25 * moment.time), 22 * far + 0 * bearing
        thick = noise_at(x, y)
        cover = smooth_step((thick - np.float32(0.78 - 0.55 * weather.cloudiness)) / np.float32(0.22))
        lit = np.clip(0.5 + 2.2 * (thick - noise_at(x - np.float32(2.5) * sun_side, y - 3)), 0, 1)
        cloud = weather.cloud.astype(np.float32) * (0.8 + 0.25 * lit)[..., np.newaxis]
        opacity = (np.float32(0.92) * cover * smooth_step(rise / np.float32(0.09)))[..., np.newaxis]
        sky = sky * (1 - opacity) + cloud * opacity
    sun = np.exp(-((angle + np.float32(0.55) * sun_side) ** 2) / np.float32(0.35)) * np.exp(-3 * rise)
    sky += sun[..., np.newaxis] * np.array([0.16, 0.136, 0.088], dtype=np.float32)

    hills, treetops = noise_at(30 * bearing, 0 * bearing + np.float32(7.5)), noise_at(160 * bearing, 0 * bearing)
    crest = 0.03 + 0.04 * hills + 0.016 * treetops
    cover = np.clip((crest - rise) * np.float32(view.focal) + 0.5, 0, 1)[..., np.newaxis]
    leaf = (0.7 * moment.look.leaves[0] * weather.light[4]).astype(np.float32)
    haze = np.float32(min(0.92, 0.3 + 40 * weather.haze))
    sky += cover * (leaf * (1 - haze) + horizon * haze - sky)
    return sky, rise < crest


# Float32 is exact to a millimeter only near 0, so the ground repeats after this many meters: a whole number of slabs,
# dashes and noise tiles.
PERIOD = 3072.0
SLAB = 0.75  # meters
DASHES = 8.0  # meters from one dash of the center line to the next
SHADOW_VIEW = 80.0  # meters


class Ground:
    """The ground in the R rows of a view below the horizon.

    Its arrays are (R, W), or (R, 1) if they are constant along a row.
    """

    def __init__(self, view: View) -> None:
        self._view, moment = view, view.moment
        rows = np.arange(view.first_ground_row, view.height, dtype=np.float32)[:, np.newaxis]
        columns = np.arange(view.width, dtype=np.float32)[np.newaxis]
        below = np.maximum(rows + np.float32(0.5 - view.horizon), np.float32(0.02))
        self._distance = np.float32(view.focal * moment.height) / below
        # Meters that a pixel covers across the street and along it.
        self._wide = self._distance / np.float32(view.focal)
        self._long = self._distance**2 / np.float32(view.focal * moment.height)
        bend = np.float32(moment.bend / 2) * self._distance**2
        self._right = (columns + np.float32(0.5 - view.middle)) * self._wide + np.float32(moment.right) - bend
        self._apart = np.abs(self._right)
        self._along = self._distance + np.float32(moment.along % PERIOD)
        origin = moment.along - moment.along % PERIOD
        self._crossings = [np.float32(begin - origin) for begin in moment.crossings]
        # How far inside a side street a row lies, in meters; negative outside.
        self._side_street = np.full_like(self._distance, -1e6)
        for begin in self._crossings:
            inner = np.minimum(self._along - (begin + SIDE_STREET[0]), begin + SIDE_STREET[1] - self._along)
            self._side_street = np.maximum(self._side_street, inner)

    def paint(self) -> tuple[Canvas, npt.NDArray[np.uint8]]:
        """Return the colors (R, W, 3) and class indices (R, W) of the ground, which covers R rows of the image."""
        layout, look = self._view.moment.layout, self._view.moment.look
        # Noise finer than a pixel would flicker in a video.
        fine = np.clip(0.35 / self._long - 0.15, 0, 1) * (noise_at(9 * self._right, 9 * self._along) - 0.5)
        coarse = np.clip(6 / self._long, 0, 1) * (noise_at(1.25 * self._right, 0.5 * self._along + 40) - 0.5)

        slabs, asphalt = look.slabs.astype(np.float32), look.asphalt.astype(np.float32)
        colors = slabs * self._slabs(fine, coarse)[..., np.newaxis]
        curb = np.minimum(
            _inside(layout.road + 0.22 - self._apart, self._wide), _inside(-self._side_street, self._long)
        )
        colors += curb[..., np.newaxis] * (slabs * np.float32(1.14) - colors)
        wear = 0.06 * np.exp(-(((np.abs(self._apart - layout.lane / 2) - 0.75) / 0.3) ** 2))
        gutter = 0.25 * np.exp(-(((self._apart - layout.road) / 0.25) ** 2)) * (self._side_street < 0)
        stone = asphalt * (1 + 0.5 * fine + 0.35 * coarse + wear - gutter)[..., np.newaxis]
        road = np.maximum(_inside(layout.road - self._apart, self._wide), _inside(self._side_street, self._long))
        colors += road[..., np.newaxis] * (stone - colors)
        marks, marked = self._marks()
        worn = marks * (0.9 + 0.5 * np.minimum(fine, 0))
        colors += worn[..., np.newaxis] * (np.float32(0.93) - colors)

        classes = np.where(np.maximum(layout.road - self._apart, self._side_street) > 0, ROAD, PAVEMENT)
        classes[marked] = LANE_MARK
        return self._lit(colors), classes.astype(np.uint8)

    def _slabs(self, fine: Canvas, coarse: Canvas) -> Canvas:
        """Return the brightness (R, W) of the pavement: slabs, seams, and `fine` and `coarse` noise (R, W)."""
        across, down = self._right / np.float32(SLAB), self._along / np.float32(SLAB)
        column, row = np.floor(across).astype(np.int32), np.floor(down).astype(np.int32)
        tile = noise_tile()[29 * row % 256, (37 * column + 101 * row) % 256] - 0.5
        seams = np.maximum(*(smooth_step((2 * np.abs(place % 1 - 0.5) - 0.9) / 0.08) for place in (across, down)))
        sharp = np.clip(0.45 / self._long - 0.2, 0, 1)
        brightness: Canvas = 1 + (0.10 * tile - 0.16 * seams) * sharp + 0.22 * coarse + 0.12 * fine
        return brightness

    def _marks(self) -> tuple[Canvas, npt.NDArray[np.bool_]]:
        """Return the share (R, W), 0-1, of each pixel that lane marks cover, and whether they cover its center."""
        layout, along, apart = self._view.moment.layout, self._along, self._apart
        dash = (
            np.floor(along / DASHES) * DASHES + DASHES / 2
        )  # the center of the nearest dash; dashes are whole or missing
        dashes, edges = np.ones_like(along), np.ones_like(along)
        # Margins (meters inside an edge) across and along, width in pixels, and the rows with the mark.
        marks: list[tuple[Canvas, Canvas, Canvas, Canvas]] = []
        for begin in self._crossings:
            dashes *= (dash < begin - 3) | (dash > begin + CORNER)
            edges *= (along < begin - 2) | (along > begin + CORNER)
            bars = np.minimum(0.28 - np.abs(apart % 1.1 - 0.55), layout.road - 0.3 - apart)
            zebra = np.minimum(along - begin - ZEBRA[0], begin + ZEBRA[1] - along)
            marks.append((bars, zebra, 0.56 / self._wide, np.ones_like(along)))
            own_lane = np.minimum(layout.lane - self._right, self._right - 0.1)
            marks.append((own_lane, 0.25 - np.abs(along - begin + 0.9), 0.5 / self._long + 0.3, np.ones_like(along)))
        marks.append((0.18 - apart, 2.0 - np.abs(along - dash), 0.36 / self._wide, dashes))
        if layout.edge_line:
            line = 0.14 - np.abs(apart - layout.lane)
            marks.append((line, np.full_like(along, 9), 0.28 / self._wide, edges))
        share, marked = np.zeros_like(apart), np.zeros(apart.shape, dtype=bool)
        for across, down, width, there in marks:
            seen = np.clip((width * 80 / self._view.height - 1.2) / 0.6, 0, 1) * there  # too thin to draw
            share = np.maximum(share, _inside(across, self._wide) * _inside(down, self._long) * seen)
            marked |= (np.minimum(across, down) > 0) & (seen > 0.5)
        return share, marked

    def _lit(self, colors: Canvas) -> Canvas:
        weather = self._view.moment.look.weather
        shade = self._shadows()[..., np.newaxis] * np.float32(weather.shadow)
        colors *= weather.ground_light.astype(np.float32) * np.float32(1 - 0.3 * weather.wet)
        colors *= 1 - shade * np.array([1.0, 0.94, 0.82], dtype=np.float32)  # the sky's blue lights the shade
        haze = (1 - np.exp(-self._distance * np.float32(weather.haze)))[..., np.newaxis]
        colors += haze * (weather.horizon.astype(np.float32) - colors)
        return colors

    def _shadows(self) -> Canvas:
        """Return the share (R, W), 0-1, of each pixel that lies in shadow."""
        view, casters, weather = self._view, self._view.moment.casters, self._view.moment.look.weather
        first = view.first_ground_row
        fallen = casters.vertices + casters.vertices[:, 1:2] * (weather.sun[0], -1, weather.sun[1])
        columns, rows, _ = view.project(fallen)
        ends = np.cumsum(casters.counts)
        starts = ends - casters.counts
        away = fallen[:, 2] - view.moment.along
        seen = (np.maximum.reduceat(away, starts) > NEAR) & (np.minimum.reduceat(away, starts) < SHADOW_VIEW)
        seen &= (np.maximum.reduceat(columns, starts) > 0) & (np.minimum.reduceat(columns, starts) < view.width)
        canvas = Image.new("L", (2 * view.width, 2 * (view.height - first)))
        draw = ImageDraw.Draw(canvas)
        corners = (2 * np.stack([columns, rows - first], axis=-1)).round().clip(-8000, 32000).astype(np.int64)
        for i in np.flatnonzero(seen).tolist():
            draw.polygon(corners[starts[i] : ends[i]].ravel().tolist(), fill=255)
        soft = canvas.reduce(2).filter(ImageFilter.GaussianBlur(max(0.4, weather.shadow_blur * view.width)))
        return np.asarray(soft, dtype=np.float32) / np.float32(255)


def _inside(margin: Canvas, pixel: Canvas) -> Canvas:
    """Return the share, 0-1, of a pixel that lies inside an edge.

    The pixel is `pixel` meters wide, and its center is `margin` meters inside the edge (negative: outside).
    """
    share: Canvas = np.clip(margin / pixel + 0.5, 0, 1)
    return share


Labels = npt.NDArray[np.uint8]

FINE = 4  # polygons are painted on a canvas finer by this factor, then averaged
SMALLEST = 1.5  # square pixels: the smallest bounding box of a polygon that is painted
# The greatest distance, in meters times image height over focal length, at which a class is painted: cars down to a
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
    """Paint all objects over the canvas (H, W, 3) and the labels (H, W), which are changed in place."""
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
    # Pillow rounds to whole pixels and paints the outermost ones on both sides; subtracting 0.25 keeps the size.
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
    """Add blurred reflections, stronger farther away, to the wet ground in the canvas, which is changed in place."""
    first = view.first_ground_row
    below = np.arange(view.height - first)
    above = canvas[np.maximum(first - 1 - (1.15 * below).astype(np.int64), 0)]
    soft = Image.fromarray((255 * above).clip(0, 255).astype(np.uint8))
    soft = soft.filter(ImageFilter.BoxBlur((view.width / 200, view.height / 24)))
    flat = view.moment.look.weather.wet * (0.55 * np.exp(-3.5 * below / view.height) + 0.05)[:, np.newaxis]
    share = (flat * np.isin(labels[first:], (ROAD, LANE_MARK, PAVEMENT))).astype(np.float32)[..., np.newaxis]
    canvas[first:] += share * (np.asarray(soft, dtype=np.float32) / 255 - canvas[first:])


def _glow(canvas: Canvas) -> Canvas:
    """Return the light (H, W, 3) that glows around bright areas of the canvas."""
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
    """Return the factors (H, W, 1) by which the lens darkens pixels far from the center (vignetting)."""
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, np.newaxis]
    x = np.linspace(-1, 1, width, dtype=np.float32)[np.newaxis]
    return np.float32(1.02) - np.float32(0.065) * ((x**2 + y**2) ** np.float32(1.5))[..., np.newaxis]
