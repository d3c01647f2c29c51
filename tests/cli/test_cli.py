import importlib
import inspect
import json
import subprocess
import sys
from dataclasses import fields

import pytest

from maskpencil.cli import COMMANDS, MODULES, main
from maskpencil.cli.options import flowed
from maskpencil.cli.train import GROUPS
from maskpencil.training.config import TrainConfig


def test_help_lists_every_command(capsys):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown and words in shown for name, words in COMMANDS.items())


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_explains_itself_and_each_of_its_options(name, capsys):
    assert main([name, "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    function = importlib.import_module(f"maskpencil.cli.{MODULES.get(name, name)}").command
    assert flowed(function.__doc__).splitlines()[0] in shown
    assert "ARGS" not in shown
    assert "[default: False]" not in shown
    options = [p for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY]
    for option in options:
        if option.name not in ("options", "video", "json_file", "class_name", "compiled"):
            assert f"--{option.name.replace('_', '-')}" in shown


def test_help_shows_options_in_groups_as_wide_as_the_terminal(capsys, monkeypatch):
    for width in (80, 120):
        monkeypatch.setenv("COLUMNS", str(width))
        assert main(["predict", "--help"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert max(map(len, lines)) == width
        assert lines[0] == "Usage: maskpencil predict MODEL SOURCES... [OPTIONS]"
        groups = [line.split()[1] for line in lines if line.startswith("╭─")]
        assert groups == ["Arguments", "Output", "Classes", "Regions", "Video", "Network", "Other"]
    main(["train", "--help"])
    assert "Usage: maskpencil train [DATA] [OPTIONS]\n" in capsys.readouterr().out


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_shows_help_as_an_option_and_no_placeholder_that_names_a_type(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    main([name, "--help"])
    shown = capsys.readouterr().out
    assert "│ --help -h " in shown
    assert not {"FLOAT", "INT", "STR", "PATH"} & {*shown.split()}


def test_help_names_other_settings_as_they_are_typed(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    main(["train", "--help"])
    shown = " ".join(capsys.readouterr().out.replace("│", "").split())
    assert "as a multiple of --learning-rate" in shown
    assert "(see --freeze)" in shown
    assert "--scale MIN MAX" in shown
    assert "`maskpencil info recipes` lists" in shown


def test_every_training_setting_is_in_one_group_of_the_help():
    grouped = [name for names in GROUPS.values() for name in names.split()]
    assert sorted(grouped) == sorted(field.name for field in fields(TrainConfig))


def test_the_version_is_the_packages(capsys):
    from importlib.metadata import version

    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == version("maskpencil")


@pytest.mark.parametrize(
    "words",
    [
        ["paint"],
        ["train"],
        ["train", "x", "--epoch", "3"],
        ["train", "x", "--epochs", "0"],
        ["predict"],
        ["predict", "m", "in.jpg", "--regions", "xml"],
        ["evaluate", "m"],
    ],
)
def test_a_wrong_command_line_is_one_line_and_code_2(words, capsys):
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1


def test_debug_shows_the_traceback(tmp_path, capsys):
    assert main(["train", str(tmp_path / "nothing"), "--debug"]) == 1
    shown = capsys.readouterr().err.splitlines()
    assert shown[0] == "Traceback (most recent call last):"
    assert shown[-1].startswith("error: ")


def test_an_interruption_is_reported_with_its_own_exit_code(monkeypatch, capsys):
    def stopped(*words: str) -> None:
        raise KeyboardInterrupt("nothing is lost: continue with maskpencil train --resume RUN")

    monkeypatch.setattr("maskpencil.cli.info.command", stopped)
    assert main(["info"]) == 130
    assert capsys.readouterr().err == "interrupted; nothing is lost: continue with maskpencil train --resume RUN\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["predcit", "MODEL"], "there is no command 'predcit'; did you mean predict?\n"),
        (["paint"], "there is no command 'paint'; the commands are demo, check, convert,"),
        (["predict", "MODEL"], "predict needs an image"),
        (["predict", "MODEL", "a.png", "--threshold", "0.2"], "--threshold is for one class; name it with --class"),
        (["check", "DATA", "--processes", "0"], "--processes must be 1 or more, but got 0"),
    ],
)
def test_a_missing_or_wrong_argument_is_reported_in_one_line(words, message, capsys):
    assert main(words) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")


def test_a_reader_that_closes_the_pipe_early_causes_no_error():
    command = f"{sys.executable} -m maskpencil info recipes | head -1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert done.stderr == ""


@pytest.mark.slow
def test_a_folder_is_checked_trained_on_and_segmented_by_commands(tiny_folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = [
        "--backbone",
        "test_resnet",
        "--stride",
        "8",
        "--weights",
        "none",
        "--crop-size",
        "64x64",
        "--epochs",
        "2",
        "--batch-size",
        "3",
        "--device",
        "cpu",
    ]
    assert main(["train", str(tiny_folder), *settings]) == 0
    (run,) = (tmp_path / "runs/train").iterdir()
    assert str(run.relative_to(tmp_path) / "model") in capsys.readouterr().out

    assert main(["evaluate", str(run / "model"), str(tiny_folder), "--json", "scores.json", "--device", "cpu"]) == 0
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert f"{scores['mean_iou']:.4f}" in capsys.readouterr().out
    assert scores["images"] == 3

    images = tiny_folder / "images" / "val"
    assert main(["predict", str(run / "model"), str(images), "--confidence", "--device", "cpu"]) == 0
    (out,) = (tmp_path / "runs/predict").iterdir()
    for kind, suffix in (("masks", "png"), ("overlays", "jpg"), ("confidence", "png")):
        assert len(list((out / kind).glob(f"*.{suffix}"))) == 3

    words = ["predict", str(run / "model"), str(images), "--out", "objects", "--device", "cpu"]
    assert main([*words, "--regions", "coco", "--min-area", "9", "--region-classes", "ball", "ground"]) == 0
    objects = json.loads((tmp_path / "objects/regions.json").read_text())
    assert [image["file_name"] for image in objects["images"]] == ["0.png", "1.png", "2.png"]
    assert {annotation["category_id"] for annotation in objects["annotations"]} <= {1, 3}
    assert all(annotation["area"] >= 9 and 0 < annotation["score"] <= 1 for annotation in objects["annotations"])

    assert main(["info", str(run / "model")]) == 0
    assert "FCN-8s on test_resnet" in capsys.readouterr().out


@pytest.mark.parametrize("topic", [[], ["backbones"], ["recipes"]])
def test_info_lists_versions_backbones_and_recipes(topic, capsys):
    assert main(["info", *topic]) == 0
    assert {"": "torch", "backbones": "vgg16", "recipes": "tutorial"}[
        topic[0] if topic else ""
    ] in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["test_resnet", "vgg16", "convnext_atto", "swin_tiny_patch4_window7_224"])
def test_info_counts_the_weights_that_torch_counts(backbone):
    from maskpencil.cli.info import count_weights
    from maskpencil.models import FCNConfig, build_fcn

    network = build_fcn(FCNConfig(3, backbone), weights="none")
    tensors = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    assert count_weights(tensors) == sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.slow
def test_a_ports_weights_become_a_model_that_predicts(narrow_alexnet, tmp_path, tiny_folder, capsys, monkeypatch):
    torch = pytest.importorskip("torch")
    from maskpencil.models import FCNConfig, build_fcn

    monkeypatch.chdir(tmp_path)
    net = build_fcn(FCNConfig(3, "alexnet", 32, as_released=True), weights="none")
    torch.save({name.removeprefix("backbone."): tensor for name, tensor in net.state_dict().items()}, "fcn32s.pth")
    assert main(["import", "fcn32s.pth", "--out", "model", "--classes", str(tiny_folder / "classes.yaml")]) == 0
    assert "FCN-32s on alexnet, 3 classes" in capsys.readouterr().out
    assert (tmp_path / "model" / "graph" / "cells.xml").is_file()
    (image, *_) = sorted((tiny_folder / "images" / "val").iterdir())
    assert main(["predict", "model", str(image), "--device", "cpu", "--out", "out"]) == 0
    assert (tmp_path / "out" / "masks" / f"{image.stem}.png").is_file()

    torch.save({"head.weight": torch.zeros(1)}, "other.pth")
    assert main(["import", "other.pth", "--out", "none"]) == 1
    assert "other.pth: is not a known segmentation network" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_help_does_not_load_what_it_does_not_need():
    script = "import sys; from maskpencil.cli import main; main(['--help']); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"torch", "numpy", "cyclopts", "rich"} & set(done.stderr.split())


@pytest.mark.slow
def test_importing_the_command_line_and_the_lower_floors_does_not_import_torch():
    modules = ["maskpencil", *(f"maskpencil.cli.{MODULES.get(name, name)}" for name in COMMANDS)]
    modules += [
        f"maskpencil.{name}" for name in ("classes", "images", "metrics", "visualize", "progress", "data.folder")
    ]
    modules += ["maskpencil.metrics", "maskpencil.regions", "maskpencil.data.formats"]
    modules += ["maskpencil.scenes", "maskpencil.training.config", "maskpencil.inference.sources"]
    script = f"import sys; [__import__(name) for name in {modules}]; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
