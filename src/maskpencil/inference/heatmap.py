"""Compute heatmaps: the probability of a class at each pixel of an image."""

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from maskpencil.errors import ConfigError
from maskpencil.hardware import autocast, choose_device, choose_precision
from maskpencil.images import RGBImage
from maskpencil.preprocessing import Preprocessing, stacked

if TYPE_CHECKING:
    from maskpencil.models.dense_classifier import DenseClassifier

# torch is imported inside functions, since heatmaps of model folders are computed without torch

MAX_LISTED_CLASSES = 30
"""The largest number of classes that an error message lists."""


def classifier_heatmap(
    classifier: "DenseClassifier", image: RGBImage, category: int, *, device: str = "auto", precision: str = "auto"
) -> npt.NDArray[np.float32]:
    """Compute the probability (H, W), 0..1, of the category with index `category` in an image (H, W, 3) uint8.

    The image may have any size. The classifier computes one probability per tile of 32 x 32 pixels, from a window
    around the center of the tile; between the centers the probabilities are interpolated bilinearly.

    Raises:
        ConfigError: this machine does not have the device.
    """
    import torch
    from torch.nn import functional

    from maskpencil.models.dense_classifier import STRIDE, aligned

    place = choose_device(device)
    classifier = classifier.to(place).eval()
    normalized = Preprocessing(classifier.mean, classifier.std).normalize(stacked([image]).to(place))
    with torch.inference_mode(), autocast(place, choose_precision(precision, place)):
        scores = classifier(aligned(normalized))
    cells = scores.float().softmax(dim=1)[:, category : category + 1]  # (1, 1, ceil(H / 32), ceil(W / 32))
    height, width = image.shape[:2]
    values = functional.interpolate(cells, scale_factor=STRIDE, mode="bilinear")[0, 0, :height, :width]
    probabilities: npt.NDArray[np.float32] = values.cpu().numpy()
    return probabilities


def category_index(categories: tuple[str, ...], name: str) -> int:
    """Return the index of the category that the user calls `name`.

    `name` may be, in this order of precedence: the category's index, from 0; its full name; one of its synonyms (a
    category such as "tabby, tabby cat" lists synonyms with commas); consecutive whole words of the full name; any part
    of the full name. Case is ignored.

    Raises:
        ConfigError: no category matches, or several categories match.
    """
    if name.isdigit() and int(name) < len(categories):
        return int(name)
    wanted = name.casefold()
    synonyms = [[one.strip() for one in category.casefold().split(",")] for category in categories]
    fits: tuple[Callable[[list[str]], bool], ...] = (
        lambda words: ", ".join(words) == wanted,
        lambda words: wanted in words,
        lambda words: f" {wanted} " in f" {' '.join(words)} ",
        lambda words: wanted in ", ".join(words),
    )
    found: list[int] = []
    for fit in fits:
        found = found or [index for index, words in enumerate(synonyms) if fit(words)]
    if len(found) != 1:
        near = [categories[index] for index in found[:5]] or _near(wanted, synonyms, categories)
        meant = f"; did you mean {', or '.join(map(repr, near))}?" if near else ""
        few = f" ({', '.join(categories)})" if len(categories) <= MAX_LISTED_CLASSES else ""
        raise ConfigError(f"--class must be one of the {len(categories)} classes{few}, but got {name!r}{meant}")
    return found[0]


def _near(wanted: str, synonyms: Sequence[Sequence[str]], categories: Sequence[str]) -> list[str]:
    """Return the categories that have a synonym with almost the same spelling as `wanted`."""
    index_of = {word: index for index, words in enumerate(synonyms) for word in words}
    close = get_close_matches(wanted, index_of, n=3)
    return list(dict.fromkeys(categories[index_of[word]] for word in close))
