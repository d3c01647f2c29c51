"""Videos held sideways: the turn that a frame's display matrix asks for."""

from typing import Any

import av
import numpy as np
from av.sidedata.sidedata import SideDataContainer

from maskpencil.images import RGBImage

Orientation = tuple[int, int, int, int]
"""The signs (a, b, c, d) of a display matrix: stored (x, y) is shown at (a x + c y, b x + d y)."""

UPRIGHT = (1, 0, 0, 1)


def orientation(frame: av.VideoFrame) -> Orientation:
    """The nearest quarter turn, mirrored or not, that a frame asks for."""
    # frame.side_data would be kept by the frame, which it keeps: a hundred frames wait for the collector of such cycles
    matrix: Any = SideDataContainer(frame).get("DISPLAYMATRIX")  # type: ignore[call-arg]
    if matrix is None:
        return UPRIGHT
    (a, b, _), (c, d, _), _ = np.frombuffer(matrix, dtype=np.int32).reshape(3, 3)
    if max(abs(a), abs(d)) >= max(abs(b), abs(c)):
        return (int(np.sign(a)), 0, 0, int(np.sign(d)))
    return (0, int(np.sign(b)), int(np.sign(c)), 0)


def turned(pixels: RGBImage, orientation: Orientation) -> RGBImage:
    """Show stored pixels as the video's display matrix asks: (H, W, 3), or (W, H, 3) after a quarter turn."""
    if orientation == UPRIGHT:
        return pixels
    a, b, c, d = orientation
    if a == 0:
        pixels = pixels.transpose(1, 0, 2)  # (W, H, 3)
    if a + c < 0:
        pixels = pixels[:, ::-1]
    if b + d < 0:
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def rotation(orientation: Orientation) -> int:
    """Degrees clockwise, by where the stored image's x axis points."""
    a, b, _, _ = orientation
    return {(1, 0): 0, (0, 1): 90, (-1, 0): 180, (0, -1): 270}[a, b]
