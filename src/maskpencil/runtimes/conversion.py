"""From a torch network to OpenVINO's form."""

import warnings

import openvino
import torch
from torch import Tensor, nn

from maskpencil.models.architectures import Network
from maskpencil.preprocessing import Preprocessing
from maskpencil.runtimes.torch_runtime import upscoring_of
from maskpencil.runtimes.upscoring import Upscoring

_EXAMPLE = (1, 64, 96, 3)


class _Cells(nn.Module):
    """Pictures (N, H, W, 3) uint8 -> cells (N, K, h, w)."""

    def __init__(self, network: Network, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.network, self.preprocessing = network, preprocessing

    def forward(self, pixels: Tensor) -> Tensor:
        cells: Tensor = self.network.cells(self.preprocessing.normalize(pixels.permute(0, 3, 1, 2)))
        return cells


def convert_network(network: Network, preprocessing: Preprocessing) -> tuple[openvino.Model, Upscoring]:
    """The graph from pictures (N, H, W, 3) uint8 of any size to cells, normalization included, and what comes after."""
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # of what tracing would fix; the sizes it records stay free
        graph = openvino.convert_model(
            _Cells(network.cpu().eval(), preprocessing), example_input=torch.zeros(_EXAMPLE, dtype=torch.uint8)
        )
    graph.reshape([-1, -1, -1, 3])
    return graph, upscoring_of(network)
