"""Depthwise convolutions in training on a CPU, and the memory that a training keeps."""

import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from maskpencil.training.cpu import FastDepthwise


def gradients(layer: nn.Conv2d, images: Tensor, *, fast: bool) -> list[Tensor]:
    """Return the result of a layer and the gradients of its images and parameters, for the same gradient."""
    layer.zero_grad()
    images = images.clone().requires_grad_()
    if fast:
        with FastDepthwise():
            result = layer(images)
    else:
        result = layer(images)
    result.backward(torch.sin(torch.arange(result.numel()).float()).view_as(result))
    return [result.detach(), images.grad, *(parameter.grad.clone() for parameter in layer.parameters())]


@pytest.mark.parametrize("size", [(9, 12), (16, 7), (5, 5)])
@pytest.mark.parametrize("stride", [1, 2, (2, 1), (1, 3)])
@pytest.mark.parametrize(
    ("kernel", "padding"),
    [(3, 1), (4, 0), (4, 2), (5, 2), ((3, 5), (1, 2)), ((5, 3), (2, 1)), (7, 3), ((1, 9), (0, 4))],
)
def test_gradients_are_those_of_the_usual_convolution(kernel, padding, stride, size):
    torch.manual_seed(0)
    layer = nn.Conv2d(20, 20, kernel, stride, padding, groups=20).to(memory_format=torch.channels_last)
    images = torch.randn(3, 20, *size).to(memory_format=torch.channels_last)
    for found, expected in zip(*(gradients(layer, images, fast=fast) for fast in (True, False)), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "settings",
    [
        {"dilation": 2},
        {"padding": "same"},
        {"padding": 2, "padding_mode": "reflect"},
        {"bias": False},
        {"out_channels": 16},
    ],
)
def test_every_kind_of_depthwise_convolution_is_computed(settings):
    torch.manual_seed(0)
    layer = nn.Conv2d(**{"in_channels": 8, "out_channels": 8, "kernel_size": 5, "groups": 8, **settings})
    images = torch.randn(2, 8, 12, 12)
    for found, expected in zip(*(gradients(layer, images, fast=fast) for fast in (True, False)), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_frozen_kernels_and_first_layers_get_no_gradient():
    layer, images = nn.Conv2d(8, 8, 5, groups=8), torch.randn(1, 8, 9, 9)
    layer.weight.requires_grad_(False)
    with FastDepthwise():
        layer(images).sum().backward()
    assert layer.weight.grad is None
    assert layer.bias.grad is not None
    layer.weight.requires_grad_()
    with FastDepthwise():
        layer(images).sum().backward()
        alone = functional.conv2d(images[0], layer.weight, groups=8)  # an image without a batch
    assert layer.weight.grad is not None
    assert alone.shape == (8, 5, 5)


_PROGRAM = """
import resource, torch
from maskpencil.training.cpu import freed_memory_kept

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.zeros(12_000_000).add_(1)  # 48 MB, 11,718 pages
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 // 2**20

faults()
usual = faults()
with freed_memory_kept():
    faults()
    blocks = [torch.ones(4_000_000) for _ in range(20)]
    del blocks
    print(usual, faults(), resident())
print(resident())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the settings are those of glibc")
@pytest.mark.slow
def test_memory_is_reused_in_the_block_and_returned_after_it():
    result = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True)
    usual, kept, during, after = map(int, result.stdout.split())
    assert usual > 200_000
    assert kept < 1_000
    assert after < during - 200
