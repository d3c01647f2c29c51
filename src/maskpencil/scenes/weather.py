"""Define light and weather, which change the colors of a scene but never its labels."""

from dataclasses import dataclass

import numpy as np

from maskpencil.scenes.facets import Floats

Color = tuple[float, float, float]
Range = tuple[float, float]


@dataclass(frozen=True)
class Weather:
    """The light and weather of one street; colors are in 0..1.

    The colors of a facet are multiplied by one of the rows of `light` (8, 3), the row that `Facets.lights` names. The
    shadow of an object one meter high ends `sun[0]` meters to the right and `sun[1]` meters farther along the street.
    """

    zenith: Floats
    horizon: Floats
    cloud: Floats
    cloudiness: float  # 0-1
    light: Floats
    ground_light: Floats
    sun: tuple[float, float]
    shadow: float  # the share of the light that a shadow removes
    shadow_blur: float  # share of the image's width
    haze: float  # 1 / meters
    wet: float  # 0-1
    rain: float  # 0-1
    glow: float  # strength of the glow around bright areas, 0-1
    grain: float


@dataclass(frozen=True)
class _Kind:
    """One kind of weather; from each field that is a `Range`, a value is drawn at random for each street."""

    share: float
    zenith: Color
    horizon: Color
    sunlit: Color
    shaded: Color
    ground: Color
    pane: Color
    lamp_window: Color
    lamp: float
    cloud: Color
    cloudiness: Range
    shadow: float
    shadow_blur: float
    haze: Range
    wet: Range = (0.0, 0.0)
    rain: float = 0.0
    glow: float = 0.0


KINDS = (
    _Kind(  # fair
        share=0.40,
        zenith=(0.27, 0.52, 0.86),
        horizon=(0.76, 0.88, 0.97),
        sunlit=(1.10, 1.07, 1.00),
        shaded=(0.70, 0.75, 0.86),
        ground=(1.06, 1.04, 1.00),
        pane=(0.95, 1.10, 1.25),
        lamp_window=(0.95, 1.08, 1.20),
        lamp=1.0,
        cloud=(1.0, 1.0, 1.0),
        cloudiness=(0.25, 0.6),
        shadow=0.45,
        shadow_blur=0.002,
        haze=(0.0012, 0.0028),
    ),
    _Kind(  # golden hour
        share=0.20,
        zenith=(0.40, 0.55, 0.80),
        horizon=(1.00, 0.84, 0.62),
        sunlit=(1.18, 1.00, 0.78),
        shaded=(0.62, 0.62, 0.74),
        ground=(1.05, 0.94, 0.82),
        pane=(1.10, 1.00, 0.95),
        lamp_window=(1.90, 1.45, 0.95),
        lamp=1.0,
        cloud=(1.00, 0.90, 0.78),
        cloudiness=(0.3, 0.6),
        shadow=0.50,
        shadow_blur=0.002,
        haze=(0.003, 0.006),
        glow=0.25,
    ),
    _Kind(  # overcast
        share=0.17,
        zenith=(0.66, 0.71, 0.77),
        horizon=(0.85, 0.87, 0.89),
        sunlit=(0.93, 0.94, 0.96),
        shaded=(0.84, 0.86, 0.90),
        ground=(0.92, 0.93, 0.95),
        pane=(1.10, 1.15, 1.20),
        lamp_window=(1.35, 1.25, 1.10),
        lamp=1.0,
        cloud=(0.90, 0.91, 0.93),
        cloudiness=(0.7, 0.9),
        shadow=0.28,
        shadow_blur=0.012,
        haze=(0.002, 0.004),
        wet=(0.0, 0.25),
    ),
    _Kind(  # fog
        share=0.07,
        zenith=(0.80, 0.83, 0.86),
        horizon=(0.84, 0.86, 0.87),
        sunlit=(0.94, 0.94, 0.94),
        shaded=(0.88, 0.89, 0.91),
        ground=(0.93, 0.94, 0.95),
        pane=(1.20, 1.22, 1.25),
        lamp_window=(1.90, 1.70, 1.30),
        lamp=1.0,
        cloud=(1.0, 1.0, 1.0),
        cloudiness=(0.0, 0.0),
        shadow=0.22,
        shadow_blur=0.014,
        haze=(0.011, 0.017),
        wet=(0.1, 0.3),
        glow=0.2,
    ),
    _Kind(  # rain
        share=0.07,
        zenith=(0.47, 0.53, 0.60),
        horizon=(0.70, 0.74, 0.78),
        sunlit=(0.80, 0.83, 0.87),
        shaded=(0.72, 0.75, 0.80),
        ground=(0.70, 0.73, 0.77),
        pane=(0.95, 1.02, 1.10),
        lamp_window=(2.10, 1.75, 1.15),
        lamp=1.1,
        cloud=(0.70, 0.73, 0.77),
        cloudiness=(0.8, 0.95),
        shadow=0.25,
        shadow_blur=0.014,
        haze=(0.005, 0.007),
        wet=(0.7, 0.9),
        rain=1.0,
        glow=0.4,
    ),
    _Kind(  # dusk
        share=0.09,
        zenith=(0.16, 0.23, 0.45),
        horizon=(0.92, 0.62, 0.52),
        sunlit=(0.62, 0.58, 0.66),
        shaded=(0.46, 0.48, 0.62),
        ground=(0.58, 0.57, 0.66),
        pane=(0.75, 0.80, 1.00),
        lamp_window=(2.90, 2.10, 1.15),
        lamp=1.35,
        cloud=(0.78, 0.52, 0.55),
        cloudiness=(0.3, 0.6),
        shadow=0.25,
        shadow_blur=0.012,
        haze=(0.003, 0.005),
        wet=(0.0, 0.5),
        glow=0.8,
    ),
)


def some_weather(rng: np.random.Generator) -> Weather:
    """Return random weather, mostly fair."""
    kind = KINDS[rng.choice(len(KINDS), p=[kind.share for kind in KINDS])]
    sun_right = rng.uniform(0.35, 0.85) * (1 if rng.random() < 0.5 else -1)
    sun_along = rng.uniform(-0.5, 0.4)
    tint = rng.uniform(0.98, 1.02, 3) * rng.uniform(0.95, 1.05)
    sunlit, shaded = np.array(kind.sunlit), np.array(kind.shaded)
    # A shadow that falls to the right means a sun on the left, which lights what faces left; one that falls ahead
    # means a sun behind the camera.
    faces_left, faces_right = (sunlit, shaded) if sun_right > 0 else (shaded, sunlit)
    faces_camera = (sunlit + shaded) / 2 + 0.12 * np.sign(sun_along) * (sunlit - shaded)
    light = [faces_right, faces_left, faces_camera, sunlit * 1.02, sunlit * 0.97]
    light += [np.array(kind.pane), np.array(kind.lamp_window), np.full(3, kind.lamp)]
    steep = 1.0 if kind.shadow > 0.3 else 0.12  # under a gray sky, shadows stay below the objects that cast them
    return Weather(
        zenith=np.array(kind.zenith) * tint,
        horizon=np.array(kind.horizon) * tint,
        cloud=np.array(kind.cloud) * tint,
        cloudiness=rng.uniform(*kind.cloudiness),
        light=np.array(light) * tint,
        ground_light=np.array(kind.ground) * tint,
        sun=(sun_right * steep, sun_along * steep),
        shadow=kind.shadow,
        shadow_blur=kind.shadow_blur,
        haze=rng.uniform(*kind.haze),
        wet=rng.uniform(*kind.wet),
        rain=kind.rain,
        glow=kind.glow,
        grain=rng.uniform(0.003, 0.01),
    )
