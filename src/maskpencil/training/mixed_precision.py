"""Run the forward pass of training in mixed precision: each convolution in the format in which it trains fastest."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

from maskpencil.hardware import autocast
from maskpencil.training.cpu import FastDepthwise
from maskpencil.training.folding import Folded, Folds


@contextmanager
def training_autocast(
    device: torch.device, precision: str, *, compiled: bool = False, folds: Folds | None = None
) -> Iterator[None]:
    """Run the block in mixed precision; on a CPU, run depthwise convolutions in fp32, see `cpu.FastDepthwise`.

    Args:
        device: the device of the network.
        precision: fp32, bf16 or fp16.
        compiled: whether the network is compiled; if so, depthwise convolutions are treated as all others, and nothing
            is folded.
        folds: the batch normalization layers to fold, see `folding`.
    """
    with ExitStack() as contexts:
        contexts.enter_context(autocast(device, precision))
        if device.type == "cpu" and not compiled:
            contexts.enter_context(FastDepthwise())
        if folds and not compiled:
            contexts.enter_context(Folded(folds))
        yield
