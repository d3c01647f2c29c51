"""The record of where the pretrained weights come from."""

import json

import pytest
import timm
import torch

from maskpencil.errors import DataError
from maskpencil.model_folder import read_model_config
from maskpencil.models.backbones.origin import Origin
from maskpencil.training.run_folder import existing_run
from maskpencil.training.train import _resume, train

SETTINGS = {"backbone": "test_resnet", "crop_size": "32x32", "epochs": 1, "batch_size": 2, "device": "cpu"}


@pytest.mark.slow
def test_a_run_says_and_records_where_its_weights_come_from(tiny_folder, tmp_path, capsys):
    torch.save(timm.create_model("test_resnet").state_dict(), tmp_path / "own.pth")
    run = train(tiny_folder, out=tmp_path / "run", weights=tmp_path / "own.pth", **SETTINGS)
    assert "pretrained weights: the file own.pth, license not stated\n" in capsys.readouterr().err
    expected = {"weights_from": "the file own.pth", "weights_license": "license not stated", "weights_address": ""}
    assert json.loads((run.folder / "weights.json").read_text()) == expected
    assert expected.items() <= read_model_config(run.model).training.items()
    assert "- weights from: the file own.pth" in (run.model / "README.md").read_text()

    (tmp_path / "own.pth").unlink()  # a resumed run does not need it
    resumed, _ = _resume(existing_run(run.folder), quiet=True)
    assert resumed.network.backbone.origin == Origin("the file own.pth")

    finer = train(tiny_folder, out=tmp_path / "finer", init=run.model, quiet=True, **SETTINGS)
    assert expected.items() <= read_model_config(finer.model).training.items()

    (run.folder / "weights.json").write_text("{")
    with pytest.raises(DataError, match=r"weights\.json: .*remove it to resume without that record"):
        train(resume=run.folder, quiet=True)


@pytest.mark.slow
def test_a_run_from_scratch_has_no_such_record(tiny_folder, tmp_path, capsys):
    run = train(tiny_folder, out=tmp_path / "run", weights="none", **SETTINGS)
    assert "pretrained" not in capsys.readouterr().err
    assert not (run.folder / "weights.json").exists()
    assert "weights_from" not in read_model_config(run.model).training
