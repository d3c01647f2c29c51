"""Compare a model in every runtime and precision of this machine: times, memory, agreement, a chart."""

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from maskpencil.comparison import interleaved
from maskpencil.exported import ExportedModel, is_exported
from maskpencil.extras import is_installed
from maskpencil.hardware import autocast, peak_memory
from maskpencil.images import RGBImage
from maskpencil.label_maps import LabelMap
from maskpencil.model_folder import read_model_config, read_model_folder
from maskpencil.preprocessing import Preprocessing, stacked
from maskpencil.runtimes.graph_cache import quantized_network
from maskpencil.segmenter import Segmenter
from maskpencil.visualize import INK, PAPER

if TYPE_CHECKING:
    import torch

    from maskpencil.models.build import Network

# torch is imported inside functions: without it only the other runtimes are compared

Colors = Callable[[RGBImage], LabelMap]

EXPORTED = "exported"
"""The runtime of exported files."""


@dataclass(frozen=True)
class Way:
    """A runtime, a precision and a device to run a model with.

    The runtime `eager` is torch's eager mode without any preparation of the network.
    """

    runtime: str
    precision: str
    device: str = "cpu"
    compiled: bool = False

    @property
    def name(self) -> str:
        """The runtime and the precision as text for tables, such as "torch bf16, compiled"."""
        if self.runtime == "eager":
            return "torch fp32, eager"
        if self.runtime == EXPORTED:
            return "exported file"
        return f"{self.runtime} {self.precision}{', compiled' if self.compiled else ''}"

    def load(self, model: Path) -> Colors:
        """Load a model, and return a function that computes the label map of an image in this runtime and precision."""
        if self.runtime == "eager":
            import torch

            parts = read_model_folder(model)
            run = eager(parts.model, parts.preprocessing, torch.device(self.device))
            return lambda image: run([image])[0]
        if self.runtime == EXPORTED:
            exported = ExportedModel.from_file(model)
            return lambda image: exported.predict_batch([image])[0].label_map
        segmenter = Segmenter.from_pretrained(
            model, runtime=self.runtime, device=self.device, precision=self.precision, compiled=self.compiled
        )
        return lambda image: segmenter.predict_batch([image])[0].label_map


def ways_of(model: Path, device: str) -> list[Way]:
    """List the runtimes and precisions to run a model with on a `device` (cpu, cuda or mps).

    The list begins with `eager` if torch is installed. An exported file runs in one way only.
    """
    if is_exported(model):
        return [Way(EXPORTED, "fp32")]
    ways, has_torch = [], is_installed("torch")
    if has_torch:
        ways += [Way("eager", "fp32", device), Way("torch", "fp32", device)]
        if device != "mps":
            ways.append(Way("torch", "bf16", device))
    if device == "cuda":
        ways += [Way("torch", "fp16", device), Way("torch", "bf16", device, compiled=True)]
    if device == "cpu":
        ways += [Way("openvino", "fp32"), Way("openvino", "bf16")]
        if quantized_network(model):
            ways.append(Way("openvino", "int8"))
        if has_torch and is_installed("onnxruntime") and is_installed("onnx"):
            ways.append(Way("onnx", "fp32"))
    return ways


def memory_of(way: Way, model: Path, image: RGBImage) -> int:
    """Measure the peak memory, in bytes, of a new process that segments an image twice by the runtime of `way`.

    On cuda the memory of the GPU is measured, else main memory.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_measured, way, model, image).result()


def _measured(way: Way, model: Path, image: RGBImage) -> int:
    colors = way.load(model)
    for _ in range(2):
        colors(image)
    if way.device != "cuda":
        return peak_memory()
    import torch

    return int(torch.cuda.max_memory_allocated())


def eager(
    network: "Network", preprocessing: Preprocessing, device: "torch.device", precision: str = "fp32"
) -> Callable[[Sequence[RGBImage]], npt.NDArray[np.uint8]]:
    """Return a function that computes label maps (N, H, W) of images of one size in torch's eager mode."""
    import torch

    network = network.eval().to(device)

    @torch.inference_mode()
    def run(images: Sequence[RGBImage]) -> npt.NDArray[np.uint8]:
        with autocast(device, precision):
            logits = network(preprocessing.normalize(stacked(images).to(device)).contiguous())
        labels: npt.NDArray[np.uint8] = logits.argmax(dim=1).to(torch.uint8).cpu().numpy()
        return labels

    return run


BAR, CHOSEN = (150, 175, 200), (30, 120, 200)
COLUMNS = ("ms", "images/s", "times first", "MiB at most", "same class", "of a matrix product")
_ROW, _TEXT, _NAMES, _BARS, _COLUMN = 34, 15, 190, 320, 150

_MATRIX = {"cpu": 4096, "mps": 4096, "cuda": 8192}
_PRODUCT = "product of matrices, {}"


@dataclass(frozen=True)
class RuntimeResult:
    """The measurements of a model in one runtime and precision.

    Attributes:
        name: the runtime and the precision, see `Way.name`.
        is_default: whether `auto` chooses this runtime and precision.
        seconds: the median seconds per image.
        memory: the peak memory of a process in bytes.
        agreement: the share of pixels, 0..1, with the same class as in the first result.
        rate: the number of operations in the network's convolutions, divided by the seconds; a multiplication and an
            addition count as two operations. None without torch.
        peak: the operations per second of a large matrix product in the same precision, measured for comparison with
            `rate`; None without torch, and if torch cannot multiply in this precision.
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
    """Measure a model, or an exported file, in each runtime and precision on images (H, W, 3), one image at a time.

    Images are first scaled to the working size. The first result is `eager` if torch is installed. `default` is the
    (runtime, precision) that `auto` chooses.

    Raises:
        ModelError: the model cannot be read.
    """
    if not is_exported(model):
        preprocessing = read_model_config(model).preprocessing
        images = [preprocessing.resize(image) for image in images]
    ways = ways_of(model, device)
    memory = [memory_of(way, model, images[0]) for way in ways]
    colors = {way.name: way.load(model) for way in ways}
    found = {name: [one(image) for image in images] for name, one in colors.items()}
    has_torch = is_installed("torch") and not is_exported(model)  # the operations of exported files are not known
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


def cells(result: RuntimeResult, first: float) -> list[str]:
    """Return the texts of a result for the table columns `COLUMNS`.

    `first` is the seconds of the first result, for comparison.
    """
    return [
        f"{1000 * result.seconds:.1f}",
        f"{1 / result.seconds:.1f}",
        f"{first / result.seconds:.2f}",
        f"{result.memory / 2**20:.0f}",
        f"{result.agreement:.2%}",
        "-" if result.rate is None or result.peak is None else f"{result.rate / result.peak:.0%}",
    ]


def chart(results: Sequence[RuntimeResult], title: str) -> RGBImage:
    """Draw a chart (H, W, 3): for every result a bar for the seconds per image, and the texts of `COLUMNS`."""
    width = _NAMES + _BARS + _COLUMN * len(COLUMNS) + _ROW
    sheet = Image.new("RGB", (width, _ROW * (len(results) + 3)), PAPER)
    draw, letters = ImageDraw.Draw(sheet), ImageFont.load_default(_TEXT)
    draw.text((_ROW, _ROW // 2), title, fill=INK, font=letters)
    slowest = max(result.seconds for result in results)
    rows = [("", list(COLUMNS)), *((result.name, cells(result, results[0].seconds)) for result in results)]
    for number, (name, texts) in enumerate(rows):
        top = _ROW * (number + 1) + _ROW // 2
        middle = top + _ROW // 2
        draw.text((_ROW, middle), name, fill=INK, font=letters, anchor="lm")
        if number:
            result = results[number - 1]
            length = max(1, round((_BARS - _ROW) * result.seconds / slowest))
            color = CHOSEN if result.is_default else BAR
            draw.rectangle((_NAMES, top + 6, _NAMES + length, top + _ROW - 6), fill=color)
        for column, text in enumerate(texts, start=1):
            draw.text((_NAMES + _BARS + _COLUMN * column, middle), text, fill=INK, font=letters, anchor="rm")
    return np.array(sheet)


def _operations_of(model: Path, images: Sequence[RGBImage]) -> int:
    network = read_model_folder(model).model
    return sum(operations(network, image.shape[:2]) for image in images)


def operations(network: "Network", size: Sequence[int]) -> int:
    """Count the multiplications and additions of all convolutions for one image of `size` (H, W)."""
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
    """Return, for each precision that torch supports on the device, a function that multiplies two large matrices."""
    import torch

    kinds = {"fp32": torch.float32, "bf16": torch.bfloat16} | ({"fp16": torch.float16} if device == "cuda" else {})
    side = _MATRIX[device]

    def product(dtype: "torch.dtype") -> Callable[[], object]:
        matrix = torch.randn(side, side, device=device).to(dtype)

        def call() -> float:
            return float((matrix @ matrix)[0, 0])  # waits until it is done

        return call

    return {_PRODUCT.format(name): product(dtype) for name, dtype in kinds.items()}
