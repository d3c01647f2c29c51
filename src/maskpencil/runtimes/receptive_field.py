"""Measure the receptive field of a network and the memory it takes per pixel."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from maskpencil.models.build import Network
from maskpencil.models.surgery import BilinearUpsampling
from maskpencil.runtimes.base import ALIGNMENT, NetworkProfile

_LENGTHS = (1024, 4096)
"""The lengths of the test strips in pixels."""

_WIDTH = 64
_FLOAT = 4
_WORKSPACE = 1.5
"""The factor from the memory of the largest layer's input and output to that of a runtime."""

_ALIKE = 1e-3
"""Scores of a strip and of a part of it that differ by more, as a share of the largest, depend on other pixels."""


@torch.inference_mode()
def measure_profile(network: Network) -> NetworkProfile:
    """Measure a network, in evaluation mode, on strips of images.

    NaNs in a few rows of a strip appear in every score that depends on them, for any weights. The network must also
    give the same scores for a part of a strip; networks with fixed windows (Swin transformer) or a view of the whole
    image (squeeze and excitation) do not.
    """
    network.eval()
    memory = _bytes_per_pixel(network)
    for length in _LENGTHS:
        with _by_convolutions(network):
            reaches = [_reach(network, length, upright=upright) for upright in (True, False)]
        if None not in reaches:
            reach = max(reach for reach in reaches if reach is not None)
            bounded = all(_repeats(network, reach, upright=upright) for upright in (True, False))
            return NetworkProfile(reach if bounded else None, memory)
    return NetworkProfile(None, memory)


@contextmanager
def _by_convolutions(network: Network) -> Iterator[None]:
    """Compute fixed upsamplings as convolutions: in a matrix product NaNs spread through its zeros."""
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


def _along(scores: Tensor, *, upright: bool) -> Tensor:
    """Return scores (1, K, h, w) as (length, all others), along the strip."""
    return scores[0].permute(1, 2, 0).flatten(1) if upright else scores[0].permute(2, 1, 0).flatten(1)


def _reach(network: Network, length: int, *, upright: bool) -> int | None:
    """Return the distance in pixels up to which a tile has an effect; None where that is the end of the strip."""
    strip, first = _strip(network, length, upright=upright), length // 2
    strip.narrow(2 if upright else 3, first, ALIGNMENT).fill_(math.nan)
    scores = _along(network.coarse_scores(strip), upright=upright)
    touched = scores.isnan().any(dim=1).nonzero().flatten()
    stride = length // len(scores)
    top, bottom = int(touched.min()) * stride, (int(touched.max()) + 1) * stride
    if top == 0 or bottom >= length:
        return None
    reach = max(first - top, bottom - first - ALIGNMENT, 0)
    return -(-reach // ALIGNMENT) * ALIGNMENT


def _repeats(network: Network, reach: int, *, upright: bool) -> bool:
    """Return whether a part of a strip gives the same scores as the whole strip."""
    length, axis = 4 * reach + 8 * ALIGNMENT, 2 if upright else 3
    strip = _strip(network, length, upright=upright)
    whole = _along(network.coarse_scores(strip), upright=upright)
    start = 3 * ALIGNMENT
    part = _along(network.coarse_scores(strip.narrow(axis, start, length - start)), upright=upright)
    stride = length // len(whole)
    inner, skipped = reach // stride, start // stride
    difference = (whole[skipped + inner :] - part[inner:]).abs().max()
    return bool(difference <= _ALIKE * whole.abs().max())


def _bytes_per_pixel(network: Network) -> int:
    """Return the bytes of the largest layer, its input and its output, per pixel of the image."""
    pixels, largest = (4 * ALIGNMENT) ** 2, 0

    def look(_: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        nonlocal largest
        tensors = [tensor for tensor in (*inputs, output) if isinstance(tensor, Tensor)]
        largest = max(largest, sum(tensor.numel() for tensor in tensors))

    leaves = [module for module in network.modules() if not any(True for _ in module.children())]
    handles: list[Callable[[], None]] = [module.register_forward_hook(look).remove for module in leaves]
    try:
        place = next(network.parameters()).device
        network.coarse_scores(torch.zeros(1, network.config.in_channels, 4 * ALIGNMENT, 4 * ALIGNMENT, device=place))
    finally:
        for remove in handles:
            remove()
    return math.ceil(_WORKSPACE * _FLOAT * largest / pixels)
