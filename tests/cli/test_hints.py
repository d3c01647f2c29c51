"""Options and commands of other tools are answered with one line that names the right ones."""

import importlib
import json
import re

import pytest

from maskpencil.cli import COMMANDS, MODULES, main
from maskpencil.cli.failures import COMMANDS_MEANT, EXAMPLES, OPTIONS_MEANT, VALUES_MEANT

HINTS = {
    "train DATA --lr 0.1": "no option --lr; use --learning-rate;",
    "train DATA --lr=0.1": "no option --lr; use --learning-rate;",
    "train DATA --gpu": "no option --gpu; use --device cuda;",
    "train DATA --gpus 2": "no option --gpus; use --device cuda;",
    "train DATA --batch 8": "use --batch-size;",
    "train DATA --bs 8": "use --batch-size;",
    "train DATA --imgsz 640": "use --image-size;",
    "predict M x.jpg --img_size 640": "use --image-size;",
    "train DATA --arch unet": "use --backbone;",
    "train DATA --model unet": "use --backbone;",
    "train DATA --encoder resnet34": "use --backbone;",
    "train --data DATA": "DATA is given without an option: maskpencil train DATA",
    "predict --model M --source x.jpg": "MODEL is given without an option: maskpencil predict MODEL photo.jpg",
    "predict M --source x.jpg": "IMAGES is given without an option: maskpencil predict MODEL photo.jpg",
    "predict M x.jpg --output o": "use --out;",
    "evaluate M DATA --output o": "use --json;",
    "train DATA --num-classes 3": "the number of classes follows from classes.yaml",
    "train DATA --num-workers 4": "use --workers;",
    "check DATA --num-workers 4": "use --processes;",
    "train DATA --pretrained": "use --weights imagenet;",
    "train --checkpoint x": "use --resume;",
    "train DATA --epoch 3": "use --epochs;",
    "train DATA -e 50": "use --epochs;",
    "train DATA --wd 0.1": "use --weight-decay;",
    "train DATA --amp": "use --precision fp16;",
    "predict M x.jpg --conf 0.3": "use --abstain;",
    "predict M x.jpg --tta": "use --augment flip;",
    "predict M x.jpg --learnig-rate 1": "predict has no option --learnig-rate",
    "train DATA --learnig-rate 1": "did you mean --learning-rate?",
    "train DATA --device 0": "CUDA_VISIBLE_DEVICES=0 maskpencil train ... --device cuda",
    "predict M x.jpg --device cuda:1": "CUDA_VISIBLE_DEVICES=1 maskpencil predict ... --device cuda",
    "predict M x.jpg --device gpu": "use --device cuda",
    "train DATA --optimizer Adam": "use --optimizer adam",
    "train DATA --precision 16-mixed": "use --precision fp16",
    "convert DATA --to pascal_voc": "use --to voc",
    "evaluate M DATA --split validation": "use --split val",
    "train DATA --loss focal": "got 'focal'; the most similar is ohem",
    "train DATA --loss ce": "got 'ce'; the most similar is cross-entropy",
    "train DATA --loss cross_entropy": "the most similar is cross-entropy",
    "train DATA --loss DiceLoss": "the most similar is dice",
    "predict": "predict needs MODEL: maskpencil predict MODEL photo.jpg",
    "predict M": "predict needs an image, a folder or a video after the model, such as: maskpencil predict M photo.jpg",
    "evaluate M": "evaluate needs DATA: maskpencil evaluate MODEL DATA",
    "convert DATA": "convert needs --to: maskpencil convert DATA --to coco",
    "train DATA --epochs": "--epochs needs a value after it",
    "train A B": "train takes no more arguments, but got 'B'",
    "segment x.jpg": "use predict: maskpencil predict MODEL photo.jpg",
    "infer": "use predict",
    "detect": "use predict",
    "test": "use evaluate: maskpencil evaluate MODEL DATA",
    "val": "use evaluate",
    "fit": "use train: maskpencil train DATA",
    "Predict": "did you mean predict?",
    "version": "use --version: maskpencil --version",
}


@pytest.mark.slow
@pytest.mark.parametrize("line", HINTS)
def test_an_option_of_another_tool_is_answered_with_the_one_here(line, capsys):
    assert main(line.split()) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert HINTS[line] in captured.err


@pytest.mark.parametrize(
    "line", ["train nowhere --batch_size 4", "train nowhere --learning_rate=0.1", "train nowhere --loss dice"]
)
def test_underscores_and_equals_signs_are_understood(line, capsys):
    assert main(line.split()) == 1
    assert "nowhere: there is no such folder" in capsys.readouterr().err


def test_every_option_that_is_named_exists(capsys):
    shown = []
    for name in COMMANDS:
        importlib.import_module(f"maskpencil.cli.{MODULES.get(name, name)}")
        main([name, "--help"])
        shown += re.findall(r"--[a-z-]+", capsys.readouterr().out)
    assert set(OPTIONS_MEANT) | set(VALUES_MEANT) <= set(shown)
    assert set(EXAMPLES) == set(COMMANDS)
    assert set(COMMANDS_MEANT) <= {*COMMANDS, "--version"}


@pytest.fixture
def model(make_segmenter, tmp_path):
    make_segmenter().save(tmp_path / "run/model")
    return tmp_path / "run/model"


def said(words, capsys, code):
    """Return the only error line of a command."""
    assert main([str(word) for word in words]) == code
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    return line


def test_a_wrong_order_is_answered_with_the_right_one(model, tiny_folder, capsys):
    image = tiny_folder / "images/val/0.png"
    assert f"maskpencil predict {model} {image}" in said(["predict", image, model], capsys, 2)
    assert f"maskpencil evaluate {model} {tiny_folder}" in said(["evaluate", tiny_folder, model], capsys, 2)
    assert f"maskpencil quantize {model} {tiny_folder}" in said(["quantize", tiny_folder, model], capsys, 2)
    assert f"maskpencil heatmap {model} {image}" in said(["heatmap", image, model, "--class", "x"], capsys, 2)


@pytest.mark.slow
def test_a_run_folder_is_replaced_by_its_best_model_with_a_note(model, tiny_folder, capsys, tmp_path):
    assert main(["predict", str(model.parent), str(tiny_folder / "images/val"), "--out", str(tmp_path / "out")]) == 0
    assert f"{model.parent}: is a run; its best model is used: {model}" in capsys.readouterr().err
    assert main(["info", str(model.parent)]) == 0


def test_something_that_is_not_a_model_is_identified(model, tiny_folder, tmp_path, capsys):
    image = tiny_folder / "images/val/0.png"
    assert f"maskpencil predict MODEL {tiny_folder}" in said(["predict", tiny_folder, image], capsys, 1)
    for name, hint in (
        ("net.pth", f"maskpencil import {tmp_path}/net.pth --out NEW_MODEL"),
        ("net.pt", f"maskpencil import {tmp_path}/net.pt --out NEW_MODEL"),
        ("net.onnx", "expected a complete file that maskpencil export wrote"),
        ("net.h5", "networks in this format cannot be read"),
        ("photo.jpg", f"the model comes first: maskpencil predict MODEL {tmp_path}/photo.jpg"),
    ):
        (tmp_path / name).write_bytes(b"")
        assert hint in said(["predict", tmp_path / name, image], capsys, 1)
    weights = model / "model.safetensors"
    assert f"belongs to a model folder: maskpencil predict {model}" in said(["predict", weights, image], capsys, 1)


def test_a_model_or_a_run_is_refused_as_data(model, tmp_path, capsys):
    assert f"maskpencil train DATA --init {model}" in said(["train", model], capsys, 1)
    assert f"maskpencil train --resume {model.parent}" in said(["train", model.parent], capsys, 1)
    assert f"maskpencil info {model}" in said(["check", model], capsys, 1)
    assert f"maskpencil info {model}" in said(["evaluate", model, model], capsys, 1)
    assert "is a training run, not data" in said(["convert", model.parent, "--to", "coco"], capsys, 1)


def test_an_incomplete_model_folder_is_not_taken_for_a_folder_of_images(tmp_path, capsys):
    (tmp_path / "config.json").write_text(json.dumps({}))
    assert "is missing" in said(["info", tmp_path], capsys, 1)
