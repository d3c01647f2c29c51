"""On disks of a hundred sizes, every writer leaves only whole files under final names."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest
import torch
import yaml
from rasterio.crs import CRS
from rasterio.io import MemoryFile
from rasterio.transform import from_origin

from maskpencil.classes import ClassSet, write_classes
from maskpencil.errors import OutputError
from maskpencil.files import folder_written_whole, written_whole
from maskpencil.images import write_image
from maskpencil.inference.raster.files import written_raster
from maskpencil.inference.video.writers import MaskVideo, VideoWriter
from maskpencil.label_maps import write_label_map
from maskpencil.regions import ImageRegions, find_regions, write_regions
from maskpencil.runtimes import export
from maskpencil.runtimes.graph_cache import keep_bytes, keep_folder, kept_size, read_kept
from maskpencil.runtimes.graph_files import is_sound, read_graph
from maskpencil.segmenter import Segmenter
from maskpencil.training.checkpoints import save_checkpoint
from maskpencil.training.schedule import Progress

SIZES = 100
DISK = 2**22
PAGE = 2**12
"""The unit in which a file system in memory has room."""

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


def rooms(most: float, count: int = SIZES) -> list[int]:
    """Up to `count` sizes of free room from 0 to `most` bytes, no two of as many pages."""
    return np.unique(np.linspace(0, min(DISK, most), count).astype(int) // PAGE * PAGE).tolist()


def once(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compute a result once, whatever the arguments of later calls: what it is written to is what changes here."""
    results: list[Any] = []

    def remembered(*arguments: Any, **options: Any) -> Any:
        if not results:
            results.append(function(*arguments, **options))
        return results[0]

    return remembered


def noise(height: int = 300, width: int = 500, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


CLASSES = ClassSet(tuple(f"class {number}" for number in range(200)))
LABEL_MAP = noise(500, 700)[..., 0] % 200


def write_video(path: Path, *, is_live: bool = False) -> None:
    settings = {"size": (96, 128), "frame_rate": Fraction(25), "time_base": Fraction(1, 25), "is_live": is_live}
    with written_whole(path) as temporary, VideoWriter(temporary, **settings) as writer:
        for number in range(25):
            writer.write(noise(96, 128, number), pts=number, duration=1)


def write_mask_video(path: Path, *, is_live: bool = False) -> None:
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
    label_map = np.kron(LABEL_MAP[:24, :24], np.ones((3, 3), np.uint8))
    regions = find_regions(label_map, CLASSES)
    image = ImageRegions("photo.jpg", label_map.shape, regions)
    write_regions(path, [image], CLASSES, file_format="json" if path.suffix == ".json" else "geojson")


WRITERS: dict[str, Write] = {
    **{f"image.{suffix}": lambda path: write_image(path, noise()) for suffix in ("jpg", "png", "webp", "bmp", "tif")},
    "labels.png": lambda path: write_label_map(path, LABEL_MAP, CLASSES.colors),
    "video.mp4": write_video,
    "live.mp4": lambda path: write_video(path, is_live=True),
    "video.mkv": write_mask_video,
    "live.mkv": lambda path: write_mask_video(path, is_live=True),
    "raster.tif": write_raster,
    "regions.json": write_outlines,
    "regions.geojson": write_outlines,
    "classes.yaml": lambda path: write_classes(path, ClassSet(tuple(f"class {n} {'x' * 485}" for n in range(200)))),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITERS)
def test_a_file_is_whole_or_missing_on_a_full_disk(
    name: str, disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(yaml, "safe_dump", once(yaml.safe_dump))
    write = WRITERS[name]
    write(tmp_path / name)
    expected = (tmp_path / name).read_bytes()
    assert len(expected) > 100_000
    outcomes = set()
    for room in rooms(1.3 * len(expected)):
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


def write_checkpoint(path: Path, network: torch.nn.Module) -> None:
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    save_checkpoint(path, progress=Progress(), model=network, optimizer=optimizer)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["model", "checkpoint", "graph"])
def test_a_folder_is_whole_or_missing_on_a_full_disk(
    name: str,
    disk: Path,
    tmp_path: Path,
    make_segmenter: Callable[..., Segmenter],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(openvino, "convert_model", once(openvino.convert_model))
    monkeypatch.setattr(export, "facts_of", once(export.facts_of))
    segmenter = make_segmenter()
    segmenter.save(tmp_path / "plain")
    writers: dict[str, Write] = {
        "model": segmenter.save,
        "checkpoint": lambda path: write_checkpoint(path, segmenter.network),
        "graph": lambda path: write_graph_folder(path, tmp_path / "plain"),
    }
    writers[name](tmp_path / "whole")
    expected = contents(tmp_path / "whole")
    total, outcomes = sum(map(len, expected.values())), set()
    for room in rooms(1.5 * total, SIZES if name != "graph" else SIZES // 5):
        with (disk / "ballast").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(1, DISK - room))
        with suppress(OutputError):
            writers[name](disk / "folder")
        found = contents(disk / "folder")
        if name == "graph" and found:  # its layers are numbered by the process
            assert is_sound(read_graph(disk / "folder", "openvino")), f"{room} bytes of room"
        else:
            assert found in ({}, expected), f"{room} bytes of room"
        assert {path.name for path in disk.iterdir()} <= {"ballast", "folder"}
        outcomes.add(bool(found))
        shutil.rmtree(disk / "folder", ignore_errors=True)
    assert outcomes == {True, False}


def test_the_cache_has_only_whole_files_on_a_full_disk(disk: Path) -> None:
    content, outcomes = noise().tobytes(), set()
    for room in rooms(1.3 * len(content)):
        with (disk / "ballast").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(1, DISK - room))
        keep_bytes(disk / "kept" / "one.blob", content)
        keep_folder(disk / "place", lambda place: (place / "file").write_bytes(content[:100_000]))
        array = np.empty(kept_size(disk / "kept" / "one.blob"), np.uint8)
        is_kept = len(array) > 0 and read_kept(disk / "kept" / "one.blob", array)
        assert not is_kept or array.tobytes() == content, f"{room} bytes of room"
        assert contents(disk / "place") in ({}, {"file": content[:100_000]}), f"{room} bytes of room"
        assert not list(disk.rglob(".*")), f"{room} bytes of room"
        outcomes.add(is_kept)
        for folder in ("kept", "place"):
            shutil.rmtree(disk / folder, ignore_errors=True)
    assert outcomes == {True, False}


def write_graph_folder(path: Path, model: Path) -> None:
    with folder_written_whole(path) as place:
        export.write_graph(model, place, "openvino")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", WRITERS)
def test_the_old_file_or_folder_stays_if_the_disk_is_full(name: str, disk: Path) -> None:
    (disk / name).write_bytes(b"the one before")
    with (disk / "ballast").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, DISK - 2**16)
    with pytest.raises(OutputError, match="cannot be written"):
        WRITERS[name](disk / name)
    assert (disk / name).read_bytes() == b"the one before"
