import csv
import json
import signal
import threading
from functools import partial

import pytest
import safetensors.torch
import torch
from safetensors.torch import load_file
from tests.helpers import SMALL

import maskpencil as mp
from maskpencil.errors import ConfigError, DataError, ModelError, TrainingError
from maskpencil.images import read_image
from maskpencil.training import dataset, trainer
from maskpencil.training.config import read_config
from maskpencil.training.train import train
from maskpencil.training.trainer import GradientDescent


@pytest.fixture(scope="module")
def run(tiny_folder, tmp_path_factory):
    settings = {**SMALL, "batch_size": 1, "epochs": 10, "seed": 1}
    return train(tiny_folder, out=tmp_path_factory.mktemp("run") / "tiny", **settings)


@pytest.mark.slow
def test_a_run_writes_all_its_files(run):
    left = {path.relative_to(run.folder).as_posix() for path in run.folder.rglob("*") if path.is_file()}
    events = {name for name in left if name.startswith("events.out.tfevents")}
    assert len(events) == 1
    assert left - events == {
        *("config.yaml", "data.json", "fingerprint.json", "metrics.csv", "scores.json", "train.log"),
        *("checkpoints/last/state.pt", "model/README.md", "model/config.json", "model/model.safetensors"),
        *("splits/train.txt", "splits/val.txt"),
        *(f"preview/epoch_{epoch:03}.png" for epoch in range(1, 11)),
    }


@pytest.mark.slow
def test_it_learns(run):
    with (run.folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == list(range(1, 11))
    assert float(rows[-1]["loss"]) < 0.6 * float(rows[0]["loss"])
    assert run.mean_iou > 0.6


@pytest.mark.slow
def test_the_model_has_the_scores_that_the_run_reports(run, tiny_folder):
    scores = mp.evaluate(mp.Segmenter.from_pretrained(run.model, runtime="torch", device="cpu"), tiny_folder)
    assert scores.mean_iou == pytest.approx(run.mean_iou, abs=1e-6)
    assert json.loads((run.folder / "scores.json").read_text())["mean_iou"] == pytest.approx(scores.mean_iou, abs=1e-6)


@pytest.mark.slow
def test_the_written_settings_make_the_same_run_again(run, tiny_folder, tmp_path):
    again = train(tiny_folder, out=tmp_path / "again", config=read_config(run.folder / "config.yaml"), quiet=True)
    assert_equal_weights(run.model, again.model)


@pytest.mark.slow
def test_the_preview_shows_image_target_and_prediction(run):
    height, width, _ = read_image(run.folder / "preview" / "epoch_010.png").shape
    assert width > 3 * 300
    assert height > 3 * 200


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("changed", [{}, {"average": 0.9, "accumulate": 2}])
def test_a_run_that_is_stopped_goes_on_to_the_same_weights(number, changed, tiny_folder, tmp_path, monkeypatch):
    settings = {**SMALL, "epochs": 2, "dropout": 0.3, "batch_size": 2, **changed}
    whole = train(tiny_folder, out=tmp_path / "whole", **settings)
    steps = 0
    step = GradientDescent.step

    def stopping_step(*arguments):
        nonlocal steps
        steps += 1
        if steps == 5:  # in the middle of the second epoch
            signal.raise_signal(number)
        return step(*arguments)

    monkeypatch.setattr(GradientDescent, "step", stopping_step)
    if number == signal.SIGINT:
        with pytest.raises(KeyboardInterrupt, match="--resume"):
            train(tiny_folder, out=tmp_path / "cut", **settings)
    else:
        assert not train(tiny_folder, out=tmp_path / "cut", **settings).finished
    monkeypatch.undo()
    resumed = train(resume=tmp_path / "cut", quiet=True)
    assert resumed.finished
    assert resumed.mean_iou == whole.mean_iou
    assert_equal_weights(whole.model, resumed.model)
    assert_equal_checkpoints(whole.folder, resumed.folder)
    assert metrics_without_times(whole.folder) == metrics_without_times(resumed.folder)


@pytest.mark.slow
def test_resuming_a_finished_run_changes_nothing(run):
    before = (run.folder / "metrics.csv").read_text()
    again = train(resume=run.folder, quiet=True)
    assert again.mean_iou == run.mean_iou
    assert (run.folder / "metrics.csv").read_text() == before


@pytest.mark.slow
def test_it_trains_outside_the_main_thread(tiny_folder, tmp_path):
    runs = []
    arguments = {"out": tmp_path / "thread", "epochs": 1, **SMALL}
    thread = threading.Thread(target=lambda: runs.append(train(tiny_folder, **arguments)))
    thread.start()
    thread.join()
    assert runs[0].model.is_dir()


def test_a_loss_that_is_not_a_number_ends_the_run_with_advice(tiny_folder, tmp_path):
    with pytest.raises(TrainingError, match="--learning-rate"):
        train(tiny_folder, out=tmp_path / "nan", epochs=9, **{**SMALL, "learning_rate": 1e30})


@pytest.mark.slow
def test_a_taken_name_gets_a_number(tiny_folder, tmp_path):
    names = [train(tiny_folder, out=tmp_path / "run", epochs=1, **SMALL).folder.name for _ in range(2)]
    assert names == ["run", "run-2"]


@pytest.mark.slow
def test_the_tutorial_recipe_penalizes_the_heads_kernels(tiny_folder, tmp_path):
    settings = {**SMALL, "recipe": "tutorial", "epochs": 1, "image_size": "64x96"}
    loss = []
    for strength in (1e-9, 10.0):
        run = train(tiny_folder, out=tmp_path / "tutorial", **settings, head_l2=strength)
        with (run.folder / "metrics.csv").open() as file:
            loss.append(float(next(csv.DictReader(file))["loss"]))
    assert loss[1] > loss[0] + 1  # the bilinear kernels alone weigh that much
    assert mp.Segmenter.from_pretrained(run.model).preprocessing.image_size == (64, 96)


@pytest.mark.slow
def test_whole_images_of_unequal_size_and_masks_without_a_valid_pixel_train(odd_folder, tmp_path):
    run = train(odd_folder, out=tmp_path / "odd", epochs=2, **{**SMALL, "crop_size": "none", "batch_size": 2})
    with (run.folder / "metrics.csv").open() as file:
        assert all(0 < float(row["loss"]) < 10 for row in csv.DictReader(file))


@pytest.mark.slow
def test_resume_refuses_other_settings_and_other_folders(run, tmp_path):
    with pytest.raises(ConfigError, match="--resume"):
        train(resume=run.folder, epochs=3)
    with pytest.raises(DataError, match=r"config\.yaml"):
        train(resume=tmp_path)


@pytest.mark.slow
def test_a_finer_net_starts_from_a_coarser_one(tiny_folder, tmp_path):
    chain = {**SMALL, "epochs": 1}
    coarse = train(tiny_folder, out=tmp_path / "32s", **chain | {"stride": 32})
    chain |= {"stride": 16, "init": str(coarse.model), "learning_rate": 1e-12}
    fine = train(tiny_folder, out=tmp_path / "16s", **chain)
    log = (fine.folder / "train.log").read_text()
    assert f"started from {coarse.model}" in log
    assert "start untrained" in log
    assert "upscore2, score_pool4, upscore16" in log
    before, after = (load_file(run.model / "model.safetensors") for run in (coarse, fine))
    torch.testing.assert_close(after["score_fr.weight"], before["score_fr.weight"])
    with pytest.raises(ConfigError, match="FCN-32s on test_resnet; expected a network on the same backbone"):
        train(tiny_folder, out=tmp_path / "other", **chain | {"backbone": "resnet18"})


@pytest.mark.slow
def test_a_frozen_backbone_stays_as_it_was(tiny_folder, tmp_path):
    settings = {**SMALL, "epochs": 2, "dropout": 0.0}
    first = train(tiny_folder, out=tmp_path / "first", **settings)
    frozen = train(tiny_folder, out=tmp_path / "frozen", init=str(first.model), freeze="backbone", **settings)
    before, after = (load_file(run.model / "model.safetensors") for run in (first, frozen))
    trunk = [name for name in before if name.startswith("backbone.")]
    assert trunk
    assert all(torch.equal(before[name], after[name]) for name in trunk)
    assert not torch.equal(before["score_fr.weight"], after["score_fr.weight"])


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "stride"), [("heavy", 32), ("cvpr", 16)])
def test_the_authors_recipes_train(narrow_alexnet, recipe, stride, tiny_folder, tmp_path):
    settings = {"backbone": "alexnet", "weights": "none", "device": "cpu", "quiet": True, "epochs": 1}
    run = train(tiny_folder, out=tmp_path / "run", recipe=recipe, stride=stride, batch_size=2, **settings)
    with (run.folder / "metrics.csv").open() as file:
        (row,) = csv.DictReader(file)
    pixels = 64 * 96 * 2
    summed = float(row["loss"]) > 100
    assert summed is (recipe == "heavy")
    assert 0 < float(row["loss"]) < 3 * pixels


def test_a_network_that_cannot_be_built_leaves_no_run_folder(tiny_folder, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(ConfigError, match="nosuchnet"):
        train(tiny_folder, out=out, **{**SMALL, "backbone": "nosuchnet"})
    assert not out.exists()


@pytest.mark.slow
def test_a_damaged_checkpoint_is_a_clear_error(tiny_folder, tmp_path):
    run = train(tiny_folder, out=tmp_path / "run", epochs=1, **SMALL)
    path = run.folder / "checkpoints" / "last" / "state.pt"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ModelError, match=r"state\.pt"):
        train(resume=run.folder, quiet=True)


@pytest.mark.slow
def test_a_failed_checkpoint_keeps_the_one_before(tiny_folder, tmp_path, monkeypatch):
    run = train(tiny_folder, out=tmp_path / "run", epochs=1, **SMALL)
    path = run.folder / "checkpoints" / "last"
    before = (path / "state.pt").read_bytes()

    def disk_full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", disk_full)
    from maskpencil.training.checkpoints import save_checkpoint
    from maskpencil.training.schedule import Progress

    model = torch.nn.Linear(1, 1)
    with pytest.raises(mp.OutputError, match="No space left"):
        save_checkpoint(path, progress=Progress(), model=model, optimizer=torch.optim.Adam(model.parameters()))
    assert (path / "state.pt").read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["last"]


def assert_equal_weights(one, other):
    first, second = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def assert_equal_checkpoints(one, other):
    first, second = (torch.load(run / "checkpoints" / "last" / "state.pt", weights_only=True) for run in (one, other))
    assert all(torch.equal(first["model"][name], second["model"][name]) for name in first["model"])
    for key, state in first["optimizer"]["state"].items():
        assert all(torch.equal(value, second["optimizer"]["state"][key][name]) for name, value in state.items())


def metrics_without_times(folder):
    with (folder / "metrics.csv").open() as file:
        return [
            {name: value for name, value in row.items() if name not in ("images_per_second", "seconds")}
            for row in csv.DictReader(file)
        ]


@pytest.mark.slow
def test_images_that_the_memory_does_not_hold_are_kept_on_disk(tiny_folder, tmp_path, monkeypatch):
    runs = [train(tiny_folder, out=tmp_path / "run", epochs=2, **SMALL)]
    made, places = dataset._unnamed_file, []
    monkeypatch.setattr(dataset, "_unnamed_file", lambda place, size: places.append(place) or made(place, size))
    monkeypatch.setattr(dataset, "available_memory", lambda: 0)
    runs.append(train(tiny_folder, out=tmp_path / "run", epochs=2, **SMALL))
    assert [place.name for place in places] == ["images"]
    assert_equal_weights(runs[0].model, runs[1].model)


@pytest.mark.slow
@pytest.mark.compiles
def test_a_compiled_network_learns_the_same(smallest_backbone, tiny_folder, tmp_path, monkeypatch):
    # what torch traces, without a compiler of C++, which takes most of the time
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    settings = {**SMALL, "backbone": smallest_backbone, "epochs": 2, "learning_rate": 1e-3, "precision": "fp32"}
    runs = [train(tiny_folder, out=tmp_path / "run", compile=fuse, **settings) for fuse in (False, True)]
    losses = [[float(row["loss"]) for row in metrics_without_times(run.folder)] for run in runs]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    assert (
        load_file(runs[0].model / "model.safetensors").keys() == load_file(runs[1].model / "model.safetensors").keys()
    )


def test_a_time_budget_that_ends_before_the_first_step_is_reported(tiny_folder, tmp_path):
    expected = r"--time-budget 0\.001s is too short for a first step: starting took .*; give at least \d+s"
    with pytest.raises(TrainingError, match=expected):
        train(tiny_folder, out=tmp_path / "run", time_budget="0.001s", **SMALL)


@pytest.mark.slow
def test_a_batch_in_parts_learns_as_the_whole(tiny_folder, tmp_path):
    settings = {**SMALL, "backbone": "alexnet", "fully_connected": False, "dropout": 0.0, "epochs": 2, "batch_size": 4}
    whole, parts = (
        train(tiny_folder, out=tmp_path / "run", accumulate=parts, **settings, optimizer="sgd", learning_rate=1e-2)
        for parts in (1, 3)
    )
    rows = metrics_without_times(whole.folder), metrics_without_times(parts.folder)
    assert [float(row["loss"]) for row in rows[0]] == pytest.approx([float(row["loss"]) for row in rows[1]], rel=1e-4)


@pytest.mark.slow
def test_a_batch_that_the_memory_does_not_hold_is_split_until_it_does(tiny_folder, tmp_path, monkeypatch):
    sizes = []
    forward = mp.models.FCN.forward

    def small_memory(self, images):
        if self.training:
            sizes.append(len(images))
            if len(images) > 1:
                raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, images)

    monkeypatch.setattr("maskpencil.models.FCN.forward", small_memory)
    run = train(tiny_folder, out=tmp_path / "run", epochs=1, **SMALL)
    assert sizes == [3, 2, 1, 1, 1, 1, 1, 1]
    state = torch.load(run.folder / "checkpoints" / "last" / "state.pt", weights_only=True)
    assert state["progress"]["accumulate"] == 3, "a resumed run need not try again"

    def no_memory(self, images):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("maskpencil.models.FCN.forward", no_memory)
    with pytest.raises(
        TrainingError, match="too little memory for images of 64x64, 1 at once; give a smaller --crop-size or"
    ):
        train(tiny_folder, out=tmp_path / "none", epochs=1, **SMALL)


@pytest.mark.slow
def test_the_average_of_the_weights_is_what_is_kept(tiny_folder, tmp_path):
    run = train(tiny_folder, out=tmp_path / "run", epochs=3, average=0.5, **SMALL)
    state = torch.load(run.folder / "checkpoints" / "last" / "state.pt", weights_only=True)
    kept = load_file(run.model / "model.safetensors")
    best = json.loads((run.model / "config.json").read_text())["training"]["epoch"]
    if best == 3:
        assert all(torch.equal(kept[name], state["average"][name]) for name in kept)
    assert not torch.equal(state["average"]["score_fr.weight"], state["model"]["score_fr.weight"])


@pytest.mark.slow
def test_a_full_disk_is_reported_and_the_run_goes_on(tiny_folder, tmp_path, monkeypatch):
    save = torch.save
    calls = []

    def full_at_first(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        save(*arguments)

    monkeypatch.setattr(torch, "save", full_at_first)
    run = train(tiny_folder, out=tmp_path / "run", epochs=3, **SMALL)
    log = (run.folder / "train.log").read_text()
    assert "warning: the checkpoint of step 4 is not saved, and the previous checkpoint is kept" in log
    assert "No space left on device" in log
    assert run.finished
    assert len(calls) == 3


def test_a_checkpoint_is_written_by_the_clock_too(tiny_folder, tmp_path, monkeypatch):
    steps = []
    monkeypatch.setattr(trainer, "save_checkpoint", lambda *_, progress, **__: steps.append(progress.step))
    train(tiny_folder, out=tmp_path / "run", epochs=1, checkpoint_minutes=1e-9, **{**SMALL, "batch_size": 2})
    assert steps == [1, 2, 3, 3]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"sync_batch_norm": True}, "--sync-batch-norm works on CUDA devices, but the device is cpu"),
        ({"learning_rate": "sum:1e-9", "loss": "dice"}, "is for a summed cross-entropy, not --loss dice"),
        ({"class_weights": "heavy.yaml"}, "--class-weights must be none"),
        (
            {"freeze": "backbone", "optimizer": "lbfgs", "loss": "dice"},
            "--optimizer lbfgs needs the convex loss cross-entropy",
        ),
        ({"freeze": "backbone", "coarse_share": 0.5}, "--coarse-share needs images, not cached features"),
        ({"crop_size": "none", "scale": (0.5, 2)}, "--scale needs training windows; give a --crop-size, or leave out"),
    ],
)
def test_settings_that_cannot_work_together_leave_no_run_folder(settings, expected, tiny_folder, tmp_path):
    with pytest.raises(ConfigError, match=expected):
        train(tiny_folder, out=tmp_path / "run", epochs=1, **{**SMALL, **settings})
    assert not (tmp_path / "run").exists()


def test_values_go_to_the_tracker_too(tiny_folder, tmp_path, monkeypatch):
    from accelerate.tracking import GeneralTracker

    heard = []

    class Paper(GeneralTracker):
        name, requires_logging_directory, tracker = "paper", False, None

        def store_init_configuration(self, values):
            heard.append(values["backbone"])

        def log(self, values, step, **_):
            heard.append((step, sorted(values)))

        def finish(self):
            heard.append("finished")

    monkeypatch.setattr("maskpencil.training.distributed.checked_tracker", lambda _: Paper())
    train(tiny_folder, out=tmp_path / "run", epochs=1, tracker="paper", **SMALL)
    assert heard[0] == "test_resnet"
    assert heard[1] == (1, ["train/learning_rate", "train/loss"])
    assert heard[-2][0] == 2
    assert "val/mean_iou" in heard[-2][1]
    assert heard[-1] == "finished"


@pytest.mark.slow
def test_a_full_disk_while_the_model_is_written_is_reported_too(tiny_folder, tmp_path, monkeypatch):
    from safetensors import SafetensorError

    save, calls = safetensors.torch.save_file, []

    def full_at_first(*arguments, **others):
        calls.append(arguments)
        if len(calls) == 1:
            raise SafetensorError("Error while serializing: No space left on device (os error 28)")
        save(*arguments, **others)

    monkeypatch.setattr(safetensors.torch, "save_file", full_at_first)
    run = train(tiny_folder, out=tmp_path / "run", epochs=4, **SMALL)
    log = (run.folder / "train.log").read_text()
    assert "warning: the model of epoch 1 is not saved" in log
    assert "No space left on device" in log
    assert mp.Segmenter.from_pretrained(run.model)
    monkeypatch.setattr(safetensors.torch, "save_file", lambda *_, **__: full_at_first(calls.clear()))
    with pytest.raises(mp.OutputError, match="No space left"):
        train(tiny_folder, out=tmp_path / "never", epochs=1, **SMALL)


def test_on_a_gpu_an_epoch_of_fewer_batches_than_the_log_interval_is_logged(tiny_folder, tmp_path, monkeypatch):
    steps = []
    monkeypatch.setattr(trainer.Trainer, "_log_steps", trainer.GPU_LOG_STEPS)
    monkeypatch.setattr(
        "maskpencil.training.logbook.Logbook.step", lambda _, progress, **__: steps.append(progress.step)
    )
    train(tiny_folder, out=tmp_path / "run", epochs=2, **{**SMALL, "batch_size": 2})
    assert steps == [3, 6]


@pytest.mark.parametrize("name", ["images", "masks", "split_file"])
def test_resume_refuses_another_place_of_the_data(name, tiny_folder, tmp_path):
    with pytest.raises(ConfigError, match="give only --resume RUN"):
        train(resume=tmp_path, **{name: tiny_folder})


def test_a_preview_that_cannot_be_written_is_not_reported_as_a_lost_model(tiny_folder, tmp_path, monkeypatch):
    def full(*_):
        raise mp.OutputError("epoch_001.png: No space left on device")

    monkeypatch.setattr(trainer, "write_preview", full)
    run = train(tiny_folder, out=tmp_path / "run", epochs=1, **SMALL)
    log = (run.folder / "train.log").read_text()
    assert "warning: the preview of epoch 1 is not saved: epoch_001.png: No space left on device" in log
    assert "is not kept" not in log
    assert run.model.is_dir()


def test_asking_for_a_checkpoint_changes_nothing(tmp_path):
    from maskpencil.files import folder_written_whole
    from maskpencil.training.checkpoints import has_checkpoint

    path = tmp_path / "last"
    with folder_written_whole(path) as folder:
        (folder / "state.pt").write_bytes(b"")
    assert has_checkpoint(path)
    path.rename(tmp_path / ".last.maskpencil-old")  # as a process leaves it that is killed while it replaces the folder
    assert not has_checkpoint(path)
    assert [entry.name for entry in tmp_path.iterdir()] == [".last.maskpencil-old"]


def test_a_disk_that_is_full_at_the_start_takes_no_events_and_ends_no_run(tiny_folder, tmp_path, monkeypatch):
    def refused(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("torch.utils.tensorboard.SummaryWriter", refused)
    settings = {"weights": "none", "backbone": "test_resnet", "crop_size": 32, "batch_size": 2, "device": "cpu"}
    run = train(tiny_folder, out=tmp_path / "run", epochs=1, quiet=True, **settings)
    assert run.finished
    assert not list((tmp_path / "run").glob("events.*"))
