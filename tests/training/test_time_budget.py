"""Runs with a simulated clock: the test sets how long each piece of work takes."""

import csv
import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import torch

from maskpencil.errors import TrainingError
from maskpencil.segmenter import Segmenter
from maskpencil.training import train as training
from maskpencil.training import trainer, validation
from maskpencil.training.config import read_config
from maskpencil.training.train import train
from maskpencil.training.trainer import GradientDescent

SMALL = {
    "weights": "none",
    "backbone": "test_resnet",
    "stride": 32,
    "crop_size": "32x32",
    "batch_size": 2,
    "device": "cpu",
    "quiet": True,
}


@dataclass
class Clock:
    """The time, and how long pieces of work take on a machine that is `slower(now)` times as slow."""

    now: float = 1000.0
    costs: dict[str, float] = field(
        default_factory=lambda: {"start": 3.0, "step": 0.5, "image": 0.2, "model": 0.2, "checkpoint": 0.6, "graph": 1.0}
    )
    slower: Callable[[float], float] = lambda _: 1.0

    def monotonic(self) -> float:
        return self.now

    def spend(self, what: str, times: int = 1) -> None:
        self.now += self.costs[what] * times * self.slower(self.now - 1000)


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    for module in (trainer, validation, training):
        monkeypatch.setattr(module, "time", clock)

    def spending(place, name, what, count=lambda *_, **__: 1):
        call = getattr(place, name)

        def wrapped(*arguments, **others):
            clock.spend(what, count(*arguments))
            return call(*arguments, **others)

        monkeypatch.setattr(place, name, wrapped)

    spending(training, "build_trainer", "start")
    spending(GradientDescent, "step", "step")
    spending(Segmenter, "predict_batch", "image", lambda _, images, **__: len(images))
    spending(Segmenter, "save", "model")
    spending(trainer, "save_checkpoint", "checkpoint")
    spending(trainer, "add_graph", "graph")
    spending(training, "add_graph", "graph")
    return clock


def rows_of(run):
    with (run.folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def stopped_at_random(chance):
    """The slowness of a machine on which a step is now and then stopped for seconds."""
    return lambda _: 6.0 if chance.random() < 0.1 else 1.0


@pytest.mark.slow
@pytest.mark.parametrize(
    "slower",
    [
        lambda _: 1.0,
        lambda _: 2.0,
        lambda since: 3.0 if since > 30 else 1.0,
        lambda since: 1.0 if since > 30 else 3.0,
        stopped_at_random(random.Random(0)),
    ],
    ids=["even", "slow", "slower later", "faster later", "stopped at random"],
)
@pytest.mark.parametrize("budget", [30, 60])
def test_a_budget_is_kept_within_a_tenth(slower, budget, tiny_folder, tmp_path, clock):
    clock.slower = slower
    run = train(tiny_folder, out=tmp_path / "run", time_budget=f"{budget}s", **SMALL)
    assert 0.9 * budget <= clock.now - 1000 <= 1.1 * budget
    rows = rows_of(run)
    assert rows[-1]["mean_iou"], "what was learned last is validated"
    assert float(rows[-1]["learning_rate"]) == min(float(row["learning_rate"]) for row in rows)


@pytest.mark.slow
def test_most_of_the_time_goes_to_steps(tiny_folder, tmp_path, clock):
    clock.costs |= {"start": 1.0, "graph": 0.5, "model": 0.1, "checkpoint": 0.1}
    run = train(tiny_folder, out=tmp_path / "run", time_budget="60s", **SMALL)
    rows = rows_of(run)
    assert float(rows[-1]["seconds"]) > 40
    assert 2 <= sum(bool(row["mean_iou"]) for row in rows) < len(rows), "not every epoch is validated"
    config = read_config(run.folder / "config.yaml")
    assert config.epochs is None
    before = (run.folder / "metrics.csv").read_text()
    assert train(resume=run.folder, quiet=True).mean_iou == run.mean_iou
    assert (run.folder / "metrics.csv").read_text() == before


@pytest.mark.slow
def test_a_long_validation_is_made_once_on_a_part_of_the_images_with_a_message(
    tiny_folder, tmp_path, clock, monkeypatch
):
    monkeypatch.setattr(validation, "FIRST_PART", 1)
    clock.costs |= {"image": 4.5, "graph": 0.1}
    monkeypatch.setattr(trainer, "write_preview", lambda *_: None)
    run = train(tiny_folder, out=tmp_path / "run", time_budget="60s", **SMALL)
    assert clock.now - 1000 <= 66
    assert run.scored_on == "2 of 3"
    assert [bool(row["mean_iou"]) for row in rows_of(run)].count(True) == 1
    assert "on 2 of 3 validation images" in (run.folder / "train.log").read_text()
    assert json.loads((run.folder / "scores.json").read_text())["images"] == 2
    assert json.loads((run.model / "config.json").read_text())["training"]["validation_images"] == "2 of 3"


@pytest.mark.slow
def test_a_machine_that_stops_in_the_last_validation_leaves_what_was_scored_until_then(
    tiny_folder, tmp_path, clock, monkeypatch
):
    monkeypatch.setattr(validation, "FIRST_PART", 1)
    monkeypatch.setattr(trainer, "write_preview", lambda *_: None)
    clock.slower = lambda since: 12.0 if since > 53 else 1.0
    run = train(tiny_folder, out=tmp_path / "run", time_budget="60s", **SMALL)
    assert rows_of(run)[-1]["mean_iou"]
    assert re.search(r"on [12] of 3 validation images", (run.folder / "train.log").read_text())
    assert run.mean_iou > 0


@pytest.mark.slow
def test_a_resumed_run_without_time_validates_what_it_has_learned_last(tiny_folder, tmp_path, clock):
    run = train(tiny_folder, out=tmp_path / "run", time_budget="40s", **SMALL)
    state = run.folder / "checkpoints" / "last" / "state.pt"
    saved = torch.load(state, weights_only=True)
    saved["progress"] |= {"ended": False, "best_score": -1.0, "best_scores": {}}  # as if killed just before
    torch.save(saved, state)
    assert train(resume=run.folder, quiet=True).mean_iou > 0
    assert rows_of(run)[-1]["mean_iou"]


@pytest.mark.slow
def test_a_time_that_is_too_short_is_refused_with_one_that_is_not(tiny_folder, tmp_path, clock):
    clock.costs["start"] = 25.0
    with pytest.raises(TrainingError, match=r"starting took \d+ s, .*; give at least (\d+)s") as caught:
        train(tiny_folder, out=tmp_path / "run", time_budget="20s", **SMALL)
    enough = str(caught.value).rpartition("give at least ")[2].partition(" ")[0]
    clock.now = 1000.0
    assert train(tiny_folder, out=tmp_path / "run", time_budget=enough, **SMALL).finished


@pytest.mark.slow
def test_a_short_budget_is_not_spent_on_the_graph(tiny_folder, tmp_path, clock):
    clock.costs |= {"graph": 100.0, "start": 1.0}
    run = train(tiny_folder, out=tmp_path / "run", time_budget="12s", **SMALL)
    assert clock.now - 1000 < 14
    assert "no time is left to write the model's graph" in (run.folder / "train.log").read_text()


@pytest.mark.slow
def test_a_slow_start_leaves_no_time_for_the_graph(tiny_folder, tmp_path, clock):
    clock.costs |= {"graph": 100.0, "start": 20.0}
    run = train(tiny_folder, out=tmp_path / "run", time_budget="60s", **SMALL)
    assert 54 < clock.now - 1000 < 66
    assert "no time is left to write the model's graph" in (run.folder / "train.log").read_text()


@pytest.mark.slow
def test_time_counts_from_before_the_libraries_are_loaded(tiny_folder, tmp_path, clock):
    train(tiny_folder, out=tmp_path / "run", time_budget="40s", since=clock.now - 15, **SMALL)
    assert clock.now - 1000 <= 40 * 1.1 - 15


@pytest.mark.slow
def test_nothing_is_left_of_the_rehearsal(tiny_folder, tmp_path, clock):
    run = train(tiny_folder, out=tmp_path / "run", time_budget="30s", **SMALL)
    assert not run.folder.joinpath(".rehearsal").exists()
    assert "graph" not in {path.name for path in run.folder.iterdir()}


def test_models_are_compared_on_the_images_that_both_were_scored_on():
    def scored(by_part):
        mean = by_part[max(by_part)]
        scores = type("Scores", (), {"mean_iou": mean, "images": max(by_part)})
        return validation.Validation(scores, 16, by_part)

    best = {4: 0.7, 8: 0.6, 16: 0.5}
    assert not scored({4: 0.7, 8: 0.59}).is_better(0.5, best)
    assert scored({4: 0.1, 8: 0.61}).is_better(0.5, best)
    assert not scored({4: 0.9, 8: 0.9, 16: 0.5}).is_better(0.5, best)
    assert scored({4: 0.9, 8: 0.9, 16: 0.51}).is_better(0.5, {})
    assert not scored({16: 0.4}).is_better(0.5, {})


@pytest.mark.parametrize(("images", "ends"), [(1, [1]), (4, [4]), (5, [4, 5]), (16, [4, 8, 16]), (20, [4, 8, 16, 20])])
def test_the_parts_of_a_validation_double(images, ends):
    assert validation.part_ends(images, first=4) == ends
