"""Write the results of images: masks, overlays, confidence, entropy, regions, annotations."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path, PurePath
from types import TracebackType
from typing import Self

from maskpencil.classes import ClassSet
from maskpencil.data.formats import WRITERS, AddImage, LabeledImage
from maskpencil.errors import DataError
from maskpencil.files import folder_written_whole
from maskpencil.images import Pixels, read_pixels, write_image
from maskpencil.inference.options import PredictOptions
from maskpencil.inference.sources import Source
from maskpencil.prediction import Prediction
from maskpencil.regions import ImageRegions, Region, RegionFormat, regions_file, write_regions
from maskpencil.visualize import grayscale

RESULTS = {"masks": "png", "overlays": "jpg", "confidence": "png", "entropy": "png", "regions": "geojson"}
"""The folders for each kind of result, with the suffix of the files in each folder, without the dot."""

REGIONS = "regions.json"
"""The name of the file with the regions of all images, in the formats json and coco."""

ANNOTATIONS = "annotations"
"""The name of the folder for the data set that `PredictOptions.annotations` requests."""


class ImageResults:
    """A writer of the results of images into the folder `out`; a context manager that completes all files on exit."""

    def __init__(self, out: Path, classes: ClassSet, options: PredictOptions) -> None:
        self._out, self._options = out, options
        self._region_files = _region_files(out, classes, options.regions)
        self._annotation_files = _annotation_files(out / ANNOTATIONS, classes, options.annotations)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._add_regions = stack.enter_context(self._region_files)
            self._annotate = stack.enter_context(self._annotation_files)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, traceback)

    def write(self, prediction: Prediction, source: Source) -> None:
        """Write the results of one image that the options request.

        Raises:
            OutputError: a file cannot be written.
        """
        found = self._options.find_regions(prediction)
        shown = prediction if self._options.confidence else replace(prediction, confidence=None)
        write_prediction(shown, self._out, source.stem, options=self._options, boxes=found)
        if self._add_regions:
            height, width = prediction.label_map.shape
            self._add_regions(source.stem, ImageRegions(_name(source), (height, width), found))
        if self._annotate:
            self._annotate(LabeledImage("", source.stem, source.path, prediction.label_map))


def result_file(out: Path, kind: str, stem: str) -> Path:
    """Return the path of a result of an image; `kind` is a key of `RESULTS`."""
    return out / kind / f"{stem}.{RESULTS[kind]}"


def image_files(out: Path, sources: Sequence[Source], options: PredictOptions) -> list[Path]:
    """List all files that `ImageResults` writes for images, except the annotations."""
    files = [result_file(out, kind, source.stem) for source in sources for kind in options.kinds]
    if options.regions == "geojson":
        files += [result_file(out, "regions", source.stem) for source in sources]
    elif options.regions and sources:
        files.append(out / REGIONS)
    return files


def read_image(source: Source) -> Pixels | DataError:
    """Read an image from its file or from memory; return the error if the image cannot be read."""
    try:
        return read_pixels(source.path if source.image is None else source.image)
    except DataError as error:
        return error


def write_prediction(
    prediction: Prediction,
    out: Path,
    stem: str,
    *,
    options: PredictOptions,
    boxes: Sequence[Region] = (),
) -> None:
    """Write the results of an image below `out`.

    The results are masks/STEM.png; overlays/STEM.jpg with boxes around the regions in `boxes`, unless overlays are off;
    and confidence/STEM.png and entropy/STEM.png if the prediction has confidence and entropy.

    Raises:
        OutputError: a file cannot be written.
    """
    prediction.save(result_file(out, "masks", stem))
    if options.overlays:
        write_image(result_file(out, "overlays", stem), prediction.overlay(opacity=options.opacity, boxes=boxes))
    for name, values in (("confidence", prediction.confidence), ("entropy", prediction.entropy)):
        if values is not None:
            write_image(result_file(out, name, stem), grayscale(values))


@contextmanager
def _region_files(
    out: Path, classes: ClassSet, file_format: RegionFormat | None
) -> Iterator[Callable[[str, ImageRegions], None] | None]:
    """Yield a function that writes the regions of an image; yield None if `file_format` is None.

    Depending on the format, the function writes a file for each image, or adds each image to one file.
    """
    if file_format is None:
        yield None
    elif file_format == "geojson":
        yield lambda stem, image: write_regions(
            result_file(out, "regions", stem), [image], classes, file_format="geojson"
        )
    else:
        with regions_file(out / REGIONS, classes, file_format=file_format, keep=True) as add:
            yield lambda _, image: add(image)


@contextmanager
def _annotation_files(folder: Path, classes: ClassSet, file_format: str | None) -> Iterator[AddImage | None]:
    """Yield a function that adds an image to a data set in `folder`, which must not exist or must be empty.

    Yield None if `file_format` is None.
    """
    if file_format is None:
        yield None
    else:
        with folder_written_whole(folder, fresh=True) as new, WRITERS[file_format](new, classes) as add:
            yield add


def _name(source: Source) -> str:
    """Return the path of an image, with its suffix, relative to the folder in which it was found."""
    has_suffix = PurePath(source.stem).name == source.path.name  # if a folder has a.jpg and a.png
    return source.stem if has_suffix else f"{source.stem}{source.path.suffix}"
