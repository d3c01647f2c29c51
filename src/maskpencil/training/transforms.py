"""Transform image and target together; targets are scaled by nearest neighbor and padded with `IGNORE_INDEX`.

Colors are changed later, in whole batches on the device of the network.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from maskpencil.classes import IGNORE_INDEX

_LUMA = (0.2989, 0.587, 0.114)
"""The weights of red, green and blue in the luma of ITU-R BT.601, as torchvision rounds them."""

Size = tuple[int, int]
Augmentation = Callable[..., tuple[torch.Tensor, torch.Tensor]]


class FitSize(v2.Transform):
    """A transform that scales image and target to the size that the function `working_size` returns for their size."""

    def __init__(self, working_size: Callable[[Size], Size]) -> None:
        super().__init__()
        self.working_size = working_size

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Compute the new size once for image and target."""
        return {"size": list(self.working_size(_size(flat_inputs)))}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Scale the image or the target."""
        return _resize(inpt, params["size"])


class RandomScaleCrop(v2.Transform):
    """Scale by a random factor, log-uniform in the range `scale`, and cut a random window of `size` = (height, width).

    A scaled image smaller than the window is placed at random inside the window; the rest of the window is filled with
    `fill` (RGB, 0-255), and is ignored in the target. Only the part of the image inside the window is scaled.
    """

    def __init__(self, size: Size, *, scale: tuple[float, float], fill: tuple[int, int, int]) -> None:
        super().__init__()
        self.size, self.scale, self.fill = size, scale, fill

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw a random window: the part of the image (top, left, height, width), its new size, and the padding.

        The padding is (left, top, right, bottom).
        """
        scale = math.exp(_uniform(math.log(self.scale[0]), math.log(self.scale[1])))
        starts, lengths, scaled, before, after = [], [], [], [], []
        for side, window in zip(_size(flat_inputs), self.size, strict=True):
            extent = window / scale  # the window in the image's own pixels
            start = _uniform(min(0.0, side - extent), max(0.0, side - extent))
            first = min(side - 1, max(0, round(start)))
            last = max(first + 1, min(side, round(start + extent)))
            pixels = min(window, max(1, round((last - first) * scale))) if extent > side else window
            gap = min(window - pixels, max(0, round((first - start) * scale)))
            starts.append(first)
            lengths.append(last - first)
            scaled.append(pixels)
            before.append(gap)
            after.append(window - pixels - gap)
        return {
            "box": (*starts, *lengths),
            "scaled": scaled,
            "padding": [before[1], before[0], after[1], after[0]],
        }

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Cut, scale and pad the image or the target."""
        window = _resize(functional.crop(inpt, *params["box"]), params["scaled"])
        if not any(params["padding"]):
            return window
        fill = IGNORE_INDEX if isinstance(inpt, tv_tensors.Mask) else list(self.fill)
        return functional.pad(window, params["padding"], fill=fill)


def training_transform(
    *,
    crop_size: Size | None,
    scale: tuple[float, float],
    flip: float,
    fill: tuple[int, int, int],
) -> Augmentation:
    """Build the augmentation: random scaling by `scale`, a random window of `crop_size`, and mirroring left to right.

    Args:
        crop_size: (height, width) of the window; if None, images are neither scaled nor cut.
        scale: the smallest and the largest factor.
        flip: the probability of mirroring.
        fill: the color (RGB, 0-255) of the window outside the image.
    """
    window = RandomScaleCrop(crop_size, scale=scale, fill=fill) if crop_size else v2.Identity()
    steps: list[v2.Transform] = [window]
    if flip:
        steps.append(v2.RandomHorizontalFlip(flip))
    augment: Augmentation = v2.Compose(steps)
    return augment


def draw_gains(most: float) -> torch.Tensor:
    """Draw random factors (3,) of brightness, contrast and saturation, each between 1 - `most` and 1 + `most`."""
    return (1 + most * (2 * torch.rand(3) - 1)).clamp(min=0)


def recolor(pixels: torch.Tensor, gains: torch.Tensor) -> torch.Tensor:
    """Change brightness, then contrast, then saturation of images (N, 3, H, W) by their `gains` (N, 3).

    The result equals torchvision's ColorJitter in that order, in float32. All three changes are combined into one
    matrix per image, applied to the whole batch on its device. Input and output are in 0..255.
    """
    brightness, contrast, saturation = gains.to(pixels.device).view(-1, 3, 1, 1).unbind(1)  # (N, 1, 1) each
    flat = pixels.float().flatten(2)  # (N, 3, pixels)
    luma = torch.tensor(_LUMA, device=pixels.device).view(1, 1, 3)
    gray = (luma @ flat.mean(dim=2, keepdim=True)) * brightness  # of the whole image, (N, 1, 1)
    own = torch.eye(3, device=pixels.device)
    matrix = brightness * contrast * (saturation * own + (1 - saturation) * luma)  # (N, 3, 3)
    changed = torch.baddbmm((1 - contrast) * gray, matrix, flat)
    return changed.clamp_(0, 255).view(pixels.shape)


def _resize(inpt: Any, size: list[int]) -> Any:
    """Scale an image bilinearly with anti-aliasing, a target by the nearest neighbor of each pixel's center.

    torchvision's default for targets takes the pixel above and to the left of the center, an error of 1.5 pixels if the
    image is scaled to a quarter of its size.
    """
    if list(inpt.shape[-2:]) == size:
        return inpt
    if not isinstance(inpt, tv_tensors.Mask):
        return functional.resize(inpt, size, antialias=True)
    scaled = functional.resize_image(inpt[None], size, interpolation=v2.InterpolationMode.NEAREST_EXACT)[0]
    return tv_tensors.wrap(scaled, like=inpt)


def _size(flat_inputs: list[Any]) -> Size:
    height, width = v2.query_size(flat_inputs)
    return height, width


def _uniform(low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand(()))
