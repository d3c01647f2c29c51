"""Images, videos and streams through the network, results into a folder."""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any, get_args

from maskpencil.data.formats import WRITERS
from maskpencil.data.formats.base import refuse_names
from maskpencil.errors import ConfigError, DataError
from maskpencil.inference.images import (
    ANNOTATIONS,
    ImageResults,
    ReadImage,
    image_files,
    read_image,
    same_size,
)
from maskpencil.inference.options import VideoOptions
from maskpencil.inference.raster.predict import RASTER_SUFFIXES, predict_raster, raster_files
from maskpencil.inference.report import PredictionReport, Progress, Tally
from maskpencil.inference.sources import Source, read_sources
from maskpencil.inference.video.predict import check_videos, frame_folders, predict_videos, video_files
from maskpencil.parsing import is_several, read_choice, read_number, read_path, read_whole, shown
from maskpencil.pipeline import SideBySide, WriteBehind, equal_groups, in_parallel, one_by_one, read_ahead
from maskpencil.prediction import Prediction
from maskpencil.regions import RegionFormat
from maskpencil.results import clear, recorded_results, refuse_to_replace
from maskpencil.segmenter import Predictor, load_predictor, supports

QUEUE_DEPTH = 2
"""Images decoded ahead of the network, and predictions waiting to be written; more would only fill memory."""

PLACE_LOST = "has a place on the earth, which its PNG mask cannot hold; --geotiff writes masks that do"

FEW = 3
"""Up to this number images are done one by one: preparing for more would take longer."""


def predict(
    segmenter: Predictor | str | os.PathLike[str],
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
    video: VideoOptions | None = None,
    batch_size: int = 1,
    side_by_side: SideBySide = one_by_one,
    geotiff: bool = False,
    report: Callable[[Progress], None] | None = None,
    tell: Callable[[str], None] = lambda _: None,
    stop: Event | None = None,
) -> PredictionReport:
    """Segment images, then videos, streams and cameras, and write the results below `out`.

    `segmenter` may be a model folder, and `sources` a file, folder, pattern or address, or several of them.

    Images give masks/STEM.png and, as asked for, overlays/STEM.jpg, confidence/STEM.png (8-bit gray, 255 = sure) and
    entropy/STEM.png (8-bit gray, 0 = sure, 255 = all classes alike); videos, streams and cameras give overlays/STEM.mp4
    and, if `video` asks for masks, masks/STEM.mkv (lossless gray levels, the class indices) or the folder masks/STEM.
    Nothing is replaced but results of an earlier run, which `results.MARKER` records, as these were written.
    Reading, the network and writing overlap. A source that cannot be read is noted and the rest is done; every file
    that is there is whole, also after an interruption. `opacity` is the overlay colors' share, 0..1.

    `regions` asks for the connected components of at least `min_area` pixels, of all classes or of `region_classes`:
    boxes on the overlays, and for images, in that format, one regions.json (json, coco), which after an interruption
    holds the images that were done, or a regions/STEM.geojson each; see `regions.write_regions`. Of videos nothing
    but the boxes comes, which is one of the report's warnings.

    `annotations` asks for what is seen in the images as a data set in the format of an annotation tool, a key of
    `data.formats.WRITERS`, in OUT/annotations: to be corrected there and trained on.

    `video` says how videos, streams and cameras are taken. Up to `batch_size` images of one size that follow each other
    go through the network at once, and as many of these batches, or of a video's frames, as `side_by_side` says, which
    is the segmenter's. With `geotiff` TIFF and JPEG2000 files are read and their masks written window by
    window, of any size, as GeoTIFF with their georeference. `tell` gets lines for the user while it runs, such as that
    a stream broke off. `stop` ends it early: a stream or camera ends as if it had no more frames and is whole, what is
    not begun by then is told in the report's warnings.

    Example:
        >>> report = mp.predict("runs/train/street/model", ["photo.jpg", "photos/"], out="masks")
        >>> report.images, report.failures
        (4, ())

    Raises:
        ConfigError: the opacity or the area is out of range, nothing is asked for of the videos that there are, regions
            are chosen among but not asked for, or there is no such format of annotations.
        DataError: there is no class of a name in `region_classes`, or the format cannot name the classes.
        KeyboardInterrupt: `stop` was set among images or within a video, which is dropped.
        OutputError: a result cannot be written, or would replace a source or another file of the user.
    """
    segmenter, out = load_predictor(segmenter), read_path("out", out)
    sources = read_sources(sources, out=out, tell=tell)
    video, stop = VideoOptions() if video is None else video, stop or Event()
    if not isinstance(video, VideoOptions):
        raise ConfigError(f"video must be VideoOptions, but got {shown(video)}")
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
        refuse_names((source.path for source in sources if source.kind == "image"), annotations)
    for name in () if region_classes is None else region_classes:
        segmenter.classes.index(name)
    images = [source for source in sources if source.kind == "image"]
    rasters = [source for source in images if geotiff and source.path.suffix.lower() in RASTER_SUFFIXES]
    if rasters and (regions not in (None, "geojson") or annotations or not supports(segmenter, "bands")):
        raise ConfigError(
            "geotiff writes masks, confidence, entropy and overlays of all classes, and regions as geojson; leave out "
            "what else is asked for, or geotiff"
        )
    images = [source for source in images if source not in rasters]
    videos = [source for source in sources if source.kind != "image"]
    check_videos(segmenter, videos, video, overlays=overlays)
    asked = {"masks": True, "overlays": overlays, "confidence": confidence, "entropy": entropy}
    kinds = [kind for kind, is_asked in asked.items() if is_asked]
    files = [
        *image_files(out, images, kinds, regions),
        *raster_files(out, rasters, [*kinds, "regions"] if regions else kinds),
        *video_files(out, videos, video, overlays=overlays),
    ]
    folders = frame_folders(out, videos, video)
    if annotations and images:
        folders.append(out / ANNOTATIONS)
    paths = [source.path for source in sources if not source.is_live]
    refuse_to_replace(out, files, sources=paths, alone=folders)
    for folder in folders:
        clear(out, folder)
    started, tally = time.perf_counter(), Tally(len(sources), report)
    if regions and videos:
        tally.warnings.append(
            f"{videos[0].name}: of a video's regions boxes are drawn and no file is written; to have them as a file, "
            "cut it into images"
        )
    find_regions = partial(Prediction.regions, min_area=min_area, wanted=region_classes)

    def run_network(group: list[ReadImage]) -> tuple[list[ReadImage], list[Prediction]]:
        read = [pixels for _, pixels in group if not isinstance(pixels, DataError)]
        sure = confidence or regions is not None
        seen = [pixels.rgb for pixels in read]
        predictions = segmenter.predict_batch(seen, confidence=sure, entropy=entropy) if seen else []
        return group, [each.emptied(pixels.empty) for each, pixels in zip(predictions, read, strict=True)]

    with (
        recorded_results(out),
        side_by_side() if len(images) > FEW else one_by_one() as workers,
        ImageResults(
            out,
            segmenter.classes,
            overlays=overlays,
            confidence=confidence,
            opacity=opacity,
            regions=regions if images else None,
            find_regions=find_regions,
            annotations=annotations if images else None,
        ) as results,
        WriteBehind(depth=QUEUE_DEPTH, step="writing masks") as behind,
        closing(read_ahead(map(read_image, images), depth=QUEUE_DEPTH, step="reading images")) as read,
        closing(
            in_parallel(
                run_network,
                equal_groups(read, size=batch_size, alike=same_size),
                workers=workers,
                step="running the network on images",
            )
        ) as predicted,
    ):
        for group, predictions in predicted:
            if stop.is_set():
                raise KeyboardInterrupt
            for prediction, (source, _) in zip(predictions, group, strict=False):
                behind.submit(results.write, prediction, source)
            for source, image in group:
                if isinstance(image, DataError):
                    tally.image(source, image)
                else:
                    tally.remark(source, image.remarks, image.levels)
                    tally.remark(source, (PLACE_LOST,) if image.has_place else ())
                    tally.image(source)
    for source in rasters:
        if stop.is_set():
            raise KeyboardInterrupt
        error = _predict_raster(
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
        tally.image(source, error)
    predict_videos(
        segmenter,
        videos,
        out=out,
        options=video,
        overlays=overlays,
        opacity=opacity,
        find_boxes=partial(find_regions, polygons=False) if regions else None,
        side_by_side=side_by_side,
        tally=tally,
        tell=tell,
        stop=stop,
    )
    return tally.result(out, time.perf_counter() - started)


def _predict_raster(segmenter: Predictor, source: Source, out: Path, **asked: Any) -> DataError | None:
    """Segment one raster and return the error where it cannot be read."""
    try:
        with recorded_results(out):
            predict_raster(segmenter, source.path, out, source.stem, **asked)
    except DataError as error:
        return error
    return None
