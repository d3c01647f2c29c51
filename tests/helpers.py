"""Share substitutes, small data and processes between test modules. Fixtures are in each folder's conftest.py."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from threading import Barrier

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from maskpencil.classes import IGNORE_INDEX, ClassSet
from maskpencil.data.folder import open_folder
from maskpencil.data.formats import LabeledImage, Writer
from maskpencil.images import RGBImage
from maskpencil.label_maps import LabelMap
from maskpencil.prediction import Prediction


def left_out(lines: Iterable[str], what: str) -> list[str]:
    """Return the names of the files that a warning says were left out, such as "images without a mask"."""
    plural, *rest = what.split(" ", 1)
    what = " ".join((f"{plural.removesuffix('s')}s?", *rest))
    found = (re.match(rf"warning: \d+ {what} left out \(([^)]*)\); ", line) for line in lines)
    return [name.rpartition("/")[2] for match in found if match for name in match[1].split(", ")]


MakeVideo = Callable[..., Path]

SMALL = {
    "weights": "none",
    "backbone": "test_resnet",
    "stride": 8,
    "crop_size": "64x64",
    "batch_size": 3,
    "device": "cpu",
    "quiet": True,
}
"""Settings of `train` for a run of seconds."""

ONNX = pytest.param("onnx", marks=pytest.mark.slow)
"""A runtime whose conversion takes seconds."""

BACKGROUND_FIRST = ClassSet(("background", "tree", "car"), ((9, 9, 9), (1, 2, 3), (200, 0, 0)))
BACKGROUND_LAST = ClassSet(("tree", "car", "_background_"))
NO_BACKGROUND = ClassSet(("tree", "car", "road"), ignore_index=7)

sizes = st.tuples(st.integers(1, 9), st.integers(1, 9))
label_maps = sizes.flatmap(lambda size: arrays(np.uint8, size, elements=st.sampled_from([0, 0, 1, 2, IGNORE_INDEX])))
class_sets = st.sampled_from([BACKGROUND_FIRST, BACKGROUND_LAST, NO_BACKGROUND])


def drawn(*rows: str) -> npt.NDArray[np.uint8]:
    """A label map from letters: a point is class 0, a # class 1, an o class 2, a blank nothing."""
    return np.array([[{".": 0, "#": 1, "o": 2, " ": IGNORE_INDEX}[c] for c in row] for row in rows], dtype=np.uint8)


NESTED = drawn("#######", "#.....#", "#.ooo.#", "#.o o.#", "#.ooo.#", "#.....#", "#######")
CORNERS = drawn("#o#o#", "o#o#o", "#o .o", "o#.##", "#o#o#")


def write_blank_images(
    write: Writer, out: Path, classes: ClassSet, label_maps: Mapping[tuple[str, str], npt.NDArray[np.uint8]]
) -> Path:
    """Write a black image for each label map, by split and name, in a format; returns `out`."""
    source = out.with_name(f"{out.name} source.png")
    with write(out, classes) as add:
        for (split, name), label_map in label_maps.items():
            Image.fromarray(np.zeros((*label_map.shape, 3), dtype=np.uint8)).save(source)
            add(LabeledImage(split, name, source, label_map))
    return out


def assert_reads_back(
    root: Path, classes: ClassSet, label_maps: Mapping[tuple[str, str], npt.NDArray[np.uint8]]
) -> None:
    """Compare a written data set of one image in each split with what it was written from."""
    folder = open_folder(root)
    assert folder.classes == classes
    for (split, name), label_map in label_maps.items():
        (pair,) = folder.pairs(split)
        assert pair.name == name
        np.testing.assert_array_equal(folder.read_pair(pair)[1], label_map)


@dataclass
class InFlight:
    """The number of frames that were decoded and written, and the most that were in flight at once."""

    decoded: int = 0
    written: int = 0
    most: int = 0


def count_in_flight(monkeypatch: pytest.MonkeyPatch, reader: type, *, pause: float = 0.0) -> InFlight:
    """Count the frames between the `stored` of a reader and `VideoWriter.write`, which takes `pause` seconds longer."""
    from maskpencil.inference.video import outputs

    frames, read, write = InFlight(), reader.stored, outputs.VideoWriter.write

    def counted_read(self):
        for item in read(self):
            frames.decoded += 1
            frames.most = max(frames.most, frames.decoded - frames.written)
            yield item

    def counted_write(self, *args, **kwargs):
        time.sleep(pause)
        write(self, *args, **kwargs)
        frames.written += 1

    monkeypatch.setattr(reader, "stored", counted_read)
    monkeypatch.setattr(outputs.VideoWriter, "write", counted_write)
    return frames


def noise(height: int, width: int, seed: int = 0) -> RGBImage:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def predicted_without_torch(folder: Path, tmp_path: Path) -> LabelMap:
    """The label map of `noise(40, 50)` by a model folder, made in a process of its own that must not import torch."""
    script = (
        "import sys, numpy as np; from maskpencil.segmenter import Segmenter;"
        f"s = Segmenter.from_pretrained({str(folder)!r}, device='cpu', precision='fp32');"
        "image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8);"
        f"np.save({str(tmp_path / 'labels.npy')!r}, s.predict(image).label_map); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]
    return np.load(tmp_path / "labels.npy")


COMMAND = Path(sys.executable).with_name("maskpencil")


def times(count: int) -> int:
    """Return `count` times the factor by which stress tests repeat."""
    return max(2, round(count * float(os.environ.get("MASKPENCIL_STRESS", "1"))))


def environment(cache: Path) -> dict[str, str]:
    """The environment of a command with a cache of its own."""
    return os.environ | {"XDG_CACHE_HOME": str(cache)}


class BrightnessSegmenter:
    """A substitute for the network: dark pixels are class 0, bright ones class 1."""

    classes = ClassSet(("dark", "bright"), ((0, 0, 200), (200, 0, 0)))
    legend = (0, 1)

    def __init__(self) -> None:
        self.seen: list[RGBImage] = []

    def predict_batch(
        self, images: Sequence[RGBImage], *, confidence: bool = False, entropy: bool = False
    ) -> list[Prediction]:
        self.seen.extend(images)
        return [
            Prediction(
                image,
                (image.mean(axis=2) > 127).astype(np.uint8),
                (np.abs(image.mean(axis=2) - 127.5) / 127.5).astype(np.float32) if confidence else None,
                self.classes,
                entropy=(1 - np.abs(image.mean(axis=2) - 127.5) / 127.5).astype(np.float32) if entropy else None,
            )
            for image in images
        ]

    @staticmethod
    def side_by_side() -> AbstractContextManager[int]:
        return nullcontext(1)


class InPairs(BrightnessSegmenter):
    """A predictor that ends no prediction before another one has begun."""

    def __init__(self) -> None:
        super().__init__()
        self.other = Barrier(2, timeout=20)

    def predict_batch(self, images: Sequence[RGBImage], **asked: bool) -> list[Prediction]:
        self.other.wait()
        return super().predict_batch(images, **asked)

    @staticmethod
    def side_by_side() -> AbstractContextManager[int]:
        return nullcontext(2)


def draw_image(size: tuple[int, int], number: int = 0) -> RGBImage:
    image = np.full((*size, 3), 20 + 5 * (number % 10), dtype=np.uint8)
    image[: size[0] // 2, : size[1] // 2] = 250
    return image


def chromium() -> str:
    """Return the path of Chromium, or skip the test if this machine has none."""
    for path in ("/usr/lib/chromium/chromium", shutil.which("chromium"), shutil.which("google-chrome")):
        if path and Path(path).is_file():
            return path
    pytest.skip("Chromium is not installed; apt-get install chromium")


def page_assets() -> Path:
    """Return the built scripts of the page, or skip the test if this machine cannot build them."""
    from maskpencil.web import assets

    if not assets.are_built() and assets.build_tools() is None:
        pytest.skip("node and npm are not installed, with which the scripts of the page are built")
    return assets.page_assets()


def add_smallest_backbone(monkeypatch: pytest.MonkeyPatch) -> str:
    """Add a backbone of three convolutions, for what takes long with every layer; returns its name."""
    import torch
    from torch import Tensor, nn

    from maskpencil.models import backbones
    from maskpencil.models.backbones.base import Backbone, BackboneOptions, Family, initialize

    class ThreeConvolutions(Backbone):
        def __init__(self, name: str) -> None:
            super().__init__(name, channels={8: 8, 16: 8, 32: 8})
            self.conv8, self.conv16, self.conv32 = (
                nn.Conv2d(channels, 8, step, stride=step) for channels, step in ((3, 8), (8, 2), (8, 2))
            )

        def forward(self, images: Tensor) -> dict[int, Tensor]:
            at8 = torch.relu(self.conv8(images))  # (N, 8, H/8, W/8)
            at16 = torch.relu(self.conv16(at8))  # (N, 8, H/16, W/16)
            return {8: at8, 16: at16, 32: torch.relu(self.conv32(at16))}

    def create(name: str, options: BackboneOptions) -> Backbone:
        backbone = ThreeConvolutions(name)
        initialize(backbone)
        return backbone

    family = Family("ThreeConvolutions", ("smallest",), "tests", create)
    monkeypatch.setattr(backbones, "FAMILIES", (*backbones.FAMILIES, family))
    return "smallest"
