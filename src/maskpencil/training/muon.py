"""Muon: convolution kernels step by their orthogonalized momentum, everything else by AdamW."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

RELATIVE_RATE = 15.0
"""How far a kernel turns, in parts of its length, for a learning rate of 1: at 2e-3 it is 0.03 a step."""

MOST_FILTERS = 256
"""Kernels of more filters stay with AdamW: to orthogonalize them takes longer than it saves."""

_POLYNOMIAL = (3.4445, -4.7750, 2.0315)
"""Of x, x^3 and x^5: applied again and again it brings numbers in 0..1 near 1 (Jordan 2024)."""

_ITERATIONS = 5


class Muon(torch.optim.AdamW):
    """AdamW, but the kernels of groups with `turned` step by the momentum of their gradients, orthogonalized.

    The step of a kernel is `lr` times as long as the kernel, which afterwards is brought back to its own length: a
    net that normalizes batches does not see how long its kernels are.

    Args:
        groups: parameter groups as torch's; `turned` says of each whether its kernels (K, C, h, w) are turned.
        lr: the rate of groups that have none of their own.
        momentum: the share of the last gradients in a step.

    Source: Jordan, "Muon: an optimizer for hidden layers in neural networks", 2024. The fixed length is ours.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], *, lr: float, momentum: float) -> None:
        super().__init__(groups, lr=lr, betas=(0.9, 0.99), fused=True)
        for group in self.param_groups:
            group["momentum"] = momentum

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """Make one step; gives what `closure`, which computes the loss and the gradients anew, gives."""
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
            state["step"] = torch.tensor(0.0)  # AdamW expects one in every state that it loads
        state["gradient"].lerp_(kernel.grad, 1 - momentum)
        direction = kernel.grad.lerp(state["gradient"], momentum)  # Nesterov's: one step ahead
        filters = direction.permute(0, 2, 3, 1)  # in the order in which the memory of channels-last kernels has them
        turn = orthogonalized(filters.reshape(len(filters), -1)).view(filters.shape).permute(0, 3, 1, 2)
        kernel.sub_(turn * (rate * state["length"] / turn.norm().clamp_min(1e-12)))
        kernel.mul_(state["length"] / kernel.norm())
        kernel.grad = None  # so that AdamW leaves the kernel out


def can_turn(parameter: Tensor) -> bool:
    """Whether it is the kernel of a convolution over several channels, of few enough filters, and not all zeros."""
    return parameter.ndim == 4 and parameter.shape[1] > 1 and len(parameter) <= MOST_FILTERS and bool(parameter.any())


def orthogonalized(matrix: Tensor) -> Tensor:
    """A matrix (m, n) with its singular vectors, and singular values between about 0.7 and 1.2.

    Those below a thousandth of the matrix's length stay smaller. A matrix of zeros stays one.

    The polynomial is evaluated on the (m, m) products, which for kernels of few filters are far smaller than (m, n).
    """
    matrix = matrix / matrix.norm().clamp_min(1e-12)
    squares = matrix @ matrix.mT
    whole = torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    first, third, fifth = _POLYNOMIAL
    for _ in range(_ITERATIONS):
        factor = torch.addmm(squares, squares, squares, beta=third, alpha=fifth)
        factor.diagonal().add_(first)
        whole, squares = factor @ whole, factor @ squares @ factor
    return whole @ matrix
