"""Define `Prediction`, the result for one image: label map, confidence, overlay, regions."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from maskpencil import visualize
from maskpencil.classes import IGNORE_INDEX, ClassSet
from maskpencil.images import RGBImage
from maskpencil.label_maps import LabelMap, write_label_map
from maskpencil.parsing import read_number, read_path
from maskpencil.regions import Region, find_regions


@dataclass(frozen=True)
class Prediction:
    """An image with its label map, and with its confidence and entropy if they were requested.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        label_map: (H, W) uint8 class indices.
        confidence: (H, W) float32 in 0..1, the probability of the chosen class; None if not requested.
        classes: the classes of the label map.
        plain: the indices of classes that overlays and legends leave out, such as the background; their pixels show the
            image.
        entropy: (H, W) float32 from 0 (one class is certain) to 1 (all are equally likely); None if not requested.

    Example:
        >>> segmenter = mp.Segmenter.from_pretrained("runs/train/street/model")
        >>> prediction = segmenter.predict("photo.jpg")
        >>> prediction.label_map.shape, prediction.confidence.dtype
        ((64, 96), dtype('float32'))
        >>> overlay = prediction.overlay(legend=False)  # (H, W, 3) uint8
        >>> prediction.save("mask.png")
    """

    image: RGBImage
    label_map: LabelMap
    confidence: npt.NDArray[np.float32] | None
    classes: ClassSet
    plain: tuple[int, ...] = ()
    entropy: npt.NDArray[np.float32] | None = None

    def emptied(self, empty: npt.NDArray[np.bool_] | None) -> "Prediction":
        """Return the prediction with no class (255), confidence 0 and entropy 1 at pixels without image data.

        `empty` (H, W) is True at these pixels; None if there are none.
        """
        if empty is None:
            return self
        return replace(
            self,
            label_map=np.where(empty, np.uint8(IGNORE_INDEX), self.label_map),
            confidence=None if self.confidence is None else np.where(empty, np.float32(0), self.confidence),
            entropy=None if self.entropy is None else np.where(empty, np.float32(1), self.entropy),
        )

    def overlay(self, *, opacity: float = 0.5, legend: bool = True, boxes: Sequence[Region] = ()) -> RGBImage:
        """Draw the classes over the image, with a legend below.

        Args:
            opacity: the share of the class colors, 0..1.
            legend: whether to add the legend. It names the classes except the classes in `plain`, and "no
                class" if pixels of the label map have no class (255).
            boxes: regions to draw a box around; the legend shows their number for each class.

        Returns:
            (H, W, 3) uint8; with a legend the image is higher, and at least 240 pixels wide.
        """
        opacity, drawn = read_number("opacity", opacity, least=0, most=1), self.label_map
        if self.plain:
            drawn = np.where(np.isin(drawn, self.plain), np.uint8(IGNORE_INDEX), drawn)
        image = visualize.overlay(self.image, drawn, self.classes, opacity=opacity)
        if boxes:
            image = visualize.boxes(image, boxes, self.classes)
        if not legend:
            return image
        named = [index for index in range(len(self.classes)) if index not in self.plain]
        if (self.label_map == IGNORE_INDEX).any():
            named.append(IGNORE_INDEX)
        counts = Counter(region.class_index for region in boxes)
        return visualize.with_legend(image, self.classes, indices=named, label_map=self.label_map, counts=counts)

    def regions(self, *, min_area: int = 1, wanted: Sequence[str] | None = None, polygons: bool = True) -> list[Region]:
        """Find the connected components of each class, ordered by class, then by area, the largest first.

        The regions have a mean confidence if the prediction has `confidence`.

        Args:
            min_area: leave out regions with fewer pixels.
            wanted: the names of the classes to look for, by default all.
            polygons: whether to compute the outlines as well, which takes longer.

        Raises:
            ConfigError: `min_area` is under 1.
            DataError: a wanted class does not exist.
        """
        return find_regions(
            self.label_map,
            self.classes,
            confidence=self.confidence,
            min_area=min_area,
            wanted=wanted,
            polygons=polygons,
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the label map as a palette PNG.

        Raises:
            OutputError: the file cannot be written.
        """
        write_label_map(read_path("path", path), self.label_map, self.classes.colors)
