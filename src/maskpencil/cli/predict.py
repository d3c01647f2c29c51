"""`maskpencil predict`."""

import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from maskpencil import terminal
from maskpencil.cli.arguments import found_model
from maskpencil.cli.loading import load_segmenter
from maskpencil.cli.options import AnnotationFormat, Device, ImageSize, ModelFolder, Precision, RuntimeName
from maskpencil.cli.stopping import stopped_by_signals
from maskpencil.errors import ConfigError
from maskpencil.files import new_folder, short_name
from maskpencil.inference.video_options import MaskFormat, VideoOptions, seconds
from maskpencil.progress import ProgressBar
from maskpencil.regions import RegionFormat
from maskpencil.signals import ENDING, exit_code
from maskpencil.terminal import say

if TYPE_CHECKING:
    from maskpencil.inference.protocols import PredictsImages
    from maskpencil.inference.tally import Progress
    from maskpencil.segmenter import Segmenter

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
    out: Annotated[Path | None, Parameter(help="The folder to write; by default a new one in runs/predict.")] = None,
    overlays: Annotated[bool, Parameter(help="Also draw the classes over the images.")] = True,
    confidence: Annotated[bool, Parameter(help="Also write how sure the network is, as gray images.")] = False,
    entropy: Annotated[
        bool, Parameter(help="Also write how undecided it is among all classes, as gray images.")
    ] = False,
    opacity: Annotated[float, Parameter(help="The overlay colors' share, 0 to 1.")] = 0.5,
    class_name: Annotated[
        str | None, Parameter(name="--class", help="Color this class only, green, where it is probable enough.")
    ] = None,
    threshold: Annotated[
        float | None, Parameter(help=f"The probability above which a pixel is --class; by default {THRESHOLD}.")
    ] = None,
    regions: Annotated[
        RegionFormat | None,
        Parameter(help="Also find the single objects: boxes on the overlays; of images, not of videos, a file too."),
    ] = None,
    min_area: Annotated[int, Parameter(help="Leave out regions of fewer pixels.")] = 1,
    region_classes: Annotated[
        list[str] | None, Parameter(help="Find regions of these classes only, else of all.", consume_multiple=True)
    ] = None,
    annotations: Annotated[
        AnnotationFormat | None,
        Parameter(help="Also write a data set for an annotation tool, to be corrected there and trained on."),
    ] = None,
    abstain: Annotated[
        float | None, Parameter(help="Give pixels of less confidence no class: 255 in the mask.")
    ] = None,
    augment: Annotated[
        list[Literal["flip", "scales"]] | None,
        Parameter(help="Look at mirrored and at scaled images, too: better and slower.", consume_multiple=True),
    ] = None,
    image_size: ImageSize = None,
    memory: Annotated[
        str, Parameter(help="What the network may take for one image; larger ones go in tiles.")
    ] = "1GiB",
    tile: Annotated[int | None, Parameter(help="The side of tiles, a multiple of 32, in place of --memory.")] = None,
    geotiff: Annotated[
        bool,
        Parameter(help="Do TIFF and JPEG2000 files of any size window by window; masks as GeoTIFF, where they were."),
    ] = False,
    every: Annotated[int, Parameter(help="Of videos, take only each so-many-th frame.")] = 1,
    start: Annotated[str, Parameter(help="Of videos, begin here: seconds or H:MM:SS.")] = "0",
    end: Annotated[str | None, Parameter(help="Of videos, stop here: seconds or H:MM:SS.")] = None,
    smooth: Annotated[
        float, Parameter(help="Of videos, steady the classes: the share of the past, 0 (off) to below 1.")
    ] = 0.0,
    masks: Annotated[
        MaskFormat | None,
        Parameter(help="Also write a video's masks: as lossless video of class numbers, or a palette PNG a frame."),
    ] = None,
    hardware_decode: Annotated[bool, Parameter(help="Decode videos on the graphics chip where that works.")] = False,
    reconnect: Annotated[int, Parameter(help="How often in a row a stream that broke off is tried again.")] = 5,
    show: Annotated[bool, Parameter(help="Show videos in a window while they are made.")] = False,
    stdout: Annotated[
        bool, Parameter(help="Also write one video's overlay to standard output, as raw rgb24 frames.")
    ] = False,
    runtime: RuntimeName = "auto",
    device: Device = "auto",
    precision: Precision = "auto",
    compiled: Annotated[
        bool,
        Parameter(name="--compile", negative="", help="On GPUs: half a minute for each size of images, then faster."),
    ] = False,
) -> int:
    """Segment images, folders of images, videos, streams and cameras.

    Masks go to OUT/masks as palette PNG, the number of a pixel being its class (with --class 1 for it and 0 for all
    others); overlays to OUT/overlays; regions to OUT/regions.json (json, coco) or OUT/regions/NAME.geojson; annotations
    to OUT/annotations. Ctrl-C ends a stream or camera: what came until then is whole.
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
        start=seconds(start),
        end=None if end is None else seconds(end),
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
    name = found[0].stem if found[0].is_live else _name_of(sources[0])
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
    summary = (
        f"{' and '.join(done)} done at {report.frames_per_second:.1f} {'frames ' if report.videos else ''}a second"
    )
    if done:
        (bar.say if stdout else terminal.show)(f"{summary}: {folder}" if is_written else summary)
    if stop is not None and stop.number in ENDING:  # Ctrl-C is how a stream is ended; these end the program
        return exit_code(stop.number)
    return 1 if report.failures else 0


def _name_of(source: str) -> str:
    """Return what the results of a file, folder or pattern are called after."""
    return Path(source).stem.strip("*?") or short_name(Path(source).parent)


def _wrapped(
    segmenter: "Segmenter", augment: Sequence[str], class_name: str | None, threshold: float, abstain: float | None
) -> "PredictsImages":
    """The segmenter as the options let it see and speak."""
    from maskpencil.inference.abstaining import Abstaining
    from maskpencil.inference.augmented import SCALES, Augmented
    from maskpencil.inference.one_class import OneClass

    if abstain is not None and class_name:
        raise ConfigError("--abstain is for all classes and --threshold for one; leave --abstain or --class out")
    seen: Segmenter | Augmented = segmenter
    if augment:
        seen = Augmented(segmenter, flip="flip" in augment, scales=SCALES if "scales" in augment else (1.0,))
    if class_name:
        return OneClass(seen, class_name, threshold=threshold)
    return seen if abstain is None else Abstaining(seen, below=abstain)


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
