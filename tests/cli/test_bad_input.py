"""Bad input gives one line with the file and the remedy, exit code 1, and no half-written output."""

import shutil

import numpy as np
import pytest
from PIL import Image

from maskpencil.cli import main

SETTINGS = [
    "--backbone",
    "test_resnet",
    "--weights",
    "none",
    "--epochs",
    "1",
    "--device",
    "cpu",
    "--crop-size",
    "64x64",
]


@pytest.fixture
def folder(tiny_folder, tmp_path):
    return shutil.copytree(tiny_folder, tmp_path / "data")


@pytest.fixture(scope="module")
def model(tiny_folder, tmp_path_factory):
    from maskpencil.training.train import train

    out = tmp_path_factory.mktemp("run") / "run"
    return train(
        tiny_folder,
        out=out,
        backbone="test_resnet",
        weights="none",
        epochs=1,
        crop_size="64x64",
        device="cpu",
        quiet=True,
    ).model


def refuse(words, capsys, *expected):
    """Run a command that must fail, and check its error line."""
    assert main([str(word) for word in words]) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    for text in expected:
        assert text in errors[0]


def refuse_training(folder, capsys, *expected):
    out = folder.parent / "run"
    refuse(["train", folder, "--out", out, *SETTINGS], capsys, *expected)
    assert not out.exists(), "nothing is left of a run that could not start"


def test_a_missing_folder(tmp_path, capsys):
    refuse_training(tmp_path / "nowhere", capsys, "nowhere", "no such folder", "expected images/ and masks/")


def test_no_pairs(folder, capsys):
    for letter, path in zip("abcdefghijklmnopqrstuvwxyz", sorted((folder / "masks").rglob("*.png")), strict=False):
        path.rename(path.with_stem(letter))
    refuse_training(folder, capsys, str(folder), "no mask with the name of an image", "rename")


def test_a_mask_of_another_size(folder, capsys):
    path = first_mask(folder)
    mask = Image.open(path)
    mask.resize((mask.width + 1, mask.height)).save(path)
    refuse_training(folder, capsys, path.name, f"{mask.width + 1} x {mask.height}", "nearest neighbor")


def test_a_mask_value_without_a_class(folder, capsys):
    path = first_mask(folder)
    values = np.array(Image.open(path))
    values[3, 5] = 77
    Image.fromarray(values).save(path)
    refuse_training(folder, capsys, path.name, "77", "classes.yaml")


def test_a_color_mask_among_class_numbers(folder, capsys):
    (folder / "classes.yaml").unlink()
    path = first_mask(folder)
    Image.open(path).convert("RGB").save(path)
    for other in set(folder.glob("masks/*/*.png")) - {path}:
        Image.fromarray(np.array(Image.open(other))).save(other)  # without a palette
    refuse_training(folder, capsys, path.name, "is a color image", "save all masks in the same way")


def test_masks_of_one_class(folder, capsys):
    for path in folder.glob("masks/*/*.png"):
        Image.fromarray(np.zeros_like(np.array(Image.open(path)))).save(path)
    refuse_training(folder, capsys, "all pixels are of one class", "check that these files are masks")


def test_a_truncated_jpeg(folder, capsys):
    path = sorted((folder / "images" / "train").iterdir())[2]
    whole = Image.open(path).convert("RGB")
    path.unlink()
    jpeg = path.with_suffix(".jpg")
    whole.save(jpeg, quality=95)
    jpeg.write_bytes(jpeg.read_bytes()[: jpeg.stat().st_size // 2])
    refuse_training(folder, capsys, jpeg.name, "cut short", "replace it")


def test_a_text_file_named_png(folder, capsys):
    path = sorted((folder / "images" / "val").iterdir())[0]
    path.write_text("this is not an image")
    refuse_training(folder, capsys, path.name, "is text, not an image")


@pytest.mark.slow
def test_a_broken_image_among_good_ones_is_reported_and_the_rest_is_done(folder, model, tmp_path, capsys):
    broken = sorted((folder / "images" / "val").iterdir())[1]
    broken.write_text("this is not an image")
    out = tmp_path / "out"
    refuse(["predict", model, folder / "images" / "val", "--out", out, "--device", "cpu"], capsys, broken.name)
    assert len(list((out / "masks").iterdir())) == len(list((out / "overlays").iterdir())) == 2


@pytest.mark.slow
def test_a_prediction_that_fails_leaves_no_folder(model, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo.jpg").touch()
    refuse(["predict", model, "photo.jpg", "--device", "cpu"], capsys, "photo.jpg", "is empty (0 bytes)")
    assert not any((tmp_path / "runs" / "predict").iterdir())


@pytest.mark.slow
def test_an_empty_video(model, tmp_path, capsys):
    video = tmp_path / "video.mp4"
    video.touch()
    out = tmp_path / "out"
    refuse(["predict", model, video, "--out", out, "--device", "cpu"], capsys, "video.mp4", "empty")
    assert not [path for path in out.rglob("*") if path.is_file()]


@pytest.mark.parametrize("command", ["train", "predict"])
def test_an_output_that_cannot_be_written(command, folder, model, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    out = tmp_path / "file" / "out"
    words = ["train", folder, *SETTINGS] if command == "train" else ["predict", model, folder / "images" / "val"]
    refuse([*words, "--out", out], capsys, str(out), "cannot be written", "choose a folder")
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_a_model_folder_with_a_missing_file(missing, model, folder, tmp_path, capsys):
    broken = shutil.copytree(model, tmp_path / "model")
    (broken / missing).unlink()
    out = tmp_path / "out"
    refuse(["predict", broken, folder / "images" / "val", "--out", out], capsys, str(broken), missing)
    assert not out.exists()


def first_mask(folder):
    return sorted((folder / "masks" / "train").iterdir())[0]
