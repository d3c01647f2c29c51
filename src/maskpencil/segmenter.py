"""`Segmenter`: a network with its classes and preprocessing, ready to use."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt

from maskpencil.classes import ClassSet
from maskpencil.errors import ConfigError
from maskpencil.hardware import choose_device, choose_precision, choose_runtime, computes_on_cpu
from maskpencil.images import ImageSource, RGBImage, read_image
from maskpencil.imported import PREFIX, published_model
from maskpencil.model_folder import (
    ModelParts,
    fingerprint,
    read_model_config,
    read_model_folder,
    write_model_folder,
)
from maskpencil.pipeline import equal_groups, read_ahead
from maskpencil.prediction import Prediction
from maskpencil.preprocessing import Preprocessing
from maskpencil.runtimes.base import Cells, Maps, Runtime, Wanted, joined_maps, stacked_maps
from maskpencil.runtimes.footprint import ALIGNMENT
from maskpencil.runtimes.loading import load_runtime
from maskpencil.runtimes.tiling import ArrayWindows, Windows, tiled_maps

if TYPE_CHECKING:
    import torch

    from maskpencil.models.architectures import Network
    from maskpencil.runtimes.upscoring import Floats

SMALL = 2**21
"""Pictures of at most so many pixels are done as a whole by any network."""

MEMORY = 2**30
"""The bytes that a network may take for one picture, unless it is told otherwise."""

# torch is imported inside functions: where another runtime has the network it is never needed


class Segmenter:
    """A network that colours every pixel of any picture. May be used from several threads.

    Args:
        runtime: runs the network.
        classes: its K classes.
        preprocessing: what its images went through in training.
        training: where the weights come from, as plain values for the model folder.
        folder: the model folder that the runtime's network was read from, if it has no live one.

    Attributes:
        memory: the bytes that the network may take for one picture; larger ones are done in tiles.
        tile: the side of tiles in pixels, a multiple of 32, or None where they follow from `memory`.
        has_blended: whether a picture was done in tiles by a network whose tiles are not exact.

    Raises:
        ConfigError: the parts do not fit each other.
    """

    def __init__(
        self,
        runtime: Runtime,
        classes: ClassSet,
        preprocessing: Preprocessing,
        *,
        training: Mapping[str, Any] | None = None,
        folder: Path | None = None,
    ) -> None:
        if runtime.upscoring.classes != len(classes):
            raise ConfigError(f"the model has {runtime.upscoring.classes} classes, but {len(classes)} are named")
        self.runtime, self.classes, self.preprocessing = runtime, classes, preprocessing
        self.training, self.folder = dict(training or {}), folder
        self.memory = MEMORY
        self.tile: int | None = None
        self.has_blended = False

    @classmethod
    def of_network(
        cls,
        network: "Network",
        classes: ClassSet,
        preprocessing: Preprocessing,
        *,
        training: Mapping[str, Any] | None = None,
        device: "str | torch.device" = "auto",
        precision: str = "auto",
    ) -> "Segmenter":
        """Make one of a live network, run by torch; the network is moved to the device.

        `network` gives logits (N, K, H, W) for normalized images (N, 3, H, W); see `hardware` for device and precision.

        Raises:
            ConfigError: the parts do not fit each other, or the machine lacks the device.
        """
        from maskpencil.runtimes.torch_runtime import TorchRuntime

        if network.config.in_channels != 3:
            raise ConfigError(f"pictures have 3 channels, but the model takes {network.config.in_channels}")
        place = choose_device(device) if isinstance(device, str) else device
        runtime = TorchRuntime(network, preprocessing, device=place, precision=choose_precision(precision, place))
        return cls(runtime, classes, preprocessing, training=training)

    @classmethod
    def from_pretrained(
        cls, path: str | os.PathLike[str], *, runtime: str = "auto", device: str = "auto", precision: str = "auto"
    ) -> "Segmenter":
        """Load a model folder, or torchvision's network of that name: torchvision/fcn_resnet50.

        Raises:
            ConfigError: torchvision has no such network, or the machine lacks the device or the runtime.
            ModelError: the folder is missing, damaged or does not fit, or the weights cannot be had.
        """
        name = Path(path).as_posix()
        on_cpu = computes_on_cpu(device)
        if name.startswith(PREFIX) and not Path(path).is_dir():
            parts, folder = published_model(name), None
        elif (chosen := choose_runtime(runtime, on_cpu=on_cpu)) != "torch":
            config, loaded = read_model_config(name), load_runtime(Path(path), chosen, precision)
            return cls(loaded, config.classes, config.preprocessing, training=config.training, folder=Path(path))
        else:
            parts, folder = read_model_folder(name), Path(path)
        segmenter = cls.of_network(
            parts.model, parts.classes, parts.preprocessing, training=parts.training, device=device, precision=precision
        )
        segmenter.folder = folder
        return segmenter

    @property
    def network(self) -> "Network":
        """The live network that torch runs, or a fresh one read from the model folder."""
        from maskpencil.runtimes.torch_runtime import TorchRuntime

        if isinstance(self.runtime, TorchRuntime):
            return self.runtime.network
        if self.folder is None:
            raise ConfigError("this segmenter has no network that could be written; load it with runtime='torch'")
        return read_model_folder(self.folder).model

    def limit(self, *, memory: int | None = None, tile: int | None = None) -> None:
        """Set the bytes that the network may take for one picture, or the side of tiles, which comes before it.

        Raises:
            ConfigError: the memory is not above 0, or the tile is not a multiple of 32 above 0.
        """
        if memory is not None and memory < 1:
            raise ConfigError(f"memory must be 1 byte or more, but got {memory}")
        if tile is not None and (tile < 1 or tile % ALIGNMENT):
            raise ConfigError(f"tile must be a multiple of {ALIGNMENT} pixels above 0, but got {tile}")
        self.memory, self.tile = memory or self.memory, tile or self.tile

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a model folder, whole or not at all; a folder of that name is replaced.

        Raises:
            OutputError: the folder cannot be written.
        """
        write_model_folder(os.fspath(path), ModelParts(self.network, self.classes, self.preprocessing, self.training))

    @overload
    def predict(self, image: ImageSource) -> Prediction: ...
    @overload
    def predict(self, image: list[ImageSource] | tuple[ImageSource, ...]) -> list[Prediction]: ...
    def predict(self, image: Any) -> Prediction | list[Prediction]:
        """Colour one picture, all that `read_image` takes, of any size.

        A list of them gives a list, as an array or tensor of several pictures, with four axes, does.

        Raises:
            ImageError: it is not a readable picture.
        """
        if isinstance(image, list | tuple) or getattr(image, "ndim", 0) == 4:
            return list(self.predict_stream(image))
        return self.predict_batch([read_image(image)], confidence=True)[0]

    def predict_stream(
        self, images: Iterable[ImageSource], *, batch_size: int | None = None, confidence: bool = True
    ) -> Iterator[Prediction]:
        """Colour pictures as they come, each all that `read_image` takes, of any sizes; in their order.

        A thread reads ahead of the network. Up to `batch_size` pictures of one size that follow each other go through
        it at once, by default as many as make it fastest; 1 lets none wait for the next. Close the generator, or use it
        up, to end the thread.

        Raises:
            ImageError: one is not a readable picture; those before it have been given.
        """
        size = batch_size or self.runtime.batch_size
        with closing(read_ahead(map(read_image, images), depth=max(2, size))) as read:
            for group in equal_groups(read, size=size, alike=lambda one, other: one.shape == other.shape):
                yield from self.predict_batch(group, confidence=confidence)

    def predict_batch(
        self, images: Sequence[RGBImage], *, confidence: bool = False, entropy: bool = False
    ) -> list[Prediction]:
        """Colour pictures of one size, (H, W, 3) uint8 each, in one pass.

        `confidence` also gives the probability of the chosen class, `entropy` how undecided the network is.
        """
        return self._predictions(images, self.maps(images, Wanted(confidence=confidence, entropy=entropy)))

    @contextmanager
    def side_by_side(self) -> Iterator[int]:
        """Give how many predictions made at once, each in a thread of its own, are done fastest; until the block ends.

        Within the block one that is made alone may take longer. All together they keep to `memory`.
        """
        memory = self.memory
        with self.runtime.side_by_side() as workers:
            self.memory = memory // workers
            try:
                yield workers
            finally:
                self.memory = memory

    def predict_class(self, images: Sequence[RGBImage], index: int) -> list[tuple[Prediction, npt.NDArray[np.float32]]]:
        """Colour pictures of one size and tell the probability of one class, in one pass.

        Each prediction is that of `predict_batch`; the probability is (H, W) float32 in 0..1.
        """
        maps = self.maps(images, Wanted(class_index=index))
        probabilities = [] if maps.probability is None else list(maps.probability)
        return list(zip(self._predictions(images, maps), probabilities, strict=True))

    def maps(self, images: Sequence[RGBImage], wanted: Wanted) -> Maps:
        """The maps that are wanted of pictures of one size, (H, W, 3) uint8 each.

        Large ones, that would take more than `memory`, are done part by part, with the same result.
        """
        size = _size(images)
        if self.tile_for(size) is None:
            return self.runtime.maps(self._cells(images), size, wanted)
        return stacked_maps([self._tiled(image, wanted) for image in images])

    def tile_for(self, size: tuple[int, int]) -> int | None:
        """The side of the tiles in which a picture of `size` (H, W) is done, None where it is done as a whole."""
        if not self.runtime.upscoring.in_place or self.preprocessing.working_size(size) != size:
            return None
        if self.tile:
            return self.tile if max(size) > self.tile else None
        if size[0] * size[1] <= SMALL:
            return None
        footprint = self.runtime.footprint
        return footprint.tile(self.memory) if size[0] * size[1] * footprint.bytes_per_pixel > self.memory else None

    def _tiled(self, image: RGBImage, wanted: Wanted) -> Maps:
        return joined_maps([maps for _, maps in self.bands(ArrayWindows(image), wanted)])

    def origin(self) -> dict[str, object] | None:
        """All that the maps of a picture in `bands` follow from, as plain values; None for a network of no folder."""
        if self.folder is None:
            return None
        footprint = self.runtime.footprint
        return {
            "model": fingerprint(self.folder),
            "runtime": self.runtime.title,
            "preprocessing": self.preprocessing.to_dict(),
            "tile": None if footprint.exact else self.tile or footprint.tile(self.memory),
        }

    def bands(self, picture: Windows, wanted: Wanted, *, start: int = 0) -> Iterator[tuple[slice, Maps]]:
        """The maps of a picture of any size as bands of whole rows, from the row `start` down, without holding it.

        Raises:
            ConfigError: the network cannot be run in tiles.
        """
        if not self.runtime.upscoring.in_place or self.preprocessing.working_size(picture.size) != picture.size:
            height, width = picture.size
            raise ConfigError(
                f"a picture of {width} x {height} pixels cannot be done in tiles by this model, which sees it whole, "
                "at a size of its own; give --image-size native, or scale the picture down"
            )
        footprint = self.runtime.footprint
        self.has_blended |= not footprint.exact
        tile = self.tile or footprint.tile(self.memory)
        return tiled_maps(self.runtime, picture, wanted, footprint=footprint, tile=tile, start=start)

    def probabilities(self, images: Sequence[RGBImage]) -> "Floats":
        """The probabilities (N, K, H, W) float32 of pictures of one size, (H, W, 3) uint8 each."""
        return self.runtime.everything(self._cells(images), _size(images), "probabilities")

    def logits(self, images: Sequence[RGBImage]) -> "Floats":
        """The logits (N, K, H, W) float32 of pictures of one size, (H, W, 3) uint8 each."""
        return self.runtime.everything(self._cells(images), _size(images), "logits")

    def _cells(self, images: Sequence[RGBImage]) -> Cells:
        return self.runtime.cells([self.preprocessing.resize(image) for image in images])

    def _predictions(self, images: Sequence[RGBImage], maps: Maps) -> list[Prediction]:
        return [
            Prediction(
                image,
                maps.labels[number],
                None if maps.confidence is None else maps.confidence[number],
                self.classes,
                entropy=None if maps.entropy is None else maps.entropy[number],
            )
            for number, image in enumerate(images)
        ]


def _size(images: Sequence[RGBImage]) -> tuple[int, int]:
    height, width, _ = images[0].shape
    return height, width
