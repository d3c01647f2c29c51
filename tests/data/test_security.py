"""Hostile data, opened in a separate process whose time and memory are measured."""

import io
import json
import os
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

pytestmark = pytest.mark.skipif(os.name == "nt", reason="measured with POSIX calls")

MAX_MEGABYTES = 500
MAX_SECONDS = 5.0
"""Of the processor; a second is meant, and the machines that run tests are slow."""

OPEN = """
import json, resource, sys, time
from maskpencil.data.folder import open_folder
from maskpencil.errors import MaskPencilError

resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
if sys.platform == "linux":
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))  # a failure must not take the machine with it
start = time.process_time()
try:
    folder = open_folder(sys.argv[1])
    folder.check_images()
    said = {"pairs": sum(len(pairs) for pairs in folder.splits.values()), "error": ""}
except MaskPencilError as error:
    said = {"pairs": 0, "error": str(error)}
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
said |= {"seconds": time.process_time() - start, "megabytes": peak / 1024 / (1024 if sys.platform == "darwin" else 1)}
print(json.dumps(said))
"""


@dataclass(frozen=True)
class Outcome:
    pairs: int
    error: str
    seconds: float
    megabytes: float


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def open_apart(root: Path) -> Outcome:
    """Open a folder and decode all images in a separate process, and check its time and memory."""
    # the shell between: a process begins with the peak of the one that started it, which here is pytest with torch
    command = ["/bin/sh", "-c", '"$@"; exit $?', "sh", sys.executable, "-c", OPEN, str(root)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    outcome = Outcome(**json.loads(done.stdout))
    assert outcome.megabytes < MAX_MEGABYTES
    assert outcome.seconds < MAX_SECONDS
    assert "\n" not in outcome.error
    return outcome


def make_pairs(root: Path, count: int = 3) -> Path:
    for number in range(count):
        for side, color in (("images", (9, 9, 9)), ("masks", number % 2)):
            (root / side).mkdir(parents=True, exist_ok=True)
            Image.new("RGB" if side == "images" else "L", (48, 32), color).save(root / side / f"{number}.png")
    return root


def png(width: int, height: int) -> bytes:
    """A PNG whose header claims a size, and nothing behind it."""
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)), (b"IDAT", zlib.compress(bytes(1000))))
    packed = (
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in (*chunks, (b"IEND", b""))
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def left_in(cache: Path) -> list[Path]:
    return [path for path in cache.rglob("*") if path.suffix != ".lock" and path.name not in ("maskpencil", "unpacked")]


def test_the_measured_process_reads_the_data(tmp_path: Path) -> None:
    outcome = open_apart(make_pairs(tmp_path / "data"))
    assert outcome.pairs == 3
    assert outcome.megabytes > 20


def test_a_zip_bomb_is_refused(tmp_path: Path, cache: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for number in range(4):
            archive.writestr(f"images/{number}.bmp", bytes(2**26))
    outcome = open_apart(tmp_path / "bomb.zip")
    assert "bomb.zip: unpacks to more than" in outcome.error
    assert left_in(cache) == []


@pytest.mark.slow
def test_a_tar_bomb_is_refused(tmp_path: Path, cache: Path) -> None:
    with tarfile.open(tmp_path / "bomb.tar.gz", "w:gz", compresslevel=1) as archive:
        for number in range(3):
            member = tarfile.TarInfo(f"images/{number}.bmp")
            member.size = 2**26
            archive.addfile(member, io.BytesIO(bytes(2**26)))
    assert "bomb.tar.gz: unpacks to more than" in open_apart(tmp_path / "bomb.tar.gz").error
    assert left_in(cache) == []


@pytest.mark.slow
def test_a_parquet_file_that_stores_an_image_once_for_all_rows_is_refused(tmp_path: Path, cache: Path) -> None:
    column = pa.array([png(48, 32) + bytes(2**23)] * 30)
    pq.write_table(pa.table({"image": column, "mask": column}), tmp_path / "bomb.parquet", compression="zstd")
    assert "bomb.parquet: unpacks to more than" in open_apart(tmp_path / "bomb.parquet").error
    assert left_in(cache) == []


@pytest.mark.slow
def test_a_zip_bomb_in_a_zip_is_not_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "inner.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("images/0.bmp", bytes(2**27))
    root = make_pairs(tmp_path / "data")
    with zipfile.ZipFile(tmp_path / "outer.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in root.rglob("*.png"):
            archive.write(file, file.relative_to(root).as_posix())
        for number in range(5):
            archive.write(tmp_path / "inner.zip", f"{number}.zip")
    assert open_apart(tmp_path / "outer.zip").pairs == 3


@pytest.mark.parametrize(
    "name",
    [
        "../evil.png",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("images/../../../evil.png", "/evil.png", "C:\\evil.png", "..\\evil.png")
        ),
    ],
)
def test_a_zip_that_leads_out_of_its_folder_is_refused(tmp_path: Path, cache: Path, name: str) -> None:
    root = make_pairs(tmp_path / "data")
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        for file in root.rglob("*.png"):
            archive.write(file, file.relative_to(root).as_posix())
        archive.writestr(name, "evil")
    outcome = open_apart(tmp_path / "evil.zip")
    assert "leads out of the folder" in outcome.error
    assert not [path for path in tmp_path.rglob("*") if "evil.png" in path.name]
    assert left_in(cache) == []


@pytest.mark.slow
@pytest.mark.parametrize("side", ["images", "masks"])
def test_a_png_that_claims_ten_thousand_million_pixels_is_refused(tmp_path: Path, side: str) -> None:
    root = make_pairs(tmp_path / "data")
    (root / side / "1.png").write_bytes(png(100_000, 100_000))
    assert f"{side}/1.png: " in (error := open_apart(root).error)
    assert "million" in error


def test_a_png_that_holds_less_than_it_claims_is_refused(tmp_path: Path) -> None:
    root = make_pairs(tmp_path / "data")
    (root / "masks" / "1.png").write_bytes(png(10_000, 10_000))
    assert "masks/1.png: is damaged or cut short" in open_apart(root).error


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n"
        + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10))
        + "names: *a9\n",
        "names: &again [*again]\n",
        "names: !!python/object/apply:os.system ['echo evil > evil']\n",
        "names: !!python/name:os.system\n",
        "names: " + "[" * 50_000 + "]" * 50_000 + "\n",
    ],
    ids=["laughs", "itself", "call", "name", "deep"],
)
def test_a_class_file_that_was_made_to_do_harm_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    root = make_pairs(tmp_path / "data")
    (root / "classes.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    outcome = open_apart(root)
    assert "classes.yaml: " in outcome.error
    assert len(outcome.error) < 2000
    assert not (tmp_path / "evil").exists()


def test_links_that_lead_in_circles_are_survived(tmp_path: Path) -> None:
    root = make_pairs(tmp_path / "data")
    (root / "up").symlink_to(tmp_path, target_is_directory=True)
    for side in ("images", "masks"):
        (root / side / "again").symlink_to(root, target_is_directory=True)
        (root / side / "self.png").symlink_to("self.png")
        (root / side / "one").symlink_to("other")
        (root / side / "other").symlink_to("one")
    assert open_apart(root).pairs == 3


@pytest.mark.slow
@pytest.mark.parametrize("target", ["data", "."])
def test_a_folder_that_is_nothing_but_a_circle_is_refused(tmp_path: Path, target: str) -> None:
    if target == "data":
        root = tmp_path / "data"
        root.symlink_to("data")
    else:
        root = tmp_path / "around"
        root.mkdir()
        (root / "images").symlink_to(".", target_is_directory=True)
        (root / "masks").symlink_to(".", target_is_directory=True)
    assert str(root) in open_apart(root).error


@pytest.mark.slow
def test_a_class_file_that_leads_to_itself_is_survived_or_refused(tmp_path: Path) -> None:
    root = make_pairs(tmp_path / "data")
    (root / "classes.yaml").symlink_to("classes.yaml")
    outcome = open_apart(root)
    assert outcome.pairs == 3 or "classes.yaml" in outcome.error


@pytest.mark.slow
def test_masks_of_noise_that_name_thousands_of_classes_are_refused(tmp_path: Path) -> None:
    root = make_pairs(tmp_path / "data")
    noise = np.random.default_rng(0).integers(0, 256, (1024, 1024, 3), dtype=np.uint8)
    Image.fromarray(noise).save(root / "images" / "1.png")
    Image.fromarray(noise).save(root / "masks" / "1.png")
    assert "masks" in open_apart(root).error
