"""The events for TensorBoard of runs that were stopped and resumed."""

import time
from itertools import count
from types import SimpleNamespace

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer import event_file_writer

from maskpencil.training.logbook import _open_board


def test_a_resumed_run_shows_every_step_once(tmp_path, monkeypatch):
    # a second between the two files: within one second their names are in the order of a text, 9 after 10
    seconds = count(int(time.time()))
    monkeypatch.setattr(event_file_writer, "time", SimpleNamespace(time=lambda: next(seconds)))
    for first, last, value in ((0, 4, 1.0), (3, 6, 2.0)):  # stopped after step 4, resumed from a checkpoint of step 3
        board = _open_board(tmp_path, first)
        for step in range(first + 1, last + 1):
            board.add_scalar("train/loss", value, step)
        board.close()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    shown = [(event.step, event.value) for event in events.Scalars("train/loss")]
    assert shown == [(1, 1.0), (2, 1.0), (3, 1.0), (4, 2.0), (5, 2.0), (6, 2.0)]
