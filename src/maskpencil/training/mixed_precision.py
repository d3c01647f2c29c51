"""Run the forward pass of training in mixed precision, except depthwise convolutions on a CPU, which run in fp32."""

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
    """Run the code of a `with` block in `precision`; on a CPU, depthwise convolutions run in fp32, see `FastDepthwise`.

    Args:
        device: the device of the network.
        precision: fp32, bf16 or fp16.
        compiled: whether the network is compiled; if so, depthwise convolutions run in `precision` too, and `folds` is
            ignored.
        folds: the batch normalization layers to fold into convolutions, see `folding`.
    """
    with ExitStack() as contexts:
        contexts.enter_context(autocast(device, precision))
        if device.type == "cpu" and not compiled:
            contexts.enter_context(FastDepthwise())
        if folds and not compiled:
            contexts.enter_context(Folded(folds))
        yield
