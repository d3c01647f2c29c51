"""Hundreds of damaged files are each predicted or reported, and good files among them are predicted.

MASKPENCIL_DAMAGE=10 makes ten times as many.
"""

import io
import os
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.helpers import draw_image

from maskpencil.inference.options import PredictOptions
from maskpencil.inference.predict import predict
from maskpencil.inference.sources import find_sources
from maskpencil.label_maps import read_label_map

TIMES = int(os.environ.get("MASKPENCIL_DAMAGE", "1"))
IMAGES, VIDEOS = 200 * TIMES, 20 * TIMES
FORMATS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "tif": "TIFF", "bmp": "BMP", "gif": "GIF", "jp2": "JPEG2000"}
SECONDS_A_FILE = 2.0


def damaged(data: bytes, other: bytes, random: np.random.Generator) -> bytes:
    """Bits flipped anywhere or in the header, a part cut off or out, or another format's header."""
    values = np.frombuffer(data, np.uint8).copy()
    kind = random.integers(5)
    if kind < 2:
        reach = len(values) if kind else min(64, len(values))
        for place in random.integers(reach, size=random.integers(1, 20)):
            values[place] ^= 1 << random.integers(8)
        return values.tobytes()
    if kind == 2:
        return data[: random.integers(len(data))]
    if kind == 3:
        start, end = sorted(random.integers(len(data), size=2))
        return data[:start] + data[end:]
    return other[: random.integers(4, 64)] + data[random.integers(4, 64) :]


def encoded(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(draw_image((48, 64))).save(buffer, FORMATS[kind])
    return buffer.getvalue()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # which the command line keeps to itself, too
def test_damaged_images_are_done_or_reported_and_good_ones_beside_them_are_done(segmenter, tmp_path):
    random, files = np.random.default_rng(0), {kind: encoded(kind) for kind in FORMATS}
    kinds = list(files)
    for number in range(IMAGES):
        kind, other = kinds[number % len(kinds)], kinds[random.integers(len(kinds))]
        data = damaged(files[kind], files[other], random)
        (tmp_path / f"bad{number}.{kind}").write_bytes(data)
    for kind, data in files.items():
        (tmp_path / f"good.{kind}").write_bytes(data)
    started = time.monotonic()
    report = predict(segmenter, find_sources([tmp_path]), out=tmp_path / "out", options=PredictOptions(overlays=False))
    assert time.monotonic() - started < SECONDS_A_FILE * IMAGES
    assert report.images + len(report.failures) == IMAGES + len(files)
    assert len(report.failures) > IMAGES / 4
    for failure in report.failures:
        assert failure.source.path.name in failure.message
        assert "\n" not in failure.message
        assert "bad" in failure.source.path.name
    for kind in files:
        (mask,) = (tmp_path / "out" / "masks").glob(f"good.{kind}.png")
        assert read_label_map(mask).shape == (48, 64)


@pytest.mark.slow
def test_damaged_videos_are_done_or_reported_and_good_ones_beside_them_are_done(segmenter, tmp_path, make_video):
    random, folder = np.random.default_rng(0), tmp_path / "in"
    folder.mkdir()
    names = {"video.mp4": "libx264", "video.mkv": "libx264", "video.avi": "mpeg4", "video.webm": "libvpx"}
    files = {name: make_video(name, codec=codec).read_bytes() for name, codec in names.items()}
    for number in range(VIDEOS):
        name, other = (list(files)[index] for index in (number % len(files), random.integers(len(files))))
        data = damaged(files[name], files[other], random)
        (folder / f"bad{number}{Path(name).suffix}").write_bytes(data)
    for name, data in files.items():
        (folder / f"good{Path(name).suffix}").write_bytes(data)
    started = time.monotonic()
    report = predict(segmenter, find_sources([folder]), out=tmp_path / "out")
    assert time.monotonic() - started < 10 * SECONDS_A_FILE * VIDEOS
    assert report.videos + len(report.failures) == VIDEOS + len(files)
    for failure in report.failures:
        assert failure.source.path.name in failure.message
        assert "bad" in failure.source.path.name
    assert len(list((tmp_path / "out" / "overlays").glob("good*.mp4"))) == len(files)
