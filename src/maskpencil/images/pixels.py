"""Convert arrays, tensors and Pillow images to RGB pixels, and collect remarks on how files were read."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from maskpencil.errors import ImageError
from maskpencil.images.files import upright

if TYPE_CHECKING:
    import torch

RGBImage = npt.NDArray[np.uint8]

ImageSource: TypeAlias = (
    "str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes] | Image.Image | npt.NDArray[np.generic] "
    "| torch.Tensor"
)


@dataclass(frozen=True)
class Pixels:
    """An image in RGB, with facts about its file.

    Attributes:
        rgb: (H, W, 3) uint8, 0-255, contiguous.
        empty: (H, W) bool, True at pixels that are fully transparent, nodata or masked; None if no pixel is empty.
        pages: the number of images in the file; `rgb` is the first.
        bands: a description of the bands of a TIFF or JPEG 2000 file that are used as RGB; "" if these are all bands in
            their order, and for other formats.
        levels: a description of how numbers were mapped to 0-255; "" for 8-bit numbers.
        has_place: whether the file is a georeferenced TIFF.
    """

    rgb: RGBImage
    empty: npt.NDArray[np.bool_] | None = None
    pages: int = 1
    bands: str = ""
    levels: str = ""
    has_place: bool = False

    @property
    def remarks(self) -> tuple[str, ...]:
        """Remarks for the user on how the file was read; each is printed after the file's name and a colon."""
        several = f"only page 1 of {self.pages} is read; save the others as separate files" if self.pages > 1 else ""
        return tuple(text for text in (self.bands, self.levels, several) if text)


@dataclass
class Remarks:
    """A collection of remarks on files.

    Attributes:
        names: the names of the files with each remark, by remark.
        levels: the different descriptions of how the numbers of files were mapped to 0-255.
    """

    names: dict[str, list[str]] = field(default_factory=dict)
    levels: set[str] = field(default_factory=set)

    def add(self, name: str, texts: Sequence[str], levels: str = "") -> None:
        """Add the remarks on a file.

        Args:
            name: the name of the file in the printed lines.
            texts: the remarks, see `Pixels.remarks`.
            levels: the remark in `texts` on how the numbers of the file were mapped to 0-255; "" if they were not.
        """
        for text in texts:
            self.names.setdefault(text, []).append(name)
        self.levels |= {levels} - {""}

    @property
    def lines(self) -> list[str]:
        """One line per remark, such as "a.tif and 2 more: only page 1 of 3 is read"."""
        return [
            f"{names[0]}{f' and {len(names) - 1} more' if names[1:] else ''}: {text}"
            for text, names in self.names.items()
        ]

    @property
    def warnings(self) -> list[str]:
        """A list of one line if the numbers of the files were mapped to 0-255 in different ways, otherwise []."""
        if len(self.levels) < 2:
            return []
        ways = "; ".join(sorted(self.levels))
        line = (
            f"the numbers of these files were mapped to 0 to 255 in {len(self.levels)} different ways ({ways}); "
            "if the files belong together, give them one scale: gdal_edit.py -scale FACTOR FILE.tif"
        )
        return [line]


def fitted_size(size: tuple[int, int], image_size: int | tuple[int, int] | None) -> tuple[int, int]:
    """Return the (height, width) to which an image is scaled.

    Args:
        size: the (height, width) of the image.
        image_size: None keeps the size; a number limits the longer side to this number of pixels, and never enlarges
            the image; (height, width) is returned unchanged.
    """
    if image_size is None or isinstance(image_size, tuple):
        return image_size or size
    scale = min(1.0, image_size / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def scaled(image: RGBImage, size: tuple[int, int]) -> RGBImage:
    """Scale an RGB image (H, W, 3) to `size` (height, width), bilinear with anti-aliasing.

    Return the same array if the image already has this size.
    """
    if image.shape[:2] == size:
        return image
    return np.array(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR))


def to_pixels(image: Image.Image, name: str) -> Pixels:
    """Convert a Pillow image to RGB: rotate it by its EXIF orientation, and blend transparent pixels over white.

    Raises:
        ImageError: the numbers of the image are floating-point, or its palette is missing; the message begins with
            `name`.
    """
    image = upright(image)
    if image.mode == "F":
        raise ImageError(f"{name}: holds floating-point numbers; expected 8 or 16 bits per channel; convert it first")
    if image.mode.startswith("I"):  # 16 bits, even if Pillow stores them in 32
        return array_to_pixels(np.array(image).clip(0, 65535).astype(np.uint16))
    if image.mode == "P" and image.palette is None:
        raise ImageError(f"{name}: is damaged: its palette is missing; replace it or remove it")
    if not image.has_transparency_data:
        return Pixels(np.array(image if image.mode == "RGB" else image.convert("RGB")))
    image = image.convert("RGBA")
    empty = np.array(image.getchannel("A")) == 0
    over_white = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return Pixels(np.array(over_white.convert("RGB")), empty if empty.any() else None)


def is_tensor(source: Any) -> bool:
    """Return whether a value is a torch tensor, without importing torch, which is slow."""
    return "torch" in sys.modules and isinstance(source, sys.modules["torch"].Tensor)


def tensor_to_pixels(tensor: Any) -> Pixels:
    """Convert a torch tensor (H, W), (1, H, W), (3, H, W) or (4, H, W) of uint8 or uint16 to RGB.

    The channels are gray, RGB, or RGB and alpha.

    Raises:
        ImageError: the tensor has another shape or type.
    """
    kind = str(tensor.dtype).removeprefix("torch.")
    if tensor.is_meta or tensor.is_sparse or tensor.is_quantized or tensor.is_complex():
        raise ImageError(
            f"an image tensor must be dense, hold data and be of uint8 or uint16, but got {kind} on {tensor.device}"
        )
    if kind not in ("uint8", "uint16"):
        raise _unfit_numbers(tensor.detach().double().cpu().numpy(), kind, "tensor")
    array = tensor.detach().cpu().numpy()
    if array.ndim == 3 and array.shape[0] not in (1, 3, 4):
        turn = "; for (H, W, C) give tensor.permute(2, 0, 1)" if array.shape[2] in (1, 3, 4) else ""
        raise ImageError(f"an image tensor must be (H, W), (3, H, W) or (4, H, W), but got {array.shape}{turn}")
    return array_to_pixels(np.moveaxis(array, 0, -1) if array.ndim == 3 else array)


def array_to_pixels(array: npt.NDArray[np.generic]) -> Pixels:
    """Convert an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of uint8 or uint16 to RGB.

    The channels are gray, RGB, or RGB and alpha.

    Raises:
        ImageError: the array has another shape or type.
    """
    if array.dtype.kind != "u" or array.dtype.itemsize > 2:
        raise _unfit_numbers(array, str(array.dtype), "array")
    if array.dtype.itemsize == 2:
        array = np.round(array.astype(np.float32) / 257)  # 65535 -> 255
    pixels = array.astype(np.uint8)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4) or 0 in pixels.shape:
        turn = "; for (C, H, W) give array.transpose(1, 2, 0)" if array.ndim == 3 and len(array) in (1, 3, 4) else ""
        raise ImageError(f"an image array must be (H, W), (H, W, 3) or (H, W, 4), but got {array.shape}{turn}")
    if pixels.shape[2] == 4:
        return to_pixels(Image.fromarray(np.ascontiguousarray(pixels)), "the image")
    return Pixels(np.ascontiguousarray(pixels if pixels.shape[2] == 3 else np.repeat(pixels, 3, axis=2)))


def refuse_wide(image: Image.Image) -> None:
    """Raise an error for a Pillow image of floats, or of 32-bit integers that are unlikely to be 16-bit gray levels.

    Integers that were read from a file are accepted. Other integers are accepted only if they are from 0 to 65535 and
    the greatest is over 255, or if all are 0.

    Raises:
        ImageError: the range of the numbers is unknown; the message says how to convert them.
    """
    if image.mode == "F" or (image.mode == "I" and image.format is None):
        array = np.array(image)
        if image.mode == "F" or array.min() < 0 or array.max() > 65535 or 0 < array.max() <= 255:
            raise _unfit_numbers(array, str(array.dtype), "image")


def _unfit_numbers(values: npt.NDArray[Any], kind: str, what: str) -> ImageError:
    """Return the error for an image whose numbers have an unknown range; the message says how to convert them.

    Args:
        values: the numbers; their least and greatest determine the Python expression in the message.
        kind: the type of the numbers, such as "float32", for the message.
        what: "array", "tensor" or "image" (a Pillow image), for the message.
    """
    must = f"{'a Pillow image' if what == 'image' else f'an image {what}'} must be uint8 or uint16, but got {kind}"
    if values.dtype.kind not in "biuf":
        return ImageError(f"{must}, which are not brightness values; give an array of uint8")
    if not values.size or not np.isfinite(values).all():
        found = "with NaN or infinity" if values.size else "without any pixel"
        return ImageError(f"{must} {found}; correct the image before passing it")
    name = "numpy.array(image)" if what == "image" else what
    low, high = float(values.min()), float(values.max())
    if kind == "bool":
        full, scaled, bits = "False to True", name, 8
    else:
        full, scaled, bits = _scaling(name, low, high, whole=not kind.startswith(("float", "bfloat")))
    if what == "tensor":
        scaled += ".byte()" if bits == 8 else ".to(torch.uint16)"
    else:
        scaled += f".astype('uint{bits}')"
    if kind == "bool":
        scaled += " * 255"
    if what == "image":
        scaled = f"PIL.Image.fromarray({scaled})"
    return ImageError(f"{must} from {low:.6g} to {high:.6g}; if its full range is {full}, give {scaled}")


def _scaling(name: str, low: float, high: float, *, whole: bool) -> tuple[str, str, int]:
    """Guess the full range of numbers from `low` to `high`, and how to convert them to 8 or 16 bits.

    Returns:
        The range as text, a Python expression that converts the variable `name`, and the number of bits of the result.
    """
    if low >= 0 and high <= 1 and not whole:
        return "0 to 1", f"({name} * 255).round()", 8
    if low >= 0 and high <= 255:
        return "0 to 255", name if whole else f"{name}.round()", 8
    if low >= 0 and high <= 65535 and whole:
        return "0 to 65535", name, 16
    if low >= -1 and high <= 1 and not whole:
        return "-1 to 1", f"(({name} + 1) * 127.5).round()", 8
    least, greatest = f"{low:.9g}", f"{max(high, low + 1):.9g}"
    return f"{least} to {greatest}", f"(({name} - ({least})) * (255 / ({greatest} - ({least})))).round()", 8
