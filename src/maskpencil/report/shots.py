"""Draw the list items of a report: one for each image to show, and one for each suspected label error."""

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
"""The largest length of the longer side of an image drawn for a suspected label error, in pixels."""

LEAST_SIDE = 120
"""The smallest side, in pixels, of the square cut out around a suspected region."""

SHIFT_SIDE = 40
"""The square cut out to show a shifted mask has a side of this number times the shift."""

FRAME = (255, 0, 255)
"""The RGB color of the frame around a suspected region, and of the drawn boundaries of a shifted mask."""


@dataclass(frozen=True)
class Shot:
    """The content of a list item.

    Attributes:
        name: the heading: the name of the image file, or the time range of a video.
        lines: the remarks below the heading.
        panels: pairs of an image (H, W, 3) RGB and its caption.
        data: further attributes of the HTML element: the groups and classes by which the page filters its images.
    """

    name: str
    lines: tuple[Child, ...]
    panels: tuple[tuple[npt.NDArray[np.uint8], str], ...]
    data: Mapping[str, str] = field(default_factory=dict)

    def drawn(self, quality: int) -> Element:
        """Return the list item as an HTML element; the images are encoded as WebP with a `quality` of 0..100."""
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
    """Draw an image, its target, the predictions and the wrong pixels, and say in words what is wrong.

    Args:
        name: the name of the image file.
        image: (H, W, 3) RGB.
        target: (H, W) class indices, 255 where ignored.
        predictions: the prediction (H, W) of each model, as class indices, by the name of the model. The wrong pixels
            and the remarks are those of the first model.
        scores: the counts of the image with the first model.
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
    """Draw the image, the target and the prediction around a suspected label error; for a shifted mask, see `_shifted`.

    Args:
        name: the name of the image file.
        image: (H, W, 3) RGB.
        target: (H, W) class indices, 255 where ignored.
        prediction: (H, W) class indices.
        suspect: the suspected label error.
        classes: the classes.
    """
    x0, y0, x1, y1 = suspect.box
    label, would_be = (None if k is None else classes.names[k] for k in (suspect.label, suspect.would_be))
    says: list[Child] = ["labeled ", name_of(label or ""), ", the model says ", name_of(would_be or "")]
    whole = {SHIFTED: ["the mask looks shifted"], OTHER_IMAGE: ["the mask looks like the mask of another image"]}
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
    """Draw the boundaries of a mask on the square of the image with the largest number of boundary pixels.

    Args:
        image: (H, W, 3) RGB.
        target: (H, W) class indices, 255 where ignored.
        shift: (down, right) in pixels, by which the mask is moved for the third panel.

    Returns:
        Three panels, each an image (H, W, 3) and its caption: the image, the boundaries on it, the moved boundaries.
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
    """Return the indices, in ascending order, of the classes that occur in the target or prediction of any image."""
    return sorted({int(k) for shot in shots for k in shot.data.get("data_classes", "").split()})


def _framed(pixels: npt.NDArray[np.uint8], box: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Return a copy of an image (H, W, 3) with a frame, one pixel wide, around the box (x0, y0, x1, y1) in pixels."""
    canvas = Image.fromarray(pixels)
    x0, y0, x1, y1 = box
    ImageDraw.Draw(canvas).rectangle((x0 - 2, y0 - 2, x1 + 1, y1 + 1), outline=FRAME)
    return np.asarray(canvas)
