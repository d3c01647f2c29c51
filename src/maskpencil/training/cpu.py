"""Make training steps fast on a CPU: depthwise convolutions with fast gradients, and freed memory that is reused."""

import ctypes
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from maskpencil.training.folding import Interception

_FAST_WIDTH = 3
"""The greatest width of a depthwise kernel whose gradient oneDNN computes with its fast code; any height is fast."""

_LARGEST_INT = 2**31 - 1
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # from malloc.h
_TOP_PAD = 64 * 2**20


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Keep memory that a `with` block frees for later allocations, and return it to the system when the block ends.

    By default glibc returns large allocations to the system as soon as they are freed, and every later tensor is then
    made of new pages, which the system must clear and map first. If the C library is not glibc, nothing is changed.
    glibc cannot return to its defaults: memory that is freed after the block stays with the process, too, until
    `malloc_trim` is called again.
    """
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if library is None or not (hasattr(library, "mallopt") and hasattr(library, "malloc_trim")):
        yield
        return
    for option, value in (
        (_M_MMAP_THRESHOLD, _LARGEST_INT),
        (_M_TRIM_THRESHOLD, _LARGEST_INT),
        (_M_TOP_PAD, _TOP_PAD),
    ):
        library.mallopt(option, value)
    try:
        yield
    finally:
        library.malloc_trim(0)


class FastDepthwise(Interception):
    """A context in which depthwise `conv2d` runs in fp32, with fast gradients; other functions are unchanged.

    oneDNN computes gradients of depthwise convolutions fast only in fp32, and only for kernels at most three columns
    wide. The gradient of a wider kernel is therefore computed in parts of three columns, see `kernel_gradient`.
    """

    def call(self, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Compute a depthwise convolution in fp32, or call any other function unchanged; return the result."""
        if func is functional.conv2d and _is_depthwise(*args, **kwargs):
            return _depthwise(*args, **kwargs)
        return func(*args, **kwargs)


def _is_depthwise(images: Tensor, weight: Tensor, *others: Any, groups: int | None = None, **_: Any) -> bool:
    """Return whether `conv2d` with these arguments is depthwise: one group for each of several input channels.

    `others` are the positional arguments after `weight`: bias, stride, padding, dilation, groups.
    """
    position_of_groups = 4
    if groups is None:
        groups = others[position_of_groups] if len(others) > position_of_groups else 1
    return images.ndim == 4 and groups == images.shape[1] > 1 and weight.shape[1] == 1


def _depthwise(
    images: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: str | int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """Compute a depthwise `conv2d` in fp32; its arguments are those of `conv2d`."""
    with torch.autocast("cpu", enabled=False):
        images = images.float()
        wide = weight.shape[-1] > _FAST_WIDTH and weight.requires_grad
        if not wide or isinstance(padding, str) or _pair(dilation) != (1, 1) or len(weight) != groups:
            return functional.conv2d(images, weight, bias, stride, padding, dilation, groups)
        result: Tensor = _WideDepthwise.apply(images, weight, bias, _pair(stride), _pair(padding))
        return result


def _pair(value: int | Sequence[int]) -> tuple[int, int]:
    """Return the vertical and the horizontal value of an argument of `conv2d`."""
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


class _WideDepthwise(torch.autograd.Function):
    """A depthwise convolution whose kernel's gradient is computed by `kernel_gradient`."""

    @staticmethod
    def forward(
        context: Any,
        images: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: tuple[int, int],
        padding: tuple[int, int],
    ) -> Tensor:
        context.save_for_backward(images, weight)
        context.stride, context.padding = stride, padding
        return functional.conv2d(images, weight, bias, stride, padding, 1, len(weight))

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        images, weight = context.saved_tensors
        stride, padding, (gradient,) = context.stride, context.padding, gradients
        of_images, _, of_bias = context.needs_input_grad[:3]
        return (
            _gradients(gradient, images, weight, stride, padding, [True, False, False])[0] if of_images else None,
            kernel_gradient(gradient, images, weight, stride, padding),
            gradient.sum((0, 2, 3)) if of_bias else None,
            None,
            None,
        )


def kernel_gradient(
    gradient: Tensor, images: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]
) -> Tensor:
    """Compute the gradient of the loss with respect to a depthwise kernel, three columns of the kernel at a time.

    The gradient of the kernel's columns l to l + 2 equals that of a kernel of three columns over the images without
    their first l columns.

    Args:
        gradient: (N, C, H', W'), the gradient with respect to the convolution's result.
        images: (N, C, H, W), the input of the convolution.
        weight: (C, 1, K, L), the kernel; L is at least 3.
        stride: the vertical and the horizontal stride.
        padding: the vertical and the horizontal padding.

    Returns:
        The gradient, (C, 1, K, L).
    """
    result = torch.empty_like(weight)
    width = weight.shape[-1]
    covered = (gradient.shape[-1] - 1) * stride[1] + _FAST_WIDTH  # columns that a part of the kernel passes over
    for left in sorted({*range(0, width - _FAST_WIDTH, _FAST_WIDTH), width - _FAST_WIDTH}):
        before = padding[1] - left
        part = functional.pad(images, (before, covered - before - images.shape[-1]))  # negative: columns cut off
        columns = weight[..., left : left + _FAST_WIDTH]
        found = _gradients(gradient, part, columns, stride, (padding[0], 0), [False, True, False])[1]
        result[..., left : left + _FAST_WIDTH] = found
    return result


def _gradients(
    gradient: Tensor,
    images: Tensor,
    weight: Tensor,
    stride: tuple[int, int],
    padding: tuple[int, int],
    wanted: Sequence[bool],
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute gradients of the loss with respect to a depthwise convolution's images, its kernel and its bias.

    `wanted` has an entry for each of these three gradients; those that are not wanted are not computed.
    """
    result: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        gradient, images, weight, None, stride, padding, [1, 1], False, [0, 0], len(weight), wanted
    )
    return result
