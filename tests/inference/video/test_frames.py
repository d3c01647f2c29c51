"""HDR, matrices and ranges: the same scene coded in every way is read as the same image.

The curves and matrices stand here once more, as the recommendations print them, so that the reading is not proven by
itself: ITU-R BT.2100-2 (PQ and HLG), BT.1886 (a display's gamma of 2.4), BT.2087 (BT.709 to BT.2020), BT.2408 (white of
203 cd/m²).
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest
from av.video.reformatter import VideoReformatter
from tests.helpers import BrightnessSegmenter

from maskpencil.errors import VideoError
from maskpencil.images import RGBImage
from maskpencil.inference.options import PredictOptions
from maskpencil.inference.video import frames
from maskpencil.inference.video.frames import ColorConverter, Frame
from maskpencil.inference.video.outputs import VideoFiles
from maskpencil.inference.video.predict import predict_video
from maskpencil.inference.video.reader import VideoReader
from maskpencil.prediction import Prediction
from maskpencil.scenes import SCENE_CLASSES, Scene, drive

Signal = npt.NDArray[np.float64]
"""(H, W, 3) values of R, G and B, 0 to 1, before they become numbers of 8 or 10 bits."""

WHITE, PEAK = 203.0, 1000.0
TO_BT2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
LUMA = {1: (0.2126, 0.0722), 6: (0.299, 0.114), 7: (0.212, 0.087), 9: (0.2627, 0.0593)}
"""The shares of red and blue in luma, by FFmpeg's code of the matrix: BT.709, BT.601, SMPTE 240M, BT.2020."""
PQ, HLG = 16, 18
SIZE = (216, 384)


def light(image: RGBImage) -> Signal:
    """What a display shows of an SDR image, in BT.2020, white being 1."""
    return (image / 255.0) ** 2.4 @ TO_BT2020.T


def pq(image: RGBImage, white: float = WHITE) -> Signal:
    y = (light(image) * white / 10_000) ** (2610 / 16384)
    return ((3424 / 4096 + 2413 / 128 * y) / (1 + 2392 / 128 * y)) ** (2523 / 32)


def hlg(image: RGBImage) -> Signal:
    shown = light(image) * WHITE / PEAK
    luminance = np.maximum(shown @ np.array([0.2627, 0.6780, 0.0593]), 1e-9)[..., None]
    scene = shown * luminance ** ((1 - 1.2) / 1.2)  # without the system gamma of 1.2
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), a * np.log(np.maximum(12 * scene - b, 1e-9)) + c)


def coded(signal: Signal, matrix: int, *, bits: int = 8, full: bool = False) -> av.VideoFrame:
    """Y'CbCr 4:4:4 of a signal, by the formulas of BT.709, BT.601 and BT.2020, which differ in `LUMA` alone."""
    red, blue = LUMA[matrix]
    luma = signal @ np.array([red, 1 - red - blue, blue])
    planes = [luma, (signal[..., 2] - luma) / (2 - 2 * blue), (signal[..., 0] - luma) / (2 - 2 * red)]
    step, top = 2 ** (bits - 8), 2**bits - 1
    gains, offsets = ((top, top, top), (0, 128 * step, 128 * step)) if full else ((219, 224, 224), (16, 128, 128))
    scale = 1 if full else step
    numbers = [
        np.clip(np.rint((plane * gain + offset) * scale if not full else plane * gain + offset), 0, top)
        for plane, gain, offset in zip(planes, gains, offsets, strict=True)
    ]
    frame = av.VideoFrame(signal.shape[1], signal.shape[0], "yuv444p" if bits == 8 else f"yuv444p{bits}le")
    for plane, values in zip(frame.planes, numbers, strict=True):
        rows = np.zeros((plane.height, plane.line_size // (1 if bits == 8 else 2)), np.uint8 if bits == 8 else "<u2")
        rows[:, : plane.width] = values
        plane.update(rows.tobytes())
    frame.colorspace, frame.color_range = matrix, 2 if full else 1
    return frame


def tagged(frame: av.VideoFrame, curve: int, primaries: int = 9) -> av.VideoFrame:
    frame.color_trc, frame.color_primaries = curve, primaries
    return frame


def write(
    path: Path, frames: Sequence[av.VideoFrame], codec: str, pixel_format: str, options: dict[str, str] | None = None
) -> Path:
    first = frames[0]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=12, options=options or {})
        stream.height, stream.width, stream.pix_fmt = first.height, first.width, pixel_format
        context = stream.codec_context
        context.colorspace, context.color_range = first.colorspace, first.color_range
        context.color_trc, context.color_primaries = first.color_trc, first.color_primaries
        for number, frame in enumerate(frames):
            smaller = VideoReformatter().reformat(frame, format=pixel_format)
            smaller.pts, smaller.time_base = number, Fraction(1, 12)
            container.mux(stream.encode(smaller))
        container.mux(stream.encode(None))
    return path


def x265(extra: str = "") -> dict[str, str]:
    # one frame at a time: on a busy machine, packets of several threads came with times that cannot be stored
    return {"preset": "ultrafast", "crf": "12", "x265-params": f"log-level=none:frame-threads=1:bframes=0{extra}"}


def swatches() -> RGBImage:
    """Blocks of grays and of the colors of the drawn street and others."""
    grays = [(value,) * 3 for value in (0, 16, 64, 128, 192, 235, 255)]
    colors = [*SCENE_CLASSES.palette, (200, 180, 160), (90, 60, 40), (180, 30, 40), (30, 60, 140), (60, 140, 70)]
    return np.repeat(np.repeat(np.array([[*grays, *colors]], np.uint8), 16, axis=0), 16, axis=1)


def middles(image: RGBImage) -> npt.NDArray[np.int64]:
    return image[8, 8::16].astype(np.int64)


class NearestColor(BrightnessSegmenter):
    """Gives each pixel, by the mean of 7x7 around it, the class of the drawn street whose mean color is nearest."""

    classes = SCENE_CLASSES
    legend = tuple(range(len(SCENE_CLASSES)))

    def __init__(self, scene: Scene) -> None:
        super().__init__()
        seen = [i for i in range(len(SCENE_CLASSES)) if (scene.label_map == i).any()]
        self._seen = np.array(seen, np.uint8)
        self._colors = np.array([scene.image[scene.label_map == i].mean(axis=0) for i in seen])

    def predict_batch(self, images: Sequence[RGBImage], **_: bool) -> list[Prediction]:
        around = [cv2.blur(image.astype(np.float32), (7, 7)) for image in images]
        maps = [self._seen[((image[:, :, None] - self._colors) ** 2).sum(-1).argmin(-1)] for image in around]
        return [Prediction(image, label_map, None, self.classes) for image, label_map in zip(images, maps, strict=True)]


def masks_of(path: Path, segmenter: NearestColor, out: Path) -> npt.NDArray[np.uint8]:
    predict_video(segmenter, path, VideoFiles(masks=out))
    with av.open(str(out)) as video:
        return np.array([frame.to_ndarray(format="gray") for frame in video.decode(video=0)])


@pytest.fixture(scope="module")
def street() -> list[Scene]:
    return list(drive(3, 2, SIZE))


@pytest.mark.slow
@pytest.mark.parametrize(("curve", "signal"), [(PQ, pq), (HLG, hlg)])
@pytest.mark.parametrize(
    ("codec", "options"),
    [("libx265", x265(":lossless=1")), ("libx264", {"preset": "ultrafast", "qp": "0"}), ("ffv1", {})],
)
def test_masks_of_an_hdr_video_are_those_of_the_sdr_video(
    tmp_path: Path,
    street: list[Scene],
    curve: int,
    signal: Callable[[RGBImage], Signal],
    codec: str,
    options: dict[str, str],
) -> None:
    segmenter = NearestColor(street[0])
    flat = [tagged(coded(scene.image / 255, 1), 1, 1) for scene in street]
    deep = [tagged(coded(signal(scene.image), 9, bits=10), curve) for scene in street]
    sdr = write(tmp_path / "sdr.mkv", flat, codec, "yuv420p", options)
    hdr = write(tmp_path / "hdr.mkv", deep, codec, "yuv420p10le", options)
    expected = masks_of(sdr, segmenter, tmp_path / "sdr_masks.mkv")
    masks = masks_of(hdr, segmenter, tmp_path / "hdr_masks.mkv")
    assert len(np.unique(expected)) > 4
    assert min((mask == other).mean() for mask, other in zip(masks, expected, strict=True)) >= 0.98


def test_the_table_of_tone_mapping_is_kept_for_the_next_video_and_never_shared() -> None:
    with frames._tone_mapper((8, 9), 16, 9) as first, frames._tone_mapper((8, 9), 16, 9) as second:
        assert first is not second
    with frames._tone_mapper((9, 8), 16, 9) as other, frames._tone_mapper((8, 9), 16, 9) as again:
        assert other not in (first, second)
        assert again in (first, second)
    for number in range(2 * frames.MAX_TONE_MAPPERS):
        with frames._tone_mapper((number, number), 16, 9):
            pass
    assert len(frames._tone_mappers) == frames.MAX_TONE_MAPPERS


@pytest.mark.slow
@pytest.mark.parametrize(("curve", "name", "signal"), [(PQ, "PQ", pq), (HLG, "HLG", hlg)])
def test_hdr_up_to_its_white_has_the_values_of_sdr(curve: int, name: str, signal: Callable[[RGBImage], Signal]) -> None:
    image = swatches()
    converter = ColorConverter("a.mov")
    read = converter.convert(tagged(coded(signal(image), 9, bits=10), curve), image.shape[:2])
    assert converter.hdr == name
    assert np.abs(middles(read) - middles(image)).max() <= 6


@pytest.mark.slow
def test_light_above_the_white_is_white() -> None:
    image = swatches()
    read = ColorConverter("a.mov").convert(tagged(coded(pq(image, 4 * WHITE), 9, bits=10), PQ), image.shape[:2])
    assert (middles(read)[5:7] >= 253).all()
    assert (middles(read)[:2] <= middles(image)[:2] + 16).all()


@pytest.mark.slow
def test_the_brightness_of_a_mastering_display_changes_nothing(tmp_path: Path) -> None:
    """FFmpeg's own mapping would halve all values of this file."""
    display = ":hdr10=1:repeat-headers=1:master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)"
    image = swatches()
    frame = tagged(coded(pq(image), 9, bits=10), PQ)
    path = write(
        tmp_path / "a.mkv", [frame], "libx265", "yuv420p10le", x265(f"{display}L(40000000,50):max-cll=1500,300")
    )
    with av.open(str(path)) as video:
        assert "MASTERING_DISPLAY_METADATA" in {side.type.name for side in next(video.decode(video=0)).side_data}
    with VideoReader(path) as reader:
        (read,) = [item for item in reader.read() if isinstance(item, Frame)]
    assert np.abs(middles(read.pixels) - middles(image))[:7].max() <= 6


@pytest.mark.slow
def test_hdr_that_names_its_curve_alone_is_of_bt2020() -> None:
    image = swatches()
    frame = tagged(coded(pq(image), 9, bits=10), PQ, primaries=2)
    frame.colorspace = 2
    read = ColorConverter("a.mov").convert(frame, image.shape[:2])
    assert np.abs(middles(read) - middles(image)).max() <= 6


@pytest.mark.parametrize("matrix", list(LUMA))
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("bits", [8, 10])
def test_sdr_is_read_by_its_own_matrix_and_range(matrix: int, full: bool, bits: int) -> None:
    image = swatches()
    converter = ColorConverter("a.mp4")
    read = converter.convert(tagged(coded(image / 255, matrix, bits=bits, full=full), 1, 1), image.shape[:2])
    assert np.abs(middles(read) - middles(image)).max() <= 4
    assert converter.hdr is None


@pytest.mark.parametrize("curve", [1, 2, 6, 13, 14, 15])
def test_sdr_of_ten_bits_is_as_ffmpeg_reads_it_whatever_its_curve_is_called(curve: int) -> None:
    frame = tagged(coded(swatches() / 255, 9, bits=10), curve)
    plain = VideoReformatter().reformat(frame, format="rgb24").to_ndarray()
    assert np.array_equal(ColorConverter("a.mp4").convert(frame, plain.shape[:2]), plain)


def test_the_matrix_that_the_container_alone_names_is_used(tmp_path: Path) -> None:
    image = swatches()
    path = write(tmp_path / "a.mkv", [tagged(coded(image / 255, 1), 1, 1)], "ffv1", "yuv444p")
    with VideoReader(path) as reader:
        (read,) = [item for item in reader.read() if isinstance(item, Frame)]
    assert np.abs(middles(read.pixels) - middles(image)).max() <= 4


@pytest.mark.parametrize("code", [0, 3])
def test_reserved_codes_of_colors_are_as_none(code: int) -> None:
    frame = coded(swatches() / 255, 6)
    plain = VideoReformatter().reformat(frame, format="rgb24").to_ndarray()
    frame.colorspace = code
    assert np.array_equal(ColorConverter("a.mp4").convert(tagged(frame, code, code), plain.shape[:2]), plain)


@pytest.mark.parametrize("matrix", [8, 10, 14])
def test_colors_that_cannot_be_read_are_refused_in_one_line(matrix: int) -> None:
    frame = coded(swatches() / 255, 9, bits=10)
    frame.colorspace = matrix
    with pytest.raises(VideoError, match=rf"^a\.mp4: its colors cannot be read .* color matrix {matrix}, .*H\.264$"):
        ColorConverter("a.mp4").convert(frame, (frame.height, frame.width))


@pytest.mark.slow
def test_tone_mapping_of_hdr_is_a_note_and_sdr_has_none(tmp_path: Path) -> None:
    image = swatches()
    sdr = write(tmp_path / "sdr.mkv", [tagged(coded(image / 255, 1, bits=10), 1, 1)], "ffv1", "yuv420p10le")
    hdr = write(tmp_path / "hdr.mkv", [tagged(coded(hlg(image), 9, bits=10), HLG)], "ffv1", "yuv420p10le")
    assert predict_video(BrightnessSegmenter(), sdr, tmp_path / "a.mp4").notes == ()
    (note,) = predict_video(BrightnessSegmenter(), hdr, tmp_path / "b.mp4").notes
    assert note.startswith(f"{hdr}: is HDR (HLG), and was tone-mapped to SDR (BT.709)")


@pytest.mark.slow
def test_the_overlay_of_hdr_is_coded_and_tagged_as_bt709(tmp_path: Path) -> None:
    image = swatches()
    hdr = write(tmp_path / "hdr.mkv", [tagged(coded(pq(image), 9, bits=10), PQ)] * 3, "ffv1", "yuv420p10le")
    predict_video(BrightnessSegmenter(), hdr, tmp_path / "out.mp4", options=PredictOptions(opacity=0))
    with av.open(str(tmp_path / "out.mp4")) as video:
        frame = next(video.decode(video=0))
    assert (frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range) == (1, 1, 1, 1)
    red, blue = LUMA[1]
    expected = 16 + 219 / 255 * middles(image) @ np.array([red, 1 - red - blue, blue])
    left = (frame.width - image.shape[1]) // 2
    luma = frame.to_ndarray()[8, left : left + image.shape[1]][8::16].astype(int)  # Y' as it was written
    assert np.abs(luma - expected).max() <= 8
