"""Exponential moving average (EMA) of a network's weights."""

from copy import deepcopy

import torch

from maskpencil.models import FCN

_WARM_UP = 10
"""The decay of the n-th update is at most n / (9 + n), so that a short run does not keep its initial weights."""


class ExponentialMovingAverage:
    """Average the weights and buffers of a network, which are in `network`, a copy of it.

    Averaged statistics of batch normalization vary less than the layers' own, which follow the last few batches.

    Args:
        network: the network that is trained.
        decay: the share of the average that each update keeps, 0 to below 1.

    Source: Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992.
    """

    def __init__(self, network: FCN, decay: float) -> None:
        self.network, self.decay = deepcopy(network).requires_grad_(False), decay

    @torch.no_grad()
    def update(self, network: FCN, count: int) -> None:
        """Move the average toward `network`; `count` is the number of the update, from 1."""
        decay = min(self.decay, count / (_WARM_UP - 1 + count))
        for average, new in zip(self.network.state_dict().values(), network.state_dict().values(), strict=True):
            if average.is_floating_point():
                average.lerp_(new, 1 - decay)
            else:
                average.copy_(new)  # the number of batches seen by batch normalization
