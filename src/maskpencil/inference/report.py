"""Define the progress of a prediction, its failures and warnings, and the final report."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from maskpencil.errors import DataError
from maskpencil.images import Remarks
from maskpencil.inference.sources import Source
from maskpencil.plain_text import counted


@dataclass(frozen=True)
class Failure:
    """A source that could not be segmented, and the error message: one line that names the source."""

    source: Source
    message: str


@dataclass(frozen=True)
class Progress:
    """The progress after an image, a frame of a video or a band of rows of a raster.

    Args:
        source: the current source.
        number: the number of the source, from 1.
        sources: the number of all sources.
        frame: the number of completed frames of a video, or, with `is_part`, of completed rows of a raster; 1 for an
            image or a complete raster; 0 if the source failed.
        frames: the number of all frames of a video, which may be an estimate; None if unknown, or if the video failed;
            with `is_part`, the number of all rows of a raster; 1 for an image or a complete raster.
        failure: the source and the error message if the source failed, else None.
        is_part: whether this is the progress within a raster, after a band of rows; the result of the raster is not
            written yet.
    """

    source: Source
    number: int
    sources: int
    frame: int
    frames: int | None
    failure: Failure | None = None
    is_part: bool = False


@dataclass(frozen=True)
class PredictionReport:
    """The result of `predict`.

    Example:
        >>> report = mp.predict("runs/train/street/model", "drive.mp4", out="video")
        >>> report.videos, report.frames, report.failures
        (1, 24, ())

    Args:
        out: the folder of the results; None if nothing was written.
        images: the number of completed images.
        videos: the number of completed videos, streams and cameras.
        frames: the number of completed frames of the videos, streams and cameras.
        seconds: the duration of reading, segmenting and writing.
        failures: the sources that failed.
        warnings: lines about data that were lost or left out.
        notes: lines about how files were read and about measurements, such as flicker.
        kept: the number of images, not counted in `images`, whose results from an earlier run were kept, with
            `PredictOptions.resume`.
    """

    out: Path | None
    images: int
    videos: int
    frames: int
    seconds: float
    failures: tuple[Failure, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...] = ()
    kept: int = 0

    @property
    def frames_per_second(self) -> float:
        """The number of images and frames per second, reading and writing included."""
        return (self.images + self.frames) / self.seconds


@dataclass
class Tally:
    """A counter of sources during a prediction; it calls `report` with the progress after each image and frame.

    It also collects the failures, warnings and notes of the final `PredictionReport`. `sources` is the number of all
    sources, and `begun` the number of sources that were begun or kept so far.
    """

    sources: int
    report: Callable[[Progress], None] | None = None
    images: int = 0
    kept: int = 0
    videos: int = 0
    frames: int = 0
    failures: list[Failure] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    begun: int = 0
    remarks: Remarks = field(default_factory=Remarks)

    def begin(self) -> int:
        """Begin the next source and return its number, from 1."""
        self.begun += 1
        return self.begun

    def keep(self, count: int) -> None:
        """Count `count` images whose results from an earlier run are kept, and add a note about them."""
        self.kept += count
        self.begun += count
        if count:
            self.notes.append(f"{counted(count, 'image')} done by an earlier run and kept")

    def image(self, source: Source, error: DataError | None = None, *, number: int | None = None) -> None:
        """Count an image as completed, or as failed if `error` is given.

        `number` is the number that `begin` returned for the image; by default `begin` is called here.
        """
        number = self.begin() if number is None else number
        self.images += error is None
        self.tell(source, number, frame=0 if error else 1, frames=1, error=error)

    def remark(self, source: Source, texts: Sequence[str], levels: str = "") -> None:
        """Add remarks on how the image file of `source` was read; `texts` and `levels` are as in `Remarks.add`."""
        self.remarks.add(source.path.name, texts, levels)

    def tell(
        self, source: Source, number: int, *, frame: int, frames: int | None, error: DataError | None = None
    ) -> None:
        """Report the progress of source number `number` after an image or a frame; with `error`, record its failure."""
        failure = None if error is None else Failure(source, str(error))
        if failure:
            self.failures.append(failure)
        if self.report:
            self.report(Progress(source, number, self.sources, frame, frames, failure))

    def rows(self, source: Source, number: int, done: int, rows: int) -> None:
        """Report that `done` rows of a raster with `rows` rows are segmented; at the end also call `image`."""
        if self.report:
            self.report(Progress(source, number, self.sources, done, rows, is_part=True))

    def result(self, out: Path | None, seconds: float) -> PredictionReport:
        """Return the report on all sources; `out` is the folder of the results, None if nothing was written."""
        return PredictionReport(
            out=out,
            images=self.images,
            videos=self.videos,
            frames=self.frames,
            seconds=seconds,
            failures=tuple(self.failures),
            warnings=(*self.warnings, *self.remarks.warnings),
            notes=(*self.notes, *self.remarks.lines),
            kept=self.kept,
        )
