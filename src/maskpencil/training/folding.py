"""Fold batch normalization with fixed statistics into the convolutions before it while both are trained."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from maskpencil.models.backbones.base import Backbone

Folds = Mapping[Tensor, nn.BatchNorm2d]
"""The batch normalization layer that follows a convolution, by the convolution's kernel."""

_PROBE = (1, 64, 96)
"""The number, height and width of the images with which folds are found and checked."""

_TOLERANCE = 1e-2
"""The largest difference of features with and without folds, as a share of the largest feature."""


class Interception(TorchFunctionMode):
    """A context in which each call of a torch function is made by the method `call`, which subclasses define."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        return self.call(func, args, kwargs or {})

    @abstractmethod
    def call(self, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Return the result of `func(*args, **kwargs)`, or another result in its place."""


class Folded(Interception):
    """A context in which convolutions include the batch normalization that follows them.

    The kernel is multiplied by the scale of the normalization, and its shift is added as the bias, so that no pass over
    the activations is needed, neither forward nor backward. Gradients reach kernel, scale and shift as without folds.

    Args:
        folds: the layers to fold, in evaluation mode.
    """

    def __init__(self, folds: Folds) -> None:
        super().__init__()
        self._folds = folds
        self._means = {id(layer.running_mean) for layer in folds.values()}

    def call(self, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Compute convolutions with their folds, skip normalizations that were folded, and call all other functions."""
        if func is functional.conv2d and args[1] in self._folds:
            images, kernel, bias, *others = args
            layer = self._folds[kernel]
            mean, variance = cast(Tensor, layer.running_mean), cast(Tensor, layer.running_var)
            scale = layer.weight * torch.rsqrt(variance + layer.eps)
            shift = layer.bias - mean * scale
            shift = shift if bias is None else shift + bias * scale
            return func(images, kernel * scale[:, None, None, None], shift, *others, **kwargs)
        if func is functional.batch_norm and id(args[1]) in self._means:
            return args[0]
        return func(*args, **kwargs)


def find_folds(backbone: Backbone) -> Folds:
    """Find the batch normalization layers of a backbone that can be folded; put the backbone into evaluation mode.

    A layer can be folded if it has a scale and a shift and is applied to the result of a convolution. Return {} if
    folding would change the features of the backbone, for example because a convolution's result is used twice.
    """
    layers = [layer for layer in backbone.modules() if isinstance(layer, nn.BatchNorm2d) and layer.affine]
    count, *size = _PROBE
    random = torch.Generator().manual_seed(0)
    images = torch.rand(count, backbone.in_channels, *size, generator=random).to(next(backbone.parameters()).device)
    backbone.eval()
    finder = _Finder([layer for layer in layers if layer.running_mean is not None])
    with torch.no_grad():
        with finder:
            expected = backbone(images)
        with Folded(finder.folds):
            found = backbone(images)
    same = all(
        bool(((found[key] - each).abs().max() <= _TOLERANCE * each.abs().max()).all()) for key, each in expected.items()
    )
    return finder.folds if same else {}


class _Finder(Interception):
    """A context that records which batch normalization layers are applied to the result of a convolution."""

    def __init__(self, layers: Sequence[nn.BatchNorm2d]) -> None:
        super().__init__()
        self.folds: dict[Tensor, nn.BatchNorm2d] = {}
        self._layers = {id(layer.running_mean): layer for layer in layers}
        self._kernel: Tensor | None = None
        self._result: Tensor | None = None

    def call(self, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        result = func(*args, **kwargs)
        if func is functional.conv2d and isinstance(args[1], nn.Parameter):
            self._kernel, self._result = args[1], result
        elif func is functional.batch_norm and self._kernel is not None and args[0] is self._result:
            layer = self._layers.get(id(args[1]))
            if layer is not None:
                self.folds[self._kernel] = layer
        return result
