"""From options to a segmenter."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from maskpencil.errors import ConfigError
from maskpencil.extras import how_to_install
from maskpencil.parsing import parse_image_size
from maskpencil.terminal import say

if TYPE_CHECKING:
    from maskpencil.segmenter import Segmenter, SizeOverride

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def load_segmenter(
    model: Path,
    *,
    runtime: str,
    device: str,
    precision: str,
    image_size: str | None = None,
    memory: str | None = None,
    tile: int | None = None,
    compiled: bool = False,
) -> "Segmenter":
    """Load a model as its options ask; `image_size`, `memory` and `tile` as they are where None.

    Raises:
        ConfigError: an option is out of range, or the machine lacks what is asked for.
        ModelError: the model cannot be read.
    """
    from maskpencil.segmenter import MEMORY, Segmenter

    size: SizeOverride = None if image_size is None else parse_image_size(image_size) or "native"
    limit = None if memory is None else parse_bytes("--memory", memory)
    segmenter = Segmenter.from_pretrained(
        model,
        runtime=runtime,
        device=device,
        precision=precision,
        compiled=compiled,
        memory=limit or MEMORY,
        tile=tile,
        image_size=size,
    )
    for line in unused_gpu(device):
        say(line)
    if limit and isinstance(size, tuple):
        _refuse_too_large(segmenter, size, limit)
    return segmenter


def unused_gpu(device: str) -> list[str]:
    """Say in one line that a GPU of this machine may stay unused, or in none."""
    from maskpencil.hardware import may_lack_torch_for_gpu

    if device != "auto" or not may_lack_torch_for_gpu():
        return []
    remedy = how_to_install("torch")
    return [f"note: computing on the CPU; a GPU, where there is one, needs {remedy}, or add --device cpu"]


def _refuse_too_large(segmenter: "Segmenter", size: tuple[int, int], limit: int) -> None:
    """Refuse to scale images to a size (H, W) that takes more memory than is allowed: they are then seen whole."""
    from maskpencil.segmenter import MAX_UNTILED_PIXELS

    pixels = size[0] * size[1]
    if pixels > MAX_UNTILED_PIXELS and (needed := pixels * segmenter.runtime.profile.bytes_per_pixel) > limit:
        raise ConfigError(
            f"images scaled to {size[0]}x{size[1]} take the network some {needed / 2**30:.1f} GiB, but --memory "
            f"allows {limit / 2**30:.1f}; give a smaller --image-size, native, or more --memory"
        )


def parse_bytes(option: str, text: str) -> int:
    """Read `2GiB`, `512M` or a number of bytes; units are powers of 1024.

    Raises:
        ConfigError: it is none of these, or 0.
    """
    parts = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", text.strip(), flags=re.IGNORECASE)
    count = float(parts[1]) * _UNITS[parts[2].upper()] if parts else 0.0
    if not count >= 1:
        raise ConfigError(f"{option} must be an amount such as 2GiB or 512MiB, but got {text!r}")
    return int(count)
