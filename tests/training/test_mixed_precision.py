"""The number formats in which the convolutions of a training step run."""

import pytest
import torch
from torch import nn

from maskpencil.training.mixed_precision import training_autocast

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("precision", "compiled", "depthwise", "other"),
    [
        ("fp32", False, torch.float32, torch.float32),
        ("bf16", False, torch.float32, torch.bfloat16),
        ("bf16", True, torch.bfloat16, torch.bfloat16),
    ],
)
def test_depthwise_convolutions_run_in_fp32(precision, compiled, depthwise, other):
    images = torch.randn(2, 4, 8, 8)
    layers = {
        "depthwise": nn.Conv2d(4, 8, 3, groups=4),
        "grouped": nn.Conv2d(4, 4, 3, groups=2),
        "usual": nn.Conv2d(4, 4, 3),
    }
    with training_autocast(CPU, precision, compiled=compiled):
        kinds = {name: layer(images).dtype for name, layer in layers.items()}
    assert kinds == {"depthwise": depthwise, "grouped": other, "usual": other}


def test_a_single_channel_is_not_depthwise_and_the_context_ends():
    layer, depthwise = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3, groups=4)
    with training_autocast(CPU, "bf16"):
        assert layer(torch.randn(1, 1, 8, 8)).dtype == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        assert depthwise(torch.randn(1, 4, 8, 8)).dtype == torch.bfloat16


def test_gradients_are_those_of_fp32_but_for_the_rounding():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.ReLU6(), nn.Conv2d(8, 8, 5, groups=8))
    images = torch.randn(2, 3, 16, 16)
    gradients = {}
    for precision in ("fp32", "bf16"):
        network.zero_grad()
        with training_autocast(CPU, precision):
            network(images).square().mean().backward()
        gradients[precision] = [parameter.grad.clone() for parameter in network.parameters()]
    exact, rounded = (torch.cat([each.flatten() for each in gradients[name]]) for name in ("fp32", "bf16"))
    assert float((rounded - exact).norm()) < 0.02 * float(exact.norm())
