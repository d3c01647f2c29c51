"""What became of the sources so far: progress, failures, warnings."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from maskpencil.errors import DataError
from maskpencil.inference.sources import Source
from maskpencil.remarks import Remarks


@dataclass(frozen=True)
class Failure:
    """A source that could not be done, and why, in one line that names it."""

    source: Source
    message: str


@dataclass(frozen=True)
class Progress:
    """The progress after an image, a frame of a video or a band of rows of a raster.

    Args:
        source: the source at work.
        number: its number, from 1.
        sources: the number of sources.
        frame: the frames of a video that are done, 1 for an image, 0 after a failure, or with `is_part` the rows of a
            raster.
        frames: the frames of the video, which may be an estimate, or None where nothing is known; 1 for an image; the
            raster's rows.
        failure: why the source failed, if it did.
        is_part: whether only a part of an image is done.
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
    """What `predict` did.

    `images` and `videos` (videos, streams and cameras) were done, with `frames` of the latter, in `seconds`.
    `failures` were not; `warnings` say what was lost, `notes` what was measured, one line each.

    Example:
        >>> report = mp.predict("runs/train/street/model", "drive.mp4", out="video")
        >>> report.videos, report.frames, report.failures
        (1, 24, ())
    """

    out: Path | None
    images: int
    videos: int
    frames: int
    seconds: float
    failures: tuple[Failure, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def frames_per_second(self) -> float:
        """Images and frames a second, reading and writing included."""
        return (self.images + self.frames) / self.seconds


@dataclass
class Tally:
    """Counts sources as they are done, and tells `report` of each image and frame."""

    sources: int
    report: Callable[[Progress], None] | None = None
    images: int = 0
    videos: int = 0
    frames: int = 0
    failures: list[Failure] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    begun: int = 0
    remarks: Remarks = field(default_factory=Remarks)

    def begin(self) -> int:
        """The number of the source that comes next, from 1."""
        self.begun += 1
        return self.begun

    def image(self, source: Source, error: DataError | None = None, *, number: int | None = None) -> None:
        """Count an image that is done, or that failed with an error; `number` where it was begun before."""
        number = self.begin() if number is None else number
        self.images += error is None
        self.tell(source, number, frame=0 if error else 1, frames=1, error=error)

    def remark(self, source: Source, texts: Sequence[str], levels: str = "") -> None:
        """Note how an image's file was read, see `Remarks.add`."""
        self.remarks.add(source.path.name, texts, levels)

    def tell(
        self, source: Source, number: int, *, frame: int, frames: int | None, error: DataError | None = None
    ) -> None:
        """Tell of an image or a frame of the source of that number."""
        failure = None if error is None else Failure(source, str(error))
        if failure:
            self.failures.append(failure)
        if self.report:
            self.report(Progress(source, number, self.sources, frame, frames, failure))

    def rows(self, source: Source, number: int, done: int, rows: int) -> None:
        """Report the rows of a raster that are done; `image` reports its end."""
        if self.report:
            self.report(Progress(source, number, self.sources, done, rows, is_part=True))

    def result(self, out: Path | None, seconds: float) -> PredictionReport:
        """What was done, all in all."""
        return PredictionReport(
            out=out,
            images=self.images,
            videos=self.videos,
            frames=self.frames,
            seconds=seconds,
            failures=tuple(self.failures),
            warnings=(*self.warnings, *self.remarks.warnings),
            notes=(*self.notes, *self.remarks.lines),
        )
