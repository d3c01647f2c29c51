"""The camera and videos in the page."""

import re
from pathlib import Path

import av
import numpy as np
import pytest
from tests.browser.opened import CLASSES, Opened, times_of, write_clip

from maskpencil.images import RGBImage
from maskpencil.segmenter import Segmenter

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_the_camera_runs_and_stops(on_road: Opened) -> None:
    opened = on_road
    opened.page.get_by_role("button", name="Use the camera").click()
    opened.wait("The camera runs, computed at")
    facts = opened.page.locator("#facts", has_text="frames a second").inner_text()
    assert re.match(r"640 × 480 pixels, computed at \d+ × \d+ so that it keeps up; \d+ ms a frame", facts)
    assert opened.mask().size == (640, 480)
    assert opened.name == "camera_mask.png"
    opened.page.get_by_role("button", name="Stop the camera").click()
    opened.wait("The camera is off")
    opened.page.get_by_role("button", name="Use the camera").wait_for()
    opened.assert_sound()


def frames_of(path: Path) -> list[RGBImage]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def correlation(one: RGBImage, other: RGBImage) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def test_a_video_is_saved_with_the_same_frames_at_the_same_times(
    on_road: Opened, segmenter: Segmenter, tmp_path: Path
) -> None:
    clip = write_clip(tmp_path / "drive.mp4", [40 * number + (number > 11) * 200 for number in range(30)])
    opened = on_road
    opened.page.locator("#opacity").fill("100")
    opened.choose(clip)
    opened.wait("drive.mp4 is done: 30 frames")
    opened.saved("Save MP4")
    assert opened.name == "drive_overlay.mp4"
    (tmp_path / "saved.mp4").write_bytes(opened.saved("Save MP4"))
    np.testing.assert_allclose(times_of(tmp_path / "saved.mp4"), times_of(clip), atol=1e-4)
    frames = frames_of(tmp_path / "saved.mp4")
    assert frames[0].shape == (96, 128, 3)
    for frame, image in zip(frames, frames_of(clip), strict=True):
        colors = CLASSES.colors[segmenter.predict(image).label_map]
        assert correlation(frame, colors) > 0.5 > 0.3 > abs(correlation(frame, image)), "opaque colors of the classes"
    opened.assert_sound()
