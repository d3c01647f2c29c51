import csv
import shutil
import threading
import time
import weakref
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.helpers import SMALL

from maskpencil.errors import ConfigError, OutputError
from maskpencil.training.dataset import TrainingImages
from maskpencil.training.schedule import Progress
from maskpencil.training.train import Run, train

FROZEN = {**SMALL, "freeze": "backbone", "epochs": 3, "precision": "fp32", "dropout": 0.2}
WHOLE = {**FROZEN, "crop_size": "none", "flip": 0.0, "color_jitter": 0.0, "scale": (1.0, 1.0)}


def losses(run: Run) -> list[float]:
    with (run.folder / "metrics.csv").open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def caches(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "cache" / "maskpencil" / "features"
    return sorted(folder.iterdir()) if folder.is_dir() else []


@pytest.mark.slow
def test_cached_features_train_as_the_images_do(tiny_folder: Path, tmp_path: Path) -> None:
    cached = train(tiny_folder, out=tmp_path / "cached", **WHOLE)
    assert len(caches(tmp_path)) == 1
    anew = train(tiny_folder, out=tmp_path / "anew", cache_views=0, **WHOLE)
    assert len(caches(tmp_path)) == 1
    assert losses(cached) == pytest.approx(losses(anew), rel=1e-4)
    one, other = (load_file(run.model / "model.safetensors") for run in (cached, anew))
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_features_are_found_again_with_other_settings_of_the_head(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tiny_folder, out=tmp_path / "one", **{**WHOLE, "quiet": False})
    assert "features of 6 views are computed once and kept, 0.00 GB" in capsys.readouterr().err
    train(tiny_folder, out=tmp_path / "two", **{**WHOLE, "quiet": False}, learning_rate=0.01)
    assert "features of 6 images are reused from an earlier run" in capsys.readouterr().err
    assert len(caches(tmp_path)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("change", [{"seed": 1}, {"image_size": "32x48"}, {"cache_views": 2}])
def test_other_views_or_weights_have_separate_features(tiny_folder: Path, tmp_path: Path, change: dict) -> None:
    train(tiny_folder, out=tmp_path / "one", **{**WHOLE, "epochs": 1})
    train(tiny_folder, out=tmp_path / "two", **{**WHOLE, "epochs": 1, **change})
    assert len(caches(tmp_path)) == 2


@pytest.mark.slow
def test_random_views_take_turns(tiny_folder: Path, tmp_path: Path) -> None:
    run = train(tiny_folder, out=tmp_path / "run", **{**FROZEN, "flip": 0.5, "epochs": 5})
    assert "cache_views: 4" in run.folder.joinpath("config.yaml").read_text()
    (cache,) = caches(tmp_path)
    assert (cache / "targets").stat().st_size == 4 * 6 * 64 * 64


@pytest.mark.slow
def test_an_interrupted_run_on_features_goes_on_exactly(tiny_folder: Path, tmp_path: Path) -> None:
    whole = train(tiny_folder, out=tmp_path / "whole", **FROZEN)
    half = train(tiny_folder, out=tmp_path / "half", **FROZEN)
    shutil.rmtree(half.folder / "checkpoints")  # as if it had been killed before the first
    resumed = train(resume=half.folder, quiet=True)
    one, other = (load_file(run.model / "model.safetensors") for run in (whole, resumed))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_full_disk_is_reported_before_anything_is_computed(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(
        OutputError, match=r"the features of 6 augmented images need 0\.0 GB, but 0\.0 GB are free; .*--cache-views 0"
    ):
        train(tiny_folder, out=tmp_path / "run", **WHOLE)
    assert caches(tmp_path) == []


def test_a_rate_of_the_backbone_of_zero_is_refused(tiny_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--backbone-rate must be above 0, but got 0"):
        train(tiny_folder, out=tmp_path / "run", backbone_rate=0, **SMALL)


@pytest.mark.slow
def test_lbfgs_comes_closer_to_the_optimum_than_adam(tiny_folder: Path, tmp_path: Path) -> None:
    convex = {**WHOLE, "learned_upsampling": "none", "dropout": 0.0, "epochs": 20, "class_weights": "none"}
    adam = train(tiny_folder, out=tmp_path / "adam", **convex, optimizer="adam", learning_rate=0.01, weight_decay=0)
    solved = train(tiny_folder, out=tmp_path / "lbfgs", **{**convex, "epochs": 8}, optimizer="lbfgs")
    assert losses(solved) == sorted(losses(solved), reverse=True)
    assert losses(solved)[-1] < losses(adam)[-1]


@pytest.mark.slow
def test_lbfgs_goes_on_exactly_where_it_was_stopped(tiny_folder: Path, tmp_path: Path) -> None:
    whole = train(tiny_folder, out=tmp_path / "whole", **WHOLE, optimizer="lbfgs")
    rounds: list[int] = []

    def stop_after_one(self: object, progress: Progress, **arguments: object) -> None:
        rounds.append(progress.epoch)
        if len(rounds) == 2:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("maskpencil.training.logbook.Logbook.step", stop_after_one)
        with pytest.raises(KeyboardInterrupt):
            train(tiny_folder, out=tmp_path / "half", **WHOLE, optimizer="lbfgs")
    resumed = train(resume=tmp_path / "half", quiet=True)
    one, other = (load_file(run.model / "model.safetensors") for run in (whole, resumed))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_lbfgs_needs_a_frozen_backbone(tiny_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--optimizer lbfgs needs the features of a frozen backbone; add --freeze"):
        train(tiny_folder, out=tmp_path / "run", optimizer="lbfgs", **SMALL)


@pytest.mark.parametrize("found", [False, True])
def test_few_images_are_in_memory_at_once(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: bool
) -> None:
    if found:
        train(tiny_folder, out=tmp_path / "first", **{**WHOLE, "epochs": 1})
    monkeypatch.setattr("maskpencil.training.dataset.available_memory", lambda: 0)
    monkeypatch.setattr("maskpencil.training.frozen.feature_cache.IMAGES_READ_AHEAD", 2)
    read, alive, most, threads = TrainingImages.__getitem__, [0], [0], set()
    lock = threading.Lock()

    def counted(self: TrainingImages, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        threads.add(threading.get_ident())
        time.sleep(0.02)  # so that another thread takes the next image
        pair = read(self, index)
        with lock:
            alive[0] += 1
            most[0] = max(most[0], alive[0])
        weakref.finalize(pair[0], lambda: alive.__setitem__(0, alive[0] - 1))
        return pair

    monkeypatch.setattr(TrainingImages, "__getitem__", counted)
    monkeypatch.setattr(TrainingImages, "_slots", lambda _: [])
    train(tiny_folder, out=tmp_path / "run", **{**WHOLE, "epochs": 1})
    assert most[0] <= 4, "of 6"
    assert len(threads) > 1
