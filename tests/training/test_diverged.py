"""Diverged runs save no model and no checkpoint with values that are not finite."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file, save_file

from maskpencil.classes import IGNORE_INDEX, ClassSet, write_classes
from maskpencil.errors import ModelError, TrainingError
from maskpencil.images import write_image
from maskpencil.label_maps import read_label_map, write_label_map
from maskpencil.segmenter import Segmenter
from maskpencil.training.checkpoints import first_not_finite
from maskpencil.training.frozen import feature_cache
from maskpencil.training.train import train
from maskpencil.training.trainer import GradientDescent, Trainer, Update

SMALL = {
    "weights": "none",
    "backbone": "test_resnet",
    "stride": 8,
    "crop_size": "32x32",
    "batch_size": 2,
    "device": "cpu",
    "quiet": True,
}


def spoil_after(steps, monkeypatch, spoil):
    """Let `spoil` change the trainer after that step."""
    step, made = GradientDescent.step, [0]

    def spoiling(self, trainer, *arguments):
        update = step(self, trainer, *arguments)
        made[0] += 1
        if made[0] == steps:
            with torch.no_grad():
                spoil(trainer)
        return update

    monkeypatch.setattr(GradientDescent, "step", spoiling)


def weights(trainer):
    trainer.network.score_fr.weight.fill_(math.nan)


def statistics(trainer):
    next(buffer for name, buffer in trainer.network.named_buffers() if name.endswith("running_var")).fill_(math.inf)


def average(trainer):
    trainer.ema.network.score_fr.bias.fill_(math.nan)


def moments(trainer):
    next(iter(trainer.optimizer.state.values()))["exp_avg_sq"].fill_(math.inf)


def too_large(trainer):
    for layer in (trainer.network.score_fr, trainer.network.score_pool4, trainer.network.score_pool3):
        layer.weight.fill_(3e38)  # finite, and what it gives is not


def assert_finite(run):
    state = torch.load(run / "checkpoints/last/state.pt", weights_only=True)
    assert first_not_finite({name: state[name] for name in ("model", "average", "optimizer")}) is None
    assert first_not_finite(load_file(run / "model/model.safetensors")) is None


@pytest.mark.slow
@pytest.mark.parametrize("spoil", [weights, statistics, average, moments, too_large])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_last_good_model_and_checkpoint_stay(spoil, precision, tiny_folder, tmp_path, monkeypatch):
    spoil_after(6, monkeypatch, spoil)  # at the end of the second epoch, after its last loss
    settings = {"optimizer": "adamw", "average": 0.9 if spoil is average else 0.0, "precision": precision}
    with pytest.raises(TrainingError, match=r"not finite numbers.* after epoch 2; .*--learning-rate") as caught:
        train(tiny_folder, out=tmp_path / "run", epochs=4, validate_every=1, **SMALL, **settings)
    assert f"stays in {tmp_path / 'run' / 'model'}" in str(caught.value)
    assert ("--precision fp32" in str(caught.value)) is (precision == "bf16")
    assert json.loads((tmp_path / "run/model/config.json").read_text())["training"]["epoch"] == 1
    assert_finite(tmp_path / "run")


def test_without_a_good_model_none_is_left(tiny_folder, tmp_path, monkeypatch):
    spoil_after(3, monkeypatch, weights)
    with pytest.raises(TrainingError, match="no model was kept"):
        train(tiny_folder, out=tmp_path / "run", epochs=1, **SMALL)
    assert not (tmp_path / "run/model").exists()
    assert not (tmp_path / "run/checkpoints/last").exists()


def test_a_checkpoint_by_the_clock_is_not_written_of_values_that_are_not_finite(tiny_folder, tmp_path, monkeypatch):
    spoil_after(2, monkeypatch, average)
    with pytest.raises(TrainingError, match=r"average score_fr\.bias"):
        train(tiny_folder, out=tmp_path / "run", epochs=1, average=0.9, checkpoint_minutes=1e-9, **SMALL)
    state = torch.load(tmp_path / "run/checkpoints/last/state.pt", weights_only=True)
    assert state["progress"]["step"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("part", ["model", "average", "optimizer"])
def test_a_checkpoint_that_is_not_finite_is_not_resumed(part, tiny_folder, tmp_path):
    run = train(tiny_folder, out=tmp_path / "run", epochs=1, average=0.5, optimizer="adamw", **SMALL)
    path = run.folder / "checkpoints/last/state.pt"
    state = torch.load(path, weights_only=True)
    broken = state["optimizer"]["state"][0]["exp_avg"] if part == "optimizer" else state[part]["score_fr.weight"]
    broken.fill_(math.nan)
    torch.save(state, path)
    with pytest.raises(ModelError, match=rf"state\.pt: cannot be resumed from, .*not finite: {part}"):
        train(resume=run.folder, quiet=True)


def test_weights_to_start_from_that_are_not_finite_are_refused_before_a_run_folder_is_made(tiny_folder, tmp_path):
    model = train(tiny_folder, out=tmp_path / "run", epochs=1, **SMALL).model
    tensors = load_file(model / "model.safetensors")
    tensors["score_fr.bias"][0] = math.inf
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"finite|numbers"):
        train(tiny_folder, out=tmp_path / "next", epochs=1, init=str(model), **SMALL)
    assert not (tmp_path / "next").exists()


@pytest.mark.slow
def test_the_learning_rate_is_not_searched_if_no_loss_is_finite(tiny_folder, tmp_path, monkeypatch):
    nan = torch.tensor(math.nan)
    monkeypatch.setattr(GradientDescent, "step", lambda *_: Update(nan, batches=1, images=2))
    with pytest.raises(TrainingError, match="--learning-rate find: the loss is nan even at the rate 1e-06"):
        train(tiny_folder, out=tmp_path / "run", epochs=1, **SMALL, learning_rate="find")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("factor", "expected"),
    [
        (1e6, r"more than torch.float16 holds; give --precision fp32"),
        (math.nan, "features that are not finite numbers"),
    ],
)
@pytest.mark.parametrize("optimizer", ["adamw", "lbfgs"])
def test_features_that_the_cache_cannot_hold_are_refused(
    factor, expected, optimizer, tiny_folder, tmp_path, monkeypatch
):
    features = feature_cache._features

    def changed(*arguments, **settings):
        found, targets = features(*arguments, **settings)
        return {stride: tensor * factor for stride, tensor in found.items()}, targets

    monkeypatch.setattr(feature_cache, "_features", changed)
    settings = {**SMALL, "freeze": "backbone", "optimizer": optimizer, "precision": "bf16", "crop_size": "none"}
    with pytest.raises(TrainingError, match=expected):
        train(tiny_folder, out=tmp_path / "run", epochs=1, **settings)
    assert not (tmp_path / "run").exists()


def test_the_advice_for_a_diverged_solver_does_not_mention_a_learning_rate(tiny_folder, tmp_path, monkeypatch):
    loss = Trainer.batch_loss
    monkeypatch.setattr(Trainer, "batch_loss", lambda *a, **k: loss(*a, **k) * math.nan)
    settings = {**SMALL, "freeze": "backbone", "optimizer": "lbfgs", "precision": "fp32", "crop_size": "none"}
    with pytest.raises(TrainingError, match="the loss became nan") as caught:
        train(tiny_folder, out=tmp_path / "run", epochs=1, **settings)
    assert "--learning-rate" not in str(caught.value)
    assert not (tmp_path / "run/model").exists()


@pytest.mark.slow
def test_without_a_labeled_validation_pixel_the_last_model_is_kept_with_a_message(tmp_path, tiny_folder):
    root = tmp_path / "data"
    classes = ClassSet(("ground", "box", "ball"))
    write_classes(root / "classes.yaml", classes)
    for split in ("train", "val"):
        for mask in sorted((tiny_folder / "masks" / split).iterdir()):
            labels = read_label_map(mask) if split == "train" else None
            shape = (48, 64)
            labels = labels if labels is not None else torch.full(shape, IGNORE_INDEX, dtype=torch.uint8).numpy()
            write_label_map(root / "masks" / split / mask.name, labels, classes.colors)
            image = torch.randint(0, 255, (*shape, 3), dtype=torch.uint8).numpy()
            write_image(root / "images" / split / mask.name, image)
    run = train(root, out=tmp_path / "run", epochs=2, validate_every=1, **SMALL)
    assert math.isnan(run.mean_iou)
    log = (run.folder / "train.log").read_text()
    assert "no pixel of the validation images is labeled" in log
    assert "epoch 2/2: " in log
    assert ", no score: no validated pixel is labeled" in log
    training = json.loads((run.model / "config.json").read_text())["training"]
    assert (training["epoch"], training["mean_iou"]) == (2, None)
    assert Segmenter.from_pretrained(run.model, runtime="torch")
    assert train(resume=run.folder, quiet=True).finished


def test_every_floating_point_tensor_of_a_nested_state_is_looked_at():
    numbers = {
        "a": torch.ones(3),
        "b": [torch.ones(2, dtype=torch.float64) * 1e300, {"c": torch.tensor([1, 2])}],
        "d": "x",
    }
    assert first_not_finite(numbers) is None
    assert first_not_finite({}) is None
    numbers["b"][1]["e"] = torch.tensor([[1.0, -math.inf]], dtype=torch.bfloat16)
    assert first_not_finite(numbers) == "b 1 e"
