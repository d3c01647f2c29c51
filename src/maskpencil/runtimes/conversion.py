"""From a torch network to the form that another runtime takes."""

import os
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from maskpencil.errors import ConfigError
from maskpencil.models.architectures import Network
from maskpencil.preprocessing import Preprocessing
from maskpencil.runtimes.prepared import Form

_EXAMPLE = (2, 64, 96, 3)


class _Cells(nn.Module):
    """Pictures (N, H, W, 3) uint8 -> cells (N, K, h, w)."""

    def __init__(self, network: Network, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.network, self.preprocessing = network, preprocessing

    def forward(self, pixels: Tensor) -> Tensor:
        cells: Tensor = self.network.cells(self.preprocessing.normalize(pixels.permute(0, 3, 1, 2)))
        return cells


def convert_network(network: Network, preprocessing: Preprocessing, path: Path, *, form: Form) -> None:
    """Write the graph from pictures (N, H, W, 3) uint8 of any size to cells, normalization included.

    Raises:
        ConfigError: what is needed for it is not installed.
        RuntimeError: the form has no such layers.
    """
    cells, example = _Cells(network.cpu().eval(), preprocessing), torch.zeros(_EXAMPLE, dtype=torch.uint8)
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # of what tracing would fix; the sizes it records stay free
        (_to_openvino if form == "openvino" else _to_onnx)(cells, example, path)


def _to_openvino(cells: nn.Module, example: Tensor, path: Path) -> None:
    import openvino

    graph = openvino.convert_model(cells, example_input=example)
    graph.reshape([-1, -1, -1, 3])
    openvino.save_model(graph, path, compress_to_fp16=False)


def _to_onnx(cells: nn.Module, example: Tensor, path: Path) -> None:
    try:
        import onnxscript  # noqa: F401 - torch.onnx needs it
    except ImportError as error:
        raise ConfigError("--runtime onnx needs onnxscript; install it with pip install maskpencil[export]") from error
    free = torch.export.Dim.DYNAMIC
    torch.onnx.export(
        cells,
        (example,),
        os.fspath(path),
        dynamo=True,
        input_names=["pixels"],
        output_names=["cells"],
        dynamic_shapes={"pixels": {0: free, 1: free, 2: free}},
        external_data=False,
        verbose=False,
    )
