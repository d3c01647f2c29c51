"""Segment images, rasters, videos and streams, and write the results into a folder."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from threading import Event

from maskpencil.errors import ConfigError, DataError
from maskpencil.files import new_folder
from maskpencil.images import Pixels, RGBImage
from maskpencil.inference.images import ANNOTATIONS, ImageResults, image_files, read_image
from maskpencil.inference.options import PredictOptions
from maskpencil.inference.raster.predict import predict_raster, raster_files
from maskpencil.inference.report import PredictionReport, Progress, Tally
from maskpencil.inference.sources import Source, SourceArgument, find_sources, results_name
from maskpencil.parsing import read_path, shown
from maskpencil.pipeline import WriteBehind
from maskpencil.predictor import QUEUE_DEPTH, Predictor, predict_each
from maskpencil.results import clear, recorded_results, refuse_to_replace
from maskpencil.segmenter import load_predictor

RUNS = Path("runs/predict")
"""The folder of the results for which no other is named."""

PLACE_LOST = "has a place on the earth, which its PNG mask cannot hold; --geotiff writes masks that do"


def predict(
    segmenter: Predictor | str | os.PathLike[str],
    sources: SourceArgument | Sequence[SourceArgument],
    *,
    out: str | os.PathLike[str] | None = None,
    options: PredictOptions | None = None,
    report: Callable[[Progress], None] | None = None,
    tell: Callable[[str], None] = lambda _: None,
    stop: Event | None = None,
) -> PredictionReport:
    """Segment images, then videos, streams and cameras, and write the results below a folder.

    Images give masks/STEM.png and, if asked for, overlays/STEM.jpg, confidence/STEM.png (8-bit gray, 255 = sure) and
    entropy/STEM.png (8-bit gray, 0 = sure, 255 = all classes alike); videos, streams and cameras give overlays/STEM.mp4
    and, if `options.video` asks for masks, masks/STEM.mkv (lossless gray levels, the class indices) or the folder
    masks/STEM. With `options.geotiff` TIFF and JPEG2000 files are read and their masks written window by window, of any
    size, as GeoTIFF with their georeference.

    `options.regions` asks for the connected components: boxes on the overlays, and for images, in that format, one
    regions.json (json, coco), which after an interruption holds the images that were done, or a regions/STEM.geojson
    each; see `regions.write_regions`. For videos only the boxes are drawn, which is one of the report's warnings.
    `options.annotations` asks for the masks as a data set of an annotation tool, a key of `data.formats.WRITERS`, in
    OUT/annotations, to be corrected there and trained on.

    Only results of an earlier run are replaced: those that `results.MARKER` records, as they were written. Reading, the
    network and writing overlap. A source that cannot be read is noted and the others are done; every file is whole,
    also after an interruption.

    Args:
        segmenter: a segmenter, a wrapper of one, or a model folder.
        sources: a file, folder, pattern, address, array or Pillow image, or several of them; see `find_sources`.
        out: the folder to write; by default the next free one in runs/predict, which the report names.
        options: the settings.
        report: called with the progress after every image, every band of a raster and every frame of a video.
        tell: called with lines for the user, such as that a stream broke off.
        stop: ends it early once it is set: a stream or camera ends as if it had no more frames and is complete, and the
            report's warnings name the sources that were not begun.

    Example:
        >>> report = mp.predict("runs/train/street/model", ["photo.jpg", "photos/"], out="masks")
        >>> report.images, report.failures
        (4, ())

    Raises:
        ConfigError: an argument is of the wrong kind, or the options do not fit the segmenter or the sources.
        DataError: a source does not exist, there is no class of a name in `region_classes`, or the format of
            annotations cannot name the classes.
        KeyboardInterrupt: `stop` was set among images or within a video, which is dropped.
        OutputError: a result cannot be written, or would replace a source or another file of the user.
    """
    predictor, place = load_predictor(segmenter), None if out is None else read_path("out", out)
    found = find_sources(sources, out=place, tell=tell)
    options = PredictOptions() if options is None else options
    if not isinstance(options, PredictOptions):
        raise ConfigError(f"options must be PredictOptions, but got {shown(options)}")
    options.refuse_unfit(predictor, found)
    images = [source for source in found if source.kind == "image" and not options.is_raster(source)]
    rasters = [source for source in found if options.is_raster(source)]
    videos = [source for source in found if source.kind != "image"]
    started, tally, stop = time.perf_counter(), Tally(len(found), report), stop or Event()
    writes_videos = options.overlays or options.video.masks is not None
    is_written = bool(images or rasters or (videos and writes_videos))
    with _folder(place, found, is_written=is_written) as folder:
        _refuse_to_replace(folder, images, rasters, videos, options)
        if options.regions and videos:
            tally.warnings.append(
                f"{videos[0].name}: of a video's regions boxes are drawn and no file is written; to have them as a "
                "file, cut it into images"
            )
        if images:
            _predict_images(predictor, images, folder, options, tally=tally, stop=stop)
        for source in rasters:
            if stop.is_set():
                raise KeyboardInterrupt
            _predict_raster(predictor, source, folder, options, tally)
        if videos:
            from maskpencil.inference.video.predict import predict_videos  # loads FFmpeg

            predict_videos(predictor, videos, out=folder, options=options, tally=tally, tell=tell, stop=stop)
        return tally.result(folder if is_written else None, time.perf_counter() - started)


@contextmanager
def _folder(out: Path | None, sources: Sequence[Source], *, is_written: bool) -> Iterator[Path]:
    """Give the folder to write: the one that is named, or the next free one in `RUNS` if anything is written."""
    if out is not None or not is_written:
        yield out or Path()
    else:
        with new_folder(RUNS / results_name(sources[0])) as folder:
            yield folder


def _refuse_to_replace(
    out: Path, images: Sequence[Source], rasters: Sequence[Source], videos: Sequence[Source], options: PredictOptions
) -> None:
    """Make sure that results replace only results, and empty the folders that hold nothing else; see `results`."""
    files = [*image_files(out, images, options), *raster_files(out, rasters, options)]
    folders = [out / ANNOTATIONS] if options.annotations and images else []
    if videos:
        from maskpencil.inference.video.predict import frame_folders, video_files

        files += video_files(out, videos, options)
        folders += frame_folders(out, videos, options)
    read = [source.path for source in (*images, *rasters, *videos) if source.is_file]
    refuse_to_replace(out, files, sources=read, alone=folders)
    for folder in folders:
        clear(out, folder)


def _predict_images(
    predictor: Predictor, images: Sequence[Source], out: Path, options: PredictOptions, *, tally: Tally, stop: Event
) -> None:
    """Segment images.

    Raises:
        KeyboardInterrupt: `stop` was set.
        OutputError: a result cannot be written.
    """

    def read(source: Source) -> tuple[tuple[Source, Pixels | DataError], RGBImage | None]:
        pixels = read_image(source)
        return (source, pixels), None if isinstance(pixels, DataError) else pixels.rgb

    call = partial(
        predictor.predict_batch, confidence=options.confidence or options.regions is not None, entropy=options.entropy
    )
    with (
        recorded_results(out),
        ImageResults(out, predictor.classes, options) as results,
        WriteBehind(depth=QUEUE_DEPTH, step="writing masks") as behind,
        closing(predict_each(predictor, images, read, call)) as predicted,
    ):
        for (source, pixels), prediction in predicted:
            if stop.is_set():
                raise KeyboardInterrupt
            if prediction is None or isinstance(pixels, DataError):
                tally.image(source, pixels if isinstance(pixels, DataError) else None)
                continue
            behind.submit(results.write, prediction.emptied(pixels.empty), source)
            tally.remark(source, pixels.remarks, pixels.levels)
            tally.remark(source, (PLACE_LOST,) if pixels.has_place else ())
            tally.image(source)


def _predict_raster(predictor: Predictor, source: Source, out: Path, options: PredictOptions, tally: Tally) -> None:
    """Segment one raster; where it cannot be read it is tallied as a failure."""
    error, number = None, tally.begin()
    try:
        with recorded_results(out):
            predict_raster(
                predictor,
                source.path,
                out,
                source.stem,
                options=options,
                on_rows=partial(tally.rows, source, number),
                remark=partial(tally.remark, source),
            )
    except DataError as failure:
        error = failure
    tally.image(source, error, number=number)
