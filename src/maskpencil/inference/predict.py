"""Pictures, films and streams through the network, results into a folder."""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any, get_args

from maskpencil.data.writers import WRITERS
from maskpencil.data.writers.base import refuse_names
from maskpencil.errors import ConfigError, DataError
from maskpencil.inference.arguments import read_segmenter, read_sources
from maskpencil.inference.film_options import FilmOptions
from maskpencil.inference.films import check_films, film_files, frame_folders, predict_films
from maskpencil.inference.pictures import (
    ANNOTATIONS,
    PictureResults,
    ReadPicture,
    picture_files,
    read_picture,
    same_size,
)
from maskpencil.inference.protocols import PredictsImages, SideBySide, one_by_one
from maskpencil.inference.rasters import RASTER_SUFFIXES, GivesBands, predict_raster, raster_files
from maskpencil.inference.sources import Source
from maskpencil.inference.tally import PredictionReport, Progress, Tally
from maskpencil.parsing import is_several, read_choice, read_number, read_path, read_whole, shown
from maskpencil.pipeline import WriteBehind, equal_groups, in_parallel, read_ahead
from maskpencil.prediction import Prediction
from maskpencil.regions import RegionFormat
from maskpencil.results import clear, recorded_results, refuse_to_replace

QUEUE_DEPTH = 2
"""Pictures decoded ahead of the network, and predictions waiting to be written; more would only fill memory."""

PLACE_LOST = "has a place on the earth, which its PNG mask cannot hold; --geotiff writes masks that do"

FEW = 3
"""So many pictures are done one by one: to make ready for more would take longer."""


def predict(
    segmenter: PredictsImages | str | os.PathLike[str],
    sources: Sequence[Source | str | os.PathLike[str]] | str | os.PathLike[str],
    *,
    out: str | os.PathLike[str],
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
    side_by_side: SideBySide = one_by_one,
    geotiff: bool = False,
    report: Callable[[Progress], None] | None = None,
    tell: Callable[[str], None] = lambda _: None,
    stop: Event | None = None,
) -> PredictionReport:
    """Colour pictures, then films, streams and cameras, and write the results below `out`.

    `segmenter` may be a model folder, and `sources` a file, folder, pattern or address, or several of them.

    Pictures give masks/STEM.png and, as asked for, overlays/STEM.jpg, confidence/STEM.png (8-bit grey, 255 = sure) and
    entropy/STEM.png (8-bit grey, 0 = sure, 255 = all classes alike); films, streams and cameras give overlays/STEM.mp4
    and, if `film` asks for masks, masks/STEM.mkv (lossless grey levels, the class indices) or masks/STEM/000001.png and
    on. Nothing is replaced but results of an earlier run, which `results.MARKER` records, as these were written.
    Reading, the network and writing overlap. A source that cannot be read is noted and the rest is done; every file
    that is there is whole, also after an interruption. `opacity` is the overlay colours' share, 0..1.

    `regions` asks for the connected components of at least `min_area` pixels, of all classes or of `region_classes`:
    boxes on the overlays, and for pictures, in that format, one regions.json (json, coco), which after an interruption
    holds the pictures that were done, or a regions/STEM.geojson each; see `regions.write_regions`. Of films nothing
    but the boxes comes, which is one of the report's warnings.

    `annotations` asks for what is seen in the pictures as a data set in the format of an annotation tool, a key of
    `data.writers.WRITERS`, in OUT/annotations: to be corrected there and trained on.

    `film` says how films, streams and cameras are taken. Up to `batch_size` pictures of one size that follow each other
    go through the network at once, and as many of these batches, or of a film's frames, as `side_by_side` says, which
    is the segmenter's. With `geotiff` TIFF and JPEG2000 files are read and their masks written window by
    window, of any size, as GeoTIFF with their georeference. `tell` gets lines for the user while it runs, such as that
    a stream broke off. `stop` ends it early: a stream or camera ends as if it had no more frames and is whole, what is
    not begun by then is told in the report's warnings.

    Raises:
        ConfigError: the opacity or the area is out of range, nothing is asked for of the films that there are, regions
            are chosen among but not asked for, or there is no such format of annotations.
        DataError: there is no class of a name in `region_classes`, or the format cannot name the classes.
        KeyboardInterrupt: `stop` was set among pictures or within a film, which is dropped.
        OutputError: a result cannot be written, or would replace a source or another file of the user.
    """
    segmenter, out = read_segmenter(segmenter), read_path("out", out)
    sources = read_sources(sources, out=out, tell=tell)
    film, stop = FilmOptions() if film is None else film, stop or Event()
    if not isinstance(film, FilmOptions):
        raise ConfigError(f"film must be FilmOptions, but got {shown(film)}")
    opacity, min_area = read_number("opacity", opacity), read_whole("min_area", min_area)
    batch_size = read_whole("batch_size", batch_size, least=1)
    if regions is not None:
        regions = read_choice("regions", regions, get_args(RegionFormat))
    if region_classes is not None and not is_several(region_classes):
        raise ConfigError(f"region_classes must be a list of names, but got {shown(region_classes)}")
    if not 0 <= opacity <= 1:
        raise ConfigError(f"opacity must be from 0 to 1, but got {opacity}")
    if min_area < 1:
        raise ConfigError(f"min_area must be at least 1 pixel, but got {min_area}")
    if regions is None and (min_area > 1 or region_classes is not None):
        raise ConfigError("min_area and region_classes choose among regions; ask for these too, with --regions json")
    if annotations is not None and (not isinstance(annotations, str) or annotations not in WRITERS):
        raise ConfigError(f"annotations must be {', '.join(WRITERS)}, but got {shown(annotations)}")
    if annotations is not None:
        refuse_names((source.path for source in sources if source.kind == "picture"), annotations)
    for name in () if region_classes is None else region_classes:
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
    check_films(segmenter, films, film, overlays=overlays)
    asked = {"masks": True, "overlays": overlays, "confidence": confidence, "entropy": entropy}
    kinds = [kind for kind, is_asked in asked.items() if is_asked]
    files = [
        *picture_files(out, pictures, kinds, regions),
        *raster_files(out, rasters, [*kinds, "regions"] if regions else kinds),
        *film_files(out, films, film, overlays=overlays),
    ]
    folders = frame_folders(out, films, film)
    if annotations and pictures:
        folders.append(out / ANNOTATIONS)
    paths = [source.path for source in sources if not source.is_live]
    refuse_to_replace(out, files, sources=paths, alone=folders)
    for folder in folders:
        clear(out, folder)
    started, tally = time.perf_counter(), Tally(len(sources), report)
    if regions and films:
        tally.warnings.append(
            f"{films[0].name}: of a film's regions boxes are drawn and no file is written; to have them as a file, cut "
            "it into pictures"
        )
    find_regions = partial(Prediction.regions, min_area=min_area, wanted=region_classes)

    def colour(group: list[ReadPicture]) -> tuple[list[ReadPicture], list[Prediction]]:
        images = [image for _, image in group if not isinstance(image, DataError)]
        sure = confidence or regions is not None
        seen = [image.rgb for image in images]
        predictions = segmenter.predict_batch(seen, confidence=sure, entropy=entropy) if seen else []
        return group, [each.emptied(image.empty) for each, image in zip(predictions, images, strict=True)]

    with (
        recorded_results(out),
        side_by_side() if len(pictures) > FEW else one_by_one() as workers,
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
        WriteBehind(depth=QUEUE_DEPTH, step="writing masks") as behind,
        closing(read_ahead(map(read_picture, pictures), depth=QUEUE_DEPTH, step="reading images")) as read,
        closing(
            in_parallel(
                colour,
                equal_groups(read, size=batch_size, alike=same_size),
                workers=workers,
                step="running the network on images",
            )
        ) as coloured,
    ):
        for group, predictions in coloured:
            if stop.is_set():
                raise KeyboardInterrupt
            for prediction, (source, _) in zip(predictions, group, strict=False):
                behind.submit(results.write, prediction, source)
            for source, image in group:
                if isinstance(image, DataError):
                    tally.picture(source, image)
                else:
                    tally.remark(source, image.remarks, image.levels)
                    tally.remark(source, (PLACE_LOST,) if image.has_place else ())
                    tally.picture(source)
    for source in rasters:
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
            remark=partial(tally.remark, source),
        )
        tally.picture(source, error)
    predict_films(
        segmenter,
        films,
        out=out,
        options=film,
        overlays=overlays,
        opacity=opacity,
        find_boxes=partial(find_regions, polygons=False) if regions else None,
        side_by_side=side_by_side,
        tally=tally,
        tell=tell,
        stop=stop,
    )
    return tally.result(out, time.perf_counter() - started)


def _colour_raster(segmenter: PredictsImages, source: Source, out: Path, **asked: Any) -> DataError | None:
    """Colour one raster as is `asked`; gives what was wrong with it."""
    if isinstance(segmenter, GivesBands):  # as was made sure of
        try:
            with recorded_results(out):
                predict_raster(segmenter, source.path, out, source.stem, **asked)
        except DataError as error:
            return error
    return None
