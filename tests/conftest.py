import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import settings
from PIL import Image
from tests import line_coverage

from maskpencil.classes import ClassSet, write_classes

if TYPE_CHECKING:
    from tests.forks import Forks
    from tests.helpers import MakeVideo

    from maskpencil.segmenter import Segmenter

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported: test processes share the cores

pytest.register_assert_rewrite("tests.helpers")  # before it is imported

settings.register_profile("everywhere", deadline=None, derandomize=True)  # slow machines, and the same on each
settings.load_profile("everywhere")

CLASSES = ClassSet(("ground", "box", "ball"), ((60, 110, 60), (210, 70, 50), (50, 80, 220)))
"""The classes of `tiny_folder`; its images show each in its own color, with noise."""

SEGMENTER_CLASSES = ClassSet(("sky", "road", "car", "tree", "wall"))

SaveFiles = Callable[[Mapping[str, npt.ArrayLike]], Path]


def pytest_configure(config: pytest.Config) -> None:
    """Count lines if asked."""
    if line_coverage.LEAST:
        config.pluginmanager.register(line_coverage)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images and masks of 48 x 64 (height x width): 6 to train, 3 to validate; copy it before changing it."""
    root = tmp_path_factory.mktemp("data") / "tiny"
    for split, count in (("train", 6), ("val", 3)):
        for kind in ("images", "masks"):
            (root / kind / split).mkdir(parents=True)
        for number in range(count):
            image, label_map = draw_scene(np.random.default_rng([len(split), number]))
            Image.fromarray(image).save(root / "images" / split / f"{number}.png")
            mask = Image.fromarray(label_map)
            mask.putpalette(CLASSES.colors.tobytes())
            mask.save(root / "masks" / split / f"{number}.png")
    write_classes(root / "classes.yaml", CLASSES)
    return root


@pytest.fixture(scope="session")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Forks"]:
    """Processes that have imported what trainings need before they begin."""
    from tests.forks import Forks

    with Forks(tmp_path_factory.mktemp("forks")) as forks:
        yield forks


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every test its own cache folder, apart from that of the user."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def shared_cache(_own_cache: None, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache that all tests and workers share: converting a network to ONNX takes seconds, and many need the same."""
    root = tmp_path_factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root
    monkeypatch.setenv("XDG_CACHE_HOME", str(root / "shared-cache"))


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore the environment after a test, since `maskpencil.cli.main` sets variables for child processes."""
    monkeypatch.setenv("PYTHONSAFEPATH", "")


@pytest.fixture(scope="session")
def save_files_in() -> Callable[[Path, Mapping[str, npt.ArrayLike]], Path]:
    """Write arrays as images below a folder, texts as they are; returns the folder."""

    def save(folder: Path, files: Mapping[str, npt.ArrayLike]) -> Path:
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, str):
                path.write_text(content, encoding="utf-8")
            else:
                Image.fromarray(np.asarray(content)).save(path)
        return folder

    return save


@pytest.fixture
def save_files(save_files_in: Callable[[Path, Mapping[str, npt.ArrayLike]], Path], tmp_path: Path) -> SaveFiles:
    """Write arrays as images below `tmp_path / "data"`, texts as they are; returns that folder."""
    return partial(save_files_in, tmp_path / "data")


def draw_scene(
    random: np.random.Generator, size: tuple[int, int] = (48, 64)
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """A box and a ball on the ground, somewhere: image (H, W, 3) and label map (H, W)."""
    label_map = np.zeros(size, dtype=np.uint8)
    rows, columns = np.indices(size)
    top, left = random.integers(2, size[0] // 2), random.integers(2, size[1] // 3)
    label_map[top : top + size[0] // 3, left : left + size[1] // 3] = 1
    row, column = random.integers(10, size[0] - 10), random.integers(size[1] * 2 // 3, size[1] - 10)
    label_map[(rows - row) ** 2 + (columns - column) ** 2 < 8**2] = 2
    image = CLASSES.colors[label_map] + random.normal(0, 12, (*size, 3))
    return image.clip(0, 255).astype(np.uint8), label_map


@pytest.fixture
def make_segmenter() -> Callable[..., "Segmenter"]:
    """A network of random scores and upsamplings, run by torch in fp32: it gives every class somewhere."""
    import torch

    from maskpencil.model_folder import ModelParts
    from maskpencil.models import FCNConfig, build_fcn
    from maskpencil.preprocessing import Preprocessing
    from maskpencil.segmenter import MEMORY, Segmenter

    def make(
        backbone: str = "test_resnet",
        *,
        classes: ClassSet = SEGMENTER_CLASSES,
        image_size: tuple[int, int] | None = None,
        memory: int = MEMORY,
        tile: int | None = None,
        **settings,
    ) -> Segmenter:
        torch.manual_seed(0)
        network = build_fcn(FCNConfig(len(classes), backbone, **settings), weights="none")
        for name, parameter in network.named_parameters():
            if name.startswith("score") or (name.startswith("upscore") and parameter.requires_grad):
                torch.nn.init.normal_(parameter, std=0.1)
        preprocessing = Preprocessing((0.5, 0.4, 0.3), (0.2, 0.25, 0.2), image_size)
        return Segmenter.of_network(
            ModelParts(network, classes, preprocessing), device="cpu", precision="fp32", memory=memory, tile=tile
        )

    return make


@pytest.fixture
def smallest_backbone(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a backbone of three convolutions, for what takes long with every layer."""
    from tests.helpers import add_smallest_backbone

    return add_smallest_backbone(monkeypatch)


@pytest.fixture
def narrow_alexnet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every AlexNet fc6 and fc7 of 64 channels instead of 4096, which hold 54 of its 57 million weights."""
    from torch import nn

    from maskpencil.models.backbones import alexnet

    def narrowed(wide: type[nn.Module]) -> type[nn.Module]:
        class Narrow(wide):
            def __init__(self, *arguments, **options) -> None:
                super().__init__(*arguments, **options)
                self.channels[32] = 64
                self.fc6, self.fc7 = nn.Conv2d(256, 64, 6), nn.Conv2d(64, 64, 1)

        return Narrow

    for name in ("AlexNet", "ReleasedAlexNet"):
        monkeypatch.setattr(alexnet, name, narrowed(getattr(alexnet, name)))


@pytest.fixture
def make_video(tmp_path: Path) -> "MakeVideo":
    """Write a small video: a white square in the upper left of gray frames that grow lighter."""
    import av
    from tests.helpers import draw_image

    def make(
        name: str = "video.mp4",
        *,
        pts: Sequence[int] = tuple(range(12)),
        time_base: Fraction = Fraction(1, 12),
        size: tuple[int, int] = (48, 64),
        codec: str = "libx264",
        pixel_format: str = "yuv420p",
        rotation: tuple[float, bool] | None = None,
        pixel_aspect: Fraction | None = None,
        sound: str | None = None,
        sound_first: bool = False,
        options: dict[str, str] | None = None,
        encoder: dict[str, str] | None = None,
        noise: np.random.Generator | None = None,
    ) -> Path:
        path = tmp_path / name
        with av.open(str(path), "w", options=options or {}) as container:
            voice = container.add_stream(sound, rate=48000) if sound and sound_first else None
            stream = container.add_stream(codec, rate=12, options=encoder or {})
            stream.height, stream.width = size
            stream.pix_fmt = pixel_format
            stream.codec_context.time_base = time_base
            stream.codec_context.flags |= av.codec.context.Flags.frame_duration
            if pixel_aspect:
                stream.codec_context.sample_aspect_ratio = pixel_aspect
            if rotation:
                stream.set_display_rotation(rotation[0], rotation[1])
            if sound and not sound_first:
                voice = container.add_stream(sound, rate=48000)
            if voice:
                voice.codec_context.layout = "stereo"
            durations = [*np.diff(pts).tolist(), 1]
            for i, (time, duration) in enumerate(zip(pts, durations, strict=True)):
                image = draw_image(size, i)
                if noise:
                    image ^= noise.integers(16, size=image.shape, dtype=np.uint8)
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.pts, frame.duration, frame.time_base = time, duration, time_base
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
            if voice:
                samples = round((pts[-1] + 1) * time_base * 48000)
                frame_size = voice.codec_context.frame_size or 1024
                kind = voice.codec_context.format.name
                for start in range(0, samples, frame_size):
                    dtype = {"flt": np.float32, "s16": np.int16, "s32": np.int32}[kind.removesuffix("p")]
                    shape = (2, frame_size) if kind.endswith("p") else (1, 2 * frame_size)
                    wave = av.AudioFrame.from_ndarray(np.zeros(shape, dtype), format=kind, layout="stereo")
                    wave.sample_rate, wave.pts, wave.time_base = 48000, start, Fraction(1, 48000)
                    container.mux(voice.encode(wave))
                container.mux(voice.encode(None))
        return path

    return make
