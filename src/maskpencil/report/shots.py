"""Draw the images and the suspected label errors of a report as list items."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from maskpencil.classes import ClassSet
from maskpencil.images import RGBImage
from maskpencil.label_maps import LabelMap
from maskpencil.metrics import ImageScores
from maskpencil.metrics.boundary import boundary_pixels
from maskpencil.report.html import Child, element, embedded_image, name_of
from maskpencil.report.images import (
    GROUPS,
    Choice,
    differing,
    fitted,
    painted,
    reason,
    share_along_boundaries,
)
from maskpencil.report.label_errors import OTHER_IMAGE, SHIFTED, Suspect

CROP = 320
"""The longer side of the panels of a suspected region, in pixels."""

LEAST_SIDE = 120
"""The smallest side of the square around a suspected region that is shown, in pixels."""

SHIFT_SIDE = 40
"""The side of the square that shows a shifted mask, as a multiple of the shift."""

FRAME = (255, 0, 255)


@dataclass(frozen=True)
class Shot:
    """A list item: a heading with the file's name, remarks, images with captions, and values for the filters."""

    name: str
    lines: tuple[Child, ...]
    panels: tuple[tuple[npt.NDArray[np.uint8], str], ...]
    data: Mapping[str, str] = field(default_factory=dict)

    def drawn(self, quality: int) -> Element:
        """Return the list item; `quality` is that of the images in WebP, 0..100."""
        copy = element("button", "copy name", type="button", class_="copy", data_name=self.name)
        buttons = []
        for pixels, caption in self.panels:
            image = embedded_image(pixels, f"{self.name}: {caption}", quality=quality)
            buttons.append(element("button", image, element("span", caption), type="button"))
        heading = element("h3", name_of(self.name), " ", copy)
        return element("li", heading, *self.lines, element("div", buttons, class_="panels"), class_="shot", **self.data)


def image_shot(
    name: str,
    image: RGBImage,
    target: LabelMap,
    predictions: Mapping[str, LabelMap],
    scores: ImageScores,
    choice: Choice,
    classes: ClassSet,
) -> Shot:
    """Return the item of an image: image, truth, prediction and where they differ, with the reason in words.

    Args:
        name: the name of the file.
        image: (H, W, 3) RGB.
        target: (H, W) class indices, 255 where ignored.
        predictions: (H, W) class indices, by the name of the model; the first is judged.
        scores: the counts of the image.
        choice: why the image was chosen.
        classes: the classes.
    """
    why = reason(scores, classes.names, along=share_along_boundaries(target, next(iter(predictions.values()))))
    numbers = f"mean IoU {scores.mean_iou:.3f}, {scores.pixel_accuracy:.1%} of the pixels right"
    if not np.isnan(scores.uncertainty):
        numbers += f", mean confidence {1 - scores.uncertainty:.3f}"
    tags = [element("span", GROUPS[group], class_="tag") for group in choice.groups if group != "class"]
    tags += [element("span", "worst of ", name_of(classes.names[k]), class_="tag") for k in choice.worst_of]
    small = fitted(image)
    truth, *predicted = (fitted(each, nearest=True) for each in (target, *predictions.values()))
    models = ["prediction"] if len(predictions) == 1 else [f"prediction of {name}" for name in predictions]
    return Shot(
        name,
        (element("p", tags, why), element("p", numbers, class_="faint small")),
        (
            (small, "image"),
            (painted(small, truth, classes), "mask, ignored pixels untinted"),
            *((painted(small, each, classes), name) for name, each in zip(models, predicted, strict=True)),
            (differing(small, truth, predicted[0]), "wrong pixels orange, ignored pixels black"),
        ),
        {"data_groups": " ".join(choice.groups), "data_classes": " ".join(map(str, scores.classes.tolist()))},
    )


def suspect_shot(
    name: str, image: RGBImage, target: LabelMap, prediction: LabelMap, suspect: Suspect, classes: ClassSet
) -> Shot:
    """Return the item of a suspected label error: the image, the label and the prediction around it."""
    x0, y0, x1, y1 = suspect.box
    label, would_be = (None if k is None else classes.names[k] for k in (suspect.label, suspect.would_be))
    says: list[Child] = ["labeled ", name_of(label or ""), ", the model says ", name_of(would_be or "")]
    whole = {SHIFTED: ["the mask looks shifted"], OTHER_IMAGE: ["the mask looks like that of another image"]}
    numbers = f"{suspect.remark}; box {x0}, {y0} to {x1}, {y1}"
    lines = element("p", whole.get(suspect.kind, says)), element("p", numbers, class_="faint small")
    if suspect.kind == SHIFTED:
        return Shot(name, lines, _shifted(image, target, suspect.shift))
    side = max(LEAST_SIDE, 3 * max(x1 - x0, y1 - y0) // 2)
    top, left = (max(0, (low + high - side) // 2) for low, high in ((y0, y1), (x0, x1)))
    rows, columns = slice(top, max(y1, top + side)), slice(left, max(x1, left + side))
    crops = [fitted(each[rows, columns], CROP, nearest=each.ndim == 2) for each in (image, target, prediction)]
    factor = crops[0].shape[1] / image[rows, columns].shape[1]
    place = tuple(
        round((value - start) * factor)
        for value, start in zip((x0, y0, x1, y1), (columns.start, rows.start) * 2, strict=True)
    )
    return Shot(
        name,
        lines,
        (
            (_framed(crops[0], place), "image"),
            (_framed(painted(crops[0], crops[1], classes), place), "mask"),
            (_framed(painted(crops[0], crops[2], classes), place), "prediction"),
        ),
    )


def _shifted(
    image: RGBImage, target: LabelMap, shift: tuple[int, int]
) -> tuple[tuple[npt.NDArray[np.uint8], str], ...]:
    """Draw the boundaries of a mask on the part of the image that has most of them: as they are, and moved.

    Args:
        image: (H, W, 3) RGB.
        target: (H, W) class indices, 255 where ignored.
        shift: the pixels, down and to the right, by which the mask is moved.
    """
    import cv2  # slow to import

    side = min(SHIFT_SIDE * max(1, *map(abs, shift)), *target.shape)
    edge = boundary_pixels(target)
    # the number of boundary pixels in the square around each pixel; squares that leave the image are not compared
    number = cv2.boxFilter(edge.astype(np.float32), -1, (side, side), normalize=False, borderType=cv2.BORDER_CONSTANT)
    half = side // 2
    inner = number[half : target.shape[0] - side + half + 1, half : target.shape[1] - side + half + 1]
    top, left = np.unravel_index(int(inner.argmax()), inner.shape)
    window = slice(int(top), int(top) + side), slice(int(left), int(left) + side)
    panels = []
    for moved, caption in ((edge, "boundaries of the mask"), (np.roll(edge, shift, (0, 1)), "the same, moved")):
        pixels = image[window].copy()
        pixels[moved[window]] = FRAME
        panels.append((fitted(pixels, CROP), caption))
    return (fitted(image[window], CROP), "image"), *panels


def present_classes(shots: Sequence[Shot]) -> list[int]:
    """Return the classes that occur in the images, ordered by their index."""
    return sorted({int(k) for shot in shots for k in shot.data.get("data_classes", "").split()})


def _framed(pixels: npt.NDArray[np.uint8], box: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Draw a frame of one pixel around a box (x0, y0, x1, y1)."""
    canvas = Image.fromarray(pixels)
    x0, y0, x1, y1 = box
    ImageDraw.Draw(canvas).rectangle((x0 - 2, y0 - 2, x1 + 1, y1 + 1), outline=FRAME)
    return np.asarray(canvas)
