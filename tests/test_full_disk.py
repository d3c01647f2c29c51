"""Every writer on disks of a hundred sizes: a file under its final name is whole, whatever room there was."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from rasterio.crs import CRS
from rasterio.io import MemoryFile
from rasterio.transform import from_origin

from maskpencil.classes import ClassSet, write_classes
from maskpencil.errors import OutputError
from maskpencil.files import written_whole
from maskpencil.images import write_image
from maskpencil.inference.mask_writer import MaskVideo
from maskpencil.inference.raster_files import written_raster
from maskpencil.inference.video_writer import VideoWriter
from maskpencil.label_maps import write_label_map
from maskpencil.regions import PictureRegions, find_regions, write_regions

SIZES = 100
DISK = 2**20

Write = Callable[[Path], None]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own of `DISK` bytes."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a file system can be mounted by root alone")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def noise(height: int = 300, width: int = 500, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


CLASSES = ClassSet(tuple(f"class {number}" for number in range(200)))
LABEL_MAP = noise(500, 700)[..., 0] % 200


def write_film(path: Path, *, is_live: bool = False) -> None:
    settings = {"size": (96, 128), "frame_rate": Fraction(25), "time_base": Fraction(1, 25), "is_live": is_live}
    with written_whole(path) as temporary, VideoWriter(temporary, **settings) as writer:
        for number in range(25):
            writer.write(noise(96, 128, number), pts=number, duration=1)


def write_mask_film(path: Path, *, is_live: bool = False) -> None:
    settings = {"size": (96, 128), "frame_rate": Fraction(25), "time_base": Fraction(1, 25), "is_live": is_live}
    with written_whole(path) as temporary, MaskVideo(temporary, **settings) as writer:
        for number in range(25):
            writer.write(noise(96, 128, number)[..., 0], pts=number, duration=1)


def write_raster(path: Path) -> None:
    profile = {"driver": "GTiff", "width": 700, "height": 500, "count": 1, "dtype": "uint8"}
    place = {"crs": CRS.from_epsg(32632), "transform": from_origin(5e5, 5e6, 1, 1)}
    with (
        MemoryFile() as file,
        file.open(**profile, **place) as like,
        written_raster(path, like, CLASSES.colors) as writer,
    ):
        writer.add(LABEL_MAP)
        writer.finish()


def write_outlines(path: Path) -> None:
    label_map = np.kron(LABEL_MAP[:40, :40], np.ones((3, 3), np.uint8))
    regions = find_regions(label_map, CLASSES)
    picture = PictureRegions("photo.jpg", label_map.shape, regions)
    write_regions(path, [picture], CLASSES, file_format="json" if path.suffix == ".json" else "geojson")


WRITERS: dict[str, Write] = {
    **{f"image.{suffix}": lambda path: write_image(path, noise()) for suffix in ("jpg", "png", "webp", "bmp", "tif")},
    "labels.png": lambda path: write_label_map(path, LABEL_MAP, CLASSES.colors),
    "film.mp4": write_film,
    "live.mp4": lambda path: write_film(path, is_live=True),
    "film.mkv": write_mask_film,
    "live.mkv": lambda path: write_mask_film(path, is_live=True),
    "raster.tif": write_raster,
    "regions.json": write_outlines,
    "regions.geojson": write_outlines,
    "classes.yaml": lambda path: write_classes(path, ClassSet(tuple(f"class {n} {'x' * 485}" for n in range(200)))),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_is_whole_or_not_there_whatever_room_there_is(name: str, disk: Path, tmp_path: Path) -> None:
    write = WRITERS[name]
    write(tmp_path / name)
    expected = (tmp_path / name).read_bytes()
    assert len(expected) > 100_000
    outcomes = set()
    for room in np.linspace(0, min(DISK, 1.3 * len(expected)), SIZES).astype(int):
        ballast = disk / "ballast"
        with ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(1, DISK - room))
        with suppress(OutputError):
            write(disk / name)
        found = (disk / name).read_bytes() if (disk / name).exists() else None
        if found is not None:
            assert len(found) == len(expected), f"{room} bytes of room"
            assert found == expected or name.endswith(".mkv")  # which carries a random number
        outcomes.add(found is None)
        (disk / name).unlink(missing_ok=True)
        assert [path.name for path in disk.rglob("*")] == ["ballast"], f"{room} bytes of room"
    assert outcomes == {True, False}


@pytest.mark.parametrize("name", WRITERS)
def test_what_was_there_stays_where_there_is_no_room_for_its_successor(name: str, disk: Path) -> None:
    (disk / name).write_bytes(b"the one before")
    with (disk / "ballast").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, DISK - 2**16)
    with pytest.raises(OutputError, match="cannot be written"):
        WRITERS[name](disk / name)
    assert (disk / name).read_bytes() == b"the one before"
