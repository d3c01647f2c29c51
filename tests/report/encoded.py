"""A predictor whose predictions are drawn into its images, so that tests choose its errors."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

import maskpencil as mp
from maskpencil.classes import IGNORE_INDEX, ClassSet
from maskpencil.images import RGBImage
from maskpencil.prediction import Prediction

HOSTILE = (
    "<script>alert(1)</script>",
    "\"quoted\" 'twice' & more",
    "\x1b[31mred\x1b[0m \x07",
    "\u202eright to left\u202c",
    "=HYPERLINK(1)",
    "x" * 200,
)


class Encoded(mp.Predictor):
    """A predictor that reads its prediction from the image: red is 8 times the class, green the confidence of 255."""

    def __init__(
        self, names: Sequence[str], wrong: Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.uint8]] = np.copy
    ) -> None:
        self._classes, self.wrong = ClassSet(tuple(names)), wrong

    @property
    def classes(self) -> ClassSet:
        return self._classes

    def sureness(self, image: RGBImage) -> npt.NDArray[np.float32] | None:
        return image[..., 1] / np.float32(255)

    def predict_batch(
        self,
        images: Sequence[RGBImage],
        *,
        confidence: bool = False,  # noqa: ARG002
        entropy: bool = False,  # noqa: ARG002
    ) -> list[Prediction]:
        return [
            Prediction(image, self.wrong(image[..., 0] // 8), self.sureness(image), self.classes) for image in images
        ]


def images(
    targets: Mapping[str, npt.NDArray[np.uint8]],
    predicted: Mapping[str, npt.NDArray[np.uint8]] | None = None,
    *,
    sure: int = 250,
    split: str = "val",
) -> dict[str, npt.NDArray[np.uint8]]:
    """Files of masks, and of images from which `Encoded` reads predictions."""
    files = {}
    for name, target in targets.items():
        labels = (predicted or targets)[name]
        image = np.full((*target.shape, 3), sure, np.uint8)
        image[..., 0] = np.where(labels == IGNORE_INDEX, 0, labels) * 8
        files |= {f"images/{split}/{name}.png": image, f"masks/{split}/{name}.png": target}
    return files


def squares(count: int, classes: int = 3, *, side: int = 64, seed: int = 0) -> dict[str, npt.NDArray[np.uint8]]:
    random, maps = np.random.default_rng(seed), {}
    for number in range(count):
        label_map = np.zeros((side, side), np.uint8)
        for k in range(1, classes):
            y, x = random.integers(0, side - 16, 2)
            label_map[y : y + 16, x : x + 16] = k
        maps[f"photo_{chr(97 + number % 26)}{number}x"] = label_map
    return maps
