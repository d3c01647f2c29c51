"""Define loss functions and class weights; each loss skips `IGNORE_INDEX` and is finite even without a valid pixel."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import yaml
from torch import Tensor
from torch.nn import functional

from maskpencil.classes import IGNORE_INDEX, ClassSet, read_yaml
from maskpencil.errors import ConfigError
from maskpencil.training.config import CROSS_ENTROPY

HARD_SHARE = 1 / 4
"""The share of the valid pixels over which `ohem` averages, the pixels with the greatest loss."""

LOVASZ_PIXELS = 16_384
"""The approximate number of valid pixels that `lovasz` gets, evenly spaced, since sorting more takes long."""

CLASS_WEIGHTS = ("none", "median-frequency", "sqrt-median-frequency", "enet")

MAX_CLASS_WEIGHT = 10.0
"""The greatest class weight that is computed from frequencies."""

_ENET_CONSTANT = 1.02

_TINY = torch.finfo(torch.float32).tiny


@dataclass(frozen=True)
class Loss:
    """The sum of one or more loss terms over a batch.

    Args:
        terms: the names of the terms: cross-entropy, or keys of `TERMS`.
        class_weights: (K,) the factor of each class's pixels in cross-entropy and ohem; None for equal weights.
        reduction: whether the cross-entropy is averaged over the valid pixels, or summed.
    """

    terms: tuple[str, ...] = (CROSS_ENTROPY,)
    class_weights: Tensor | None = None
    reduction: Literal["mean", "sum"] = "mean"

    def __call__(self, logits: Tensor, target: Tensor, *, weight: Tensor | None = None) -> Tensor:
        """Compute the loss, a scalar; without a valid pixel the loss and its gradients are 0.

        Args:
            logits: (N, K, H, W) float32.
            target: (N, H, W) int64.
            weight: for a micro-batch, the result of `weigh` for the whole batch; None if `target` is a whole batch.

        The loss of a batch is the sum of the losses of its micro-batches. For cross-entropy, the sum equals the
        cross-entropy of the whole batch. For any other term, the sum is a mean over the micro-batches, weighted by
        `weigh` of each micro-batch; this mean may differ from the term computed on the whole batch.
        """
        whole = self.weigh(target) if weight is None else weight
        total = self._cross_entropy(logits, target, whole) if CROSS_ENTROPY in self.terms else logits.sum() * 0.0
        for name in self.terms:
            if name != CROSS_ENTROPY:
                scored, labels = _valid_pixels(logits, target, LOVASZ_PIXELS if name == "lovasz" else None)
                if len(labels):
                    total = total + self.weigh(target) / whole * TERMS[name](scored, labels, self.class_weights)
        return total

    def weigh(self, target: Tensor) -> Tensor:
        """Return the sum of the class weights of the valid pixels of a target (N, H, W), a scalar float32."""
        if self.class_weights is None:
            return (target != IGNORE_INDEX).sum().float()
        weights = functional.pad(self.class_weights, (0, IGNORE_INDEX + 1 - len(self.class_weights)))
        return weights[target].sum()  # ignored pixels weigh 0; indexing by a mask would synchronize a GPU

    def _cross_entropy(self, logits: Tensor, target: Tensor, whole: Tensor) -> Tensor:
        summed = functional.cross_entropy(
            logits, target, weight=self.class_weights, ignore_index=IGNORE_INDEX, reduction="sum"
        )
        return summed if self.reduction == "sum" else summed / whole.clamp_min(_TINY)


def _valid_pixels(logits: Tensor, target: Tensor, most: int | None) -> tuple[Tensor, Tensor]:
    """Return the logits (P, K) and classes (P,) of the valid pixels.

    If there are more than `most` valid pixels, return evenly spaced pixels, `most` to twice as many.
    """
    step = 1 if most is None else max(1, int((target != IGNORE_INDEX).sum()) // most)
    while math.gcd(step, target.shape[-1]) > 1:  # the pixels would lie in few columns
        step += 1
    scored, labels = logits.flatten(2)[:, :, ::step].movedim(1, 2), target.flatten(1)[:, ::step]
    valid = labels != IGNORE_INDEX
    return scored[valid], labels[valid]


def ohem(logits: Tensor, target: Tensor, class_weights: Tensor | None) -> Tensor:
    """Average the cross-entropy over the pixels with the greatest loss, a share `HARD_SHARE` of all pixels.

    Args:
        logits: (P, K), the logits of the P valid pixels; all terms take logits in this form.
        target: (P,), the classes of the valid pixels.
        class_weights: (K,).

    Source: Shrivastava et al., "Training Region-based Object Detectors with Online Hard Example Mining", CVPR 2016.
    """
    losses = functional.cross_entropy(logits, target, weight=class_weights, reduction="none")
    return losses.topk(max(1, round(len(losses) * HARD_SHARE)), sorted=False).values.mean()


def dice(logits: Tensor, target: Tensor, class_weights: Tensor | None) -> Tensor:  # noqa: ARG001 - as all terms
    """Average one minus the Dice coefficient over the classes in the target; large and small classes count equally.

    The coefficient of a class is computed over the whole batch, so that images without the class need no special case.
    Source: Milletari et al., "V-Net", 3DV 2016.
    """
    probabilities = logits.softmax(dim=1)
    pixels = torch.bincount(target, minlength=logits.shape[1]).float()
    right = probabilities.gather(1, target[:, None])[:, 0]
    overlap = torch.zeros_like(pixels).index_add(0, target, right)
    coefficient = 2 * overlap / (probabilities.sum(dim=0) + pixels)
    return 1 - coefficient[pixels > 0].mean()


def lovasz(logits: Tensor, target: Tensor, class_weights: Tensor | None) -> Tensor:  # noqa: ARG001 - as all terms
    """Average the Lovasz extension of one minus the IoU over the classes in the target.

    Source: Berman, Rannen Triki and Blaschko, "The Lovasz-Softmax loss", CVPR 2018.
    """
    probabilities, present = logits.softmax(dim=1), torch.unique(target)
    inside = (target == present[:, None]).float()  # (classes, P)
    errors, order = (inside - probabilities.T[present]).abs().sort(dim=1, descending=True)
    inside = inside.gather(1, order)
    pixels = inside.sum(dim=1, keepdim=True)
    jaccard = 1 - (pixels - inside.cumsum(1)) / (pixels + (1 - inside).cumsum(1))
    steps = jaccard.diff(dim=1, prepend=torch.zeros_like(pixels))  # the loss of IoU by each further wrong pixel
    loss: Tensor = (errors * steps).sum(dim=1).mean()
    return loss


Term = Callable[[Tensor, Tensor, Tensor | None], Tensor]

TERMS: Mapping[str, Term] = {"ohem": ohem, "dice": dice, "lovasz": lovasz}
"""Terms that may be added to the cross-entropy, or replace it."""


def l2_penalty(kernels: Iterable[Tensor], strength: float) -> Tensor:
    """Compute `strength` times half the sum of the squared kernels, a scalar."""
    return strength / 2 * torch.stack([kernel.square().sum() for kernel in kernels]).sum()


def class_weights(
    kind: str, classes: ClassSet, counts: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]
) -> torch.Tensor | None:
    """Compute the class weights (K,), or read them from a file; None for `none`.

    median-frequency: the frequency of a class is its share of the pixels of the masks that contain the class; the
    weight of a class is the median of all frequencies divided by the frequency of the class. sqrt-median-frequency: the
    square root of the weight by median-frequency. Both kinds of weight are at most `MAX_CLASS_WEIGHT`. enet: 1 /
    ln(1.02 + the share of the class among all labeled pixels), scaled to a mean of 1. A class that never occurs weighs
    1.

    Args:
        kind: one of `CLASS_WEIGHTS`, or a YAML or JSON file with a weight for each class name.
        classes: the class names that a file must give weights for.
        counts: (masks, K), the number of pixels of each class in each training mask.
        sizes: (masks,), the number of pixels of each training mask.

    Raises:
        ConfigError: the file cannot be read, names other classes, or holds a weight that is not above 0.

    Source: Eigen and Fergus, "Predicting Depth, Surface Normals and Semantic Labels", ICCV 2015, section 6.3.2; Paszke
    et al., "ENet", 2016, section 5.2.
    """
    if kind == "none":
        return None
    if kind not in CLASS_WEIGHTS:
        return torch.tensor(_from_file(Path(kind), classes), dtype=torch.float32)
    pixels = counts.sum(0)
    present = pixels > 0
    if kind == "enet":
        weights = np.where(present, 1 / np.log(_ENET_CONSTANT + pixels / max(1, pixels.sum())), 1.0)
        weights[present] /= weights[present].mean()
        return torch.tensor(weights, dtype=torch.float32)
    area = ((counts > 0) * sizes[:, None]).sum(0)
    frequency = np.divide(pixels, area, out=np.ones(len(pixels)), where=present)
    weights = np.where(present, np.median(frequency[present]) / frequency, 1.0)
    if kind == "sqrt-median-frequency":
        weights = np.sqrt(weights)
    return torch.tensor(weights.clip(max=MAX_CLASS_WEIGHT), dtype=torch.float32)


def _from_file(path: Path, classes: ClassSet) -> list[float]:
    if not path.is_file():
        raise ConfigError(
            f"--class-weights must be {', '.join(CLASS_WEIGHTS)} or a file, but got {str(path)!r}, which is neither"
        )
    entries = read_yaml(path)
    if isinstance(entries, dict):
        entries = {str(name): weight for name, weight in entries.items()}
    # names are quoted where YAML would read another value, such as '010'
    names = yaml.safe_dump(list(classes.names), default_flow_style=True, allow_unicode=True, width=math.inf)[1:-2]
    example = yaml.safe_dump({classes.names[0]: 1.5}, allow_unicode=True, width=math.inf).strip()
    expected = f"expected a weight above 0 for each class, such as {example}"
    if not isinstance(entries, dict) or set(entries) != set(classes.names):
        found = ", ".join(map(str, entries)) if isinstance(entries, dict) else f"a {type(entries).__name__}"
        raise ConfigError(f"{path}: holds {found}; {expected}; the classes are {names}")
    for name, weight in entries.items():
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < math.inf:
            raise ConfigError(f"{path}: the weight of {name} is {weight!r}; {expected}")
    return [float(entries[name]) for name in classes.names]
