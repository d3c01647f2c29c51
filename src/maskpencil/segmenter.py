"""Define `Segmenter`, which segments images with a network, its classes and its preprocessing."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast, overload

import numpy as np
import numpy.typing as npt

from maskpencil.classes import ClassSet
from maskpencil.errors import ConfigError, ImageError, ModelError
from maskpencil.exported import ExportedModel, is_exported
from maskpencil.extras import needed_for
from maskpencil.hardware import (
    PRECISIONS,
    choose_device,
    choose_precision,
    choose_runtime,
    computes_on_cpu,
    device_name,
)
from maskpencil.images import ImageSource, RGBImage, read_pixels
from maskpencil.imported import PREFIX, published_model
from maskpencil.model_folder import (
    ModelParts,
    fingerprint,
    read_model_config,
    read_model_folder,
    write_model_folder,
)
from maskpencil.parsing import read_choice, read_flag, read_path, read_path_text, read_whole, shown
from maskpencil.pipeline import equal_groups, read_ahead
from maskpencil.prediction import Prediction
from maskpencil.predictor import Predictor
from maskpencil.preprocessing import Preprocessing
from maskpencil.remote import RemoteSegmenter, address_text
from maskpencil.runtimes.base import ALIGNMENT, CoarseScores, Maps, Runtime, Wanted, joined_maps, stacked_maps
from maskpencil.runtimes.graph_cache import ConvertedRuntime, prepared_network, quantized_network
from maskpencil.runtimes.tiling import ArrayWindows, Windows, tiled_maps
from maskpencil.runtimes.upsampling import Floats

if TYPE_CHECKING:
    import torch

    from maskpencil.models.build import Network

# torch is imported inside functions: the other runtimes run without it

MEMORY = 2**30
"""The default memory limit of a `Segmenter`, in bytes."""

MAX_UNTILED_PIXELS = 2**21
"""Images of at most this size are never cut into tiles by the memory limit."""

SizeOverride: TypeAlias = 'int | tuple[int, int] | Literal["native"] | None'
"""An image size as in `Preprocessing.image_size`, except that None is the image size of the model, and "native" leaves
images unscaled."""


def load_predictor(value: Any) -> Predictor:
    """Return a predictor unchanged; otherwise load a model folder or exported file, or connect to a server.

    `value` is the predictor, the path of the folder or file, or the address of the server.

    Raises:
        ConfigError: the value is neither a predictor nor a path, or the server refuses this client.
        ModelError: the folder or the file cannot be read, or the server does not answer.
    """
    if address := address_text(value):
        return RemoteSegmenter(address)
    if isinstance(value, str | os.PathLike):
        if is_exported(value):
            return ExportedModel.from_file(value)
        return Segmenter.from_pretrained(value)
    if not hasattr(value, "predict_batch"):
        raise ConfigError(f"segmenter must be a Segmenter or a model folder, but got {shown(value)}")
    return cast(Predictor, value)


class Segmenter:
    """A network that segments images of any size; it may be used from several threads.

    Images that would exceed the memory limit are segmented in overlapping tiles. The result is the same, except for
    networks whose scores depend on the whole image: their tiles are blended, see `has_blended`.

    A segmenter can be copied, pickled and sent to other processes. A network that is a torch module is copied with its
    weights; any other network is loaded again from its model folder with the same settings.

    Args:
        runtime: the network, loaded into the engine that runs it: torch, OpenVINO or ONNX Runtime.
        classes: the network's K classes.
        preprocessing: the preparation of images, as in training.
        training: a description of how the weights were made, as plain values for the model folder.
        folder: the model folder; required for `network`, `save` and copies unless the network is a torch module.
        memory: the memory limit in bytes, for all images that the network computes at the same time.
        tile: the side of the tiles in pixels, a multiple of 32; by default it follows from `memory`.
        image_size: scale images to this size instead of the model's: (height, width), the longer side, or "native".

    Attributes:
        has_blended: whether an image was segmented in blended tiles, so that the result is not exact.

    Example:
        >>> segmenter = mp.Segmenter.from_pretrained("runs/train/street/model")
        >>> segmenter.predict("photo.jpg").label_map.shape
        (64, 96)
        >>> len(segmenter.predict(["photo.jpg", np.zeros((48, 48, 3), np.uint8)]))
        2

    Raises:
        ConfigError: runtime, classes and preprocessing do not fit each other, or a setting is out of range.
    """

    def __init__(
        self,
        runtime: Runtime,
        classes: ClassSet,
        preprocessing: Preprocessing,
        *,
        training: Mapping[str, Any] | None = None,
        folder: Path | None = None,
        memory: int = MEMORY,
        tile: int | None = None,
        image_size: SizeOverride = None,
    ) -> None:
        if not isinstance(classes, ClassSet):
            raise ConfigError(f"classes must be a ClassSet, but got {shown(classes)}")
        if runtime.upsampling.classes != len(classes):
            raise ConfigError(f"the model has {runtime.upsampling.classes} classes, but {len(classes)} are named")
        self.runtime, self.classes, self.training, self.folder = runtime, classes, dict(training or {}), folder
        self.preprocessing = _resized(preprocessing, image_size)
        self.memory, self.tile = _read_memory(memory), _read_tile(tile)
        self.has_blended = False

    @classmethod
    def of_network(
        cls,
        parts: ModelParts,
        *,
        folder: Path | None = None,
        device: "str | torch.device" = "auto",
        precision: str = "auto",
        compiled: bool = False,
        memory: int = MEMORY,
        tile: int | None = None,
        image_size: SizeOverride = None,
    ) -> "Segmenter":
        """Make a segmenter from a torch module, which is moved to the device and run by torch.

        Args:
            parts: the network, which maps normalized images (N, 3, H, W) to logits (N, K, H, W), with its classes and
                preprocessing.
            folder: the model folder that the network was read from, if any.
            device: see `hardware.choose_device`.
            precision: see `hardware.choose_precision`.
            compiled: compile the network with torch.compile; it must not be trained afterwards.
            memory: the memory limit in bytes, see `Segmenter`.
            tile: the side of the tiles in pixels, see `Segmenter`.
            image_size: scale images to this size instead of the model's.

        Raises:
            ConfigError: network, classes and preprocessing do not fit each other, a setting is out of range, or the
                machine lacks the device.
        """
        from maskpencil.runtimes.torch_runtime import TorchRuntime

        if parts.model.config.in_channels != 3:
            raise ConfigError(f"images have 3 channels, but the model takes {parts.model.config.in_channels}")
        place = choose_device(device) if isinstance(device, str) else device
        compiled = read_flag("compiled", compiled)
        precision = choose_precision(precision, place)
        runtime = TorchRuntime(parts.model, parts.preprocessing, device=place, precision=precision, compiled=compiled)
        return cls(
            runtime,
            parts.classes,
            parts.preprocessing,
            training=parts.training,
            folder=folder,
            memory=memory,
            tile=tile,
            image_size=image_size,
        )

    @classmethod
    def from_pretrained(
        cls,
        path: str | os.PathLike[str],
        *,
        runtime: str = "auto",
        device: "str | torch.device" = "auto",
        precision: str = "auto",
        compiled: bool = False,
        memory: int = MEMORY,
        tile: int | None = None,
        image_size: SizeOverride = None,
    ) -> "Segmenter":
        """Load a model folder, or one of torchvision's networks by its name: torchvision/fcn_resnet50.

        The address of a server, such as http://HOST:PORT, gives a `RemoteSegmenter`, which takes no settings.

        Args:
            path: the model folder, the name, or the address.
            runtime: auto, torch, openvino or onnx; see `hardware.choose_runtime`.
            device: auto, cpu, cuda or mps; see `hardware.choose_device`.
            precision: auto, fp32, bf16, fp16 or int8; see `hardware.choose_precision`.
            compiled: compile the network with torch.compile, which takes half a minute for each image size and is then
                faster.
            memory: the memory limit in bytes, see `Segmenter`.
            tile: the side of the tiles in pixels, see `Segmenter`.
            image_size: scale images to this size instead of the model's, see `Segmenter`.

        Raises:
            ConfigError: torchvision has no such network, the machine lacks the device or the runtime, a setting is out
                of range, or `compiled` was given for a runtime other than torch.
            ModelError: the folder is missing or damaged, its weights do not fit its network, or torchvision's weights
                cannot be downloaded.
        """
        if address := address_text(path):
            given = (runtime, device, precision, compiled, memory, tile, image_size)
            if given != ("auto", "auto", "auto", False, MEMORY, None, None):
                raise ConfigError(f"{address}: is a server, which takes no settings from here; leave the settings out")
            return cast("Segmenter", RemoteSegmenter(address))
        name = Path(read_path_text("the model", path)).as_posix()
        path, place, compiled = read_path("the model", path), device_name(device), read_flag("compiled", compiled)
        memory, tile = _read_memory(memory), _read_tile(tile)
        on_cpu = computes_on_cpu(place)
        if name.startswith(PREFIX) and not path.is_dir():
            with needed_for(f"the model {name}"):
                parts, folder = published_model(name), None
        elif (chosen := choose_runtime(runtime, on_cpu=on_cpu)) != "torch":
            if compiled:
                raise ConfigError(
                    f"--compile works only with runtime torch, but the runtime is {chosen}, which always compiles; "
                    "leave --compile out"
                )
            config = read_model_config(path)
            return cls(
                _graph_runtime(path, chosen, precision),
                config.classes,
                config.preprocessing,
                training=config.training,
                folder=path,
                memory=memory,
                tile=tile,
                image_size=image_size,
            )
        else:
            with needed_for("--runtime torch"):
                parts, folder = read_model_folder(path), path
        return cls.of_network(
            parts,
            folder=folder,
            device=place,
            precision=precision,
            compiled=compiled,
            memory=memory,
            tile=tile,
            image_size=image_size,
        )

    @property
    def title(self) -> str:
        """The device, runtime and precision, in words."""
        return self.runtime.title

    @property
    def legend(self) -> Sequence[int]:
        """The indices of the classes to name in legends, see `visualize.legend`."""
        return range(len(self.classes))

    @property
    def batch_size(self) -> int:
        """The number of images in a batch at which `predict_batch` is fastest."""
        return self.runtime.batch_size

    @property
    def network(self) -> "Network":
        """The network as a torch module; if torch does not run it, a new module is read from the model folder.

        Raises:
            ConfigError: torch does not run the network, and there is no model folder or torch is not installed.
            ModelError: the model folder cannot be read.
        """
        if not isinstance(self.runtime, ConvertedRuntime):
            from maskpencil.runtimes.torch_runtime import TorchRuntime

            if isinstance(self.runtime, TorchRuntime):
                return self.runtime.network
        if self.folder is None:
            raise ConfigError("this segmenter has no torch network; load it with runtime='torch'")
        with needed_for("Segmenter.network"):
            return read_model_folder(self.folder).model

    @property
    def parts(self) -> ModelParts:
        """The network as a torch module, its classes, preprocessing and training: the content of a model folder."""
        return ModelParts(self.network, self.classes, self.preprocessing, self.training)

    @property
    def budget(self) -> int:
        """The memory limit in bytes for one image: `memory` divided by the number of simultaneous images."""
        return self.memory // self.runtime.at_once

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a model folder whole or not at all, replacing an existing model folder.

        Raises:
            OutputError: the folder cannot be written.
        """
        write_model_folder(read_path("path", path), self.parts)

    @overload
    def predict(self, image: ImageSource) -> Prediction: ...
    @overload
    def predict(self, image: list[ImageSource] | tuple[ImageSource, ...]) -> list[Prediction]: ...
    def predict(self, image: Any) -> Prediction | list[Prediction]:
        """Segment one image or several, of any sizes.

        Pixels that are fully transparent, nodata or masked get no class (255).

        Args:
            image: a path, encoded bytes, a Pillow image, an array or a tensor, see `read_image`; or several images: a
                list of images, or an array or tensor with four axes.

        Returns:
            The prediction, or a list of them for several images.

        Raises:
            ImageError: an image is not readable.
        """
        if _is_several(image):
            return list(self.predict_stream(image))
        pixels = read_pixels(image)
        return self.predict_batch([pixels.rgb], confidence=True)[0].emptied(pixels.empty)

    @overload
    def logits(self, image: ImageSource) -> Floats: ...
    @overload
    def logits(self, image: list[ImageSource] | tuple[ImageSource, ...]) -> list[Floats]: ...
    def logits(self, image: Any) -> Floats | list[Floats]:
        """Compute the logits (K, H, W) float32 of one image, or a list of logits for several.

        `image` is as in `predict`.

        Raises:
            ImageError: an image is not readable.
        """
        return _each(image, self.logits_batch)

    @overload
    def probabilities(self, image: ImageSource) -> Floats: ...
    @overload
    def probabilities(self, image: list[ImageSource] | tuple[ImageSource, ...]) -> list[Floats]: ...
    def probabilities(self, image: Any) -> Floats | list[Floats]:
        """Compute the probabilities (K, H, W) float32 of one image, or a list of them for several.

        `image` is as in `predict`.

        Raises:
            ImageError: an image is not readable.
        """
        return _each(image, self.probabilities_batch)

    def predict_stream(
        self, images: Iterable[ImageSource], *, batch_size: int | None = None, confidence: bool = True
    ) -> Iterator[Prediction]:
        """Segment images as they arrive, one after the other, and yield the predictions in order.

        A thread reads ahead of the network. Consecutive images of one size are batched. Close the generator, or exhaust
        it, to end the thread.

        Args:
            images: the images, as in `predict`, of any sizes.
            batch_size: the largest number of images in a batch, by default the fastest number; 1 gives the shortest
                delay.
            confidence: also compute the probability of the chosen class.

        Raises:
            ImageError: an image is not readable; the predictions of the images before it were yielded.
        """
        size = self.batch_size if batch_size is None else read_whole("batch_size", batch_size, least=1)
        with closing(read_ahead(map(read_pixels, images), depth=max(2, size), step=None)) as read:
            for group in equal_groups(read, size=size, alike=lambda one, other: one.rgb.shape == other.rgb.shape):
                predictions = self.predict_batch([pixels.rgb for pixels in group], confidence=confidence)
                for prediction, pixels in zip(predictions, group, strict=True):
                    yield prediction.emptied(pixels.empty)

    def predict_batch(
        self, images: Sequence[RGBImage], *, confidence: bool = False, entropy: bool = False
    ) -> list[Prediction]:
        """Segment images of one size, (H, W, 3) uint8 each, in one pass.

        Args:
            images: one or more images.
            confidence: also compute the probability of the chosen class.
            entropy: also compute the entropy of the probabilities, 0 to 1.

        Raises:
            ImageError: the images are not uint8 arrays (H, W, 3), or differ in size.
        """
        _refuse_unfit(images)
        return self._predictions(images, self.maps(images, Wanted(confidence=confidence, entropy=entropy)))

    def predict_class(
        self, images: Sequence[RGBImage], index: int, *, confidence: bool = False
    ) -> list[tuple[Prediction, npt.NDArray[np.float32]]]:
        """Segment images of one size, and compute the probability (H, W) of the class `index`, in one pass.

        If `confidence` is True, the predictions have a confidence map.

        Raises:
            ConfigError: there is no such class.
            ImageError: see `predict_batch`.
        """
        _refuse_unfit(images)
        index = read_whole("index", index, least=0, most=len(self.classes) - 1)
        maps = self.maps(images, Wanted(confidence=confidence, class_index=index))
        probabilities = [] if maps.probability is None else list(maps.probability)
        return list(zip(self._predictions(images, maps), probabilities, strict=True))

    def logits_batch(self, images: Sequence[RGBImage]) -> Floats:
        """Compute the logits (N, K, H, W) float32 of images of one size, (H, W, 3) uint8 each."""
        return self.runtime.everything(self._coarse_scores(images), _size(images), "logits")

    def probabilities_batch(self, images: Sequence[RGBImage]) -> Floats:
        """Compute the probabilities (N, K, H, W) float32 of images of one size, (H, W, 3) uint8 each."""
        return self.runtime.everything(self._coarse_scores(images), _size(images), "probabilities")

    def maps(self, images: Sequence[RGBImage], wanted: Wanted) -> Maps:
        """Compute label maps, and the maps that `wanted` requests, of images of one size, (H, W, 3) uint8 each.

        The images are computed in tiles if the memory limit requires it.
        """
        size = _size(images)
        if self.tile_for(size) is None:
            return self.runtime.maps(self._coarse_scores(images), size, wanted)
        return stacked_maps(
            [joined_maps([maps for _, maps in self.bands(ArrayWindows(image), wanted)]) for image in images]
        )

    def bands(self, image: Windows, wanted: Wanted, *, start: int = 0) -> Iterator[tuple[slice, Maps]]:
        """Segment an image in tiles, and yield its maps in bands of whole rows, from the row `start` downwards.

        Args:
            image: the image, which is read in parts.
            wanted: the maps to compute with the label map.
            start: the first row to compute.

        Yields:
            The rows of a band as a slice of the image's rows, and the maps of the band.

        Raises:
            ConfigError: the network cannot be run in tiles.
        """
        if not self._is_tileable(image.size):
            height, width = image.size
            raise ConfigError(
                f"an image of {width} x {height} pixels is too large to segment at once, and a model with a fixed "
                "image size cannot segment it in tiles; give --image-size native, or scale the image down"
            )
        profile = self.runtime.profile
        self.has_blended |= not profile.exact
        tile = self.tile or profile.tile_size(self.budget)
        return tiled_maps(self.runtime, image, wanted, profile=profile, tile=tile, start=start)

    def tile_for(self, size: tuple[int, int]) -> int | None:
        """Return the side in pixels of the tiles for an image of `size` (H, W); None if it is not cut into tiles."""
        if not self._is_tileable(size):
            return None
        if self.tile:
            return self.tile if max(size) > self.tile else None
        if size[0] * size[1] <= MAX_UNTILED_PIXELS:
            return None
        profile = self.runtime.profile
        return profile.tile_size(self.budget) if size[0] * size[1] * profile.bytes_per_pixel > self.budget else None

    def side_by_side(self) -> AbstractContextManager[int]:
        """Prepare for simultaneous predictions while the `with` block runs, and yield how many of them are fastest.

        Within the block a single prediction may take longer. All predictions together stay below `memory`.
        """
        return self.runtime.side_by_side()

    def origin(self) -> dict[str, object] | None:
        """Return plain values that identify the model and the settings behind its results.

        If a later run has equal values, it can reuse the results of an interrupted run for the same image and the same
        arguments. None without a model folder.
        """
        if self.folder is None:
            return None
        profile = self.runtime.profile
        return {
            "model": fingerprint(self.folder),
            "graph": self.runtime.graph_digest,
            "runtime": self.runtime.title,
            "preprocessing": self.preprocessing.to_dict(),
            "tile": None if profile.exact else self.tile or profile.tile_size(self.budget),
        }

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        if isinstance(self.runtime, ConvertedRuntime):
            if self.folder is None:
                raise ConfigError("a segmenter without a model folder cannot be copied; load it with runtime='torch'")
            read_model_config(self.folder)  # raises if it is gone
            folder = self.folder.resolve()
            state |= {"folder": folder, "runtime": (self.runtime.name, self.runtime.precision, fingerprint(folder))}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if not isinstance(state["runtime"], Runtime):
            folder, (name, precision, loaded) = state["folder"], state["runtime"]
            read_model_config(folder)
            if fingerprint(folder) != loaded:
                raise ModelError(f"{folder}: the model changed since this segmenter was pickled; load it again")
            state = state | {"runtime": _graph_runtime(folder, name, precision)}
        self.__dict__.update(state)

    def _is_tileable(self, size: tuple[int, int]) -> bool:
        return self.runtime.upsampling.in_place and self.preprocessing.working_size(size) == size

    def _coarse_scores(self, images: Sequence[RGBImage]) -> CoarseScores:
        return self.runtime.coarse_scores([self.preprocessing.resize(image) for image in images])

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


def _graph_runtime(folder: Path, name: str, precision: str) -> Runtime:
    """Return the runtime `name` (openvino or onnx) for a model folder's network in a `precision`, which may be auto.

    Raises:
        ConfigError: the runtime does not support the precision, or is not installed.
        ModelError: the folder is damaged, or the runtime cannot run its network.
    """
    precision = read_choice("precision", precision, PRECISIONS)
    if name == "onnx":
        from maskpencil.runtimes.onnx_runtime import OnnxRuntime

        if precision not in ("auto", "fp32"):
            raise ConfigError(f"runtime onnx computes in fp32, but got precision {precision!r}; use --runtime auto")
        with needed_for("--runtime onnx"):
            return OnnxRuntime(prepared_network(folder, "onnx"))
    from maskpencil.runtimes.openvino_runtime import OpenVINORuntime

    quantized = quantized_network(folder) if precision in ("auto", "int8") else None
    precision = "int8" if quantized else choose_precision(precision, "cpu")
    return OpenVINORuntime(quantized or prepared_network(folder, "openvino"), precision=precision)


def _resized(preprocessing: Preprocessing, image_size: SizeOverride) -> Preprocessing:
    if image_size is None:
        return preprocessing
    return replace(preprocessing, image_size=None if image_size == "native" else image_size)


def _read_memory(value: Any) -> int:
    memory = read_whole("memory", value)
    if memory < 1:
        raise ConfigError(f"memory must be 1 byte or more, but got {memory}")
    return memory


def _read_tile(value: Any) -> int | None:
    if value is None:
        return None
    tile = read_whole("tile", value)
    if tile < 1 or tile % ALIGNMENT:
        raise ConfigError(f"tile must be a multiple of {ALIGNMENT} pixels above 0, but got {tile}")
    return tile


def _is_several(image: Any) -> bool:
    return isinstance(image, list | tuple) or getattr(image, "ndim", 0) == 4


def _each(image: Any, compute: Callable[[Sequence[RGBImage]], Floats]) -> Floats | list[Floats]:
    """Apply `compute`, which takes images of one size, to one image or to each of several images."""

    def computed(one: ImageSource) -> Floats:
        result: Floats = compute([read_pixels(one).rgb])[0]
        return result

    return [computed(one) for one in image] if _is_several(image) else computed(image)


def _size(images: Sequence[RGBImage]) -> tuple[int, int]:
    height, width, _ = images[0].shape
    return height, width


def _refuse_unfit(images: Sequence[RGBImage]) -> None:
    """Raise `ImageError` unless images are uint8 arrays (H, W, 3) of one size.

    Arrays of floats, for example, would give a wrong label map.
    """
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
