"""`Segmenter`: a network with its classes and preprocessing, ready to use."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt

from maskpencil.classes import ClassSet
from maskpencil.errors import ConfigError, ImageError, ModelError
from maskpencil.extras import needed_for
from maskpencil.hardware import choose_device, choose_precision, choose_runtime, computes_on_cpu, device_name
from maskpencil.images import ImageSource, RGBImage, read_pixels
from maskpencil.imported import PREFIX, published_model
from maskpencil.model_folder import (
    ModelParts,
    fingerprint,
    read_model_config,
    read_model_folder,
    write_model_folder,
)
from maskpencil.parsing import read_flag, read_path, read_path_text, read_whole, shown
from maskpencil.pipeline import equal_groups, read_ahead
from maskpencil.prediction import Prediction
from maskpencil.preprocessing import Preprocessing
from maskpencil.runtimes.base import Maps, Runtime, Wanted
from maskpencil.runtimes.converted import ConvertedRuntime
from maskpencil.runtimes.loading import load_runtime
from maskpencil.runtimes.mapper import Mapper

if TYPE_CHECKING:
    import torch

    from maskpencil.models.architectures import Network

# torch is imported inside functions: where another runtime has the network it is never needed


class Segmenter(Mapper):
    """A network that colors every pixel of any image. May be used from several threads.

    It can be copied and pickled, also into other processes: a live network goes along with its weights, any other is
    loaded again from its model folder, with the same settings.

    Args:
        runtime: runs the network.
        classes: its K classes.
        preprocessing: what its images went through in training.
        training: where the weights come from, as plain values for the model folder.
        folder: the model folder that the runtime's network was read from, if it has no live one.

    Attributes: see `Mapper`.

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
        if not isinstance(classes, ClassSet):
            raise ConfigError(f"classes must be a ClassSet, but got {shown(classes)}")
        if runtime.upscoring.classes != len(classes):
            raise ConfigError(f"the model has {runtime.upscoring.classes} classes, but {len(classes)} are named")
        super().__init__(runtime, preprocessing)
        self.classes, self.training, self.folder = classes, dict(training or {}), folder

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
        compiled: bool = False,
    ) -> "Segmenter":
        """Make one of a live network, run by torch; the network is moved to the device.

        `network` gives logits (N, K, H, W) for normalized images (N, 3, H, W); see `hardware` for device and precision.
        One that is `compiled` (see `CompiledCells`) learns no more.

        Raises:
            ConfigError: the parts do not fit each other, or the machine lacks the device.
        """
        from maskpencil.runtimes.torch_runtime import TorchRuntime

        if network.config.in_channels != 3:
            raise ConfigError(f"images have 3 channels, but the model takes {network.config.in_channels}")
        place = choose_device(device) if isinstance(device, str) else device
        compiled = read_flag("compiled", compiled)
        precision = choose_precision(precision, place)
        runtime = TorchRuntime(network, preprocessing, device=place, precision=precision, compiled=compiled)
        return cls(runtime, classes, preprocessing, training=training)

    @classmethod
    def from_pretrained(
        cls,
        path: str | os.PathLike[str],
        *,
        runtime: str = "auto",
        device: "str | torch.device" = "auto",
        precision: str = "auto",
        compiled: bool = False,
    ) -> "Segmenter":
        """Load a model folder, or torchvision's network of that name: torchvision/fcn_resnet50.

        `compiled` lets torch make one program of it for each size of images: half a minute each, then faster.

        Raises:
            ConfigError: torchvision has no such network, the machine lacks the device or the runtime, or a runtime that
                always compiles is to be `compiled`.
            ModelError: the folder is missing, damaged or does not fit, or the weights cannot be had.
        """
        name = Path(read_path_text("the model", path)).as_posix()
        path, place, compiled = read_path("the model", path), device_name(device), read_flag("compiled", compiled)
        on_cpu = computes_on_cpu(place)
        if name.startswith(PREFIX) and not path.is_dir():
            with needed_for(f"the model {name}"):
                parts, folder = published_model(name), None
        elif (chosen := choose_runtime(runtime, on_cpu=on_cpu)) != "torch":
            if compiled:
                raise ConfigError(f"--compile is of runtime torch, and {chosen} always compiles; leave --compile out")
            config, loaded = read_model_config(path), load_runtime(path, chosen, precision)
            return cls(loaded, config.classes, config.preprocessing, training=config.training, folder=path)
        else:
            with needed_for("--runtime torch"):
                parts, folder = read_model_folder(path), path
        segmenter = cls.of_network(
            parts.model,
            parts.classes,
            parts.preprocessing,
            training=parts.training,
            device=place,
            precision=precision,
            compiled=compiled,
        )
        segmenter.folder = folder
        return segmenter

    @property
    def legend(self) -> Sequence[int]:
        """See `PredictsImages`."""
        return range(len(self.classes))

    @property
    def network(self) -> "Network":
        """The live network that torch runs, or a fresh one read from the model folder."""
        if not isinstance(self.runtime, ConvertedRuntime):
            from maskpencil.runtimes.torch_runtime import TorchRuntime

            if isinstance(self.runtime, TorchRuntime):
                return self.runtime.network
        if self.folder is None:
            raise ConfigError("this segmenter has no network that could be written; load it with runtime='torch'")
        with needed_for("the live network of a segmenter"):
            return read_model_folder(self.folder).model

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a model folder, whole or not at all; a folder of that name is replaced.

        Raises:
            OutputError: the folder cannot be written.
        """
        write_model_folder(
            read_path("path", path), ModelParts(self.network, self.classes, self.preprocessing, self.training)
        )

    @overload
    def predict(self, image: ImageSource) -> Prediction: ...
    @overload
    def predict(self, image: list[ImageSource] | tuple[ImageSource, ...]) -> list[Prediction]: ...
    def predict(self, image: Any) -> Prediction | list[Prediction]:
        """Segment one image, all that `read_image` takes, of any size; its empty pixels get no class.

        A list of them gives a list, as an array or tensor of several images, with four axes, does.

        Raises:
            ImageError: it is not a readable image.
        """
        if isinstance(image, list | tuple) or getattr(image, "ndim", 0) == 4:
            return list(self.predict_stream(image))
        pixels = read_pixels(image)
        return self.predict_batch([pixels.rgb], confidence=True)[0].emptied(pixels.empty)

    def predict_stream(
        self, images: Iterable[ImageSource], *, batch_size: int | None = None, confidence: bool = True
    ) -> Iterator[Prediction]:
        """Segment images as they come, each all that `read_image` takes, of any sizes; in their order.

        A thread reads ahead of the network. Up to `batch_size` images of one size that follow each other go through
        it at once, by default as many as make it fastest; 1 lets none wait for the next. Close the generator, or use it
        up, to end the thread.

        Raises:
            ImageError: one is not a readable image; those before it have been given.
        """
        size = self.runtime.batch_size if batch_size is None else read_whole("batch_size", batch_size, least=1)
        with closing(read_ahead(map(read_pixels, images), depth=max(2, size), step=None)) as read:
            for group in equal_groups(read, size=size, alike=lambda one, other: one.rgb.shape == other.rgb.shape):
                predictions = self.predict_batch([pixels.rgb for pixels in group], confidence=confidence)
                for prediction, pixels in zip(predictions, group, strict=True):
                    yield prediction.emptied(pixels.empty)

    def predict_batch(
        self, images: Sequence[RGBImage], *, confidence: bool = False, entropy: bool = False
    ) -> list[Prediction]:
        """Segment images of one size, (H, W, 3) uint8 each, in one pass.

        `confidence` also gives the probability of the chosen class, `entropy` how undecided the network is.
        """
        _refuse_unfit(images)
        return self._predictions(images, self.maps(images, Wanted(confidence=confidence, entropy=entropy)))

    def predict_class(self, images: Sequence[RGBImage], index: int) -> list[tuple[Prediction, npt.NDArray[np.float32]]]:
        """Segment images of one size and tell the probability of one class, in one pass.

        Each prediction is that of `predict_batch`; the probability is (H, W) float32 in 0..1.
        """
        _refuse_unfit(images)
        index = read_whole("index", index, least=0, most=len(self.classes) - 1)
        maps = self.maps(images, Wanted(class_index=index))
        probabilities = [] if maps.probability is None else list(maps.probability)
        return list(zip(self._predictions(images, maps), probabilities, strict=True))

    def origin(self) -> dict[str, object] | None:
        """All that the maps of an image in `bands` follow from, as plain values; None for a network of no folder."""
        if self.folder is None:
            return None
        footprint = self.runtime.footprint
        return {
            "model": fingerprint(self.folder),
            "graph": self.runtime.graph_digest,
            "runtime": self.runtime.title,
            "preprocessing": self.preprocessing.to_dict(),
            "tile": None if footprint.exact else self.tile or footprint.tile(self.budget),
        }

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        if isinstance(self.runtime, ConvertedRuntime):
            if self.folder is None:
                raise ConfigError("this segmenter has no model folder to be copied by; load it with runtime='torch'")
            read_model_config(self.folder)  # tells whether it is still there
            folder = self.folder.resolve()
            state |= {"folder": folder, "runtime": (self.runtime.name, self.runtime.precision, fingerprint(folder))}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if not isinstance(state["runtime"], Runtime):
            folder, (name, precision, loaded) = state["folder"], state["runtime"]
            read_model_config(folder)
            if fingerprint(folder) != loaded:
                raise ModelError(f"{folder}: holds another model than when this segmenter was pickled; load it anew")
            state = state | {"runtime": load_runtime(folder, name, precision)}
        self.__dict__.update(state)

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


def _refuse_unfit(images: Sequence[RGBImage]) -> None:
    """Refuse what did not come from `read_image`: floats, for one, would give a wrong label map without an error."""
    shapes = {image.shape if isinstance(image, np.ndarray) and image.dtype == np.uint8 else None for image in images}
    shape = shapes.pop() if len(shapes) == 1 else None
    if shape is None or len(shape) != 3 or shape[2] != 3 or 0 in shape:
        found = ", ".join(
            f"{getattr(image, 'dtype', type(image).__name__)} {getattr(image, 'shape', '')}" for image in images[:3]
        )
        raise ImageError(
            f"a batch must be one or more arrays (H, W, 3) of uint8 and one size, but got {found or 'none'}; "
            "Segmenter.predict takes images of all kinds and sizes"
        )
