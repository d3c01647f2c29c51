"""How much each class counts in the loss, by how often it is seen or as a file says."""

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from maskpencil.classes import ClassSet, read_yaml
from maskpencil.errors import ConfigError

KINDS = ("none", "median-frequency", "sqrt-median-frequency", "enet")

MOST = 10.0
"""No class weighs more by its frequency alone."""

_ENET_CONSTANT = 1.02


def class_weights(
    kind: str, classes: ClassSet, counts: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]
) -> torch.Tensor | None:
    """Weights (K,) of the classes from the (masks, K) pixel counts of the training masks and their (masks,) sizes.

    `median-frequency`: the frequency of a class is its share of the pixels of the masks that show it; its weight is the
    median frequency over its own. `sqrt-median-frequency`: the square root of that. Both are at most `MOST`. `enet`:
    one over the logarithm of 1.02 plus the share of the class among all labeled pixels, brought to a mean of 1. A
    class that never occurs weighs 1. Else `kind` is a YAML or JSON file of a weight for each name.

    Raises:
        ConfigError: the file cannot be read, or names other classes or numbers that are no weights.

    Source: Eigen and Fergus, "Predicting Depth, Surface Normals and Semantic Labels", ICCV 2015, section 6.3.2; Paszke
    et al., "ENet", 2016, section 5.2.
    """
    if kind == "none":
        return None
    if kind not in KINDS:
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
    return torch.tensor(weights.clip(max=MOST), dtype=torch.float32)


def _from_file(path: Path, classes: ClassSet) -> list[float]:
    if not path.is_file():
        raise ConfigError(f"--class-weights must be {', '.join(KINDS)} or a file, but got {str(path)!r}, which is none")
    expected = f"expected a weight above 0 for each class, such as {classes.names[0]}: 1.5"
    entries = read_yaml(path)
    if not isinstance(entries, dict) or set(entries) != set(classes.names):
        found = ", ".join(map(str, entries)) if isinstance(entries, dict) else f"a {type(entries).__name__}"
        raise ConfigError(f"{path}: names {found}; {expected}, and nothing else: {', '.join(classes.names)}")
    for name, weight in entries.items():
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < math.inf:
            raise ConfigError(f"{path}: the weight of {name} is {weight!r}; {expected}")
    return [float(entries[name]) for name in classes.names]
