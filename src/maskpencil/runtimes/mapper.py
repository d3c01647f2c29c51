"""Images of any size to maps: as a whole where the memory allows it, else in tiles. Without torch."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager

from maskpencil.errors import ConfigError
from maskpencil.images import RGBImage
from maskpencil.parsing import read_whole
from maskpencil.preprocessing import Preprocessing
from maskpencil.runtimes.base import Cells, Maps, Runtime, Wanted, joined_maps, stacked_maps
from maskpencil.runtimes.footprint import ALIGNMENT
from maskpencil.runtimes.tiling import ArrayWindows, Windows, tiled_maps
from maskpencil.runtimes.upscoring import Floats

SMALL = 2**21
"""Images of at most so many pixels are done as a whole by any network."""

MEMORY = 2**30
"""The bytes that a network may take for one image, unless it is told otherwise."""


class Mapper:
    """Runs a network on images of any size. May be used from several threads.

    Args:
        runtime: runs the network.
        preprocessing: what its images went through in training.

    Attributes:
        memory: the bytes that the network may take for the images under way; larger ones are done in tiles.
        tile: the side of tiles in pixels, a multiple of 32, or None where they follow from `memory`.
        has_blended: whether an image was done in tiles by a network whose tiles are not exact.
    """

    def __init__(self, runtime: Runtime, preprocessing: Preprocessing) -> None:
        self.runtime, self.preprocessing = runtime, preprocessing
        self.memory = MEMORY
        self.tile: int | None = None
        self.has_blended = False

    def limit(self, *, memory: int | None = None, tile: int | None = None) -> None:
        """Set the bytes that the network may take for one image, or the side of tiles, which comes before it.

        Raises:
            ConfigError: the memory is not above 0, or the tile is not a multiple of 32 above 0.
        """
        memory = None if memory is None else read_whole("memory", memory)
        tile = None if tile is None else read_whole("tile", tile)
        if memory is not None and memory < 1:
            raise ConfigError(f"memory must be 1 byte or more, but got {memory}")
        if tile is not None and (tile < 1 or tile % ALIGNMENT):
            raise ConfigError(f"tile must be a multiple of {ALIGNMENT} pixels above 0, but got {tile}")
        self.memory, self.tile = memory or self.memory, tile or self.tile

    def side_by_side(self) -> AbstractContextManager[int]:
        """Make ready for several predictions at once, each in a thread of its own, and say how many; until it ends.

        Within the block one that is made alone may take longer. All together they keep to `memory`.
        """
        return self.runtime.side_by_side()

    @property
    def budget(self) -> int:
        """The bytes that the network may take for one image now."""
        return self.memory // self.runtime.at_once

    def maps(self, images: Sequence[RGBImage], wanted: Wanted) -> Maps:
        """The maps that are wanted of images of one size, (H, W, 3) uint8 each.

        Large ones, that would take more than `memory`, are done part by part, with the same result.
        """
        size = _size(images)
        if self.tile_for(size) is None:
            return self.runtime.maps(self._cells(images), size, wanted)
        return stacked_maps([self._tiled(image, wanted) for image in images])

    def tile_for(self, size: tuple[int, int]) -> int | None:
        """The side of the tiles in which an image of `size` (H, W) is done, None where it is done as a whole."""
        if not self.runtime.upscoring.in_place or self.preprocessing.working_size(size) != size:
            return None
        if self.tile:
            return self.tile if max(size) > self.tile else None
        if size[0] * size[1] <= SMALL:
            return None
        footprint = self.runtime.footprint
        return footprint.tile(self.budget) if size[0] * size[1] * footprint.bytes_per_pixel > self.budget else None

    def _tiled(self, image: RGBImage, wanted: Wanted) -> Maps:
        return joined_maps([maps for _, maps in self.bands(ArrayWindows(image), wanted)])

    def bands(self, image: Windows, wanted: Wanted, *, start: int = 0) -> Iterator[tuple[slice, Maps]]:
        """The maps of an image of any size as bands of whole rows, from the row `start` down, without holding it.

        Raises:
            ConfigError: the network cannot be run in tiles.
        """
        if not self.runtime.upscoring.in_place or self.preprocessing.working_size(image.size) != image.size:
            height, width = image.size
            raise ConfigError(
                f"an image of {width} x {height} pixels cannot be done in tiles by this model, which sees it whole, "
                "at a size of its own; give --image-size native, or scale the image down"
            )
        footprint = self.runtime.footprint
        self.has_blended |= not footprint.exact
        tile = self.tile or footprint.tile(self.budget)
        return tiled_maps(self.runtime, image, wanted, footprint=footprint, tile=tile, start=start)

    def probabilities(self, images: Sequence[RGBImage]) -> Floats:
        """The probabilities (N, K, H, W) float32 of images of one size, (H, W, 3) uint8 each."""
        return self.runtime.everything(self._cells(images), _size(images), "probabilities")

    def logits(self, images: Sequence[RGBImage]) -> Floats:
        """The logits (N, K, H, W) float32 of images of one size, (H, W, 3) uint8 each."""
        return self.runtime.everything(self._cells(images), _size(images), "logits")

    def _cells(self, images: Sequence[RGBImage]) -> Cells:
        return self.runtime.cells([self.preprocessing.resize(image) for image in images])


def _size(images: Sequence[RGBImage]) -> tuple[int, int]:
    height, width, _ = images[0].shape
    return height, width
