"""`maskpencil convert`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from maskpencil.cli.data import refuse_model_as_data
from maskpencil.cli.options import OUTPUT, DataImages, DataMasks, SplitFile, option
from maskpencil.files import new_folder, short_name
from maskpencil.inference.options import AnnotationFormat
from maskpencil.progress import ProgressBar
from maskpencil.terminal import say, show


def command(
    data: Annotated[Path, Parameter(help="A data set in any format that maskpencil reads.")],
    /,
    *,
    to: Annotated[
        AnnotationFormat,
        option(
            "The format to write: folder (images/ and masks/ with palette PNGs, the format of this program), voc "
            "(Pascal VOC), coco (COCO JSON), labelme, cvat (CVAT's Segmentation mask 1.1) or yolo (Ultralytics YOLO).",
            OUTPUT,
        ),
    ],
    out: Annotated[
        Path | None,
        option(
            "The folder to write, which must not exist yet or must be empty; by default runs/convert/NAME, where NAME "
            "is the name of DATA.",
            OUTPUT,
            "FOLDER",
        ),
    ] = None,
    images: DataImages = None,
    masks: DataMasks = None,
    split_file: SplitFile = None,
) -> None:
    """Convert a data set to the format of another tool."""
    from maskpencil.data.convert import convert
    from maskpencil.data.folder import open_folder
    from maskpencil.data.layout import Places

    refuse_model_as_data(data, "convert")
    with ProgressBar("reading", 1) as bar:
        folder = open_folder(data, places=Places(images, masks, split_file), report=bar.update_of)
    for note in folder.notes:
        say(f"{data}: {note}")
    with new_folder(out or Path("runs/convert") / short_name(data)) as target, ProgressBar("writing", 1) as bar:
        count = convert(folder, target, to, report=bar.update_of)
    show(f"{count} images: {target}")
