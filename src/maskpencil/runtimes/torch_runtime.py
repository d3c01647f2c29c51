"""Run networks by torch, on GPUs and for validation during training, and measure their receptive field and memory."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from threading import Lock
from typing import Any, ClassVar, cast

import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from maskpencil.errors import ConfigError, first_line
from maskpencil.hardware import autocast
from maskpencil.images import RGBImage
from maskpencil.models import FCN
from maskpencil.models.build import Network
from maskpencil.models.surgery import BilinearUpsampling, bilinear_kernel
from maskpencil.preprocessing import Preprocessing, stacked
from maskpencil.runtimes.base import ALIGNMENT, CoarseScores, Finish, NetworkProfile, Runtime
from maskpencil.runtimes.upsampling import Block, Floats, Upsampling

MAX_COMPILED_SHAPES = 8
"""The largest number of input shapes to compile; each shape takes time and memory."""

_OPTIONS: dict[str, str | int | bool | Callable[..., object]] = {"triton.cudagraphs": True, "freezing": True}


class TorchRuntime(Runtime):
    """A runtime for a torch module; changes to the weights of the module take effect in the next call.

    Args:
        network: the network, which is moved to the device.
        preprocessing: the normalization of images.
        device: the device to compute on.
        precision: the number format of the convolutions: fp32, bf16 or fp16.
        compiled: whether to use `CompiledNetwork`; the network must then not be trained any more.
    """

    name: ClassVar[str] = "torch"

    def __init__(
        self,
        network: Network,
        preprocessing: Preprocessing,
        *,
        device: torch.device,
        precision: str,
        compiled: bool = False,
    ) -> None:
        super().__init__(upsampling_of(network), device=device.type, precision=precision)
        self.network = network.to(device).to(memory_format=torch.channels_last)
        self.preprocessing, self.place = preprocessing, device
        self._forward = CompiledNetwork(network.coarse_scores) if compiled else network.coarse_scores

    @torch.inference_mode()
    def coarse_scores(self, images: Sequence[RGBImage]) -> CoarseScores:
        """Run the network without its last upsampling, see `Runtime.coarse_scores`."""
        self.network.eval()
        pixels = stacked(images)  # (N, 3, H, W)
        with autocast(self.place, self.precision):
            values = self._forward(self.preprocessing.normalize(pixels.to(self.place)))
        return CoarseScores(values.float(), (pixels.shape[-2], pixels.shape[-1]))

    def fetched(self, scores: CoarseScores) -> Floats:
        """Copy the values of coarse scores to an array, see `Runtime.fetched`."""
        values: Floats = scores.values.cpu().numpy()
        return values

    @torch.inference_mode()
    def has_numbers(self, values: Tensor | Floats) -> Any:
        """Check whether the `values` of `CoarseScores` are all finite.

        Returns a tensor on the device, so that the CPU waits for the GPU only when `bool` reads the tensor.
        """
        return torch.linalg.vector_norm(torch.as_tensor(values), math.inf).isfinite()

    @cached_property
    def profile(self) -> NetworkProfile:
        """The receptive field and the memory use of the network, measured at the first access."""
        return measure_profile(self.network)

    @torch.inference_mode()
    def finish(self, scores: Tensor | Floats, block: Block, kind: Finish) -> tuple[npt.NDArray[Any], ...]:
        """Compute one block of pixels from the values of coarse scores, see `Runtime.finish`."""
        down, across = block.down, block.across
        logits = torch.as_tensor(scores[..., down.span, across.span]).to(self.place)
        if isinstance(self.network, FCN) and self.upsampling.kernel is not None:
            kernel, stride = self.network.last_upscore.weight, self.upsampling.stride or 1
            logits = functional.conv_transpose2d(logits, kernel, stride=stride, groups=self.upsampling.groups)
        if down.matrix is not None and across.matrix is not None:
            rows, columns = (torch.from_numpy(side.matrix).to(self.place) for side in (down, across))
            logits = rows @ (logits @ columns.T)  # (N, K, rows, columns)
        else:
            height, width = (place.stop - place.start for place in block.place)
            logits = logits[..., down.offset : down.offset + height, across.offset : across.offset + width]
        if kind == "logits":
            return (logits.cpu().numpy(),)
        best, chosen = logits.max(dim=1)
        labels = chosen.to(torch.uint8).cpu().numpy()
        if kind == "confidence":
            return labels, (best - logits.logsumexp(dim=1)).exp().cpu().numpy()
        return (labels, logits.softmax(dim=1).cpu().numpy()) if kind == "probabilities" else (labels,)


class CompiledNetwork:
    """A network compiled by torch.compile: `compute`, from normalized images (N, 3, H, W) to scores (N, K, h, w).

    An input shape is compiled when it occurs the second time, up to `MAX_COMPILED_SHAPES` shapes; other shapes run
    uncompiled. On a GPU a compiled shape is replayed as one CUDA graph. The weights become constants, so the network
    must not be trained any more. The object may be used from several threads.
    """

    def __init__(self, compute: Callable[[Tensor], Tensor]) -> None:
        self._plain = compute
        self._compiled = cast(Callable[[Tensor], Tensor], torch.compile(compute, dynamic=False, options=_OPTIONS))
        self._seen: set[torch.Size] = set()
        self.shapes: set[torch.Size] = set()
        self._lock = Lock()

    def __call__(self, images: Tensor) -> Tensor:
        """Compute the coarse scores of normalized images (N, 3, H, W).

        Raises:
            ConfigError: torch cannot compile the network on this machine.
        """
        if not self._is_compiled(images.shape):
            return self._plain(images)
        from torch._dynamo.exc import TorchDynamoException  # slow to import

        with self._lock:
            try:
                return self._compiled(images).clone()  # the next replay of the graph writes into the same memory
            except TorchDynamoException as error:
                raise ConfigError(
                    f"torch cannot compile the network here ({first_line(error)}); leave --compile out"
                ) from error

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy or pickle only `compute`, which the copy compiles again, since a compiled program cannot be copied."""
        return CompiledNetwork, (self._plain,)

    def _is_compiled(self, shape: torch.Size) -> bool:
        with self._lock:
            if shape in self._seen and len(self.shapes) < MAX_COMPILED_SHAPES:
                self.shapes.add(shape)
            self._seen.add(shape)
            return shape in self.shapes


def upsampling_of(network: Network) -> Upsampling:
    """Return the last upsampling of a network; a bilinear kernel that requires gradients counts as learned."""
    classes = network.config.num_classes
    if not isinstance(network, FCN):
        return Upsampling(classes, None)
    layer = network.last_upscore
    size, stride, padding = layer.kernel_size[0], layer.stride[0], int(layer.padding[0])
    weight = layer.weight.detach().cpu().float()
    bilinear = layer.groups == classes and bool((weight == bilinear_kernel(size)).all())
    kernel = None if bilinear and not layer.weight.requires_grad else weight.numpy()
    return Upsampling(classes, stride, size, network.score.offset + padding, kernel)


_LENGTHS = (1024, 4096)
"""The lengths of the test strips in pixels; the second is used only if NaNs reach an end of the first."""

_WIDTH = 64
_FLOAT = 4
_WORKSPACE = 1.5
"""The peak memory of a runtime as a multiple of the memory of the largest layer, its input and its output."""

_MAX_DIFFERENCE = 1e-3
"""The largest difference between scores that count as equal, of a strip and of a part of the strip, as a share of the
largest score."""


@torch.inference_mode()
def measure_profile(network: Network) -> NetworkProfile:
    """Measure the receptive field and memory use of a network, in evaluation mode, on long, narrow images (strips).

    NaNs in a few rows of a strip appear in every score that depends on these rows, whatever the weights. In addition, a
    part of a strip must get the same scores as in the whole strip, or the receptive field counts as unlimited; networks
    with fixed windows (Swin transformer) or with features of the whole image (squeeze and excitation) fail this test.
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
    """Compute bilinear upsamplings by convolutions inside the `with` block.

    As matrix products, the upsamplings would spread a NaN over a whole row or column.
    """
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
    """Return the scores (1, K, h, w) of a strip as a matrix with one row per position along its long side.

    The long side is vertical if `upright`, else horizontal.
    """
    return scores[0].permute(1, 2, 0).flatten(1) if upright else scores[0].permute(2, 1, 0).flatten(1)


def _reach(network: Network, length: int, *, upright: bool) -> int | None:
    """Return how far, in pixels, NaNs in the middle of a strip of `length` pixels spread to its scores.

    The distance is rounded up to a multiple of `ALIGNMENT`. Return None if the NaNs reach an end of the strip.
    """
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
    """Return whether a part of a strip gets the same scores as in the whole strip, except `reach` pixels at the cut."""
    length, axis = 4 * reach + 8 * ALIGNMENT, 2 if upright else 3
    strip = _strip(network, length, upright=upright)
    whole = _along(network.coarse_scores(strip), upright=upright)
    start = 3 * ALIGNMENT
    part = _along(network.coarse_scores(strip.narrow(axis, start, length - start)), upright=upright)
    stride = length // len(whole)
    inner, skipped = reach // stride, start // stride
    difference = (whole[skipped + inner :] - part[inner:]).abs().max()
    return bool(difference <= _MAX_DIFFERENCE * whole.abs().max())


def _bytes_per_pixel(network: Network) -> int:
    """Estimate the peak memory in bytes per pixel of the image from the layer with the largest input and output."""
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
