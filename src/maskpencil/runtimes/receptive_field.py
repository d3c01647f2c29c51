"""What a network needs: how far around a cell it looks, and how much memory a pixel takes. Measured, not derived."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from maskpencil.models.architectures import Network
from maskpencil.models.surgery import BilinearUpsampling
from maskpencil.runtimes.base import ALIGNMENT, Footprint

_LENGTHS = (1024, 4096)
"""How long the strips are that are tried, in pixels."""

_WIDTH = 64
_FLOAT = 4
_WORKSPACE = 1.5
"""Of the memory of the largest layer's input and output: what a runtime takes beside it."""

_ALIKE = 1e-3
"""Cells of a strip and of a part of it that differ by more, as a share of the largest, come from other pixels."""


@torch.inference_mode()
def footprint_of(network: Network) -> Footprint:
    """Measure a network, in evaluation mode, on strips of images.

    Not-a-numbers in a few rows of a strip show in every cell that depends on them, whatever the weights. The network
    must besides give the same cells for a part of a strip: one with windows of its own, as in a Swin transformer, does
    not, and one that looks at the whole image, as for squeeze and excitation, does not either.
    """
    network.eval()
    memory = _bytes_per_pixel(network)
    for length in _LENGTHS:
        with _by_convolutions(network):
            reaches = [_reach(network, length, upright=upright) for upright in (True, False)]
        if None not in reaches:
            reach = max(reach for reach in reaches if reach is not None)
            bounded = all(_repeats(network, reach, upright=upright) for upright in (True, False))
            return Footprint(reach if bounded else None, memory)
    return Footprint(None, memory)


@contextmanager
def _by_convolutions(network: Network) -> Iterator[None]:
    """Let fixed upsamplings be convolutions: in a product of matrices not-a-numbers spread through its zeros."""
    layers = [layer for layer in network.modules() if isinstance(layer, BilinearUpsampling) and layer.is_bilinear]
    for layer in layers:
        layer.is_bilinear = False
    try:
        yield
    finally:
        for layer in layers:
            layer.is_bilinear = True


def _strip(network: Network, length: int, *, upright: bool) -> Tensor:
    place = next(network.parameters()).device
    shape = (length, _WIDTH) if upright else (_WIDTH, length)
    strip = torch.randn(1, network.config.in_channels, *shape, generator=torch.Generator().manual_seed(0))
    return strip.to(place).contiguous(memory_format=torch.channels_last)


def _along(cells: Tensor, *, upright: bool) -> Tensor:
    """Cells (1, K, h, w) as (length, all others), along the strip."""
    return cells[0].permute(1, 2, 0).flatten(1) if upright else cells[0].permute(2, 1, 0).flatten(1)


def _reach(network: Network, length: int, *, upright: bool) -> int | None:
    """How far, in pixels along the strip, what is in a tile shows; None where it is at an end of the strip."""
    strip, first = _strip(network, length, upright=upright), length // 2
    strip.narrow(2 if upright else 3, first, ALIGNMENT).fill_(math.nan)
    cells = _along(network.cells(strip), upright=upright)
    touched = cells.isnan().any(dim=1).nonzero().flatten()
    stride = length // len(cells)
    top, bottom = int(touched.min()) * stride, (int(touched.max()) + 1) * stride
    if top == 0 or bottom >= length:
        return None
    reach = max(first - top, bottom - first - ALIGNMENT, 0)
    return -(-reach // ALIGNMENT) * ALIGNMENT


def _repeats(network: Network, reach: int, *, upright: bool) -> bool:
    """Whether a part of a strip gives the cells that the whole gives there."""
    length, axis = 4 * reach + 8 * ALIGNMENT, 2 if upright else 3
    strip = _strip(network, length, upright=upright)
    whole = _along(network.cells(strip), upright=upright)
    start = 3 * ALIGNMENT
    part = _along(network.cells(strip.narrow(axis, start, length - start)), upright=upright)
    stride = length // len(whole)
    inner, skipped = reach // stride, start // stride
    difference = (whole[skipped + inner :] - part[inner:]).abs().max()
    return bool(difference <= _ALIKE * whole.abs().max())


def _bytes_per_pixel(network: Network) -> int:
    """The memory of the largest layer, its input and its output, for a pixel of the image."""
    pixels, largest = (4 * ALIGNMENT) ** 2, 0

    def look(_: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        nonlocal largest
        tensors = [tensor for tensor in (*inputs, output) if isinstance(tensor, Tensor)]
        largest = max(largest, sum(tensor.numel() for tensor in tensors))

    leaves = [module for module in network.modules() if not any(True for _ in module.children())]
    handles: list[Callable[[], None]] = [module.register_forward_hook(look).remove for module in leaves]
    try:
        place = next(network.parameters()).device
        network.cells(torch.zeros(1, network.config.in_channels, 4 * ALIGNMENT, 4 * ALIGNMENT, device=place))
    finally:
        for remove in handles:
            remove()
    return math.ceil(_WORKSPACE * _FLOAT * largest / pixels)
