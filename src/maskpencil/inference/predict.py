"""Segment images, rasters, videos and streams, and write the results into a folder."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from threading import Event

from maskpencil.errors import ConfigError, DataError, ImageError
from maskpencil.files import new_folder
from maskpencil.images import Pixels, RGBImage
from maskpencil.inference.images import ANNOTATIONS, ImageResults, image_files, read_image
from maskpencil.inference.options import PredictOptions
from maskpencil.inference.raster.predict import predict_raster, raster_files
from maskpencil.inference.report import PredictionReport, Progress, Tally
from maskpencil.inference.resume import Resume
from maskpencil.inference.sources import Source, SourceArgument, find_sources, results_name
from maskpencil.parsing import read_path, shown
from maskpencil.pipeline import WriteBehind
from maskpencil.prediction import Prediction
from maskpencil.predictor import QUEUE_DEPTH, Predictor, predict_each
from maskpencil.results import clear, recorded_results, refuse_to_replace
from maskpencil.segmenter import load_predictor

RUNS = Path("runs/predict")
"""The folder in which `predict` makes a new folder for each run, if `out` is None."""

GEOREFERENCE_LOST = "has a georeference, which a PNG mask cannot store; add --geotiff to write GeoTIFF masks"
"""A remark on an image, which completes a sentence that begins with the name of the file."""


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

    For images the results are masks/STEM.png and, if requested, overlays/STEM.jpg, confidence/STEM.png (8-bit gray,
    255 = certain) and entropy/STEM.png (8-bit gray, 0 = certain, 255 = all classes equally probable). For videos,
    streams and cameras the results are overlays/STEM.mp4 and, if `options.video` requests masks, masks/STEM.mkv
    (lossless gray levels, the class indices) or the folder masks/STEM. With `options.geotiff`, TIFF and JPEG2000 files
    of any size are read, and their masks written, window by window, as GeoTIFF with their georeference.

    `options.regions` requests the connected components, whose boxes are drawn on the overlays. For images the regions
    are also written: in the formats json and coco to one regions.json for all images (if the run is interrupted, for
    the images completed so far), in the format geojson to one regions/STEM.geojson per image; see
    `regions.write_regions`. For videos the regions are only drawn, with a warning in the report.
    `options.annotations`, a key of `data.formats.WRITERS`, requests a data set of images and masks in OUT/annotations,
    which can be corrected in an annotation tool and used for training.

    An existing file is replaced only if an earlier run wrote the file, as `results.MARKER` records, and the file was
    not changed since. Reading, segmenting and writing run at the same time. A source that cannot be read is reported,
    and all other sources are processed. No file is left incomplete, even after an interruption.

    Args:
        segmenter: a segmenter, a wrapper such as `Abstain`, or the path of a model folder.
        sources: a file, folder, pattern, address, array or Pillow image, or a list of several; see `find_sources`.
        out: the folder for the results; by default a new folder in runs/predict, see `PredictionReport.out`.
        options: the settings.
        report: called with the progress after every image, every band of rows of a raster and every frame of a
            video.
        tell: called with messages for the user, such as that a stream was interrupted.
        stop: when it is set, the work ends early. During images or a video file, KeyboardInterrupt is raised. During a
            stream or camera, its result is completed, and the report is returned, with a warning for each source that
            was not begun.

    Returns:
        The numbers of completed images, videos and frames, the failures, warnings and notes.

    Example:
        >>> report = mp.predict("runs/train/street/model", ["photo.jpg", "photos/"], out="masks")
        >>> report.images, report.failures
        (4, ())

    Raises:
        ConfigError: an argument has the wrong type, or the options do not fit the segmenter or the sources.
        DataError: a source does not exist, a name in `region_classes` is not a class, or the format of annotations
            cannot store the name of a class or an image.
        KeyboardInterrupt: `stop` was set during images, or during a video file, whose result is discarded.
        OutputError: a result cannot be written, or would replace a source or another file of the user.
    """
    predictor, place = load_predictor(segmenter), None if out is None else read_path("out", out)
    found = find_sources(sources, out=place, tell=tell)
    options = PredictOptions() if options is None else options
    if not isinstance(options, PredictOptions):
        raise ConfigError(f"options must be PredictOptions, but got {shown(options)}")
    if options.resume and place is None:
        raise ConfigError("resume needs the folder of the earlier results; give it with --out FOLDER")
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
                f"{videos[0].name}: the regions of a video are drawn as boxes, but not written to a file; for a file, "
                "split the video into images"
            )
        if images:
            with Resume(folder, predictor, options) if options.resume else nullcontext() as resume:
                remaining = resume.remaining(images) if resume else images
                tally.keep(len(images) - len(remaining))
                done = resume.add if resume else None
                _predict_images(predictor, remaining, folder, options, tally=tally, stop=stop, done=done)
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
    """Yield the folder to write: `out`, or by default a new folder in `RUNS` if anything is written."""
    if out is not None or not is_written:
        yield out or Path()
    else:
        with new_folder(RUNS / results_name(sources[0])) as folder:
            yield folder


def _refuse_to_replace(
    out: Path, images: Sequence[Source], rasters: Sequence[Source], videos: Sequence[Source], options: PredictOptions
) -> None:
    """Check, with `results.refuse_to_replace`, that only results of earlier runs will be replaced.

    Then empty the folder for annotations, and the folders for the mask images of videos.
    """
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
    predictor: Predictor,
    images: Sequence[Source],
    out: Path,
    options: PredictOptions,
    *,
    tally: Tally,
    stop: Event,
    done: Callable[[Source], None] | None = None,
) -> None:
    """Segment images; `done` is called with each image whose results are written.

    Raises:
        KeyboardInterrupt: `stop` was set.
        OutputError: a result cannot be written.
    """

    def read(source: Source) -> tuple[tuple[Source, Pixels | DataError], RGBImage | None]:
        pixels = read_image(source)
        return (source, pixels), None if isinstance(pixels, DataError) else pixels.rgb

    def call(batch: list[RGBImage]) -> Sequence[Prediction | ImageError]:
        sure = options.confidence or options.regions is not None
        try:
            return predictor.predict_batch(batch, confidence=sure, entropy=options.entropy)
        except ImageError as error:
            if len(batch) == 1:
                return [error]
            return [one for image in batch for one in call([image])]  # the predictor may refuse only some of them

    with (
        recorded_results(out),
        ImageResults(out, predictor.classes, options) as results,
        WriteBehind(depth=QUEUE_DEPTH, step="writing masks") as behind,
        closing(predict_each(predictor, images, read, call)) as predicted,
    ):

        def write(prediction: Prediction, source: Source) -> None:
            results.write(prediction, source)
            if done:
                done(source)

        for (source, pixels), prediction in predicted:
            if stop.is_set():
                raise KeyboardInterrupt
            if prediction is None or isinstance(pixels, DataError):
                tally.image(source, pixels if isinstance(pixels, DataError) else None)
                continue
            if isinstance(prediction, ImageError):
                tally.image(source, ImageError(f"{source.name}: {prediction}"))
                continue
            behind.submit(write, prediction.emptied(pixels.empty), source)
            tally.remark(source, pixels.remarks, pixels.levels)
            tally.remark(source, (GEOREFERENCE_LOST,) if pixels.has_place else ())
            tally.image(source)


def _predict_raster(predictor: Predictor, source: Source, out: Path, options: PredictOptions, tally: Tally) -> None:
    """Segment one raster; if it cannot be read, count it as a failure in `tally`."""
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
