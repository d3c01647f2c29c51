"""`Prediction`: what the network says of one picture."""

import os
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from maskpencil import visualize
from maskpencil.classes import ClassSet
from maskpencil.images import LabelMap, RGBImage, write_label_map


@dataclass(frozen=True)
class Prediction:
    """A picture and its label map, of one size.

    `image` is (H, W, 3) uint8 RGB, `label_map` (H, W) uint8 class indices, `confidence` (H, W) float32 in 0..1: the
    probability of the class chosen, or None where it was not asked for.
    """

    image: RGBImage
    label_map: LabelMap
    confidence: npt.NDArray[np.float32] | None
    classes: ClassSet

    def overlay(self, *, opacity: float = 0.5, legend: bool = True) -> RGBImage:
        """Draw the classes over the picture, as a rule with a legend below; `opacity` is the colours' share, 0..1."""
        picture = visualize.overlay(self.image, self.label_map, self.classes, opacity=opacity)
        return visualize.with_legend(picture, self.classes, label_map=self.label_map) if legend else picture

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the label map as a palette PNG.

        Raises:
            OutputError: the file cannot be written.
        """
        write_label_map(path, self.label_map, self.classes.colors)
