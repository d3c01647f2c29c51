"""One model by every runtime and precision of this machine, in turns."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from maskpencil.benchmark.timing import interleaved
from maskpencil.images import LabelMap, RGBImage
from maskpencil.model_folder import read_model_config, read_model_folder
from maskpencil.models.architectures import Network
from maskpencil.preprocessing import stacked
from maskpencil.runtimes.prepared import quantized_network
from maskpencil.segmenter import Segmenter

EAGER = "torch fp32, eager"
"""How a network runs that nobody has prepared: the others are measured against it."""

_MATRIX = 4096

Colours = Callable[[RGBImage], LabelMap]


@dataclass(frozen=True)
class RuntimeResult:
    """One way of running a model.

    `seconds` a picture, in the median; `agreement` is the share of pixels, 0..1, that get the class that `EAGER` gives
    them; `rate` are the operations a second of the convolutions (a multiplication and an addition are two), `peak`
    those of a large product of matrices in the same precision in the same run, None where torch has none.
    """

    name: str
    seconds: float
    agreement: float
    rate: float
    peak: float | None


def compare_runtimes(model: Path, images: Sequence[RGBImage], *, repeats: int = 7) -> list[RuntimeResult]:
    """Time a model on pictures (H, W, 3), one by one, each as the network sees it: first `EAGER`, last as by default.

    Raises:
        ModelError: the model cannot be read.
    """
    ways = _ways(model)
    preprocessing = read_model_config(model).preprocessing
    images = [preprocessing.resize(image) for image in images]
    found = {name: [colours(image) for image in images] for name, colours in ways.items()}
    calls = {name: _on_all(colours, images) for name, colours in ways.items()}
    seconds = interleaved({**calls, **_products()}, repeats=repeats)
    network = read_model_folder(model).model
    work = sum(operations(network, image.shape[:2]) for image in images)
    peaks = {name: 2 * _MATRIX**3 / seconds[name] for name in _products()}
    return [
        RuntimeResult(
            name,
            seconds[name] / len(images),
            float(np.mean([np.mean(a == b) for a, b in zip(maps, found[EAGER], strict=True)])),
            work / seconds[name],
            next((peak for precision, peak in peaks.items() if precision in name), None),
        )
        for name, maps in found.items()
    ]


@torch.inference_mode()
def operations(network: Network, size: Sequence[int]) -> int:
    """The operations of all convolutions for one picture of `size` (H, W), a multiplication and an addition as two."""
    total = 0

    def count(layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal total
        if isinstance(layer, nn.ConvTranspose2d):
            total += 2 * inputs[0].numel() * layer.weight.shape[1] * layer.weight[0, 0].numel()
        elif isinstance(layer, nn.Conv2d):
            total += 2 * output.numel() * layer.weight[0].numel()

    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]
    handles = [layer.register_forward_hook(count) for layer in layers]
    network.eval()(torch.zeros(1, 3, *size))
    for handle in handles:
        handle.remove()
    return total


def _ways(model: Path) -> dict[str, Colours]:
    ways: dict[str, Colours] = {EAGER: _eager(model)}
    for runtime, precision in (("torch", "fp32"), ("torch", "bf16"), ("openvino", "fp32"), ("openvino", "bf16")):
        segmenter = Segmenter.from_pretrained(model, runtime=runtime, device="cpu", precision=precision)
        ways[f"{runtime} {precision}"] = _by(segmenter)
    if quantized_network(model):
        ways["openvino int8"] = _by(Segmenter.from_pretrained(model, device="cpu", precision="int8"))
    default = Segmenter.from_pretrained(model, device="cpu")
    ways[f"auto: {default.runtime.name} {default.runtime.precision}"] = _by(default)
    return ways


def _by(segmenter: Segmenter) -> Colours:
    return lambda image: segmenter.predict_batch([image])[0].label_map


def _eager(model: Path) -> Colours:
    parts = read_model_folder(model)
    network = parts.model.eval()

    @torch.inference_mode()
    def colours(image: RGBImage) -> LabelMap:
        logits = network(parts.preprocessing.normalize(stacked([image])).contiguous())
        labels: LabelMap = logits.argmax(dim=1)[0].to(torch.uint8).numpy()
        return labels

    return colours


def _on_all(colours: Colours, images: Sequence[RGBImage]) -> Callable[[], object]:
    return lambda: [colours(image) for image in images]


def _products() -> dict[str, Callable[[], object]]:
    """The product of two large matrices in each precision."""
    sides = {"fp32": torch.float32, "bf16": torch.bfloat16}
    products: dict[str, Callable[[], object]] = {}
    for name, dtype in sides.items():
        matrix = torch.randn(_MATRIX, _MATRIX).to(dtype)
        products[name] = lambda matrix=matrix: matrix @ matrix  # type: ignore[misc]
    return products
