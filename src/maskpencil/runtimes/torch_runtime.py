"""Run networks by torch: on GPUs, and for the validation during training."""

import math
from collections.abc import Callable, Sequence
from functools import cached_property
from threading import Lock
from typing import Any, ClassVar, cast

import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from maskpencil.errors import ConfigError, first_line
from maskpencil.hardware import autocast
from maskpencil.images import RGBImage
from maskpencil.models import FCN
from maskpencil.models.build import Network
from maskpencil.models.surgery import bilinear_kernel
from maskpencil.preprocessing import Preprocessing, stacked
from maskpencil.runtimes.base import CoarseScores, Finish, NetworkProfile, Runtime
from maskpencil.runtimes.receptive_field import measure_profile
from maskpencil.runtimes.upsampling import Block, Floats, Upsampling

MOST_SHAPES = 8
"""The number of input shapes to compile: each takes time and memory."""

_OPTIONS: dict[str, str | int | bool | Callable[..., object]] = {"triton.cudagraphs": True, "freezing": True}


class TorchRuntime(Runtime):
    """Run a live network: changes of its weights take effect in the next call.

    Args:
        network: is moved to the device.
        preprocessing: how images are normalized.
        device: where to compute.
        precision: of the convolutions: fp32, bf16 or fp16.
        compiled: use `CompiledNetwork`; the network must not be trained any more.
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
        """See `Runtime`."""
        self.network.eval()
        pixels = stacked(images)  # (N, 3, H, W)
        with autocast(self.place, self.precision):
            values = self._forward(self.preprocessing.normalize(pixels.to(self.place)))
        return CoarseScores(values.float(), (pixels.shape[-2], pixels.shape[-1]))

    def fetched(self, scores: CoarseScores) -> Floats:
        """See `Runtime`."""
        values: Floats = scores.values.cpu().numpy()
        return values

    @torch.inference_mode()
    def has_numbers(self, values: Tensor | Floats) -> Any:
        """See `Runtime`; returns a tensor on the device, so that nothing waits for it before it is tested."""
        return torch.linalg.vector_norm(torch.as_tensor(values), math.inf).isfinite()

    @cached_property
    def profile(self) -> NetworkProfile:
        """See `Runtime`."""
        return measure_profile(self.network)

    @torch.inference_mode()
    def finish(self, scores: Tensor | Floats, block: Block, kind: Finish) -> tuple[npt.NDArray[Any], ...]:
        """See `Runtime`."""
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
    """Compile `compute`, from normalized images (N, 3, H, W) to coarse scores (N, K, h, w), with torch.compile.

    An input shape is compiled the second time it occurs, up to `MOST_SHAPES` shapes; other shapes are run uncompiled.
    On a GPU a compiled shape is replayed as one CUDA graph. The weights become constants, so the network must not be
    trained any more. May be used from several threads.
    """

    def __init__(self, compute: Callable[[Tensor], Tensor]) -> None:
        self._plain = compute
        self._compiled = cast(Callable[[Tensor], Tensor], torch.compile(compute, dynamic=False, options=_OPTIONS))
        self._seen: set[torch.Size] = set()
        self.shapes: set[torch.Size] = set()
        self._lock = Lock()

    def __call__(self, images: Tensor) -> Tensor:
        """Run the network.

        Raises:
            ConfigError: torch cannot compile it on this machine.
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
        """Copies compile again: a compiled program and a lock belong to one process."""
        return CompiledNetwork, (self._plain,)

    def _is_compiled(self, shape: torch.Size) -> bool:
        with self._lock:
            if shape in self._seen and len(self.shapes) < MOST_SHAPES:
                self.shapes.add(shape)
            self._seen.add(shape)
            return shape in self.shapes


def upsampling_of(network: Network) -> Upsampling:
    """Return the last upsampling of a network; a kernel that is still trained counts as learned."""
    classes = network.config.num_classes
    if not isinstance(network, FCN):
        return Upsampling(classes, None)
    layer = network.last_upscore
    size, stride, padding = layer.kernel_size[0], layer.stride[0], int(layer.padding[0])
    weight = layer.weight.detach().cpu().float()
    bilinear = layer.groups == classes and bool((weight == bilinear_kernel(size)).all())
    kernel = None if bilinear and not layer.weight.requires_grad else weight.numpy()
    return Upsampling(classes, stride, size, network.score.offset + padding, kernel)
