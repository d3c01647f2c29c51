"""Hostile names in files and models are shown as plain text and cannot forge lines."""

import codecs
import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskpencil.classes import ClassSet
from maskpencil.cli import main
from maskpencil.data.check import check
from maskpencil.data.convert import write_fixed
from maskpencil.data.layout import Places
from maskpencil.errors import DataError, OutputError

NAMES = [
    "a\nerror: forged",
    "b\x1b]0;owned\x07",
    "c\u202egnp",
    "=d",
    "e\x9b5m",
    codecs.decode(b"f\xff", "utf-8", "surrogateescape"),
]


@pytest.fixture
def folder(tiny_folder, tmp_path):
    """A data set whose first images have hostile names."""
    root = Path(shutil.copytree(tiny_folder, tmp_path / "data"))
    images = sorted((root / "images").rglob("*.png"))[: len(NAMES)]
    for image, name in zip(images, NAMES, strict=True):
        mask = root / "masks" / image.relative_to(root / "images")
        image.rename(image.with_stem(name))
        mask.rename(mask.with_stem(name))
    return root


@pytest.fixture
def make_model(make_segmenter, tmp_path):
    """Write a model of three classes of these names."""

    def make(names: tuple[str, ...]) -> Path:
        make_segmenter(classes=ClassSet(names)).save(tmp_path / "model")
        return tmp_path / "model"

    return make


def plain(captured) -> str:
    """Return what was printed, after checking that it has no control characters."""
    text = captured.out + captured.err
    assert not [letter for letter in text if not letter.isprintable() and letter != "\n"]
    assert not [line for line in text.splitlines() if line.startswith("error: forged")]
    text.encode("utf-8")
    return text


def test_check_shows_hostile_names_as_text_and_writes_them_so_that_programs_read_them(folder, tmp_path, capsys):
    for mask in (folder / "masks").rglob("*.png"):
        if mask.stem in NAMES:
            Image.fromarray(np.full((7, 5), 1, np.uint8)).save(mask)
    words = ["check", str(folder), "--out", str(tmp_path / "seen"), "--json", str(tmp_path / "report.json")]
    assert main([*words, "--fix", str(tmp_path / "fixed"), "--processes", "1"]) == 0
    assert r"a\nerror: forged.png" in plain(capsys.readouterr())
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    json.dumps(report, ensure_ascii=False).encode("utf-8")
    assert [name for fault in report["faults"] for name in fault["files"] if r"f\xff.png" in name]
    with (tmp_path / "fixed/changes.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert len(rows) > len(NAMES)
    assert all(cell.isprintable() for row in rows for cell in row)


def test_the_list_of_changes_has_no_formula(tiny_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(shutil.copytree(tiny_folder, tmp_path / "data"))
    for kind in ("images", "masks"):
        shutil.move(f"{kind}/train", "@x" if kind == "images" else "masks_of_x")
    Path("@x/0.png").write_bytes(b"no image")
    seen = check(Path(), places=Places(Path("@x"), Path("masks_of_x")))
    write_fixed(seen, tmp_path / "fixed")
    with (tmp_path / "fixed/changes.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert len(rows) > 1
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@"))]


@pytest.mark.slow
def test_predict_evaluate_and_convert_take_any_name_or_say_why_not(folder, make_model, tmp_path, capsys):
    model = make_model(names=("ground\x1b[31m", "b\nox", "ball\u202e"))
    assert main(["predict", str(model), str(folder / "images"), "--out", str(tmp_path / "out")]) == 0
    written = {path.stem for path in (tmp_path / "out/masks").rglob("*.png")}
    assert set(NAMES) <= written
    assert main(["info", str(model)]) == 0
    assert main(["predict", str(model), str(folder / "images"), "--out", "x", "--class", "none"]) == 1
    shown = plain(capsys.readouterr())
    assert r"ground\x1b[31m, b\nox, ball\u202e" in shown
    for form in ("labelme", "voc"):
        words = ["predict", str(model), str(folder / "images"), "--out", str(tmp_path / form), "--annotations", form]
        assert main(words) == 1
        assert "rename the file" in plain(capsys.readouterr())
        assert not (tmp_path / form / "masks").exists()
    assert main(["convert", str(folder), "--to", "folder", "--out", str(tmp_path / "copy")]) == 0
    assert {path.stem for path in (tmp_path / "copy/masks").rglob("*.png")} >= set(NAMES)
    assert main(["convert", str(folder), "--to", "coco", "--out", str(tmp_path / "coco")]) == 1
    assert "valid UTF-8" in plain(capsys.readouterr())


def test_a_run_of_a_folder_whose_name_is_not_utf8_is_named_so_that_it_can_be_written(
    tiny_folder, tmp_path, monkeypatch
):
    from maskpencil.training.train import train

    monkeypatch.chdir(tmp_path)
    data = shutil.copytree(tiny_folder, os.fsdecode(b"data\xfe"))
    settings = {"backbone": "test_resnet", "weights": "none", "epochs": 1, "crop_size": "64x64", "device": "cpu"}
    run = train(data, quiet=True, **settings)
    assert run.folder == Path(r"runs/train/data\xfe")
    with pytest.raises(OutputError, match=r"run\\?.*give another --out"):
        train(data, out=os.fsdecode(b"run\xfe"), quiet=True, **settings)


def test_a_class_name_that_is_half_a_character_is_refused():
    with pytest.raises(DataError, match="must be valid Unicode"):
        ClassSet(("ground", "\udcff"))


def test_the_model_card_shows_names_as_text(make_model):
    card = (make_model(names=("<img src=x>", "[a](javascript:b)", "c\n# d")) / "README.md").read_text(encoding="utf-8")
    assert "<img" not in card
    assert "[a](" not in card
    assert "\n# d" not in card
