"""Run networks that `maskpencil export` wrote as ONNX or OpenVINO files. Without torch."""

import hashlib
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import local
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from maskpencil.classes import ClassSet
from maskpencil.errors import ConfigError, ImageError, MaskPencilError, ModelError, first_line, last_line
from maskpencil.extras import needed_for
from maskpencil.images import RGBImage
from maskpencil.label_maps import file_palette
from maskpencil.parsing import shown
from maskpencil.prediction import Prediction
from maskpencil.predictor import Predictor
from maskpencil.regular_files import mapping, one_of, parse_json, read_regular
from maskpencil.runtimes.base import relative_entropy
from maskpencil.runtimes.graph_files import MAX_XML_BYTES, checked_xml
from maskpencil.runtimes.upsampling import Floats

EXPORTED_SUFFIXES = (".onnx", ".xml")
"""The suffixes of exported files that can be run: those of ONNX and OpenVINO."""

PIXELS = "pixels"
"""The name of the input: images (N, H, W, 3) uint8, RGB."""

FACTS, PALETTE = "maskpencil", "palette"
"""The names of the entries in a file's metadata: a JSON object, and the palette of masks as hexadecimal digits."""

Output = Literal["labels", "logits"]
Weights = Literal["fp32", "fp16", "int8"]

MAX_BYTES = 2**31 - 1
"""The largest size of an exported file: ONNX files cannot be larger."""

MAX_PIXELS = 2**24
"""The largest number of pixels of an image. Images are not cut into tiles; with 20 classes, an image of this size takes
several GiB."""

_VERSION = 1


@dataclass(frozen=True)
class ExportFacts:
    """The facts about a network that its exported file holds.

    Attributes:
        classes: the classes of the label maps.
        output: labels (with the confidence) or logits.
        weights: the number format of the weights.
    """

    classes: ClassSet
    output: Output
    weights: Weights

    def metadata(self) -> dict[str, str]:
        """Return the entries for the metadata of a file.

        `of` reads only the entry `FACTS`; the other entries are for people and other programs.
        """
        facts = {"version": _VERSION, "output": self.output, "weights": self.weights, "classes": self.classes.to_dict()}
        return {
            FACTS: json.dumps(facts),
            PALETTE: file_palette(self.classes.colors).tobytes().hex(),
            "class_names": json.dumps(list(self.classes.names)),
            "input": f"{PIXELS}: uint8 (images, height, width, 3), RGB, any size; normalization is part of the network",
            "outputs": {
                "labels": "labels: uint8 (images, height, width), class numbers; confidence: float32, equal size, 0..1",
                "logits": "logits: float32 (images, classes, height, width), before softmax",
            }[self.output],
        }

    @classmethod
    def of(cls, metadata: Mapping[str, str], path: Path) -> "ExportFacts":
        """Read the facts from the metadata of a file.

        Raises:
            ModelError: the file was not written by `maskpencil export`, or by a newer version.
        """
        if FACTS not in metadata:
            raise ModelError(
                f"{path}: is not from maskpencil export, so its classes are unknown; expected a file that maskpencil "
                "export MODEL wrote"
            )
        try:
            facts = mapping(parse_json(metadata[FACTS].encode()), FACTS)
            if facts.get("version") != _VERSION:
                raise ModelError(
                    f"{path}: has the version {shown(facts.get('version'))} of the format of exports, but this "
                    f"maskpencil reads {_VERSION}; upgrade maskpencil, or export the model again"
                )
            return cls(
                ClassSet.from_dict(mapping(facts.get("classes"), "classes")),
                one_of(facts.get("output"), "output", ("labels", "logits")),
                one_of(facts.get("weights"), "weights", ("fp32", "fp16", "int8")),
            )
        except ModelError:
            raise
        except (ValueError, MaskPencilError) as error:
            raise ModelError(
                f"{path}: its metadata are damaged ({first_line(error)}); export the model again"
            ) from error


def is_exported(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is a file with the suffix of an exported network."""
    return Path(path).suffix.lower() in EXPORTED_SUFFIXES and Path(path).is_file()


class Engine(ABC):
    """A loaded exported file, which runs its network on images of one size; several threads may use it."""

    name: str

    @property
    @abstractmethod
    def metadata(self) -> Mapping[str, str]:
        """The metadata of the file."""

    @abstractmethod
    def run(self, pixels: npt.NDArray[np.uint8]) -> list[npt.NDArray[Any]]:
        """Return the outputs for images (N, H, W, 3): labels and confidence (N, H, W), or logits (N, K, H, W)."""


class OnnxEngine(Engine):
    """A network run by ONNX Runtime on the CPU.

    ONNX Runtime gets the `content` of the file instead of its path, so that it cannot read other files.
    """

    name = "onnx"

    def __init__(self, content: bytes) -> None:
        with needed_for("an ONNX file"):
            import onnxruntime
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors only
        self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    @property
    def metadata(self) -> Mapping[str, str]:
        """The metadata of the file."""
        return dict(self._session.get_modelmeta().custom_metadata_map)

    def run(self, pixels: npt.NDArray[np.uint8]) -> list[npt.NDArray[Any]]:
        """Return the outputs for images (N, H, W, 3)."""
        return list(self._session.run(None, {PIXELS: pixels}))


class OpenVINOEngine(Engine):
    """A network run by OpenVINO on the CPU in float32.

    Args:
        xml: the content of the XML file.
        constants: the content of the .bin file.

    Raises:
        ValueError: the XML does not describe an exported network.
    """

    name = "openvino"

    def __init__(self, xml: bytes, constants: bytes) -> None:
        import openvino

        core = openvino.Core()
        model = core.read_model(checked_xml(xml, len(constants)), constants)
        self._metadata = {
            key: str(model.get_rt_info([key]).astype(str)) for key in (FACTS, PALETTE) if model.has_rt_info([key])
        }
        self._compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        self._requests = local()

    @property
    def metadata(self) -> Mapping[str, str]:
        """The metadata of the file."""
        return self._metadata

    def run(self, pixels: npt.NDArray[np.uint8]) -> list[npt.NDArray[Any]]:
        """Return the outputs for images (N, H, W, 3)."""
        if not hasattr(self._requests, "own"):
            self._requests.own = self._compiled.create_infer_request()
        request = self._requests.own
        request.infer([np.ascontiguousarray(pixels)])
        return [output.data.copy() for output in request.output_tensors]


class ExportedModel(Predictor):
    """A network in a file that `maskpencil export` wrote; it can replace a `Segmenter` for images and videos.

    Args:
        engine: the loaded file.
        facts: the classes and outputs of the file.
        digest: a digest of the content of the file.

    Example:
        >>> exported = mp.export_model("runs/train/street/model", "exported")
        >>> mp.predict("exported/model.onnx", "photos/", out="masks").images
        3
    """

    def __init__(self, engine: Engine, facts: ExportFacts, digest: str | None = None) -> None:
        self.engine, self.facts, self._digest = engine, facts, digest

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> "ExportedModel":
        """Load a file with the suffix .onnx or .xml.

        Raises:
            ConfigError: onnxruntime is not installed.
            ModelError: the file is missing or damaged, or is not from `maskpencil export`.
        """
        path = Path(path)
        if not path.is_file():
            raise ModelError(f"{path}: there is no such file; expected model.onnx or model.xml from maskpencil export")
        if path.suffix.lower() not in EXPORTED_SUFFIXES:
            raise ModelError(
                f"{path}: is not in a format that can be run here; expected a .onnx or .xml file; export the model "
                "with --to onnx or --to openvino"
            )
        try:
            if path.suffix.lower() == ".onnx":
                contents = [read_regular(path, limit=MAX_BYTES)]
                engine: Engine = OnnxEngine(*contents)
            else:
                constants = read_regular(path.with_suffix(".bin"), limit=MAX_BYTES)
                contents = [read_regular(path, limit=MAX_XML_BYTES), constants]
                engine = OpenVINOEngine(*contents)
        except ConfigError:
            raise
        except Exception as error:  # the engines have no common class of errors
            raise ModelError(
                f"{path}: cannot be loaded ({last_line(error)}); expected a complete file that maskpencil export "
                "wrote; export the model again"
            ) from error
        digest = hashlib.blake2b(digest_size=16)
        for content in contents:
            digest.update(content)
        return cls(engine, ExportFacts.of(engine.metadata, path), digest.hexdigest())

    @property
    def classes(self) -> ClassSet:
        """The classes of the label maps."""
        return self.facts.classes

    @property
    def title(self) -> str:
        """The device, the engine and the number format of the weights, in words."""
        return f"cpu by {self.engine.name}, exported in {self.facts.weights}"

    def origin(self) -> dict[str, object] | None:
        """Return plain values that identify the file and the engine that runs it; None if `digest` was not given."""
        return None if self._digest is None else {"exported": self._digest, "runtime": self.title}

    def predict_batch(
        self, images: Sequence[RGBImage], *, confidence: bool = False, entropy: bool = False
    ) -> list[Prediction]:
        """Segment images of one size, see `Segmenter.predict_batch`.

        Raises:
            ConfigError: `entropy` is requested from a file whose output is labels.
        """
        if self.facts.output == "logits" or entropy:
            return self._of_probabilities(images, confidence=confidence, entropy=entropy)
        labels, sure = self._run(images)
        return [
            Prediction(image, label_map, each if confidence else None, self.classes)
            for image, label_map, each in zip(images, labels, sure, strict=True)
        ]

    def predict_class(
        self, images: Sequence[RGBImage], index: int, *, confidence: bool = False
    ) -> list[tuple[Prediction, npt.NDArray[np.float32]]]:
        """Segment images and compute the probability of one class, see `Segmenter.predict_class`.

        Raises:
            ConfigError: the output of the file is labels.
        """
        probabilities = self.probabilities_batch(images)
        predictions = self._predictions(images, probabilities, confidence=confidence)
        return [(one, each[index]) for one, each in zip(predictions, probabilities, strict=True)]

    def probabilities_batch(self, images: Sequence[RGBImage]) -> Floats:
        """Compute the probabilities (N, K, H, W) of images of one size, see `Segmenter.probabilities_batch`.

        Raises:
            ConfigError: the output of the file is labels.
        """
        if self.facts.output == "labels":
            raise ConfigError(
                "the exported file computes labels and the confidence, but not the probabilities of all classes; "
                "export the model again with --output logits, or use the model folder"
            )
        (logits,) = self._run(images)
        exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities: Floats = exponents / exponents.sum(axis=1, keepdims=True)
        return probabilities

    def _run(self, images: Sequence[RGBImage]) -> list[npt.NDArray[Any]]:
        """Return the network's outputs for images of one size, and check the shapes and values of the outputs.

        Raises:
            ImageError: the images are too large.
            ModelError: the network fails, or its outputs do not fit the metadata, or are not finite.
        """
        height, width = images[0].shape[:2]
        size = f"an image of {width} x {height} pixels"
        if height * width > MAX_PIXELS:
            raise ImageError(
                f"{size} is larger than the {MAX_PIXELS:,} pixels that an exported file segments at once; use the "
                "model folder, which cuts images into tiles"
            )
        try:
            outputs = self.engine.run(np.stack(images))
        except Exception as error:  # the engines have no common class of errors
            raise ModelError(f"the exported file fails on {size} ({last_line(error)}); use the model folder") from error
        whole = len(images), height, width
        expected: list[tuple[tuple[int, ...], str]] = [(whole, "u"), (whole, "f")]
        if self.facts.output == "logits":
            expected = [((len(images), len(self.classes), height, width), "f")]
        if [(output.shape, output.dtype.kind) for output in outputs] != expected:
            raise ModelError(
                f"the exported file's outputs for {size} are not those that its metadata name; export the model again"
            )
        if not np.isfinite(outputs[-1]).all() or (len(outputs) > 1 and outputs[0].max() >= len(self.classes)):
            raise ModelError(
                f"the exported file's outputs for {size} are not finite, or are not class numbers; export an earlier "
                "model, or export with --weights fp32"
            )
        return outputs

    def _of_probabilities(self, images: Sequence[RGBImage], *, confidence: bool, entropy: bool) -> list[Prediction]:
        probabilities = self.probabilities_batch(images)
        found = self._predictions(images, probabilities, confidence=confidence)
        if not entropy:
            return found
        spread = relative_entropy(probabilities)
        return [
            Prediction(one.image, one.label_map, one.confidence, self.classes, entropy=each)
            for one, each in zip(found, spread, strict=True)
        ]

    def _predictions(self, images: Sequence[RGBImage], probabilities: Floats, *, confidence: bool) -> list[Prediction]:
        labels = probabilities.argmax(axis=1).astype(np.uint8)
        return [
            Prediction(image, label_map, each.max(axis=0) if confidence else None, self.classes)
            for image, label_map, each in zip(images, labels, probabilities, strict=True)
        ]
