"""Build the authors' networks from state dicts with the published layer names, from Caffe or from PyTorch ports."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from maskpencil.errors import ModelError
from maskpencil.models.backbones.weights import BLANK, class_count, load_strictly
from maskpencil.models.build import build_fcn
from maskpencil.models.fcn import FCN, FCNConfig

_LAST_UPSCORE = {"upscore.weight": 32, "upscore16.weight": 16, "upscore8.weight": 8}
_TRUNKS = {"conv1_1.weight": "vgg16", "conv1.weight": "alexnet"}
_SCALES = {"scale_pool4.weight": 0.01, "scale_pool3.weight": 0.0001}


def is_published(tensors: Mapping[str, Tensor]) -> bool:
    """Return whether tensors have the parameter names of one of the authors' networks."""
    return "score_fr.weight" in tensors and any(name in tensors for name in _TRUNKS)


def load_published(tensors: Mapping[str, Tensor], *, source: str, at_once_scales: bool | None = None) -> FCN:
    """Build one of the authors' networks from its tensors, which have the published layer names.

    The trunk, the stride and the number of classes follow from the names and shapes.

    Args:
        tensors: the state dict.
        source: the origin of the tensors, for errors.
        at_once_scales: whether pool4 and pool3 are scaled, as in the FCN-8s that is trained in one stage ("at once").
            None takes this from the state dict: Caffe's files contain the scales, PyTorch ports lack them.

    Raises:
        ModelError: the network is not one of the authors', or tensors are missing, unexpected or misshaped.
    """
    config = _config_of(tensors, source=source, at_once_scales=at_once_scales)
    model = build_fcn(config, weights=BLANK)
    mapped = {_name(name): tensor for name, tensor in tensors.items() if name not in _SCALES}
    for name, layer in model.named_modules():
        if isinstance(layer, nn.ConvTranspose2d) and layer.groups > 1:
            _keep_diagonal(mapped, f"{name}.weight")
    load_strictly(model, mapped, unused=(), source=source, expected=f"the authors' {config.title}")
    return model


def _config_of(tensors: Mapping[str, Tensor], *, source: str, at_once_scales: bool | None) -> FCNConfig:
    strides = [stride for name, stride in _LAST_UPSCORE.items() if name in tensors]
    if not is_published(tensors) or len(strides) != 1:
        raise ModelError(
            f"{source}: is not a network of the FCN authors; expected the tensors score_fr.weight, one of the names "
            f"{', '.join(_TRUNKS)}, and one of the names {', '.join(_LAST_UPSCORE)}"
        )
    (stride,) = strides
    classes = class_count(tensors["score_fr.weight"], "score_fr.weight", source=source)
    for name, scale in _SCALES.items():
        found = tensors[name].flatten()[:1].float() if name in tensors else torch.tensor([scale])
        if not found.numel() or not torch.allclose(found, torch.tensor(scale)):
            value = f"{found[0]:g}" if found.numel() else "empty"
            raise ModelError(f"{source}: {name} is {value}; expected {scale:g}, as in the released networks")
    upscores = [tensor for name, tensor in tensors.items() if name.startswith("upscore") and len(tensor) == classes]
    scaled = any(name in tensors for name in _SCALES) if at_once_scales is None else at_once_scales
    return FCNConfig(
        num_classes=classes,
        backbone=next(trunk for name, trunk in _TRUNKS.items() if name in tensors),
        stride=stride,
        learned_upsampling="none" if all(map(_is_per_class, upscores)) else "all",
        at_once_scales=scaled,
        as_released=True,
    )


def _name(name: str) -> str:
    """Convert the published name of a parameter to its name in `FCN`."""
    return name if name.startswith(("score", "upscore")) else f"backbone.{name}"


def _is_per_class(kernel: Tensor) -> bool:
    """Return whether an upsampling kernel (K, K, k, k) is 0 between different classes."""
    classes = len(kernel)
    return kernel.ndim == 4 and kernel.shape[1] == classes and not kernel[~torch.eye(classes, dtype=torch.bool)].any()


def _keep_diagonal(tensors: dict[str, Tensor], name: str) -> None:
    """Replace the upsampling kernel `name` (K, K, k, k) by its diagonal (K, 1, k, k), a kernel per class, in place."""
    kernel = tensors.get(name)
    if kernel is None or kernel.ndim != 4 or kernel.shape[0] != kernel.shape[1]:
        return  # the strict load reports it
    tensors[name] = kernel.diagonal().permute(2, 0, 1)[:, None]
