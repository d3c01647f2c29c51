"""Sky with clouds, and distant woods along the horizon."""

import numpy as np
import numpy.typing as npt

from maskpencil.data.scenes.camera import View
from maskpencil.data.scenes.noise import Canvas, noise_at, smooth_step


def paint_sky(view: View) -> tuple[Canvas, npt.NDArray[np.bool_]]:
    """The rows above the ground (R, W, 3), and which of their pixels are woods (R, W)."""
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
