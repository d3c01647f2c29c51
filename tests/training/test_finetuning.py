"""A run with a frozen backbone, and the second run that trains the whole network from its model."""

from types import SimpleNamespace

import pytest
import torch
import yaml

from maskpencil.errors import ConfigError
from maskpencil.model_folder import read_model_folder
from maskpencil.training.config import TrainConfig
from maskpencil.training.run_folder import RunFolder
from maskpencil.training.train import train

SETTINGS = {
    "backbone": "test_resnet",
    "weights": "none",
    "stride": 8,
    "freeze": "backbone",
    "then_finetune": True,
    "crop_size": "64x64",
    "epochs": 1,
    "quiet": True,
}


def backbone_of(run):
    state = read_model_folder(run.model).model.state_dict()
    return {name: tensor for name, tensor in state.items() if name.startswith("backbone.")}


def config_of(run):
    return yaml.safe_load(RunFolder(run).config.read_text(encoding="utf-8"))


@pytest.mark.slow
def test_the_second_run_starts_from_the_first_and_trains_the_backbone(tiny_folder, tmp_path):
    run = train(tiny_folder, out=tmp_path / "run", **SETTINGS)
    assert run.folder == tmp_path / "run"
    first, second = config_of(tmp_path / "run-frozen"), config_of(run.folder)
    assert (first["optimizer"], first["epochs"], first["then_finetune"]) == ("lbfgs", 3, True)
    assert (second["freeze"], second["epochs"], second["then_finetune"]) == ("none", 1, False)
    assert second["init"] == str(tmp_path / "run-frozen" / "model")
    assert second["optimizer"] == "muon"
    before, after = backbone_of(RunFolder(tmp_path / "run-frozen")), backbone_of(run)
    assert any(not torch.equal(before[name], after[name]) for name in before)


@pytest.mark.slow
def test_both_stages_print_what_they_brought(tiny_folder, tmp_path, capsys):
    train(tiny_folder, out=tmp_path / "run", **SETTINGS | {"quiet": False})
    assert capsys.readouterr().err.count("with a frozen backbone: mean IoU 0.") == 1


def test_a_given_optimizer_is_that_of_both_runs_but_lbfgs_only_of_the_first(monkeypatch, tiny_folder, tmp_path):
    monkeypatch.setattr("maskpencil.training.train._fit", lambda *_, **__: SimpleNamespace(finished=False))
    for optimizer, second in (("adamw", "adamw"), ("lbfgs", None)):
        train(tiny_folder, out=tmp_path / optimizer, **SETTINGS | {"optimizer": optimizer})
        run = RunFolder(tmp_path / f"{optimizer}-frozen")
        assert config_of(run.path)["optimizer"] == optimizer
        assert yaml.safe_load(run.finetuning.read_text(encoding="utf-8"))["optimizer"] == second


@pytest.mark.slow
def test_a_resumed_first_run_is_followed_by_the_second(tiny_folder, tmp_path, monkeypatch):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("maskpencil.training.train._finetune", stopped)
        with pytest.raises(KeyboardInterrupt):
            train(tiny_folder, out=tmp_path / "run", **SETTINGS)
    assert not (tmp_path / "run").exists()
    run = train(resume=tmp_path / "run-frozen", quiet=True)
    assert run.folder == tmp_path / "run"
    assert config_of(run.folder)["init"] == str(tmp_path / "run-frozen" / "model")
    assert train(resume=tmp_path / "run-frozen", quiet=True).folder == tmp_path / "run-frozen"
    assert not (tmp_path / "run-2").exists(), "a finished pair of runs gets no further run"


@pytest.mark.slow
def test_a_time_budget_is_that_of_both_runs(monkeypatch, tiny_folder, tmp_path):
    runs = []

    def fitted(trainer, run, **_):
        trainer.progress.seconds, trainer.progress.other_seconds = 25.0, 5.0
        runs.append(trainer.plan)
        return SimpleNamespace(finished=True, model=first, mean_iou=0.5)

    first = train(tiny_folder, out=tmp_path / "first", **SETTINGS | {"then_finetune": False}).model
    monkeypatch.setattr("maskpencil.training.train._fit", fitted)
    settings = {name: value for name, value in SETTINGS.items() if name != "epochs"}
    train(tiny_folder, out=tmp_path / "run", time_budget="2m", **settings)
    assert [plan.time_budget for plan in runs] == [24, 90]
    assert [plan.config.time_budget for plan in runs] == ["2m", "90s"]


def test_it_needs_a_frozen_backbone():
    with pytest.raises(ConfigError, match=r"--then-finetune continues .* frozen backbone; add --freeze backbone"):
        TrainConfig(then_finetune=True)
