"""`maskpencil predict`."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from maskpencil.cli.options import AnnotationFormat, Device, ModelFolder, Precision
from maskpencil.errors import ConfigError
from maskpencil.files import numbered_folder
from maskpencil.progress import ProgressBar
from maskpencil.regions import RegionFormat

if TYPE_CHECKING:
    from maskpencil.inference.predict import Progress

THRESHOLD = 0.5


def command(
    model: ModelFolder,
    /,
    *sources: Annotated[str, Parameter(help="Pictures, folders, quoted globs ('in/*.jpg') and films.")],
    out: Annotated[Path | None, Parameter(help="The folder to write; by default a new one in runs/predict.")] = None,
    overlays: Annotated[bool, Parameter(help="Also draw the classes over the pictures.")] = True,
    confidence: Annotated[bool, Parameter(help="Also write how sure the network is, as grey pictures.")] = False,
    opacity: Annotated[float, Parameter(help="The overlay colours' share, 0 to 1.")] = 0.5,
    class_name: Annotated[
        str | None, Parameter(name="--class", help="Colour this class only, green, where it is probable enough.")
    ] = None,
    threshold: Annotated[float, Parameter(help="The probability above which --class is coloured.")] = THRESHOLD,
    regions: Annotated[
        RegionFormat | None,
        Parameter(help="Also find the single objects: boxes on the overlays; of pictures, not of films, a file too."),
    ] = None,
    min_area: Annotated[int, Parameter(help="Leave out regions of fewer pixels.")] = 1,
    region_classes: Annotated[
        list[str] | None, Parameter(help="Find regions of these classes only, else of all.", consume_multiple=True)
    ] = None,
    annotations: Annotated[
        AnnotationFormat | None,
        Parameter(help="Also write a data set for an annotation tool, to be corrected there and trained on."),
    ] = None,
    device: Device = "auto",
    precision: Precision = "auto",
) -> int:
    """Colour pictures, folders of pictures and films.

    Masks go to OUT/masks as palette PNG, the number of a pixel being its class; overlays to OUT/overlays; regions to
    OUT/regions.json (json, coco) or OUT/regions/NAME.geojson; annotations to OUT/annotations.
    """
    from maskpencil.inference.one_class import OneClass
    from maskpencil.inference.predict import predict
    from maskpencil.inference.sources import find_sources
    from maskpencil.segmenter import Segmenter

    if not sources:
        raise ConfigError("predict needs pictures: maskpencil predict MODEL photo.jpg, a folder or a film")
    if threshold != THRESHOLD and not class_name:
        raise ConfigError("--threshold is for one class; name it with --class, or leave the threshold out")
    found = find_sources(sources)
    segmenter = Segmenter.from_pretrained(model, device=device, precision=precision)
    colours = OneClass(segmenter, class_name, threshold=threshold) if class_name else segmenter
    if class_name and regions and region_classes is None:
        region_classes = [class_name]
    folder = out or numbered_folder(Path("runs/predict") / Path(sources[0]).stem.strip("*?"))
    with ProgressBar(f"predicting on {segmenter.device.type} in {segmenter.precision}", len(found)) as bar:
        report = predict(
            colours,
            found,
            out=folder,
            overlays=overlays,
            confidence=confidence,
            opacity=opacity,
            regions=regions,
            min_area=min_area,
            region_classes=region_classes,
            annotations=annotations,
            report=_Reporter(bar),
        )
    for warning in report.warnings:
        bar.say(f"warning: {warning}")
    for failure in report.failures:
        bar.say(f"error: {failure.message}")
    counted = ((report.pictures, "picture"), (report.videos, "film"))
    done = [f"{count} {name}{'s' if count > 1 else ''}" for count, name in counted if count]
    print(f"{' and '.join(done) or 'nothing'} done at {report.frames_per_second:.1f} a second: {folder}")
    return 1 if report.failures else 0


class _Reporter:
    """Shows pictures and film frames on one bar, with frames per second."""

    def __init__(self, bar: ProgressBar) -> None:
        self.bar, self._started, self._frames = bar, time.monotonic(), 0

    def __call__(self, progress: "Progress") -> None:
        self._frames += 1
        speed = f"{self._frames / (time.monotonic() - self._started):.1f} frames/s"
        frames = f" frame {progress.frame} of {progress.frames or '?'}" if progress.source.kind == "video" else ""
        within = progress.frame / progress.frames if progress.frames and not progress.failure else 1
        self.bar.update(progress.number - 1 + min(1, within), f"{progress.source.path.name}{frames} · {speed}")
