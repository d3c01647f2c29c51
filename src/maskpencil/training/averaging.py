"""A running average of a network: of its weights, and of what its normalization layers have measured."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

_EARLY = 10
"""Of the first steps less stays, so that a short run does not keep where it began."""


def running_average(model: nn.Module, share: float) -> AveragedModel:
    """A copy of `model` of which, whenever its `update_parameters(model)` is called, `share` stays.

    Of the n-th update (1 + n) / (10 + n) stays where that is less. The averages of batch normalization jump less from
    batch to batch than the layers' own, which the last few batches decide.

    Source: Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992.
    """

    @torch.no_grad()
    def follow(averaged: Sequence[Tensor], current: Sequence[Tensor], count: Tensor | int) -> None:
        stays = min(share, (1 + int(count)) / (_EARLY + int(count)))
        for old, new in zip(averaged, current, strict=True):
            if old.is_floating_point():
                old.lerp_(new, 1 - stays)
            else:
                old.copy_(new)  # how many batches were counted

    return AveragedModel(model, multi_avg_fn=follow, use_buffers=True)
