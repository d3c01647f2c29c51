"""Pictures and films through the network, results into a folder."""

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from maskpencil.errors import ConfigError, DataError
from maskpencil.images import RGBImage, read_image, write_image
from maskpencil.inference.pipeline import PredictsImages, WriteBehind, read_ahead
from maskpencil.inference.sources import Source
from maskpencil.inference.video import predict_video
from maskpencil.prediction import Prediction
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
    report: Callable[[Progress], None] | None = None,
) -> PredictionReport:
    """Colour pictures, then films, and write the results below `out`.

    Pictures give masks/STEM.png and, as asked for, overlays/STEM.png and confidence/STEM.png (8-bit grey, 255 = sure);
    films give overlays/STEM.mp4. Files of these names are replaced. Reading, the network and writing overlap. A source
    that cannot be read is noted and the rest is done; every file that is there is whole, also after an interruption.
    `opacity` is the overlay colours' share, 0..1.

    Raises:
        ConfigError: the opacity is out of range, or overlays are off although there are films.
        OutputError: a result cannot be written.
    """
    if not 0 <= opacity <= 1:
        raise ConfigError(f"opacity must be from 0 to 1, but got {opacity}")
    pictures = [source for source in sources if source.kind == "picture"]
    films = [source for source in sources if source.kind == "video"]
    if films and not overlays:
        raise ConfigError(f"{films[0].path}: a film's result is its overlay; leave overlays on, or give pictures only")
    started = time.perf_counter()
    failures: list[Failure] = []
    warnings: list[str] = []
    frames = 0

    def tell(source: Source, number: int, *, frame: int, frames: int | None, error: DataError | None = None) -> None:
        failure = None if error is None else Failure(source.path, str(error))
        if failure:
            failures.append(failure)
        if report:
            report(Progress(source, number, len(sources), frame, frames, failure))

    with (
        WriteBehind(depth=QUEUE_DEPTH) as behind,
        closing(read_ahead(map(_read, pictures), depth=QUEUE_DEPTH)) as images,
    ):
        for number, (source, image) in enumerate(zip(pictures, images, strict=True), start=1):
            if isinstance(image, DataError):
                tell(source, number, frame=0, frames=1, error=image)
                continue
            (prediction,) = segmenter.predict_batch([image], confidence=confidence)
            behind.submit(write_prediction, prediction, out, source.stem, overlay=overlays, opacity=opacity)
            tell(source, number, frame=1, frames=1)
    undone = len(failures)
    for number, source in enumerate(films, start=len(pictures) + 1):

        def on_frame(frame: int, total: int | None, source: Source = source, number: int = number) -> None:
            tell(source, number, frame=frame, frames=total)

        try:
            film = predict_video(
                segmenter, source.path, out / "overlays" / f"{source.stem}.mp4", opacity=opacity, on_frame=on_frame
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
    prediction: Prediction, out: Path, stem: str, *, overlay: bool = True, opacity: float = 0.5
) -> None:
    """Write a picture's results below `out`: the one way they are written.

    masks/STEM.png always, overlays/STEM.png unless `overlay` is off, confidence/STEM.png where the prediction holds it.

    Raises:
        OutputError: a file cannot be written.
    """
    prediction.save(out / "masks" / f"{stem}.png")
    if overlay:
        write_image(out / "overlays" / f"{stem}.png", prediction.overlay(opacity=opacity))
    if prediction.confidence is not None:
        write_image(out / "confidence" / f"{stem}.png", grayscale(prediction.confidence))


def _read(source: Source) -> RGBImage | DataError:
    try:
        return read_image(source.path)
    except DataError as error:
        return error
