"""Pictures, films and streams through the network, results into a folder."""

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

from maskpencil.data.writers import WRITERS
from maskpencil.errors import ConfigError, DataError
from maskpencil.inference.film_options import FilmOptions
from maskpencil.inference.mask_writer import refuse_used_folder
from maskpencil.inference.pictures import PictureResults, read_picture, same_size
from maskpencil.inference.protocols import PredictsImages
from maskpencil.inference.rasters import RASTER_SUFFIXES, GivesBands, predict_raster
from maskpencil.inference.smoothing import GivesProbabilities
from maskpencil.inference.sources import Source
from maskpencil.pipeline import WriteBehind, equal_groups, read_ahead
from maskpencil.prediction import Prediction
from maskpencil.regions import RegionFormat

QUEUE_DEPTH = 2
"""Pictures decoded ahead of the network, and predictions waiting to be written; more would only fill memory."""


@dataclass(frozen=True)
class Failure:
    """A source that could not be done, and why, in one line that names it."""

    source: Source
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
    """What `predict` did.

    `pictures` and `videos` (films, streams and cameras) were done, with `frames` of the latter, in `seconds`.
    `failures` were not; `warnings` say what was lost, `notes` what was measured, one line each.
    """

    out: Path
    pictures: int
    videos: int
    frames: int
    seconds: float
    failures: tuple[Failure, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...] = ()

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
    entropy: bool = False,
    opacity: float = 0.5,
    regions: RegionFormat | None = None,
    min_area: int = 1,
    region_classes: Sequence[str] | None = None,
    annotations: str | None = None,
    film: FilmOptions | None = None,
    batch_size: int = 1,
    geotiff: bool = False,
    report: Callable[[Progress], None] | None = None,
    tell: Callable[[str], None] = lambda _: None,
    stop: Event | None = None,
) -> PredictionReport:
    """Colour pictures, then films, streams and cameras, and write the results below `out`.

    Pictures give masks/STEM.png and, as asked for, overlays/STEM.png, confidence/STEM.png (8-bit grey, 255 = sure) and
    entropy/STEM.png (8-bit grey, 0 = sure, 255 = all classes alike); films, streams and cameras give overlays/STEM.mp4
    and, if `film` asks for masks, masks/STEM.mkv (lossless grey levels, the class indices) or masks/STEM/000001.png and
    on. Files of these names are replaced. Reading, the network and writing overlap. A source that cannot be read is
    noted and the rest is done; every file that is there is whole, also after an interruption. `opacity` is the overlay
    colours' share, 0..1.

    `regions` asks for the connected components of at least `min_area` pixels, of all classes or of `region_classes`:
    boxes on the overlays, and for pictures, in that format, one regions.json (json, coco), which after an interruption
    holds the pictures that were done, or a regions/STEM.geojson each; see `regions.write_regions`. Of films nothing
    but the boxes comes, which is one of the report's warnings.

    `annotations` asks for what is seen in the pictures as a data set in the format of an annotation tool, a key of
    `data.writers.WRITERS`, in OUT/annotations: to be corrected there and trained on.

    `film` says how films, streams and cameras are taken. Up to `batch_size` pictures of one size that follow each other
    go through the network at once. With `geotiff` TIFF and JPEG2000 files are read and their masks written window by
    window, of any size, as GeoTIFF with their georeference. `tell` gets lines for the user while it runs, such as that
    a stream broke off. `stop` ends it early: a stream or camera ends as if it had no more frames and is whole, what is
    not begun by then is told in the report's warnings.

    Raises:
        ConfigError: the opacity or the area is out of range, nothing is asked for of the films that there are, regions
            are chosen among but not asked for, or there is no such format of annotations.
        DataError: there is no class of a name in `region_classes`, or the format cannot name the classes.
        KeyboardInterrupt: `stop` was set among pictures or within a film, which is dropped.
        OutputError: a result cannot be written.
    """
    film, stop = film or FilmOptions(), stop or Event()
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
    rasters = [source for source in pictures if geotiff and source.path.suffix.lower() in RASTER_SUFFIXES]
    if rasters and (regions not in (None, "geojson") or annotations or not isinstance(segmenter, GivesBands)):
        raise ConfigError(
            "geotiff writes masks, confidence, entropy and overlays of all classes, and regions as geojson; leave out "
            "what else is asked for, or geotiff"
        )
    pictures = [source for source in pictures if source not in rasters]
    films = [source for source in sources if source.kind != "picture"]
    _check_films(films, film, overlays=overlays, smooths=isinstance(segmenter, GivesProbabilities))
    for source in films if film.masks == "png" else ():
        refuse_used_folder(out / "masks" / source.stem)
    started = time.perf_counter()
    failures: list[Failure] = []
    warnings: list[str] = []
    if regions and films:
        warnings.append(
            f"{films[0].name}: of a film's regions boxes are drawn and no file is written; to have them as a file, cut "
            "it into pictures"
        )
    find_regions = partial(Prediction.regions, min_area=min_area, wanted=region_classes)
    frames = 0

    def tell_progress(
        source: Source, number: int, *, frame: int, frames: int | None, error: DataError | None = None
    ) -> None:
        failure = None if error is None else Failure(source, str(error))
        if failure:
            failures.append(failure)
        if report:
            report(Progress(source, number, len(sources), frame, frames, failure))

    with (
        PictureResults(
            out,
            segmenter.classes,
            overlays=overlays,
            confidence=confidence,
            opacity=opacity,
            regions=regions if pictures else None,
            find_regions=find_regions,
            annotations=annotations if pictures else None,
        ) as results,
        WriteBehind(depth=QUEUE_DEPTH) as behind,
        closing(read_ahead(map(read_picture, pictures), depth=QUEUE_DEPTH)) as read,
    ):
        number = 0
        for group in equal_groups(read, size=batch_size, alike=same_size):
            if stop.is_set():
                raise KeyboardInterrupt
            images = [image for _, image in group if not isinstance(image, DataError)]
            sure = confidence or regions is not None
            predictions = segmenter.predict_batch(images, confidence=sure, entropy=entropy) if images else []
            for prediction, (source, _) in zip(predictions, group, strict=False):
                behind.submit(results.write, prediction, source)
            for source, image in group:
                number += 1
                error = image if isinstance(image, DataError) else None
                tell_progress(source, number, frame=0 if error else 1, frames=1, error=error)
    for number, source in enumerate(rasters, start=len(pictures) + 1):
        if stop.is_set():
            raise KeyboardInterrupt
        error = _colour_raster(
            segmenter,
            source,
            out,
            confidence=confidence,
            entropy=entropy,
            overlay=overlays,
            opacity=opacity,
            regions=regions is not None,
            min_area=min_area,
            region_classes=region_classes,
        )
        tell_progress(source, number, frame=0 if error else 1, frames=1, error=error)
    undone = len(failures)
    notes: list[str] = []
    begun = 0
    for number, source in enumerate(films, start=len(pictures) + len(rasters) + 1):
        if stop.is_set():
            warnings.append(f"{source.name}: was not begun, as the work was stopped before")
            continue
        begun += 1

        def on_frame(frame: int, total: int | None, source: Source = source, number: int = number) -> None:
            tell_progress(source, number, frame=frame, frames=total)

        from maskpencil.inference.video import predict_video  # FFmpeg, which pictures do not need

        try:
            done = predict_video(
                segmenter,
                source,
                out / "overlays" / f"{source.stem}.mp4" if overlays else None,
                masks=_mask_place(out, source, film),
                options=film,
                opacity=opacity,
                find_boxes=partial(find_regions, polygons=False) if regions else None,
                on_frame=on_frame,
                tell=tell,
                stop=stop,
            )
        except DataError as error:
            tell_progress(source, number, frame=0, frames=None, error=error)
        else:
            frames += done.frames
            warnings.extend(done.warnings)
            notes.extend(done.notes)
    return PredictionReport(
        out=out,
        pictures=len(pictures) + len(rasters) - undone,
        videos=begun - (len(failures) - undone),
        frames=frames,
        seconds=time.perf_counter() - started,
        failures=tuple(failures),
        warnings=tuple(warnings),
        notes=tuple(notes),
    )


def _colour_raster(segmenter: PredictsImages, source: Source, out: Path, **asked: Any) -> DataError | None:
    """Colour one raster as is `asked`; gives what was wrong with it."""
    if isinstance(segmenter, GivesBands):  # as was made sure of
        try:
            predict_raster(segmenter, source.path, out, source.stem, **asked)
        except DataError as error:
            return error
    return None


def _check_films(films: Sequence[Source], options: FilmOptions, *, overlays: bool, smooths: bool) -> None:
    if not films:
        return
    if not (overlays or options.masks or options.show or options.stdout):
        raise ConfigError(
            f"{films[0].name}: without its overlay nothing is asked for of a film; leave overlays on, or ask for "
            "--masks video, --show or --stdout"
        )
    if options.stdout and len(films) > 1:
        raise ConfigError(
            f"standard output takes the frames of one film, but got {len(films)}, {films[0].name} and "
            f"{films[1].name} among them; give one"
        )
    if options.smooth and not smooths:
        raise ConfigError("smoothing needs the probabilities of all classes; leave --smooth out, or --class")


def _mask_place(out: Path, source: Source, options: FilmOptions) -> Path | None:
    if options.masks is None:
        return None
    return out / "masks" / (f"{source.stem}.mkv" if options.masks == "video" else source.stem)
