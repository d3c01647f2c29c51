"""Pictures and films through the network, results into a folder."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePath

from maskpencil.classes import ClassSet
from maskpencil.data.writers import WRITERS, AddPicture, LabelledPicture
from maskpencil.errors import ConfigError, DataError, OutputError
from maskpencil.images import RGBImage, read_image, write_image
from maskpencil.inference.pipeline import PredictsImages, WriteBehind, read_ahead
from maskpencil.inference.sources import Source
from maskpencil.inference.video import predict_video
from maskpencil.prediction import Prediction
from maskpencil.regions import PictureRegions, Region, RegionFormat, regions_file, write_regions
from maskpencil.visualize import grayscale

QUEUE_DEPTH = 2
"""Pictures decoded ahead of the network, and predictions waiting to be written; more would only fill memory."""


@dataclass(frozen=True)
class Failure:
    """A source that could not be done, and why, in one line that names it."""

    path: Path
    message: str


@dataclass(frozen=True)
class Progress:
    """Where the work stands, after every picture and every frame of a film.

    `source` is the `number`-th, from 1, of `sources`. `frame` of `frames` is 1 of 1 for pictures; for films `frames`
    may be an estimate, or None where nothing is known. After a source that failed, `failure` says why.
    """

    source: Source
    number: int
    sources: int
    frame: int
    frames: int | None
    failure: Failure | None = None


@dataclass(frozen=True)
class PredictionReport:
    """What `predict` did: whole pictures and films, the films' frames, how long it took, what failed or was lost."""

    out: Path
    pictures: int
    videos: int
    frames: int
    seconds: float
    failures: tuple[Failure, ...]
    warnings: tuple[str, ...]

    @property
    def frames_per_second(self) -> float:
        """Pictures and frames a second, reading and writing included."""
        return (self.pictures + self.frames) / self.seconds


def predict(
    segmenter: PredictsImages,
    sources: Sequence[Source],
    *,
    out: Path,
    overlays: bool = True,
    confidence: bool = False,
    opacity: float = 0.5,
    regions: RegionFormat | None = None,
    min_area: int = 1,
    region_classes: Sequence[str] | None = None,
    annotations: str | None = None,
    report: Callable[[Progress], None] | None = None,
) -> PredictionReport:
    """Colour pictures, then films, and write the results below `out`.

    Pictures give masks/STEM.png and, as asked for, overlays/STEM.png and confidence/STEM.png (8-bit grey, 255 = sure);
    films give overlays/STEM.mp4. Files of these names are replaced. Reading, the network and writing overlap. A source
    that cannot be read is noted and the rest is done; every file that is there is whole, also after an interruption.
    `opacity` is the overlay colours' share, 0..1.

    `regions` asks for the connected components of at least `min_area` pixels, of all classes or of `region_classes`:
    boxes on the overlays, and for pictures, in that format, one regions.json (json, coco), which after an interruption
    holds the pictures that were done, or a regions/STEM.geojson each; see `regions.write_regions`. Of films nothing
    but the boxes comes, which is one of the report's warnings.

    `annotations` asks for what is seen in the pictures as a data set in the format of an annotation tool, a key of
    `data.writers.WRITERS`, in OUT/annotations: to be corrected there and trained on.

    Raises:
        ConfigError: the opacity or the area is out of range, overlays are off although there are films, regions are
            chosen among but not asked for, or there is no such format of annotations.
        DataError: there is no class of a name in `region_classes`, or the format cannot name the classes.
        OutputError: a result cannot be written.
    """
    if not 0 <= opacity <= 1:
        raise ConfigError(f"opacity must be from 0 to 1, but got {opacity}")
    if min_area < 1:
        raise ConfigError(f"min_area must be at least 1 pixel, but got {min_area}")
    if regions is None and (min_area > 1 or region_classes is not None):
        raise ConfigError("min_area and region_classes choose among regions; ask for these too, with --regions json")
    if annotations is not None and annotations not in WRITERS:
        raise ConfigError(f"annotations must be {', '.join(WRITERS)}, but got {annotations!r}")
    for name in region_classes or ():
        segmenter.classes.index(name)
    pictures = [source for source in sources if source.kind == "picture"]
    films = [source for source in sources if source.kind == "video"]
    if films and not overlays:
        raise ConfigError(f"{films[0].path}: a film's result is its overlay; leave overlays on, or give pictures only")
    started = time.perf_counter()
    failures: list[Failure] = []
    warnings: list[str] = []
    if regions and films:
        warnings.append(
            f"{films[0].path}: of a film's regions boxes are drawn and no file is written; to have them as a file, cut "
            "it into pictures"
        )
    find_regions = partial(Prediction.regions, min_area=min_area, wanted=region_classes)
    frames = 0

    def tell(source: Source, number: int, *, frame: int, frames: int | None, error: DataError | None = None) -> None:
        failure = None if error is None else Failure(source.path, str(error))
        if failure:
            failures.append(failure)
        if report:
            report(Progress(source, number, len(sources), frame, frames, failure))

    with (
        _region_files(out, segmenter.classes, regions if pictures else None) as add_regions,
        _annotation_files(out / "annotations", segmenter.classes, annotations if pictures else None) as annotate,
        WriteBehind(depth=QUEUE_DEPTH) as behind,
        closing(read_ahead(map(_read, pictures), depth=QUEUE_DEPTH)) as images,
    ):

        def write(prediction: Prediction, source: Source) -> None:
            found = find_regions(prediction) if regions else ()
            shown = prediction if confidence else replace(prediction, confidence=None)
            write_prediction(shown, out, source.stem, overlay=overlays, opacity=opacity, boxes=found)
            if add_regions:
                height, width = prediction.label_map.shape
                add_regions(source.stem, PictureRegions(_name(source), (height, width), found))
            if annotate:
                annotate(LabelledPicture("", source.stem, source.path, prediction.label_map))

        for number, (source, image) in enumerate(zip(pictures, images, strict=True), start=1):
            if isinstance(image, DataError):
                tell(source, number, frame=0, frames=1, error=image)
                continue
            (prediction,) = segmenter.predict_batch([image], confidence=confidence or regions is not None)
            behind.submit(write, prediction, source)
            tell(source, number, frame=1, frames=1)
    undone = len(failures)
    for number, source in enumerate(films, start=len(pictures) + 1):

        def on_frame(frame: int, total: int | None, source: Source = source, number: int = number) -> None:
            tell(source, number, frame=frame, frames=total)

        try:
            film = predict_video(
                segmenter,
                source.path,
                out / "overlays" / f"{source.stem}.mp4",
                opacity=opacity,
                find_boxes=partial(find_regions, polygons=False) if regions else None,
                on_frame=on_frame,
            )
        except DataError as error:
            tell(source, number, frame=0, frames=None, error=error)
        else:
            frames += film.frames
            warnings.extend(film.warnings)
    return PredictionReport(
        out=out,
        pictures=len(pictures) - undone,
        videos=len(films) - (len(failures) - undone),
        frames=frames,
        seconds=time.perf_counter() - started,
        failures=tuple(failures),
        warnings=tuple(warnings),
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
    """Write a picture's results below `out`: the one way they are written.

    masks/STEM.png always, overlays/STEM.png, with boxes around the regions in `boxes`, unless `overlay` is off,
    confidence/STEM.png where the prediction holds it.

    Raises:
        OutputError: a file cannot be written.
    """
    prediction.save(out / "masks" / f"{stem}.png")
    if overlay:
        write_image(out / "overlays" / f"{stem}.png", prediction.overlay(opacity=opacity, boxes=boxes))
    if prediction.confidence is not None:
        write_image(out / "confidence" / f"{stem}.png", grayscale(prediction.confidence))


@contextmanager
def _region_files(
    out: Path, classes: ClassSet, file_format: RegionFormat | None
) -> Iterator[Callable[[str, PictureRegions], None] | None]:
    """Give what writes a picture's regions, with the stem to name them by, into one file of all or one of its own."""
    if file_format is None:
        yield None
    elif file_format == "geojson":
        yield lambda stem, picture: write_regions(
            out / "regions" / f"{stem}.geojson", [picture], classes, file_format="geojson"
        )
    else:
        with regions_file(out / "regions.json", classes, file_format=file_format, keep=True) as add:
            yield lambda _, picture: add(picture)


def _annotation_files(
    folder: Path, classes: ClassSet, file_format: str | None
) -> AbstractContextManager[AddPicture | None]:
    """Give what adds a picture to a data set in `folder`, which must be new or empty."""
    if file_format is None:
        return nullcontext()
    if folder.is_dir() and any(folder.iterdir()):
        raise OutputError(f"{folder}: is not empty, and data sets are not mixed; give another --out or remove it")
    return WRITERS[file_format](folder, classes)


def _name(source: Source) -> str:
    """The picture's file, below the folder it was found in: as its stem is, with the suffix."""
    has_suffix = PurePath(source.stem).name == source.path.name  # a.jpg beside a.png
    return source.stem if has_suffix else f"{source.stem}{source.path.suffix}"


def _read(source: Source) -> RGBImage | DataError:
    try:
        return read_image(source.path)
    except DataError as error:
        return error
