"""`maskpencil predict`."""

import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Group, Parameter

from maskpencil import terminal
from maskpencil.cli.options import (
    CLASSES,
    NETWORK,
    OUTPUT,
    REGIONS,
    VIDEO,
    Device,
    ImageSize,
    ModelOrServer,
    Precision,
    RuntimeName,
    TokenFile,
    found_model,
    load_predictor,
    option,
    options_of,
)
from maskpencil.errors import ConfigError
from maskpencil.inference.options import PredictOptions, VideoOptions
from maskpencil.progress import ProgressBar
from maskpencil.signals import ENDING, exit_code, stopped_by_signals
from maskpencil.terminal import say

if TYPE_CHECKING:
    from maskpencil.exported import ExportedModel
    from maskpencil.inference.report import Progress
    from maskpencil.predictor import Predictor
    from maskpencil.remote import RemoteSegmenter
    from maskpencil.segmenter import Segmenter

THRESHOLD = 0.5

MEMORY = "1GiB"
"""The default of --memory."""


GROUPS: Mapping[Group, str] = {
    OUTPUT: "overlays opacity confidence entropy annotations geotiff resume",
    REGIONS: "regions min_area region_classes",
}
"""The settings of `PredictOptions` in the order in which the help shows them."""

VIDEO_GROUPS: Mapping[Group, str] = {
    VIDEO: "every start end smooth masks show stdout hardware_decode reconnect",
}
"""The settings of `VideoOptions`."""

METAVARS = {
    "opacity": "SHARE",
    "min_area": "PIXELS",
    "region_classes": "CLASS...",
    "every": "N",
    "start": "TIME",
    "end": "TIME",
    "smooth": "SHARE",
    "reconnect": "TIMES",
}

if TYPE_CHECKING:
    Options = PredictOptions
    OptionsOfVideos = VideoOptions
else:
    Options = options_of(PredictOptions, GROUPS, METAVARS)
    OptionsOfVideos = options_of(VideoOptions, VIDEO_GROUPS, METAVARS, texts=("start", "end"))


def command(
    model: ModelOrServer,
    /,
    *sources: Annotated[
        str,
        Parameter(
            help="Images, folders, glob patterns in quotes ('in/*.jpg'), videos, URLs (https, rtsp, ...) or camera "
            "numbers (0 is the first camera)."
        ),
    ],
    out: Annotated[
        Path | None, option("The folder to write; by default a new folder in runs/predict.", OUTPUT, "FOLDER")
    ] = None,
    class_name: Annotated[
        str | None,
        option(
            "Segment only this class, green on overlays; all other pixels count as background.",
            CLASSES,
            "CLASS",
            name="--class",
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        option(
            f"With --class: the probability above which a pixel belongs to the class; by default {THRESHOLD}.",
            CLASSES,
            "PROBABILITY",
        ),
    ] = None,
    abstain: Annotated[
        float | None,
        option(
            "Give no class to pixels whose confidence is below this value, 0 to 1; these pixels are 255 in the mask.",
            CLASSES,
            "CONFIDENCE",
        ),
    ] = None,
    augment: Annotated[
        list[Literal["flip", "scales"]] | None,
        option(
            "Test-time augmentation: average the predictions of the image and its mirror image (flip), of scaled "
            "copies of the image (scales), or of all of these (flip scales); better, but slower.",
            NETWORK,
            consume_multiple=True,
        ),
    ] = None,
    image_size: ImageSize = None,
    memory: Annotated[
        str | None,
        option(
            "The memory that the network may use for one image; an image that needs more is split into tiles. By "
            f"default {MEMORY}.",
            NETWORK,
            "SIZE",
        ),
    ] = None,
    tile: Annotated[
        int | None,
        option("Instead of --memory: the side of the square tiles in pixels, a multiple of 32.", NETWORK, "PIXELS"),
    ] = None,
    runtime: RuntimeName = "auto",
    device: Device = "auto",
    precision: Precision = "auto",
    compiled: Annotated[
        bool,
        option(
            "Compile the network on GPUs: takes half a minute for each image size, then runs faster.",
            NETWORK,
            name="--compile",
        ),
    ] = False,
    token_file: TokenFile = None,
    options: Annotated[Options, Parameter(name="*")] = Options(),  # noqa: B008 - frozen
    video: Annotated[OptionsOfVideos, Parameter(name="*")] = OptionsOfVideos(),  # noqa: B008 - frozen
) -> int:
    """Segment images, folders of images, videos, streams and cameras.

    All results are written below the folder --out. For an image NAME.jpg they are the mask masks/NAME.png, a palette
    PNG of class indices (with --class: 1 for the class, 0 for all other pixels), and the overlay overlays/NAME.jpg; for
    a video the overlay is overlays/NAME.mp4. Regions are written to regions.json (formats json and coco) or
    regions/NAME.geojson, and annotations to annotations/. Ctrl-C ends a stream or camera; the video written so far is
    kept.
    """
    from maskpencil.exported import is_exported
    from maskpencil.inference.predict import predict
    from maskpencil.inference.sources import find_sources
    from maskpencil.remote import RemoteSegmenter, address_text

    if not sources:
        raise ConfigError(
            f"predict needs an image, a folder or a video after the model, such as: maskpencil predict {model} "
            "photo.jpg"
        )
    if threshold is not None and not class_name:
        raise ConfigError("--threshold is for one class; name it with --class, or leave the threshold out")
    given = asdict(options)
    if class_name and options.regions and options.region_classes is None:
        given["region_classes"] = [class_name]
    settings = PredictOptions(**given, video=VideoOptions(**asdict(video)))
    model = found_model(model, "predict", sources)
    found = find_sources(sources, out=out, tell=say)
    if settings.video != VideoOptions() and all(source.kind == "image" for source in found):
        raise ConfigError(
            f"{found[0].name}: is not a video, and no video is given; leave out the options for videos: --every, "
            "--start, --end, --smooth, --masks, --show, --stdout, --hardware-decode and --reconnect"
        )
    segmenter = load_predictor(
        model,
        runtime=runtime,
        device=device,
        precision=precision,
        image_size=image_size,
        memory=memory or (None if is_exported(model) or address_text(model) else MEMORY),
        tile=tile,
        compiled=compiled,
        token_file=token_file,
    )
    predictor = _wrapped(segmenter, augment or [], class_name, THRESHOLD if threshold is None else threshold, abstain)
    is_live = any(source.is_live for source in found)
    with (
        ProgressBar(f"predicting on {segmenter.title}", len(found)) as bar,
        stopped_by_signals(bar.say) if is_live else nullcontext() as stop,
    ):
        if isinstance(segmenter, RemoteSegmenter):
            segmenter.tell_to(bar.say)
        report = predict(predictor, found, out=out, options=settings, report=_Reporter(bar), tell=bar.say, stop=stop)
    if getattr(segmenter, "has_blended", False):
        bar.say(
            "warning: large images were segmented in tiles, which is not exact for this network, whose scores depend "
            "on the whole image; give more --memory, such as 8GiB, for fewer or no tiles"
        )
    for note in report.notes:
        bar.say(note)
    for warning in report.warnings:
        bar.say(f"warning: {warning}")
    for failure in report.failures:
        bar.say(f"error: {failure.message}")
    counted = ((report.images, "image"), (report.videos, "video"))
    done = [f"{count} {name}{'s' if count > 1 else ''}" for count, name in counted if count]
    speed = f"{report.frames_per_second:.1f} {'frames ' if report.videos else ''}per second"
    summary = f"{' and '.join(done)} done at {speed} on {segmenter.title}"
    if done:
        (bar.say if settings.video.stdout else terminal.show)(f"{summary}: {report.out}" if report.out else summary)
    if stop is not None and stop.number in ENDING:  # Ctrl-C is how a stream is ended; these end the program
        return exit_code(stop.number)
    return 1 if report.failures else 0


def _wrapped(
    segmenter: "Segmenter | ExportedModel | RemoteSegmenter",
    augment: Sequence[str],
    class_name: str | None,
    threshold: float,
    abstain: float | None,
) -> "Predictor":
    """Wrap a segmenter for test-time augmentation, for one class or for abstaining, as the options require."""
    from maskpencil.inference.wrappers import SCALES, Abstain, SingleClass, TestTimeAugmentation

    if abstain is not None and class_name:
        raise ConfigError(
            "--abstain applies to all classes, but --class segments one class; leave out --abstain, or --class "
            "and --threshold"
        )
    seen: Segmenter | ExportedModel | RemoteSegmenter | TestTimeAugmentation = segmenter
    if augment:
        seen = TestTimeAugmentation(segmenter, flip="flip" in augment, scales=SCALES if "scales" in augment else (1.0,))
    if class_name:
        return SingleClass(seen, class_name, threshold=threshold)
    return seen if abstain is None else Abstain(seen, below=abstain)


class _Reporter:
    """A progress bar for images and video frames, with frames per second."""

    def __init__(self, bar: ProgressBar) -> None:
        self.bar, self._started, self._frames = bar, time.monotonic(), 0

    def __call__(self, progress: "Progress") -> None:
        self._frames += not progress.is_part
        speed = f"{self._frames / (time.monotonic() - self._started):.1f} frames/s"
        source = progress.source
        frames = ""
        if source.kind != "image":
            frames = (
                f" frame {progress.frame}" if source.is_live else f" frame {progress.frame} of {progress.frames or '?'}"
            )
        if progress.is_part:
            frames = f" row {progress.frame} of {progress.frames}"
        name = source.name if source.is_live else source.path.name
        within = progress.frame / progress.frames if progress.frames and not progress.failure else 1
        self.bar.update(progress.number - 1 + min(1, within), f"{name}{frames} · {speed}")
