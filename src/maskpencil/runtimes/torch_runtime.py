"""Networks run by torch: the runtime of GPUs, and the one that training validates in."""

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
from maskpencil.models.architectures import Network
from maskpencil.models.surgery import bilinear_kernel
from maskpencil.preprocessing import Preprocessing, stacked
from maskpencil.runtimes.base import Cells, Finish, Footprint, Runtime
from maskpencil.runtimes.receptive_field import footprint_of
from maskpencil.runtimes.upsampling import Block, Floats, Upscoring

MOST_SHAPES = 8
"""Each takes time to compile, and memory of its own."""

_OPTIONS: dict[str, str | int | bool | Callable[..., object]] = {"triton.cudagraphs": True, "freezing": True}


class TorchRuntime(Runtime):
    """Runs a live network: what it learns shows in the next call.

    Args:
        network: is moved to the device.
        preprocessing: how images are normalized.
        device: where to compute.
        precision: of the convolutions: fp32, bf16 or fp16.
        compiled: by `CompiledCells`; the network then learns no more.
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
        super().__init__(upscoring_of(network), device=device.type, precision=precision)
        self.network = network.to(device).to(memory_format=torch.channels_last)
        self.preprocessing, self.place = preprocessing, device
        self._cells = CompiledCells(network.cells) if compiled else network.cells

    @torch.inference_mode()
    def cells(self, images: Sequence[RGBImage]) -> Cells:
        """See `Runtime`."""
        self.network.eval()
        pixels = stacked(images)  # (N, 3, H, W)
        with autocast(self.place, self.precision):
            values = self._cells(self.preprocessing.normalize(pixels.to(self.place)))
        return Cells(values.float(), (pixels.shape[-2], pixels.shape[-1]))

    def fetched(self, cells: Cells) -> Floats:
        """See `Runtime`."""
        values: Floats = cells.values.cpu().numpy()
        return values

    @torch.inference_mode()
    def has_numbers(self, values: Tensor | Floats) -> Any:
        """See `Runtime`; a tensor on the device, so that nothing waits for it before it is asked for its truth."""
        return torch.linalg.vector_norm(torch.as_tensor(values), math.inf).isfinite()

    @cached_property
    def footprint(self) -> Footprint:
        """See `Runtime`."""
        return footprint_of(self.network)

    @torch.inference_mode()
    def finish(self, cells: Tensor | Floats, block: Block, kind: Finish) -> tuple[npt.NDArray[Any], ...]:
        """See `Runtime`."""
        down, across = block.down, block.across
        logits = torch.as_tensor(cells[..., down.cells, across.cells]).to(self.place)
        if isinstance(self.network, FCN) and self.upscoring.kernel is not None:
            kernel, stride = self.network.last_upscore.weight, self.upscoring.stride or 1
            logits = functional.conv_transpose2d(logits, kernel, stride=stride, groups=self.upscoring.groups)
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


class CompiledCells:
    """From normalized images (N, 3, H, W) to cells (N, K, h, w), as the function `cells` gives them.

    A shape is compiled when it comes again: what comes once, as the last few images of a folder do, does not pay for
    it. The first `MOST_SHAPES` that come again are compiled, others are run as they are. The weights become part of
    what is compiled, so the network must not learn any more. May be used from several threads.
    """

    def __init__(self, cells: Callable[[Tensor], Tensor]) -> None:
        self._plain = cells
        self._compiled = cast(Callable[[Tensor], Tensor], torch.compile(cells, dynamic=False, options=_OPTIONS))
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
        """Copies compile anew: a compiled program and a lock belong to one process."""
        return CompiledCells, (self._plain,)

    def _is_compiled(self, shape: torch.Size) -> bool:
        with self._lock:
            if shape in self._seen and len(self.shapes) < MOST_SHAPES:
                self.shapes.add(shape)
            self._seen.add(shape)
            return shape in self.shapes


def upscoring_of(network: Network) -> Upscoring:
    """How a network comes from cells to logits.

    Its last kernel may still learn, then it is taken for one that has learned.
    """
    classes = network.config.num_classes
    if not isinstance(network, FCN):
        return Upscoring(classes, None)
    layer = network.last_upscore
    size, stride, padding = layer.kernel_size[0], layer.stride[0], int(layer.padding[0])
    weight = layer.weight.detach().cpu().float()
    bilinear = layer.groups == classes and bool((weight == bilinear_kernel(size)).all())
    kernel = None if bilinear and not layer.weight.requires_grad else weight.numpy()
    return Upscoring(classes, stride, size, network.score.offset + padding, kernel)
