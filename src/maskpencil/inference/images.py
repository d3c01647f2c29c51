"""What is written of images: masks, overlays, confidence, entropy, regions, annotations."""

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
from maskpencil.inference.sources import Source
from maskpencil.prediction import Prediction
from maskpencil.regions import ImageRegions, Region, RegionFormat, regions_file, write_regions
from maskpencil.visualize import grayscale

RESULTS = {"masks": "png", "overlays": "jpg", "confidence": "png", "entropy": "png", "regions": "geojson"}
"""The folders of what is written of each image, and the endings of the files."""

REGIONS = "regions.json"
"""The file of all images' regions, in the formats that have one file."""

ANNOTATIONS = "annotations"
"""The folder of the data set for an annotation tool."""

ReadImage = tuple[Source, Pixels | DataError]


class ImageResults:
    """Writes predictions below `out`, as `predict` is asked to; a context manager whose end completes all files.

    `regions` and `annotations` name the formats of the files of all images, None for none; `find_regions` finds what
    goes there and gets a box.
    """

    def __init__(
        self,
        out: Path,
        classes: ClassSet,
        *,
        overlays: bool,
        confidence: bool,
        opacity: float,
        regions: RegionFormat | None,
        find_regions: Callable[[Prediction], Sequence[Region]],
        annotations: str | None,
    ) -> None:
        self._out, self._overlays, self._confidence, self._opacity = out, overlays, confidence, opacity
        self._find_regions = find_regions if regions else None
        self._region_files = _region_files(out, classes, regions)
        self._annotation_files = _annotation_files(out / ANNOTATIONS, classes, annotations)

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
        """Write all that is asked for of one image.

        Raises:
            OutputError: a file cannot be written.
        """
        found = self._find_regions(prediction) if self._find_regions else ()
        shown = prediction if self._confidence else replace(prediction, confidence=None)
        write_prediction(shown, self._out, source.stem, overlay=self._overlays, opacity=self._opacity, boxes=found)
        if self._add_regions:
            height, width = prediction.label_map.shape
            self._add_regions(source.stem, ImageRegions(_name(source), (height, width), found))
        if self._annotate:
            self._annotate(LabeledImage("", source.stem, source.path, prediction.label_map))


def result_file(out: Path, kind: str, stem: str) -> Path:
    """Return where a result of an image is written; `kind` is a key of `RESULTS`."""
    return out / kind / f"{stem}.{RESULTS[kind]}"


def image_files(out: Path, sources: Sequence[Source], kinds: Sequence[str], regions: RegionFormat | None) -> list[Path]:
    """Return all files that `ImageResults` writes of images, but for the annotations."""
    files = [result_file(out, kind, source.stem) for source in sources for kind in kinds]
    if regions == "geojson":
        files += [result_file(out, "regions", source.stem) for source in sources]
    elif regions and sources:
        files.append(out / REGIONS)
    return files


def read_image(source: Source) -> ReadImage:
    """Read an image, or why it cannot be read."""
    try:
        return source, read_pixels(source.path)
    except DataError as error:
        return source, error


def same_size(one: ReadImage, other: ReadImage) -> bool:
    """Whether both are images that go through the network together."""
    (_, first), (_, second) = one, other
    return (
        not isinstance(first, DataError) and not isinstance(second, DataError) and first.rgb.shape == second.rgb.shape
    )


def write_prediction(
    prediction: Prediction,
    out: Path,
    stem: str,
    *,
    overlay: bool = True,
    opacity: float = 0.5,
    boxes: Sequence[Region] = (),
) -> None:
    """Write an image's results below `out`: the one way they are written.

    masks/STEM.png always, overlays/STEM.jpg, with boxes around the regions in `boxes`, unless `overlay` is off,
    confidence/STEM.png and entropy/STEM.png where the prediction holds them.

    Raises:
        OutputError: a file cannot be written.
    """
    prediction.save(result_file(out, "masks", stem))
    if overlay:
        write_image(result_file(out, "overlays", stem), prediction.overlay(opacity=opacity, boxes=boxes))
    for name, values in (("confidence", prediction.confidence), ("entropy", prediction.entropy)):
        if values is not None:
            write_image(result_file(out, name, stem), grayscale(values))


@contextmanager
def _region_files(
    out: Path, classes: ClassSet, file_format: RegionFormat | None
) -> Iterator[Callable[[str, ImageRegions], None] | None]:
    """Give what writes an image's regions, with the stem to name them by, into one file of all or one of its own."""
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
    """Give what adds an image to a data set in `folder`, which must be new or empty and appears whole."""
    if file_format is None:
        yield None
    else:
        with folder_written_whole(folder, fresh=True) as new, WRITERS[file_format](new, classes) as add:
            yield add


def _name(source: Source) -> str:
    """The image's file, below the folder it was found in: as its stem is, with the suffix."""
    has_suffix = PurePath(source.stem).name == source.path.name  # a.jpg beside a.png
    return source.stem if has_suffix else f"{source.stem}{source.path.suffix}"
