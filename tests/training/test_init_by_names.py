import shutil
from pathlib import Path

import numpy as np
import pytest

from maskpencil.label_maps import read_label_map, write_label_map
from maskpencil.training.train import train

SMALL = {"weights": "none", "crop_size": "64x64", "batch_size": 3, "device": "cpu", "precision": "fp32"}


@pytest.mark.slow
def test_a_model_of_the_classes_in_another_order_starts_a_run_by_their_names(tiny_folder, tmp_path):
    settings = {**SMALL, "backbone": "test_resnet", "quiet": True}
    first = train(tiny_folder, out=tmp_path / "first", epochs=4, **settings)
    names = ("ball", "ground", "box")
    other = Path(shutil.copytree(tiny_folder, tmp_path / "other"))
    for path in (other / "masks").rglob("*.png"):
        write_label_map(path, np.array([1, 2, 0], np.uint8)[read_label_map(path)], np.zeros((3, 3), np.uint8))
    (other / "classes.yaml").write_text(f"names: [{', '.join(names)}]")
    second = train(other, out=tmp_path / "second", init=first.model, epochs=1, **{**settings, "learning_rate": 1e-12})
    assert second.mean_iou == pytest.approx(first.mean_iou, abs=0.02)
    assert (
        "its classes are in another order, matched by name: ground, box, ball"
        in (second.folder / "train.log").read_text()
    )
    (other / "classes.yaml").write_text("names: [a, b, c]")
    third = train(other, out=tmp_path / "third", init=first.model, epochs=1, **{**settings, "learning_rate": 1e-12})
    log = (third.folder / "train.log").read_text()
    assert (
        "its classes are different, so that the score layers start untrained: ground, box, ball; the data's are a, b, c"
        in log
    )
