"""A running average of a network: of its weights, and of what its normalization layers have measured."""

from copy import deepcopy

import torch

from maskpencil.models import FCN

_EARLY = 10
"""Of the first steps less stays, so that a short run does not keep where it began."""


class RunningAverage:
    """A copy `network` of a network that learns, of which `share` stays at every update.

    Of the n-th update n / (9 + n) stays where that is less. The averages of batch normalization jump less from batch to
    batch than the layers' own, which the last few batches decide.

    Source: Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992.
    """

    def __init__(self, network: FCN, share: float) -> None:
        self.network, self.share = deepcopy(network).requires_grad_(False), share

    @torch.no_grad()
    def update(self, network: FCN, count: int) -> None:
        """Come nearer to `network`, for the time `count`, from 1."""
        stays = min(self.share, count / (_EARLY - 1 + count))
        for old, new in zip(self.network.state_dict().values(), network.state_dict().values(), strict=True):
            if old.is_floating_point():
                old.lerp_(new, 1 - stays)
            else:
                old.copy_(new)  # how many batches were counted
