"""Define the optimizers, their parameter groups, and the moving average of the weights."""

from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from maskpencil.models import FCN
from maskpencil.training.resolve import TrainPlan

RELATIVE_STEP = 15.0
"""The norm of a step at a learning rate of 1, as a multiple of the kernel's norm; at 2e-3 the multiple is 0.03."""

MAX_FILTERS = 256
"""Kernels with more filters are updated by AdamW, since orthogonalizing them takes longer than it saves."""

_POLYNOMIAL = (3.4445, -4.7750, 2.0315)
"""The coefficients of x, x^3 and x^5 of a polynomial that, applied repeatedly, moves numbers in 0..1 close to 1 (Jordan
2024)."""

_ITERATIONS = 5

_WARM_UP = 10
"""The decay of the n-th update is at most n / (9 + n), so that a short run does not keep its initial weights."""


def build_optimizer(model: nn.Module, plan: TrainPlan) -> torch.optim.Optimizer:
    """Build the optimizer with parameter groups for backbone and head, kernels and biases.

    Biases and normalization layers have no weight decay. Every group stores its highest learning rate as `peak`.
    """
    config, rate = plan.config, plan.learning_rate.value
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    groups: list[dict[str, Any]] = []
    for in_backbone, part_rate in ((True, rate * config.backbone_rate), (False, rate)):
        part = [(name, p) for name, p in named if name.startswith("backbone.") is in_backbone]
        turns = config.optimizer == "muon" and in_backbone
        turned = [p for _, p in part if turns and can_turn(p)]
        kernels = [p for _, p in part if p.ndim > 1 and not (turns and can_turn(p))]
        biases = [p for name, p in part if p.ndim <= 1 and name.endswith(".bias")]
        scales = [p for name, p in part if p.ndim <= 1 and not name.endswith(".bias")]
        for parameters, peak, decay in (
            (turned, part_rate * RELATIVE_STEP, 0.0),
            (kernels, part_rate, config.weight_decay),
            (biases, part_rate * config.bias_rate, 0.0),
            (scales, part_rate, 0.0),
        ):
            group = {"params": parameters, "lr": peak, "peak": peak, "weight_decay": decay}
            groups.append(group | ({"turned": parameters is turned} if config.optimizer == "muon" else {}))
    groups = [group for group in groups if group["params"]]
    if config.optimizer == "muon":
        return Muon(groups, lr=rate, momentum=config.momentum)
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=config.momentum, fused=True)
    return (torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam)(groups, lr=rate, fused=True)


class Muon(torch.optim.AdamW):
    """An optimizer that updates kernels by their orthogonalized momentum, and other parameters by AdamW.

    The norm of an update is `lr` times the norm of the kernel. After the update the kernel is scaled back to its
    previous norm, since batch normalization cancels the norm of kernels.

    Args:
        groups: torch parameter groups; the entry `turned` of a group says whether its parameters are kernels
            (K, C, h, w) to update by their orthogonalized momentum.
        lr: the default learning rate of groups.
        momentum: the share of the earlier gradients in an update, 0 to below 1.

    Source: Jordan, "Muon: an optimizer for hidden layers in neural networks", 2024;
    there kernels are not scaled back.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], *, lr: float, momentum: float) -> None:
        super().__init__(groups, lr=lr, betas=(0.9, 0.99), fused=True)
        for group in self.param_groups:
            group["momentum"] = momentum

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """Update the parameters, and return the result of `closure`, which recomputes loss and gradients."""
        loss = None
        if closure:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            if group["turned"]:
                for kernel in group["params"]:
                    self._turn(kernel, rate=group["lr"], momentum=group["momentum"])
        super().step()
        return loss

    def _turn(self, kernel: Tensor, *, rate: float, momentum: float) -> None:
        if kernel.grad is None:
            return
        state = self.state[kernel]
        if not state:
            state["gradient"], state["length"] = torch.zeros_like(kernel), kernel.norm()
            state["step"] = torch.tensor(0.0)  # AdamW expects it in every state that it loads
        state["gradient"].lerp_(kernel.grad, 1 - momentum)
        direction = kernel.grad.lerp(state["gradient"], momentum)  # Nesterov's: one step ahead
        filters = direction.permute(0, 2, 3, 1)  # the memory order of channels-last kernels
        turn = orthogonalized(filters.reshape(len(filters), -1)).view(filters.shape).permute(0, 3, 1, 2)
        kernel.sub_(turn * (rate * state["length"] / turn.norm().clamp_min(1e-12)))
        kernel.mul_(state["length"] / kernel.norm())
        kernel.grad = None  # so that AdamW skips the kernel


def can_turn(parameter: Tensor) -> bool:
    """Return whether Muon can update `parameter` by its orthogonalized momentum.

    It can update a kernel (K, C, h, w) with C > 1 channels and at most `MAX_FILTERS` filters K that is not all zeros.
    """
    return parameter.ndim == 4 and parameter.shape[1] > 1 and len(parameter) <= MAX_FILTERS and bool(parameter.any())


def orthogonalized(matrix: Tensor) -> Tensor:
    """Change the singular values of a matrix (m, n) to values of about 0.7 to 1.2, and keep its singular vectors.

    Singular values below a thousandth of the matrix's norm become less than 0.7; a zero matrix stays zero. The
    polynomial of the Newton-Schulz iteration is evaluated on square matrices of the size of the matrix's shorter side.
    """
    if matrix.shape[0] > matrix.shape[1]:
        return orthogonalized(matrix.mT).mT
    matrix = matrix / matrix.norm().clamp_min(1e-12)
    squares = matrix @ matrix.mT
    whole = factor = _factor(squares)
    for _ in range(_ITERATIONS - 1):
        squares = factor @ squares @ factor
        factor = _factor(squares)
        whole = factor @ whole
    return whole @ matrix


def _factor(squares: Tensor) -> Tensor:
    """Return the matrix F (m, m) of a Newton-Schulz step, which turns A (m, n) into F A; `squares` is A A^T."""
    first, third, fifth = _POLYNOMIAL
    factor = torch.addmm(squares, squares, squares, beta=third, alpha=fifth)
    factor.diagonal().add_(first)
    return factor


class ExponentialMovingAverage:
    """An exponential moving average of the weights and buffers of a network; the attribute `network` is the average.

    The statistics of batch normalization are averaged as well, because in the trained network they reflect only the
    last few batches.

    Args:
        network: the network in training, which is copied.
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
