"""Log a run: lines on the terminal and in train.log, metrics.csv, TensorBoard events, previews."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from shutil import disk_usage
from types import TracebackType
from typing import TYPE_CHECKING, Self

from maskpencil.data.folder import DataFolder
from maskpencil.data.layout import Pair
from maskpencil.errors import OutputError
from maskpencil.evaluation import predict_pairs
from maskpencil.images import write_image
from maskpencil.metrics import Scores
from maskpencil.progress import ProgressBar
from maskpencil.segmenter import Segmenter
from maskpencil.terminal import say
from maskpencil.training.dataset import evenly_spaced
from maskpencil.training.run_folder import RunFolder, read_metrics, write_metrics
from maskpencil.training.schedule import Progress, Schedule
from maskpencil.training.validation import Validation
from maskpencil.visualize import colorize, contact_sheet

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

PREVIEW_IMAGES = 4

SCORES = ("pixel_accuracy", "mean_accuracy", "mean_iou", "frequency_weighted_iou")

BOARD_ROOM = 1 << 20
"""The number of free bytes below which TensorBoard's events, which are not essential, are not written."""

Track = Callable[[Mapping[str, float], int], None]


class Logbook:
    """The log of one run, as a context manager.

    Args:
        run: the run folder.
        schedule: the schedule of the run, for the total number of epochs or seconds.
        done: the progress at the start, which is not 0 for a resumed run.
        track: called with (values by name, step) for all values written to TensorBoard.
        quiet: whether to print nothing to the terminal.
    """

    def __init__(
        self, run: RunFolder, *, schedule: Schedule, done: Progress, track: Track | None = None, quiet: bool = False
    ) -> None:
        self.run, self.schedule, self.quiet = run, schedule, quiet
        self.bar = ProgressBar("training", round(schedule.total))
        self._track = track
        self._rows = read_metrics(run.metrics, before=done.epoch)
        self._board = _open_board(run.path, done.step)
        self._last_score: float | None = None

    def __enter__(self) -> Self:
        if not self.quiet:
            self.bar.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self.quiet:
            self.bar.__exit__(kind, error, traceback)
        with suppress(OSError):
            if self._board:
                self._board.close()

    def say(self, line: str) -> None:
        """Write a line to the terminal and, with the time, to train.log."""
        if not self.quiet:
            self.bar.say(line)
        with suppress(OSError), self.run.log.open("a", encoding="utf-8") as log:  # a full disk does not end the run
            say(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}", file=log)

    def step(self, progress: Progress, *, loss: float, rate: float, speed: float) -> None:
        """Log a step.

        Args:
            progress: the progress after the step.
            loss: the epoch's mean loss so far.
            rate: the learning rate.
            speed: images per second.
        """
        self._record({"train/loss": loss, "train/learning_rate": rate}, progress.step)
        if not self.quiet:
            words = [f"epoch {self.schedule.epoch_text(progress.epoch + 1)}", f"loss {loss:.3f}", f"rate {rate:.1e}"]
            words += [f"{speed:.1f} images/s"]
            words += [f"mean IoU {self._last_score:.3f}"] if self._last_score is not None else []
            self.bar.update(self.schedule.done(progress), " · ".join(words))

    def epoch(
        self, progress: Progress, *, loss: float, rate: float, speed: float, validation: Validation | None
    ) -> None:
        """Log an epoch that has ended; `progress.epoch` is the number of completed epochs.

        Args:
            progress: the progress after the epoch.
            loss: the epoch's mean loss.
            rate: the learning rate.
            speed: images per second, of the whole run.
            validation: the scores, if the epoch was validated.
        """
        row = {
            "epoch": str(progress.epoch),
            "step": str(progress.step),
            "loss": f"{loss:.6f}",
            "learning_rate": f"{rate:.3e}",
            "images_per_second": f"{speed:.2f}",
            "seconds": f"{progress.seconds:.1f}",
        }
        scores = _numbers(validation.scores) if validation else {}
        row |= {name: f"{scores[name]:.6f}" if scores else "" for name in SCORES}
        self._rows.append(row)
        try:
            write_metrics(self.run.metrics, self._rows)
        except OutputError as error:
            self.say(
                f"warning: the row of epoch {progress.epoch} cannot be written to metrics.csv ({error}); "
                "writing it is tried again after the next epoch"
            )
        line = f"epoch {self.schedule.epoch_text(progress.epoch)}: loss {loss:.4f}, {speed:.1f} images/s"
        if validation and scores:
            self._last_score = scores["mean_iou"]
            line += f", mean IoU {scores['mean_iou']:.4f}, pixel accuracy {scores['pixel_accuracy']:.4f}"
            line += f" on {validation.part} validation images" if validation.part else ""
            self._record({f"val/{name}": value for name, value in scores.items()}, progress.step)
        elif validation:
            line += ", no score: no validated pixel is labeled"
        with suppress(OSError):
            if self._board:
                self._board.flush()
        self.say(line)

    def _record(self, values: Mapping[str, float], step: int) -> None:
        with suppress(OSError):
            if self._board and disk_usage(self.run.path).free >= BOARD_ROOM:
                for name, value in values.items():
                    self._board.add_scalar(name, value, step)
        if self._track:
            self._track(values, step)


def _open_board(folder: Path, step: int) -> "SummaryWriter | None":
    """Open TensorBoard's writer for a run after `step` steps, or return None if the disk is full.

    If a run wrote events after its last checkpoint, TensorBoard hides them, since the resumed run repeats their steps.
    """
    from torch.utils.tensorboard import SummaryWriter  # slow to import

    with suppress(OSError):
        if disk_usage(folder).free >= BOARD_ROOM:
            return SummaryWriter(str(folder), purge_step=step + 1 if step else None)
    return None


class Silent(Logbook):
    """A log that writes nothing, for all processes except the main process."""

    def __init__(self, run: RunFolder) -> None:
        self.run = run

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass

    def say(self, line: str) -> None:
        """Write nothing."""

    def step(self, progress: Progress, *, loss: float, rate: float, speed: float) -> None:
        """Write nothing."""

    def epoch(
        self, progress: Progress, *, loss: float, rate: float, speed: float, validation: Validation | None
    ) -> None:
        """Write nothing."""


def _numbers(scores: Scores) -> dict[str, float]:
    """Return the four scores of the FCN paper by name, see `SCORES`; {} if no pixel was labeled."""
    return {} if math.isnan(scores.mean_iou) else {name: getattr(scores, name) for name in SCORES}


def write_preview(path: Path, segmenter: Segmenter, data: DataFolder, pairs: Sequence[Pair]) -> None:
    """Write a preview: image, target and prediction side by side, for a few evenly spaced `pairs` of a split.

    Raises:
        OutputError: the image cannot be written.
    """
    chosen = evenly_spaced(pairs, PREVIEW_IMAGES)
    with closing(predict_pairs(segmenter, data, chosen, segmenter.predict_batch)) as predicted:
        rows = [
            [each.image, colorize(target, data.classes), colorize(each.label_map, data.classes)]
            for target, each in predicted
        ]
    write_image(path, contact_sheet(rows, captions=("image", "target", "prediction")))
