"""Convert the layers of a classifier to the layers of a fully convolutional network."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from maskpencil.errors import ConfigError

RGB = 3


def convolutionalize(linear: nn.Linear, in_channels: int, kernel_size: int, *, padding: int) -> nn.Conv2d:
    """Convert a fully connected layer to a convolution that computes the same function of every patch of a larger map.

    The layer takes patches (in_channels, kernel_size, kernel_size), flattened in that order. The convolution shares the
    layer's tensors. Source: Shelhamer et al., PAMI 2017, section 3.1.

    Raises:
        ConfigError: the layer does not have in_channels * kernel_size * kernel_size inputs.
    """
    inputs = in_channels * kernel_size * kernel_size
    if linear.in_features != inputs:
        raise ConfigError(
            f"a {kernel_size}x{kernel_size} convolution of {in_channels} channels must come from a fully connected "
            f"layer of {inputs} inputs, but got a layer of {linear.in_features}"
        )
    # on the meta device, since its own tensors (100 million numbers in VGG's fc6) are replaced below
    conv = nn.Conv2d(in_channels, linear.out_features, kernel_size, padding=padding, device="meta")
    # (outputs, inputs) -> (outputs, channels, height, width): the order in which the patch was flattened
    weight = linear.weight.detach().reshape(linear.out_features, in_channels, kernel_size, kernel_size)
    conv.weight = nn.Parameter(weight)
    conv.bias = linear.bias
    return conv


def bilinear_kernel(kernel_size: int) -> Tensor:
    """Return the (kernel_size, kernel_size) weights with which a transposed convolution interpolates bilinearly.

    Raises:
        ConfigError: kernel_size is below 1.
    """
    if kernel_size < 1:
        raise ConfigError(f"kernel_size must be 1 or more, but got {kernel_size}")
    reach = (kernel_size + 1) // 2  # the distance at which the weight is 0, which is the upsampling factor
    distance = (torch.arange(kernel_size) - (kernel_size - 1) / 2).abs()
    triangle = 1 - distance / reach
    return torch.outer(triangle, triangle)


class BilinearUpsampling(nn.ConvTranspose2d):
    """A transposed convolution of each channel with the same, fixed bilinear kernel.

    The upsampling is computed in float32 as two matrix products, along the columns and along the rows. The products are
    several times as fast as the convolution, forward and backward. While the network is traced, or if another kernel
    was loaded, the upsampling is computed as a convolution.
    """

    def __init__(self, channels: int, kernel_size: int, *, stride: int, padding: int) -> None:
        super().__init__(channels, channels, kernel_size, stride=stride, padding=padding, groups=channels, bias=False)
        with torch.no_grad():
            self.weight.copy_(bilinear_kernel(kernel_size).expand_as(self.weight))
        self.weight.requires_grad_(False)
        self.is_bilinear = True

    def forward(self, scores: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Upsample (N, C, h, w) to (N, C, H, W), where H = (h - 1) * stride - 2 * padding + kernel_size; likewise W.

        `output_size`, see `nn.ConvTranspose2d`, has an effect only if the upsampling is computed as a convolution.
        """
        if not self.is_bilinear or torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
            return super().forward(scores, output_size)
        rows, columns = (self._matrix(length, scores.device) for length in scores.shape[-2:])
        with torch.autocast(scores.device.type, enabled=False):
            return rows @ (scores.float() @ columns.T)

    def _matrix(self, length: int, device: torch.device) -> Tensor:
        """Return the matrix that interpolates a row of `length` cells to a row of pixels, (pixels, length).

        The number of pixels is (length - 1) * stride - 2 * padding + kernel_size.
        """
        stride, size, padding = self.stride[0], self.kernel_size[0], int(self.padding[0])
        pixels = torch.arange((length - 1) * stride - 2 * padding + size, device=device)
        middle = (pixels + padding - (size - 1) / 2) / stride  # in cells
        return (1 - (middle[:, None] - torch.arange(length, device=device)).abs()).clamp_min(0)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *arguments)
        kernel = bilinear_kernel(self.kernel_size[0]).to(self.weight.device)
        self.is_bilinear = bool((self.weight == kernel).all())


def bilinear_upsampling(
    channels: int, stride: int, *, learned: bool, kernel_size: int | None = None, padding: int | None = None
) -> nn.ConvTranspose2d:
    """Make a layer that upsamples by `stride`, initialized to the bilinear interpolation of each channel.

    By default the kernel size is 2 * stride and the padding is stride / 2; the output is then exactly `stride` times
    as large and not shifted: (N, C, H, W) -> (N, C, H * stride, W * stride). Unless `learned`, the upsampling is fixed
    and has no weights between channels, which is several times as fast.

    Raises:
        ConfigError: channels is below 1, or stride is not an even number above 0.
    """
    if channels < 1:
        raise ConfigError(f"channels must be 1 or more, but got {channels}")
    if stride < 2 or stride % 2:
        raise ConfigError(f"the stride of bilinear upsampling must be an even number above 0, but got {stride}")
    kernel_size, padding = kernel_size or 2 * stride, stride // 2 if padding is None else padding
    if not learned:
        return BilinearUpsampling(channels, kernel_size, stride=stride, padding=padding)
    layer = nn.ConvTranspose2d(channels, channels, kernel_size, stride=stride, padding=padding, bias=False)
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[range(channels), range(channels)] = bilinear_kernel(kernel_size)
    return layer


def adapt_input_channels(conv: nn.Conv2d, in_channels: int) -> nn.Conv2d:
    """Return a copy of a network's first convolution that takes `in_channels` channels instead of RGB.

    With three or more channels, the first three channels keep their filters. Every new channel is initialized to the
    mean of the RGB filters, as the depth channel in Shelhamer et al., PAMI 2017; with one or two channels all channels
    are new.

    Raises:
        ConfigError: in_channels is below 1, or the convolution does not take RGB.
    """
    if in_channels < 1:
        raise ConfigError(f"in_channels must be 1 or more, but got {in_channels}")
    if conv.in_channels != RGB or conv.groups != 1:
        raise ConfigError(
            f"only a first convolution of {RGB} channels can be adapted to {in_channels}, but this one takes "
            f"{conv.in_channels * conv.groups}; choose another backbone, or --weights none"
        )
    rgb = conv.weight.detach()  # (O, 3, k, k)
    kept = RGB if in_channels >= RGB else 0
    new = rgb.mean(dim=1, keepdim=True).expand(-1, in_channels - kept, -1, -1)
    adapted = copy.deepcopy(conv)  # keeps its class, since some of timm's convolutions pad and normalize
    adapted.in_channels = in_channels
    adapted.weight = nn.Parameter(torch.cat([rgb[:, :kept], new], dim=1))
    return adapted


def renormalize(conv: nn.Conv2d, *, scale: Tensor, shift: Tensor) -> None:
    """Change a convolution f to g, so that g(x) = f(x * scale + shift); `scale` and `shift` are (in_channels,)."""
    with torch.no_grad():
        shifted = torch.einsum("ocyx,c->o", conv.weight, shift)  # before the weights are scaled
        conv.bias = nn.Parameter(shifted if conv.bias is None else conv.bias + shifted)
        conv.weight = nn.Parameter(conv.weight * scale[:, None, None])
