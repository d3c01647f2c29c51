import math

import numpy as np
import pytest
import yaml
from tests.helpers import SMALL

from maskpencil.errors import TrainingError
from maskpencil.training.lr_finder import steepest
from maskpencil.training.train import train


def test_the_rate_is_where_the_loss_falls_fastest() -> None:
    rates = np.logspace(-6, 0, 61).tolist()
    losses = {rate: 2 - math.tanh(2 * math.log10(rate / 1e-3)) for rate in rates}  # steepest at 1e-3
    losses |= dict.fromkeys(rates[-8:], 9.0)  # too fast
    assert steepest(losses) == pytest.approx(1e-3, rel=0.3)


@pytest.mark.parametrize("values", [[1.0, 2.0, 3.0, 4.0], [1.0], []])
def test_a_loss_that_never_falls_is_reported(values: list[float]) -> None:
    with pytest.raises(TrainingError, match="the loss does not fall at any rate"):
        steepest(dict(zip([1e-4, 1e-3, 1e-2, 1e-1], values, strict=False)))


@pytest.mark.slow
def test_a_run_finds_its_rate_and_keeps_it(tiny_folder, tmp_path):
    run = train(tiny_folder, out=tmp_path / "run", epochs=2, **{**SMALL, "learning_rate": "find"})
    rate = yaml.safe_load((run.folder / "config.yaml").read_text())["learning_rate"]
    assert 1e-6 < rate < 1
    assert f"learning rate {rate:.1e}: the loss fell fastest at this rate" in (run.folder / "train.log").read_text()
