"""`maskpencil predict`."""

import re
import time
from collections.abc import Sequence
from contextlib import nullcontext
from glob import has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from maskpencil import terminal
from maskpencil.cli.loading import found_model, load_segmenter
from maskpencil.cli.options import (
    CLASSES,
    NETWORK,
    OUTPUT,
    REGIONS,
    VIDEO,
    AnnotationFormat,
    Device,
    ImageSize,
    ModelFolder,
    Precision,
    RuntimeName,
    option,
)
from maskpencil.errors import ConfigError
from maskpencil.files import new_folder, short_name
from maskpencil.inference.options import MaskFormat, VideoOptions
from maskpencil.parsing import read_duration
from maskpencil.progress import ProgressBar
from maskpencil.regions import RegionFormat
from maskpencil.signals import ENDING, exit_code, stopped_by_signals
from maskpencil.terminal import say

if TYPE_CHECKING:
    from maskpencil.inference.report import Progress
    from maskpencil.segmenter import Predictor, Segmenter

THRESHOLD = 0.5


def command(
    model: ModelFolder,
    /,
    *sources: Annotated[
        str,
        Parameter(
            help="Images, folders, quoted globs ('in/*.jpg'), videos, addresses (https, rtsp, ...) and camera numbers."
        ),
    ],
    out: Annotated[
        Path | None, option("The folder to write; by default a new one in runs/predict.", OUTPUT, "FOLDER")
    ] = None,
    overlays: Annotated[
        bool, option("Draw the classes over the images; on by default.", OUTPUT, negative="--no-overlays")
    ] = True,
    opacity: Annotated[float, option("The opacity of the class colors on overlays, 0 to 1.", OUTPUT, "SHARE")] = 0.5,
    confidence: Annotated[bool, option("Also write the confidence, as gray images.", OUTPUT)] = False,
    entropy: Annotated[
        bool, option("Also write the entropy of the class probabilities, as gray images.", OUTPUT)
    ] = False,
    annotations: Annotated[
        AnnotationFormat | None,
        option("Also write a data set for an annotation tool, to correct there and train on.", OUTPUT),
    ] = None,
    geotiff: Annotated[
        bool,
        option("Read TIFF and JPEG2000 files of any size in windows, and write masks as GeoTIFF.", OUTPUT),
    ] = False,
    class_name: Annotated[
        str | None,
        option("Only this class: green where it is probable enough.", CLASSES, "CLASS", name="--class"),
    ] = None,
    threshold: Annotated[
        float | None,
        option(f"The probability above which a pixel is --class; by default {THRESHOLD}.", CLASSES, "PROBABILITY"),
    ] = None,
    abstain: Annotated[
        float | None, option("Give pixels of less confidence no class: 255 in the mask.", CLASSES, "CONFIDENCE")
    ] = None,
    regions: Annotated[
        RegionFormat | None,
        option("Find connected regions: boxes on the overlays and, for images, a file.", REGIONS),
    ] = None,
    min_area: Annotated[int, option("Leave out regions of fewer pixels.", REGIONS, "PIXELS")] = 1,
    region_classes: Annotated[
        list[str] | None, option("Find regions of these classes only.", REGIONS, "CLASS", consume_multiple=True)
    ] = None,
    every: Annotated[int, option("Take only each N-th frame.", VIDEO, "N")] = 1,
    start: Annotated[str, option("Begin here, such as 90s, 1m30s or 1:30.", VIDEO, "TIME")] = "0",
    end: Annotated[str | None, option("Stop here.", VIDEO, "TIME")] = None,
    smooth: Annotated[
        float, option("Smooth the classes over time: the weight of the past, 0 (off) to below 1.", VIDEO, "SHARE")
    ] = 0.0,
    masks: Annotated[
        MaskFormat | None,
        option("Also write masks: a lossless video of class indices, or a palette PNG per frame.", VIDEO),
    ] = None,
    show: Annotated[bool, option("Show videos in a window while they are made.", VIDEO)] = False,
    stdout: Annotated[
        bool, option("Also write one video's overlay to standard output, as raw rgb24 frames.", VIDEO)
    ] = False,
    hardware_decode: Annotated[bool, option("Decode videos on the graphics chip where that works.", VIDEO)] = False,
    reconnect: Annotated[
        int, option("How many times in a row to reconnect to a stream that broke off.", VIDEO, "TIMES")
    ] = 5,
    augment: Annotated[
        list[Literal["flip", "scales"]] | None,
        option(
            "Test-time augmentation: average over mirrored and scaled images; better and slower.",
            NETWORK,
            consume_multiple=True,
        ),
    ] = None,
    image_size: ImageSize = None,
    memory: Annotated[
        str, option("The memory the network may use for one image; larger images go in tiles.", NETWORK, "SIZE")
    ] = "1GiB",
    tile: Annotated[
        int | None, option("The side of tiles, a multiple of 32, instead of --memory.", NETWORK, "PIXELS")
    ] = None,
    runtime: RuntimeName = "auto",
    device: Device = "auto",
    precision: Precision = "auto",
    compiled: Annotated[
        bool, option("On GPUs: half a minute for each image size, then faster.", NETWORK, name="--compile")
    ] = False,
) -> int:
    """Segment images, folders of images, videos, streams and cameras.

    Masks go to OUT/masks as palette PNGs of class indices (with --class 1 for that class and 0 for all others),
    overlays to OUT/overlays, regions to OUT/regions.json (json, coco) or OUT/regions/NAME.geojson, annotations to
    OUT/annotations. Ctrl-C ends a stream or camera; the video up to then is complete.
    """
    from maskpencil.inference.predict import predict
    from maskpencil.inference.sources import find_sources

    if not sources:
        raise ConfigError(
            f"predict needs images after the model: maskpencil predict {model} photo.jpg, a folder or a video"
        )
    if threshold is not None and not class_name:
        raise ConfigError("--threshold is for one class; name it with --class, or leave the threshold out")
    video = VideoOptions(
        every=every,
        start=read_duration("--start", start),
        end=None if end is None else read_duration("--end", end),
        smooth=smooth,
        masks=masks,
        hardware_decode=hardware_decode,
        reconnect=reconnect,
        show=show,
        stdout=stdout,
    )
    model = found_model(model, "predict", sources)
    found = find_sources(sources, out=out, tell=say)
    if video != VideoOptions() and all(source.kind == "image" for source in found):
        raise ConfigError(
            f"{found[0].name}: is no video, and no other is given; --every, --start, --end, --smooth, --masks, --show, "
            "--stdout, --hardware-decode and --reconnect are for videos; leave them out"
        )
    segmenter = load_segmenter(
        model,
        runtime=runtime,
        device=device,
        precision=precision,
        image_size=image_size,
        memory=memory,
        tile=tile,
        compiled=compiled,
    )
    predictor = _wrapped(segmenter, augment or [], class_name, THRESHOLD if threshold is None else threshold, abstain)
    if class_name and regions and region_classes is None:
        region_classes = [class_name]
    is_written = overlays or masks or any(source.kind == "image" for source in found)
    name = found[0].stem if found[0].is_live else results_name(sources[0])
    place = new_folder(Path("runs/predict") / name) if is_written and out is None else nullcontext(out or Path())
    is_live = any(source.is_live for source in found)
    with (
        place as folder,
        ProgressBar(f"predicting on {segmenter.runtime.title}", len(found)) as bar,
        stopped_by_signals(bar.say) if is_live else nullcontext() as stop,
    ):
        report = predict(
            predictor,
            found,
            out=folder,
            overlays=overlays,
            confidence=confidence,
            entropy=entropy,
            opacity=opacity,
            regions=regions,
            min_area=min_area,
            region_classes=region_classes,
            annotations=annotations,
            video=video,
            geotiff=geotiff,
            batch_size=segmenter.runtime.batch_size,
            side_by_side=segmenter.side_by_side,
            report=_Reporter(bar),
            tell=bar.say,
            stop=stop,
        )
    if segmenter.has_blended:
        bar.say("warning: this network looks at the whole image, so that tiles were blended; --memory 8GiB makes less")
    for note in report.notes:
        bar.say(note)
    for warning in report.warnings:
        bar.say(f"warning: {warning}")
    for failure in report.failures:
        bar.say(f"error: {failure.message}")
    counted = ((report.images, "image"), (report.videos, "video"))
    done = [f"{count} {name}{'s' if count > 1 else ''}" for count, name in counted if count]
    speed = f"{report.frames_per_second:.1f} {'frames ' if report.videos else ''}a second"
    summary = f"{' and '.join(done)} done at {speed} on {segmenter.runtime.title}"
    if done:
        (bar.say if stdout else terminal.show)(f"{summary}: {folder}" if is_written else summary)
    if stop is not None and stop.number in ENDING:  # Ctrl-C is how a stream is ended; these end the program
        return exit_code(stop.number)
    return 1 if report.failures else 0


def results_name(source: str) -> str:
    """Return the name for the results of a file, folder or pattern: a pattern's is its fixed part's."""
    path = Path(source)
    if path.is_dir():
        return short_name(path) or "images"  # "/" has no name
    fixed = next(parent for parent in path.parents if not has_magic(str(parent)))
    return re.sub(r"[*?\[\]]", "", path.stem) or short_name(fixed) or "images"


def _wrapped(
    segmenter: "Segmenter", augment: Sequence[str], class_name: str | None, threshold: float, abstain: float | None
) -> "Predictor":
    """Wrap the segmenter as the options ask."""
    from maskpencil.inference.wrappers import SCALES, Abstain, SingleClass, TestTimeAugmentation

    if abstain is not None and class_name:
        raise ConfigError("--abstain is for all classes and --threshold for one; leave --abstain or --class out")
    seen: Segmenter | TestTimeAugmentation = segmenter
    if augment:
        seen = TestTimeAugmentation(segmenter, flip="flip" in augment, scales=SCALES if "scales" in augment else (1.0,))
    if class_name:
        return SingleClass(seen, class_name, threshold=threshold)
    return seen if abstain is None else Abstain(seen, below=abstain)


class _Reporter:
    """Shows images and video frames on one bar, with frames per second."""

    def __init__(self, bar: ProgressBar) -> None:
        self.bar, self._started, self._frames = bar, time.monotonic(), 0

    def __call__(self, progress: "Progress") -> None:
        self._frames += 1
        speed = f"{self._frames / (time.monotonic() - self._started):.1f} frames/s"
        source = progress.source
        frames = ""
        if source.kind != "image":
            frames = (
                f" frame {progress.frame}" if source.is_live else f" frame {progress.frame} of {progress.frames or '?'}"
            )
        name = source.name if source.is_live else source.path.name
        within = progress.frame / progress.frames if progress.frames and not progress.failure else 1
        self.bar.update(progress.number - 1 + min(1, within), f"{name}{frames} · {speed}")
