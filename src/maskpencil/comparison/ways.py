"""The ways in which a machine can run one model, and what memory each takes."""

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from maskpencil.extras import is_installed
from maskpencil.hardware import autocast, peak_memory
from maskpencil.images import RGBImage
from maskpencil.label_maps import LabelMap
from maskpencil.model_folder import read_model_folder
from maskpencil.preprocessing import Preprocessing, stacked
from maskpencil.runtimes.graph_cache import quantized_network
from maskpencil.segmenter import Segmenter

if TYPE_CHECKING:
    import torch

    from maskpencil.models.build import Network

# torch is imported inside functions: without it there are the ways of the other runtimes

Colors = Callable[[RGBImage], LabelMap]


@dataclass(frozen=True)
class Way:
    """One way to run a model; `eager` is the network as it is, without any preparation."""

    runtime: str
    precision: str
    device: str = "cpu"
    compiled: bool = False

    @property
    def name(self) -> str:
        """In words."""
        if self.runtime == "eager":
            return "torch fp32, eager"
        return f"{self.runtime} {self.precision}{', compiled' if self.compiled else ''}"

    def load(self, model: Path) -> Colors:
        """Return a call from an image to its label map, computed in this way."""
        if self.runtime == "eager":
            import torch

            parts = read_model_folder(model)
            run = eager(parts.model, parts.preprocessing, torch.device(self.device))
            return lambda image: run([image])[0]
        segmenter = Segmenter.from_pretrained(
            model, runtime=self.runtime, device=self.device, precision=self.precision, compiled=self.compiled
        )
        return lambda image: segmenter.predict_batch([image])[0].label_map


def ways_of(model: Path, device: str) -> list[Way]:
    """List all ways of a `device` cpu, cuda or mps, the eager one first where torch is installed."""
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
        if has_torch and is_installed("onnxruntime") and is_installed("onnxscript"):
            ways.append(Way("onnx", "fp32"))
    return ways


def memory_of(way: Way, model: Path, image: RGBImage) -> int:
    """Measure the peak memory in bytes of a new process that segments an image twice: the GPU's, or else RAM."""
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
    """Return a call from images of one size to their label maps (N, H, W), by a network without any preparation."""
    import torch

    network = network.eval().to(device)

    @torch.inference_mode()
    def run(images: Sequence[RGBImage]) -> npt.NDArray[np.uint8]:
        with autocast(device, precision):
            logits = network(preprocessing.normalize(stacked(images).to(device)).contiguous())
        labels: npt.NDArray[np.uint8] = logits.argmax(dim=1).to(torch.uint8).cpu().numpy()
        return labels

    return run
