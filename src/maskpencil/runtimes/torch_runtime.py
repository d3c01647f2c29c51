"""Networks run by torch: the runtime of GPUs, and the one that training validates in."""

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from maskpencil.hardware import autocast
from maskpencil.images import RGBImage
from maskpencil.models import FCN
from maskpencil.models.architectures import Network
from maskpencil.models.surgery import bilinear_kernel
from maskpencil.preprocessing import Preprocessing, stacked
from maskpencil.runtimes.base import Cells, Finish, Runtime
from maskpencil.runtimes.compiled import CompiledCells
from maskpencil.runtimes.footprint import Footprint
from maskpencil.runtimes.probe import footprint_of
from maskpencil.runtimes.upscoring import Block, Floats, Upscoring


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
