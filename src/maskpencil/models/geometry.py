"""Compute the image positions of the cells of feature maps, and crop maps to align them."""

from dataclasses import dataclass
from typing import Self

from torch import Tensor, nn

from maskpencil.errors import ConfigError

Window = nn.Conv2d | nn.MaxPool2d | nn.ConvTranspose2d


@dataclass(frozen=True)
class Grid:
    """The image positions of a map's cells: along each axis, the center of cell i is pixel `origin` + i * `step`."""

    step: float = 1.0
    origin: float = 0.0

    @classmethod
    def in_place(cls, stride: int) -> Self:
        """Return the grid whose cells are tiles of stride x stride pixels.

        The first tile lies in the image's top left corner.
        """
        return cls(stride, (stride - 1) / 2)

    def through(self, *layers: Window) -> "Grid":
        """Return the grid of the output of layers with square kernels, applied in order to a map with this grid."""
        grid = self
        for layer in layers:
            size, stride, padding = (_side(value) for value in (layer.kernel_size, layer.stride, layer.padding))
            middle = (size - 1) / 2 - padding  # the center of the first window, in cells of the layer's input
            if isinstance(layer, nn.ConvTranspose2d):
                grid = Grid(grid.step / stride, grid.origin - middle * grid.step / stride)
            else:
                grid = Grid(grid.step * stride, grid.origin + middle * grid.step)
        return grid

    def offset_of(self, other: "Grid") -> int:
        """Return the index of the cell in the grid `other` that coincides with the first cell of this grid.

        Raises:
            ConfigError: no cell coincides with the first cell, or the steps of the grids differ.
        """
        offset = (self.origin - other.origin) / self.step
        if self.step != other.step or offset != int(offset) or offset < 0:
            raise ConfigError(f"a map on {other} cannot be cropped to a map on {self}: their cells are not aligned")
        return int(offset)


class Crop(nn.Module):
    """A layer that crops a map (N, C, H, W) to the size of another map, from row and column `offset` on."""

    def __init__(self, offset: int) -> None:
        super().__init__()
        self.offset = offset

    def forward(self, cells: Tensor, size: tuple[int, int]) -> Tensor:
        """Crop a map (N, C, H, W) to (N, C, *size), from row and column `offset` on."""
        height, width = size
        return cells[..., self.offset : self.offset + height, self.offset : self.offset + width]

    def extra_repr(self) -> str:
        """Return the offset as text, which torch shows when it prints the network."""
        return f"offset={self.offset}"


def _side(value: int | str | tuple[int, ...]) -> int:
    sides = (value,) if isinstance(value, int) else value
    side = sides[0]
    if not isinstance(side, int) or any(other != side for other in sides):
        raise ConfigError(f"kernels, strides and paddings must be the same for height and width, but got {value}")
    return side
