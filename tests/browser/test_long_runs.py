"""The page over a long time: memory does not grow with the number of images, and a long video keeps every frame."""

import os
import subprocess
from pathlib import Path

import av
import numpy as np
import pytest
from tests.browser.opened import Open, draw, save_image, times_of, write_clip
from tests.helpers import times

pytestmark = [pytest.mark.browser, pytest.mark.stress]

GROWTH = 50 * 2**20
"""The number of bytes by which the memory of the page's processes may grow."""


def memory_of_pages() -> int:
    """The resident memory of the processes that show pages, which belong to the browser of this process."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid=,rss=,args="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 3) for line in listed.splitlines()]
    ours = {str(os.getpid())}
    for _ in range(10):
        ours |= {pid for pid, parent, *_ in rows if parent in ours}
    pages = [int(rss) for pid, _, rss, args in rows if pid in ours and "--type=renderer" in args]
    assert pages
    return sum(pages) << 10


def test_memory_does_not_grow_with_the_number_of_images(opens: Open, road: Path, tmp_path: Path) -> None:
    images = [save_image(tmp_path / f"{number}.png", draw(120, 160, number)) for number in range(10)]
    opened, runs = opens(road), max(100, times(1000))
    for number in range(runs):
        opened.choose(images[number % 10])
        opened.wait(f"{number % 10}.png is segmented")
        if number == runs // 2:
            before = memory_of_pages()
    assert memory_of_pages() - before < GROWTH
    opened.assert_sound()


def test_a_long_video_keeps_every_frame(opens: Open, road: Path, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "drive.mp4", [33 * number for number in range(times(300))])
    opened = opens(road)
    opened.choose(clip)
    opened.wait(f"drive.mp4 is done: {times(300)} frames", seconds=300)
    (tmp_path / "saved.mp4").write_bytes(opened.saved("Save MP4"))
    np.testing.assert_allclose(times_of(tmp_path / "saved.mp4"), times_of(clip), atol=1e-4)
    with av.open(str(tmp_path / "saved.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == times(300)
    opened.assert_sound()
