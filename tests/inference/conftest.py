from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from fractions import Fraction
from pathlib import Path
from threading import Barrier

import av
import numpy as np
import pytest

from maskpencil.classes import ClassSet
from maskpencil.images import RGBImage
from maskpencil.prediction import Prediction

MakeVideo = Callable[..., Path]


class BrightnessSegmenter:
    """Stands in for the network: dark pixels are class 0, bright ones class 1."""

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
    """Ends no prediction before another one is made at the same time."""

    def __init__(self) -> None:
        super().__init__()
        self.other = Barrier(2, timeout=20)

    def predict_batch(self, images: Sequence[RGBImage], **asked: bool) -> list[Prediction]:
        self.other.wait()
        return super().predict_batch(images, **asked)

    @staticmethod
    def side_by_side() -> AbstractContextManager[int]:
        return nullcontext(2)


@pytest.fixture
def segmenter() -> BrightnessSegmenter:
    return BrightnessSegmenter()


@pytest.fixture
def make_video(tmp_path: Path) -> MakeVideo:
    """Write a small video: a white square in the upper left of gray frames that grow lighter."""

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


def draw_image(size: tuple[int, int], number: int = 0) -> RGBImage:
    image = np.full((*size, 3), 20 + 5 * (number % 10), dtype=np.uint8)
    image[: size[0] // 2, : size[1] // 2] = 250
    return image
