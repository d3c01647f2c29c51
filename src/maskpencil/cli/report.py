"""`maskpencil report`."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from maskpencil.cli.data import refuse_model_as_data
from maskpencil.cli.options import (
    INPUT,
    OUTPUT,
    DataImages,
    DataMasks,
    Device,
    ImageSize,
    Precision,
    RuntimeName,
    SplitFile,
    TokenFile,
    found_model,
    load_predictor,
    option,
    parse_bytes,
)
from maskpencil.errors import ConfigError
from maskpencil.files import new_folder, short_name
from maskpencil.progress import ProgressBar
from maskpencil.terminal import show

RUNS = Path("runs/report")
FILE = "report.html"


def command(
    *models_and_data: Annotated[
        Path,
        Parameter(
            help="One or more model folders, such as runs/train/NAME/model, then a folder of images and masks, or a "
            "video. Further models are compared with the first."
        ),
    ],
    out: Annotated[
        Path | None,
        option(f"The HTML file to write; by default {FILE} in a new folder in {RUNS}.", OUTPUT, "FILE"),
    ] = None,
    split: Annotated[Literal["train", "val", "test"], option("The split whose images are scored.", INPUT)] = "val",
    top: Annotated[
        int, option("About how many images to show, in addition to the worst image of each class.", OUTPUT, "N")
    ] = 24,
    size: Annotated[str, option("The largest size of the HTML file.", OUTPUT, "SIZE")] = "15MB",
    images: DataImages = None,
    masks: DataMasks = None,
    split_file: SplitFile = None,
    image_size: ImageSize = None,
    runtime: RuntimeName = "auto",
    device: Device = "auto",
    precision: Precision = "auto",
    token_file: TokenFile = None,
) -> None:
    """Show how good a model is, where it fails, and which labels may be wrong, in one HTML file.

    The file opens offline, by a double click. Suspected label errors are also listed in label_errors.csv beside it.
    With a video, which has no masks, the report shows flicker, uncertainty and the shares of the classes over time.
    """
    from maskpencil.data.folder import open_folder
    from maskpencil.data.layout import Places
    from maskpencil.inference.sources import VIDEO_SUFFIXES
    from maskpencil.remote.address import address_text
    from maskpencil.report import ReportOptions, report_video, write_report
    from maskpencil.report.report import model_names, refuse_to_replace

    if len(models_and_data) < 2:
        raise ConfigError("report needs a model and data; type maskpencil report MODEL DATA")
    *paths, data = models_and_data
    paths = [found_model(path, "report", [*paths[number + 1 :], data]) for number, path in enumerate(paths)]
    refuse_model_as_data(data, "report")
    options = ReportOptions(split=split, top=top, size=parse_bytes("--size", size))
    is_video = data.suffix.lower() in VIDEO_SUFFIXES
    if out is not None:
        refuse_to_replace(out, with_table=not is_video)
    if is_video and len(paths) > 1:
        raise ConfigError(
            f"the report of a video shows one model, but got {len(paths)}; give one model, or a folder of images and "
            "masks instead of the video"
        )
    if is_video and any(value is not None for value in (images, masks, split_file)):
        raise ConfigError("a video has no masks; leave --images, --masks and --split-file out")
    segmenters = [
        load_predictor(
            path,
            runtime=runtime,
            device=device,
            precision=precision,
            image_size=image_size,
            token_file=token_file if address_text(path) or not any(map(address_text, paths)) else None,
        )
        for path in paths
    ]
    first = segmenters[0] if address_text(paths[0]) else paths[0]
    place = RUNS / f"{model_names([first])[0]}-{short_name(data)}"
    with new_folder(place) if out is None else nullcontext(out.parent) as folder:
        file = out or folder / FILE
        if is_video:
            with ProgressBar("segmenting", 1) as bar:
                report_video(segmenters[0], data, file, options=options, progress=bar.update_of)
        else:
            with ProgressBar("reading masks", 1) as bar:
                places = Places(images, masks, split_file)
                opened = open_folder(data, classes=segmenters[0].classes, places=places, report=bar.update_of)
            with ProgressBar("evaluating", 1) as bar:
                scores = write_report(segmenters, opened, file, options=options, progress=bar.update_of, tell=bar.say)
            interval = scores.intervals.get("mean_iou")
            shown = f", 95% interval {interval[0]:.4f} to {interval[1]:.4f}" if interval else ""
            show(f"mean IoU {scores.mean_iou:.4f}{shown}")
    show(f"report: {file}")
