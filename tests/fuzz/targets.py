"""The five targets of fuzzing: each makes damaged inputs from seeds and runs a public entry on them."""

import ctypes
import gzip
import io
import json
import os
import shutil
import struct
import time
import zipfile
from collections.abc import Iterator
from contextlib import nullcontext, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import mutations
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import seeds
from mutations import Random, choose
from PIL import Image

import maskpencil as mp
from maskpencil.classes import ClassSet
from maskpencil.cli import main
from maskpencil.data.folder import open_folder
from maskpencil.errors import MaskPencilError
from maskpencil.images import read_header, read_image
from maskpencil.inference.options import PredictOptions, VideoOptions
from maskpencil.inference.predict import predict
from maskpencil.inference.sources import find_sources
from maskpencil.inference.video.reader import VideoReader
from maskpencil.prediction import Prediction
from maskpencil.runtimes.base import Maps
from maskpencil.segmenter import Segmenter

Plan = dict[str, Any]


class WrongResultError(Exception):
    """A result is wrong."""


class Bright:
    """A substitute for the network where it is not under test: dark pixels are class 0, bright ones class 1."""

    classes = ClassSet(("dark", "bright"), ((0, 0, 200), (200, 0, 0)))
    legend = (0, 1)

    def predict_batch(self, images: Any, **_: bool) -> list[Prediction]:
        return [
            Prediction(
                image, (image[..., 0] > 127).astype(np.uint8), np.ones(image.shape[:2], np.float32), self.classes
            )
            for image in images
        ]

    def side_by_side(self) -> Any:
        return nullcontext(1)

    def origin(self) -> None:
        return None

    def bands(self, image: Any, wanted: Any, *, start: int = 0) -> Iterator[tuple[slice, Maps]]:
        height, width = image.size
        for top in range(start, height, 256):
            rows = slice(top, min(height, top + 256))
            labels = (image.read(rows, slice(0, width))[..., 0] > 127).astype(np.uint8)
            sure = np.ones((1, *labels.shape), np.float32) if wanted.confidence else None
            yield rows, Maps(labels[None], sure, None)


class Target:
    """Makes cases: a case is a folder with the damaged files in `input` and a plan of what is done with them.

    Args:
        scratch: a folder for what is made once.
    """

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        os.environ["XDG_CACHE_HOME"] = str(scratch / "cache")

    def make(self, random: Random, place: Path, *, damage: bool = True) -> Plan:
        """Write the input of a case into the new folder `place`; without `damage` it is sound."""
        raise NotImplementedError

    def run(self, folder: Path, plan: Plan) -> None:
        """Run a case.

        Raises:
            MaskPencilError: the input is refused.
            WrongResultError: the result is wrong.
        """
        raise NotImplementedError


class Models(Target):
    """Model folders, loaded and run: the masks are those of the network that the folder describes, or an error."""

    def __init__(self, scratch: Path) -> None:
        super().__init__(scratch)
        self.quantized = os.environ.get("FUZZ_INT8", "1") == "1"
        place = scratch / ("int8" if self.quantized else "float")
        self.model = place if place.is_dir() else seeds.model(scratch, quantized=self.quantized)
        self.image = seeds.image()
        kinds = [("openvino", "fp32"), ("torch", "fp32")] + [("openvino", "int8")] * self.quantized
        self.truth = {kind: self._predict(self.model, *kind) for kind in kinds}

    def make(self, random: Random, place: Path, *, damage: bool = True) -> Plan:
        shutil.copytree(self.model, place)
        runtime, precision = choose(random, [("openvino", "fp32")] * 5 + [("torch", "fp32")])
        files = ["config.json"] * 6 + ["model.safetensors"] * 5
        if runtime != "torch":
            files += ["graph/network.json"] * 3 + ["graph/cells.xml"] * 4 + ["graph/cells.bin"]
        if self.quantized and runtime != "torch" and random.random() < 0.2:
            precision = "int8"
            files = ["int8/network.json", "int8/cells.xml", "int8/cells.bin"]
        if damage:
            for name in {choose(random, files) for _ in range(choose(random, [1, 1, 1, 2]))}:
                path, kind = place / name, random.integers(40)
                if kind == 0:
                    path.unlink()
                elif kind == 1:
                    shutil.copy(place / choose(random, files), path.with_name("copy"))
                    path.with_name("copy").replace(path)
                else:
                    path.write_bytes(self._damaged(name, path.read_bytes(), random))
        return {
            "runtime": runtime,
            "precision": precision,
            "again": bool(random.random() < 0.25),
            "info": bool(random.random() < 0.3),
        }

    @staticmethod
    def _damaged(name: str, data: bytes, random: Random) -> bytes:
        if name != "model.safetensors" or random.random() < 0.2:
            return mutations.damaged(name, data, random)
        length = struct.unpack("<Q", data[:8])[0]
        if random.random() < 0.25:  # the weights alone: other numbers, not numbers at all
            numbers = np.frombuffer(data[8 + length :], np.float32).copy()
            start = int(random.integers(len(numbers)))
            numbers[start : start + int(choose(random, [1, 100, 10**6]))] = choose(
                random, [np.nan, np.inf, 0, 1e30, -3]
            )
            return data[: 8 + length] + numbers.tobytes()
        header = mutations.damaged_json(data[8 : 8 + length].decode(), random)
        header += b" " * (-len(header) % 8)
        return struct.pack("<Q", len(header)) + header + data[8 + length :]

    def run(self, folder: Path, plan: Plan) -> None:
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        kind = plan["runtime"], plan["precision"]
        if plan["info"]:
            run_command("info", folder / "input")
        found = self._predict(folder / "input", *kind)
        if plan["again"] and not np.array_equal(found, self._predict(folder / "input", *kind)):
            raise WrongResultError("the masks from the cache are not those of the first time")
        if np.array_equal(found, self.truth[kind]):
            return
        if plan["runtime"] == "torch":
            return  # it is the judge of the others: other weights are another network
        bare = folder / "bare"
        shutil.copytree(folder / "input", bare, ignore=shutil.ignore_patterns("graph", "int8"))
        judged = self._predict(bare, "torch", "fp32")
        least = 0.99 if plan["precision"] == "fp32" else 0.8
        same = float((found == judged).mean()) if found.shape == judged.shape else 0.0
        if same < least:
            raise WrongResultError(f"{same:.1%} of the pixels have the class that config.json and the weights give")

    def _predict(self, folder: Path, runtime: str, precision: str) -> np.ndarray:
        segmenter = Segmenter.from_pretrained(folder, runtime=runtime, device="cpu", precision=precision)
        return segmenter.predict(self.image).label_map


class Images(Target):
    """Images of every format, read, predicted, predicted as rasters, and read as image or mask of a data set."""

    def __init__(self, scratch: Path) -> None:
        super().__init__(scratch)
        self.files = {path.name: path.read_bytes() for path in sorted((seeds.SEEDS / "images").iterdir())}

    def make(self, random: Random, place: Path, *, damage: bool = True) -> Plan:
        name = choose(random, list(self.files))
        data = self.files[name]
        if damage:
            data = mutations.damaged(name, data, random, self.files[choose(random, list(self.files))])
        suffix = Path(name).suffix
        if random.random() < 0.05:
            suffix = choose(random, sorted({Path(other).suffix for other in self.files}))
        entries = ["read", "predict", "image", "mask", "mask"] + ["geotiff"] * 5 * (suffix in (".tif", ".jp2"))
        entry = choose(random, entries)
        sides = {"images": seeds.encoded(seeds.image()), "masks": seeds.encoded(seeds.label_map())}
        if entry in ("image", "mask"):
            for number in range(2):
                seeds.write({f"{side}/{number}.png": content for side, content in sides.items()}, place)
            side = "images" if entry == "image" else "masks"
            (place / side / "1.png").unlink()
            seeds.write({f"{side}/1{suffix}": data}, place)
        else:
            seeds.write({f"x{suffix}": data}, place)
        return {"entry": entry}

    def run(self, folder: Path, plan: Plan) -> None:
        place = folder / "input"
        if plan["entry"] in ("image", "mask"):
            read_data(place)
            return
        (path,) = place.iterdir()
        if plan["entry"] == "read":
            header, pixels = read_header(path), read_image(path)
            if pixels.dtype != np.uint8 or pixels.shape != (*header.shown_size, 3):
                raise WrongResultError(f"the header says {header}, read were {pixels.dtype} {pixels.shape}")
            return
        run_predict(place, folder / "out", geotiff=plan["entry"] == "geotiff")


class Videos(Target):
    """Videos of every container, read and predicted."""

    def __init__(self, scratch: Path) -> None:
        super().__init__(scratch)
        self.files = {path.name: path.read_bytes() for path in sorted((seeds.SEEDS / "videos").iterdir())}

    def make(self, random: Random, place: Path, *, damage: bool = True) -> Plan:
        name = choose(random, list(self.files))
        data = self.files[name]
        if damage:
            data = mutations.damaged_bytes(data, random, self.files[choose(random, list(self.files))])
        seeds.write({f"x{Path(name).suffix}".replace(".ts", ".mpg"): data}, place)
        start = choose(random, [0.0, 0.0, 0.1, 5.0]) if damage else 0.0
        return {
            "entry": choose(random, ["read", "read", "predict"]),
            "options": {
                "start": start,
                "every": choose(random, [1, 1, 2]),
                "masks": choose(random, ["png", "video", None]),
            },
        }

    def run(self, folder: Path, plan: Plan) -> None:
        if plan["entry"] == "predict":
            run_predict(folder / "input", folder / "out", video=VideoOptions(**plan["options"]))
            return
        (path,) = (folder / "input").iterdir()
        with VideoReader(path) as reader:
            facts = reader.facts()
            reader.seek(plan["options"]["start"])
            last = -1
            for item in reader.read():
                if isinstance(getattr(item, "pixels", None), np.ndarray):
                    if item.pixels.shape != (*facts.size, 3) or item.pts <= last:
                        raise WrongResultError(f"a frame of {item.pixels.shape} at {item.pts}, after {last}, {facts}")
                    last = item.pts


class Annotations(Target):
    """Data sets of every form: annotation files, class files, list files, masks."""

    def __init__(self, scratch: Path) -> None:
        super().__init__(scratch)
        self.sets = {}
        for folder in sorted((seeds.SEEDS / "annotations").iterdir()):
            files = sorted(path for path in folder.rglob("*") if path.is_file())
            self.sets[folder.name] = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}

    def make(self, random: Random, place: Path, *, damage: bool = True) -> Plan:
        name = choose(random, list(self.sets))
        files = dict(self.sets[name])
        texts = [path for path in files if not path.endswith((".png", ".jpg"))]
        for _ in range(choose(random, [1, 1, 1, 2]) if damage else 0):
            path = choose(random, texts if random.random() < 0.9 else list(files))
            files[path] = mutations.damaged(path, files[path], random)
        if damage and random.random() < 0.05:
            del files[choose(random, list(files))]
        seeds.write(files, place)
        return {"set": name, "command": choose(random, [*COMMANDS, *["read"] * len(COMMANDS)])}

    def run(self, folder: Path, plan: Plan) -> None:
        run_data(folder / "input", folder / "out", plan)


class Archives(Target):
    """Packed data sets: zip, tar, tar.gz and parquet."""

    def __init__(self, scratch: Path) -> None:
        super().__init__(scratch)
        self.files = {path.name: path.read_bytes() for path in sorted((seeds.SEEDS / "archives").iterdir())}
        self.rows = pq.read_table(io.BytesIO(self.files["plain.parquet"])).to_pydict()

    def make(self, random: Random, place: Path, *, damage: bool = True) -> Plan:
        name = choose(random, list(self.files))
        data = self.files[name]
        if damage:
            data = self._damaged(name, data, random)
        seeds.write({f"data{name[name.index('.') :]}": data}, place)
        return {"command": choose(random, [*COMMANDS, *["read"] * len(COMMANDS)])}

    def _damaged(self, name: str, data: bytes, random: Random) -> bytes:
        other = self.files[choose(random, list(self.files))]
        if random.random() < 0.4:
            return mutations.damaged_bytes(data, random, other)
        if name.endswith(".zip"):
            return damaged_zip(data, random)
        if name.endswith(".gz"):
            inner = damaged_tar(gzip.decompress(data), random)
            return gzip.compress(inner, compresslevel=1, mtime=0)
        if name.endswith(".tar"):
            return damaged_tar(data, random)
        return self._damaged_table(random) if random.random() < 0.5 else damaged_footer(data, random)

    def _damaged_table(self, random: Random) -> bytes:
        """A sound parquet file with odd columns and odd images."""
        rows = {name: [dict(row) for row in column] for name, column in self.rows.items()}
        for _ in range(choose(random, [1, 2, 3])):
            name, number, kind = choose(random, list(rows)), int(random.integers(3)), random.integers(9)
            row = rows[name][number]
            if kind < 4 and isinstance(row, dict) and row.get("bytes"):
                row["bytes"] = mutations.damaged("x.png", row["bytes"], random)
            elif kind == 4 and isinstance(row, dict):
                row["path"] = choose(random, [text for text in mutations.HOSTILE_TEXTS if text.isprintable()])
            elif kind == 5:
                rows[name][number] = None
            elif kind == 6:
                rows[choose(random, ["mask", "image", "x", "", "labels", "objects"])] = rows.pop(name)
            elif kind == 7:
                rows[name] = choose(
                    random, [["a"] * 3, [1, 2, 3], [None] * 3, [b"x"] * 3, [[1]] * 3, [{"bytes": b""}] * 3]
                )
            else:
                for inner in rows[name]:
                    if isinstance(inner, dict):
                        inner.pop("path", None)
        length = {len(column) for column in rows.values()}
        buffer = io.BytesIO()
        pq.write_table(pa.table(rows if len(length) == 1 else self.rows), buffer)
        return buffer.getvalue()

    def run(self, folder: Path, plan: Plan) -> None:
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        (path,) = (folder / "input").iterdir()
        try:
            run_data(path, folder / "out", plan)
        finally:
            ours = ("input", "cache", "plan.json", "out")
            outside = [found.name for found in folder.iterdir() if found.name not in ours]
            if outside:
                raise WrongResultError(f"files were written out of the folder: {outside}")


class Broken(Target):
    """A target with every kind of fault, one per case, to test the search for them."""

    def make(self, random: Random, place: Path, *, damage: bool = True) -> Plan:
        seeds.write({"x": "x"}, place)
        return {"fault": "error" if damage else "none"}

    def run(self, folder: Path, plan: Plan) -> None:
        fault = plan["fault"]
        if fault == "refusal":
            raise mp.ImageError("no image")
        if fault == "error":
            raise ValueError("odd")
        if fault == "lines":
            raise mp.ImageError("no\nimage")
        if fault == "result":
            raise WrongResultError("wrong")
        if fault == "crash":
            ctypes.string_at(0)
        if fault == "memory":
            np.ones(2200 * 2**20, np.uint8)
        if fault == "change":
            (folder / "input" / "x").write_text("y")
        while fault == "hang":
            time.sleep(0.01)


TARGETS = {
    "models": Models,
    "images": Images,
    "videos": Videos,
    "annotations": Annotations,
    "archives": Archives,
    "broken": Broken,
}


COMMANDS = ["check", "fix", "folder", "voc", "coco", "labelme", "cvat", "yolo"]
"""What is done with a data set: `check`, `check --fix`, or `convert --to` a format."""


def run_data(path: Path, out: Path, plan: Plan) -> None:
    """Read a data set, or run a command on it."""
    command = plan["command"]
    if command == "read":
        read_data(path)
    elif command in ("check", "fix"):
        run_command("check", path, *(["--fix", out] if command == "fix" else ["--json", out / "findings.json"]))
    else:
        run_command("convert", path, "--to", command, "--out", out)


def run_command(*words: object) -> None:
    """Run a command; it must end well, or with an error that is no fault of the program."""
    with redirect_stdout(io.StringIO()) as output, redirect_stderr(io.StringIO()) as errors:
        code = main([str(word) for word in words])
    lines = errors.getvalue().splitlines()
    if code not in (0, 1) or "Traceback" in errors.getvalue() or "is a bug in maskpencil" in errors.getvalue():
        raise WrongResultError(f"{words[0]} ends with {code}: {lines[-1:]}")
    odd = {
        letter for letter in output.getvalue() + errors.getvalue() if not (letter.isprintable() or letter in "\r\n\t")
    }
    if odd:
        raise WrongResultError(f"{words[0]} prints {sorted(odd)}")
    if code == 1:
        raise mp.DataError(lines[-1] if lines else f"{words[0]} says no")


def read_data(path: Path) -> None:
    """Read a data set as training does, and as `check` does; both are tried, whichever refuses it."""
    refused: MaskPencilError | None = None
    try:
        data = open_folder(path)
        data.check_images()
        for pairs in data.splits.values():
            for pair in pairs:
                image, label_map = data.read_pair(pair)
                values = set(np.unique(label_map).tolist()) - {255}
                if image.shape[:2] != label_map.shape or values - set(range(len(data.classes))):
                    raise WrongResultError(
                        f"{pair.name}: values {values} of {len(data.classes)} classes, {image.shape}"
                    )
    except MaskPencilError as error:
        refused = error
    json.dumps(mp.check(path).to_dict())
    if refused:
        raise refused


def run_predict(place: Path, out: Path, **options: Any) -> None:
    """Predict all files of a folder; each is either done or in the report's failures."""
    sources = find_sources([place])
    report = predict(Bright(), sources, out=out, options=PredictOptions(**options))
    if report.images + report.videos + len(report.failures) < len(sources):
        raise WrongResultError(f"{len(sources)} sources, {report.images} images, {report.videos} videos, no failure")
    for mask in (out / "masks").rglob("*.png") if (out / "masks").is_dir() else ():
        with Image.open(mask) as image:
            image.load()
    if report.failures:
        raise mp.ImageError(report.failures[0].message)


def damaged_zip(data: bytes, random: Random) -> bytes:
    """Change fields of a zip's headers, or names and contents."""
    if random.random() < 0.5:
        values = bytearray(data)
        for _ in range(choose(random, [1, 1, 2])):
            mark, size = choose(
                random, [(b"PK\x03\x04", 30), (b"PK\x01\x02", 46), (b"PK\x01\x02", 46), (b"PK\x05\x06", 22)]
            )
            places = [place for place in range(len(data) - size) if data[place : place + 4] == mark] or [len(data) - 22]
            place = choose(random, places) + 4 + 2 * int(random.integers((size - 4) // 2 - 1))
            if random.random() < 0.5:
                struct.pack_into("<H", values, place, choose(random, [*mutations.BOUNDS, *range(20)]) % 2**16)
            else:
                struct.pack_into("<I", values, place, choose(random, [*mutations.BOUNDS, len(data)]) % 2**32)
        return bytes(values)
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w") as new:
        chosen = int(random.integers(len(old.infolist())))
        for number, info in enumerate(old.infolist()):
            content, name = old.read(info), info.filename
            if number == chosen and random.random() < 0.5:
                content = mutations.damaged(name, content, random)
            elif number == chosen:
                hostile = [text for text in mutations.HOSTILE_TEXTS if text.isprintable() and len(text) < 60_000]
                name = choose(
                    random, [choose(random, hostile), f"data/{choose(random, hostile)}", f"../{name}", name * 30]
                )
            new.writestr(name or "x", content)
    return buffer.getvalue()


def damaged_tar(data: bytes, random: Random) -> bytes:
    """Change fields of a tar's headers, whose checksums are made right again, or contents."""
    values = bytearray(data)
    headers = [place for place in range(0, len(data) - 512, 512) if data[place + 257 : place + 262] == b"ustar"]
    for _ in range(choose(random, [1, 1, 2])):
        place = choose(random, headers)
        offset, size = choose(
            random, [(0, 100), (100, 8), (108, 8), (124, 12), (124, 12), (136, 12), (156, 1), (157, 100), (345, 155)]
        )
        kind = random.integers(4)
        if kind == 0:
            new = choose(random, mutations.HOSTILE_TEXTS).encode("utf-8", "surrogatepass")
        elif kind == 1:
            new = f"{choose(random, mutations.BOUNDS):o}".encode()
        elif kind == 2:
            new = choose(
                random, [b"L", b"K", b"x", b"g", b"S", b"1", b"2", b"3", b"5", b"\x80" + b"\xff" * 11, b"\xff" * 12]
            )
        else:
            new = mutations.damaged_bytes(data[place + offset : place + offset + size], random)
        values[place + offset : place + offset + size] = new[:size].ljust(size, b"\0")
        values[place + 148 : place + 156] = b" " * 8
        values[place + 148 : place + 156] = f"{sum(values[place : place + 512]):06o}\0 ".encode()
    return bytes(values) if random.random() < 0.8 else mutations.damaged_bytes(bytes(values), random)


def damaged_footer(data: bytes, random: Random) -> bytes:
    """Damage the directory at a parquet file's end, and keep its length right."""
    length = struct.unpack("<I", data[-8:-4])[0]
    footer = mutations.damaged_bytes(data[-8 - length : -8], random)
    return data[: -8 - length] + footer + struct.pack("<I", len(footer)) + data[-4:]
