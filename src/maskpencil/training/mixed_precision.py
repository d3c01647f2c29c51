"""Run the forward pass of training in mixed precision: each convolution in the format in which it trains fastest."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch.nn import functional

from maskpencil.hardware import autocast
from maskpencil.training.folding import Folded, Folds, Interception


@contextmanager
def training_autocast(
    device: torch.device, precision: str, *, compiled: bool = False, folds: Folds | None = None
) -> Iterator[None]:
    """Run the block in mixed precision; on a CPU, run depthwise convolutions in fp32 instead of bf16.

    On a CPU the gradients of depthwise convolutions take two to three times as long in bf16 as in fp32, since oneDNN
    has fast bf16 code only for other convolutions.

    Args:
        device: the device of the network.
        precision: fp32, bf16 or fp16.
        compiled: whether the network is compiled; if so, depthwise convolutions are treated as all others, and nothing
            is folded.
        folds: the batch normalization layers to fold, see `folding`.
    """
    with ExitStack() as contexts:
        contexts.enter_context(autocast(device, precision))
        if device.type == "cpu" and precision == "bf16" and not compiled:
            contexts.enter_context(_DepthwiseInFloat32())
        if folds and not compiled:
            contexts.enter_context(Folded(folds))
        yield


class _DepthwiseInFloat32(Interception):
    """A context in which `conv2d` with one group per input channel runs in fp32; other functions are unchanged."""

    def call(self, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        if func is functional.conv2d and _is_depthwise(*args, **kwargs):
            images, *others = args
            with torch.autocast("cpu", enabled=False):
                return func(images.float(), *others, **kwargs)
        return func(*args, **kwargs)


def _is_depthwise(
    images: torch.Tensor, weight: torch.Tensor, *others: Any, groups: int | None = None, **_: Any
) -> bool:
    """Return whether `conv2d` with these arguments is depthwise: one group for each of several input channels.

    `others` are the positional arguments after `weight`: bias, stride, padding, dilation, groups.
    """
    position_of_groups = 4
    if groups is None:
        groups = others[position_of_groups] if len(others) > position_of_groups else 1
    return groups == images.shape[1] > 1 and weight.shape[1] == 1
