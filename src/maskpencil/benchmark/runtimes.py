"""One model by every runtime and precision of this machine, in turns."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from maskpencil.benchmark.timing import interleaved
from maskpencil.benchmark.ways import Colors, memory_of, ways_of
from maskpencil.extras import is_installed
from maskpencil.images import RGBImage
from maskpencil.model_folder import read_model_config, read_model_folder

if TYPE_CHECKING:
    import torch

    from maskpencil.models.architectures import Network

# torch is imported inside functions: without it the other runtimes are compared

_MATRIX = {"cpu": 4096, "mps": 4096, "cuda": 8192}
_PRODUCT = "product of matrices, {}"


@dataclass(frozen=True)
class RuntimeResult:
    """One way of running a model; `is_default` tells whether `auto` is this one.

    `seconds` an image, in the median; `memory` are the bytes that a process needs at most; `agreement` is the share of
    pixels, 0..1, that get the class that the first way gives them; `rate` are the operations a second of the
    convolutions (a multiplication and an addition are two), `peak` those of a large product of matrices in the same
    precision in the same run, None where torch has none. Both are None where torch is not installed.
    """

    name: str
    is_default: bool
    seconds: float
    memory: int
    agreement: float
    rate: float | None
    peak: float | None


def compare_runtimes(
    model: Path, images: Sequence[RGBImage], *, device: str = "cpu", repeats: int = 7, default: tuple[str, str]
) -> list[RuntimeResult]:
    """Time a model on images (H, W, 3), one by one, each as the network sees it: first eager, where torch is.

    `default` is the (runtime, precision) that `auto` stands for.

    Raises:
        ModelError: the model cannot be read.
    """
    preprocessing = read_model_config(model).preprocessing
    images = [preprocessing.resize(image) for image in images]
    ways = ways_of(model, device)
    memory = [memory_of(way, model, images[0]) for way in ways]
    colors = {way.name: way.load(model) for way in ways}
    found = {name: [one(image) for image in images] for name, one in colors.items()}
    has_torch = is_installed("torch")
    products = _products(device) if has_torch else {}
    calls = {name: _on_all(one, images) for name, one in colors.items()}
    seconds = interleaved({**calls, **products}, repeats=repeats)
    work = _operations_of(model, images) if has_torch else None
    results = []
    for way, bytes_needed in zip(ways, memory, strict=True):
        product = _PRODUCT.format(way.precision)
        same = [np.mean(a == b) for a, b in zip(found[way.name], found[ways[0].name], strict=True)]
        results.append(
            RuntimeResult(
                name=way.name,
                is_default=(way.runtime, way.precision) == default and not way.compiled,
                seconds=seconds[way.name] / len(images),
                memory=bytes_needed,
                agreement=float(np.mean(same)),
                rate=None if work is None else work / seconds[way.name],
                peak=2 * _MATRIX[device] ** 3 / seconds[product] if product in products else None,
            )
        )
    return results


def _operations_of(model: Path, images: Sequence[RGBImage]) -> int:
    network = read_model_folder(model).model
    return sum(operations(network, image.shape[:2]) for image in images)


def operations(network: "Network", size: Sequence[int]) -> int:
    """The operations of all convolutions for one image of `size` (H, W), a multiplication and an addition as two."""
    import torch
    from torch import nn

    total = 0

    def count(layer: nn.Module, inputs: "tuple[torch.Tensor, ...]", output: "torch.Tensor") -> None:
        nonlocal total
        if isinstance(layer, nn.ConvTranspose2d):
            total += 2 * inputs[0].numel() * layer.weight.shape[1] * layer.weight[0, 0].numel()
        elif isinstance(layer, nn.Conv2d):
            total += 2 * output.numel() * layer.weight[0].numel()

    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]
    handles = [layer.register_forward_hook(count) for layer in layers]
    with torch.inference_mode():
        network.eval()(torch.zeros(1, 3, *size))
    for handle in handles:
        handle.remove()
    return total


def _on_all(colors: Colors, images: Sequence[RGBImage]) -> Callable[[], object]:
    return lambda: [colors(image) for image in images]


def _products(device: str) -> dict[str, Callable[[], object]]:
    """The product of two large matrices in each precision that torch multiplies in."""
    import torch

    kinds = {"fp32": torch.float32, "bf16": torch.bfloat16} | ({"fp16": torch.float16} if device == "cuda" else {})
    side = _MATRIX[device]

    def product(dtype: "torch.dtype") -> Callable[[], object]:
        matrix = torch.randn(side, side, device=device).to(dtype)

        def call() -> float:
            return float((matrix @ matrix)[0, 0])  # which waits until it is done

        return call

    return {_PRODUCT.format(name): product(dtype) for name, dtype in kinds.items()}
