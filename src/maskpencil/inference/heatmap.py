"""How strongly a network sees one class, all over a picture."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from maskpencil.errors import ConfigError
from maskpencil.hardware import autocast, choose_device, choose_precision
from maskpencil.images import RGBImage
from maskpencil.models.dense_classifier import DenseClassifier, aligned
from maskpencil.preprocessing import Preprocessing


@dataclass(frozen=True)
class Heatmap:
    """`cells` (h, w) are a class's probabilities as the network gives them, `values` (H, W) the same at every pixel."""

    cells: npt.NDArray[np.float32]
    values: npt.NDArray[np.float32]


@torch.inference_mode()
def classifier_heatmap(
    classifier: DenseClassifier, image: RGBImage, category: int, *, device: str = "auto", precision: str = "auto"
) -> Heatmap:
    """The probability of a category, at every tile of 32 pixels, that a classifier gives the window around the tile.

    `image` (H, W, 3) of any size. Between the tiles' middles the values are interpolated bilinearly.

    Raises:
        ConfigError: the machine lacks the device.
    """
    place = choose_device(device)
    classifier = classifier.to(place).eval()
    batch = torch.from_numpy(image).permute(2, 0, 1)[None].to(place)  # (1, 3, H, W)
    with autocast(place, choose_precision(precision, place)):
        scores = classifier(aligned(Preprocessing(classifier.mean, classifier.std).normalize(batch)))
    cells = scores.float().softmax(dim=1)[:, category : category + 1]  # (1, 1, ceil(H / 32), ceil(W / 32))
    height, width = image.shape[:2]
    values = functional.interpolate(cells, scale_factor=32, mode="bilinear")[0, 0, :height, :width]
    return Heatmap(cells[0, 0].cpu().numpy(), values.cpu().numpy())


def category_index(categories: tuple[str, ...], name: str) -> int:
    """The place of a category by its name, whole or the only one that contains it, or by its number.

    Raises:
        ConfigError: none or several are meant.
    """
    if name.isdigit() and int(name) < len(categories):
        return int(name)
    wanted = name.casefold()
    exact = [index for index, category in enumerate(categories) if category.casefold() == wanted]
    found = exact or [index for index, category in enumerate(categories) if wanted in category.casefold()]
    if len(found) != 1:
        meant = f"; did you mean {', '.join(categories[index] for index in found[:5])}?" if found else ""
        raise ConfigError(f"--class must be one of the {len(categories)} classes, but got {name!r}{meant}")
    return found[0]
