"""The camera in the car: from street coordinates to pixels."""

from dataclasses import dataclass

import numpy as np

from maskpencil.scenes.facets import Floats
from maskpencil.scenes.street import Moment

NEAR = 0.5  # meters: nothing nearer to the camera is drawn


@dataclass(frozen=True)
class View:
    """A pinhole camera at one moment: `focal` in pixels, `middle` the column and `horizon` the row straight ahead."""

    moment: Moment
    height: int
    width: int
    focal: float
    middle: float
    horizon: float

    @classmethod
    def of(cls, moment: Moment, size: tuple[int, int]) -> "View":
        """Return the camera at a moment, for an image of `size`."""
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
        """Project street points (M, 3): columns, rows (the first pixel reaches from 0 to 1) and distances in meters.

        Points behind the camera are moved to just in front of it.
        """
        distance = np.maximum(points[:, 2] - self.moment.along, NEAR)
        scale = self.focal / distance
        right = points[:, 0] - self.moment.right + self.moment.bend / 2 * distance**2
        return self.middle + right * scale, self.horizon - (points[:, 1] - self.moment.height) * scale, distance
