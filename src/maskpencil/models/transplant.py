"""Starting one net from another, layer by layer."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def transplant(tensors: Mapping[str, Tensor], network: nn.Module) -> list[str]:
    """Let a network take over every tensor that has the name and shape of one of its own.

    Returns the names of its layers that got nothing, or not everything, and so keep their own start: skips that a
    coarser net has not, and scores where the number of classes differs.
    """
    own = network.state_dict()
    fitting = {name: tensor for name, tensor in tensors.items() if name in own and own[name].shape == tensor.shape}
    with torch.no_grad():
        for name, tensor in fitting.items():
            own[name].copy_(tensor)
    return list(dict.fromkeys(name.rpartition(".")[0] for name in own if name not in fitting))
