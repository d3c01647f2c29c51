"""Starting one net from another, layer by layer."""

from collections.abc import Mapping, Sequence

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


def in_class_order(tensors: Mapping[str, Tensor], names: Sequence[str], wanted: Sequence[str]) -> dict[str, Tensor]:
    """Bring the tensors of an FCN of the classes `names` into the order of the classes `wanted`.

    Scores, (K, C, 1, 1) and (K,), and upsamplings, (K, K, k, k) or (K, 1, k, k), have a channel for each class. Where
    the classes are not the same ones in another order these layers are left out: their channels mean something else.
    """
    if {*names} != {*wanted}:
        return {name: tensor for name, tensor in tensors.items() if not name.startswith(_OF_CLASSES)}
    order = torch.tensor([names.index(name) for name in wanted])
    ordered = {}
    for name, tensor in tensors.items():
        if name.startswith(_OF_CLASSES):
            tensor = tensor[order]
            if name.startswith("upscore") and tensor.shape[1] == len(order):
                tensor = tensor[:, order]
        ordered[name] = tensor
    return ordered


_OF_CLASSES = ("score", "upscore")
