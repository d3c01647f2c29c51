"""What training makes small; each loss honors `IGNORE_INDEX` and is finite without a valid pixel."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from maskpencil.classes import IGNORE_INDEX
from maskpencil.training.values import CROSS_ENTROPY

HARD_SHARE = 1 / 4
"""The share of the valid pixels, those of the greatest loss, that `ohem` learns from."""

LOVASZ_PIXELS = 65_536
"""At most so many pixels are sorted for `lovasz`, evenly spread over the batch."""

_TINY = torch.finfo(torch.float32).tiny


@dataclass(frozen=True)
class Loss:
    """The sum of the `terms` of a batch, named as in `TERMS`.

    `class_weights` (K,) weigh the pixels of the cross-entropies. The cross-entropy is averaged over the valid pixels,
    or summed with that `reduction`.
    """

    terms: tuple[str, ...] = (CROSS_ENTROPY,)
    class_weights: Tensor | None = None
    reduction: Literal["mean", "sum"] = "mean"

    def __call__(self, logits: Tensor, target: Tensor, *, weight: Tensor | None = None) -> Tensor:
        """The loss, a scalar, of `logits` (N, K, H, W) float32 for `target` (N, H, W) int64.

        `weight` is that of the whole batch, see `weigh`, where this is a part of it: the losses of all parts add up to
        the batch's, an overlap to the parts' average. Without a valid pixel the loss is 0, and so are its gradients.
        """
        whole = self.weigh(target) if weight is None else weight
        total = self._cross_entropy(logits, target, whole) if CROSS_ENTROPY in self.terms else logits.sum() * 0.0
        others = [TERMS[term] for term in self.terms if term != CROSS_ENTROPY]
        if others and bool((valid := target != IGNORE_INDEX).any()):
            scored, labels = logits.permute(0, 2, 3, 1)[valid], target[valid]  # (P, K), (P,)
            total = total + self.weigh(target) / whole * sum(
                term(scored, labels, self.class_weights) for term in others
            )
        return total

    def weigh(self, target: Tensor) -> Tensor:
        """The valid pixels of a target (N, H, W), each counted as its class weighs, a scalar float32."""
        if self.class_weights is None:
            return (target != IGNORE_INDEX).sum().float()
        weights = functional.pad(self.class_weights, (0, IGNORE_INDEX + 1 - len(self.class_weights)))
        return weights[target].sum()  # what is ignored weighs 0; to index by a mask would make a GPU wait

    def _cross_entropy(self, logits: Tensor, target: Tensor, whole: Tensor) -> Tensor:
        summed = functional.cross_entropy(
            logits, target, weight=self.class_weights, ignore_index=IGNORE_INDEX, reduction="sum"
        )
        return summed if self.reduction == "sum" else summed / whole.clamp_min(_TINY)


def ohem(logits: Tensor, target: Tensor, class_weights: Tensor | None) -> Tensor:
    """The cross-entropy averaged over the `HARD_SHARE` of the pixels with the greatest loss.

    `logits` (P, K) and `target` (P,) of valid pixels, as for all terms; `class_weights` (K,).

    Source: Shrivastava et al., "Training Region-based Object Detectors with Online Hard Example Mining", CVPR 2016.
    """
    losses = functional.cross_entropy(logits, target, weight=class_weights, reduction="none")
    return losses.topk(max(1, round(len(losses) * HARD_SHARE)), sorted=False).values.mean()


def dice(logits: Tensor, target: Tensor, class_weights: Tensor | None) -> Tensor:  # noqa: ARG001 - as all terms
    """One minus the Dice coefficient of each class in the target, on average; a class counts the same at any size.

    Source: Milletari et al., "V-Net", 3DV 2016; of the batch as a whole, so that an image without the class is no case
    of its own.
    """
    probabilities = logits.softmax(dim=1)
    pixels = torch.bincount(target, minlength=logits.shape[1]).float()
    right = probabilities.gather(1, target[:, None])[:, 0]
    overlap = torch.zeros_like(pixels).index_add(0, target, right)
    coefficient = 2 * overlap / (probabilities.sum(dim=0) + pixels)
    return 1 - coefficient[pixels > 0].mean()


def lovasz(logits: Tensor, target: Tensor, class_weights: Tensor | None) -> Tensor:  # noqa: ARG001 - as all terms
    """The Lovasz extension of one minus the IoU of each class in the target, on average.

    Source: Berman, Rannen Triki and Blaschko, "The Lovasz-Softmax loss", CVPR 2018.
    """
    step = -(-len(target) // LOVASZ_PIXELS)
    probabilities, target = logits[::step].softmax(dim=1), target[::step]
    losses = []
    for index in torch.unique(target):
        inside = (target == index).float()
        errors, order = (inside - probabilities[:, index]).abs().sort(descending=True)
        inside = inside[order]
        pixels = inside.sum()
        jaccard = 1 - (pixels - inside.cumsum(0)) / (pixels + (1 - inside).cumsum(0))
        steps = jaccard.diff(prepend=jaccard.new_zeros(1))  # how much IoU each next wrong pixel costs
        losses.append(errors @ steps)
    return torch.stack(losses).mean()


Term = Callable[[Tensor, Tensor, Tensor | None], Tensor]

TERMS: Mapping[str, Term] = {"ohem": ohem, "dice": dice, "lovasz": lovasz}
"""What may stand beside, or in place of, the cross-entropy."""


def l2_penalty(kernels: Iterable[Tensor], strength: float) -> Tensor:
    """`strength` times half the sum of the kernels' squares, a scalar."""
    return strength / 2 * torch.stack([kernel.square().sum() for kernel in kernels]).sum()
