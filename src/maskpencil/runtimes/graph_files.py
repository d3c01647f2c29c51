"""Read, check and write a network's graph of operations. A model folder with a graph runs on CPUs without torch.

The folder `graph` holds `cells.xml` and `cells.bin` in OpenVINO's form. The inputs of this graph are images and the
weights, under their names in `model.safetensors`. The file `network.json` holds the last upsampling, the receptive
field and memory use, the `graph_fingerprint` of the network, and a digest of all files. A graph is not used if its
digest is wrong or if it is the graph of another network.

A graph is untrusted. Its XML is parsed and checked here, and OpenVINO reads only XML that is written from the parsed
values.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree as ET

import numpy as np
import numpy.typing as npt

from maskpencil.errors import ModelError, last_line, non_finite_weights
from maskpencil.model_folder import CONFIG, WEIGHTS, graph_fingerprint, weights_file
from maskpencil.parsing import shown
from maskpencil.regular_files import entries_of, one_of, parse_json, read_regular, reason_of, text, whole
from maskpencil.runtimes.base import ALIGNMENT, NetworkProfile
from maskpencil.runtimes.upsampling import Upsampling

GRAPH = "graph"
"""The name of the folder of the graph in a model folder."""

Form = Literal["openvino", "onnx"]
"""The forms of graphs: OpenVINO's format, and ONNX."""

XML, CONSTANTS, FACTS = "cells.xml", "cells.bin", "network.json"
GRAPHS: dict[Form, str] = {"openvino": XML, "onnx": "cells.onnx"}
"""The name of the file with the operations, for each form of graph."""

FILES: dict[Form, tuple[str, ...]] = {"openvino": (XML, CONSTANTS), "onnx": ("cells.onnx",)}
"""The names of the files of each form of graph, without `FACTS`."""

_VERSION = 2
"""The version of the graph folder's content; folders of other versions are not used."""

_MAX_BYTES = 2**32
_MAX_FACTS_BYTES = 2**16
_MAX_STRIDE, _MAX_KERNEL, _MAX_ORIGIN, _MAX_REACH, _MAX_PIXEL_BYTES = 64, 256, 4096, 2**15, 2**20

PIXELS = "pixels"
"""The name of the graph's input that takes images (N, H, W, 3) uint8."""

MAX_XML_BYTES = 2**26
MAX_LAYERS = 200_000
MAX_ELEMENTS = 2**27
"""The largest number of elements of a tensor that does not depend on the image; fc6 of VGG16 has 2 ** 26.6."""

MAX_PER_PIXEL = 2**12
"""The largest number of elements per pixel of a tensor that depends on the image, for an image of size `PROBE`."""

PROBE = (64, 96)

_LAYER_TYPES = """
    Abs Add BitwiseNot Ceiling Clamp Convert ConvertLike Cos Divide Equal Erf Exp Floor FloorMod Greater GreaterEqual
    Less LessEqual Log LogicalAnd LogicalNot LogicalOr Maximum Minimum Mod Multiply Negative NotEqual Power Round
    Select Sign Sin Sqrt SquaredDifference Subtract

    Elu Gelu HSigmoid HSwish HardSigmoid LogSoftmax Mish PRelu PReLU ReLU Relu Selu Sigmoid SoftPlus SoftSign Softmax
    SoftMax Swish Tanh

    AdaptiveAvgPool AvgPool BatchNormInference Convolution ConvolutionBackpropData FakeQuantize GroupConvolution
    GroupConvolutionBackpropData GroupNormalization Interpolate LRN MVN MatMul MaxPool NormalizeL2 RMS
    ScaledDotProductAttention

    Broadcast Concat Const Constant CumSum DepthToSpace Einsum Gather GatherElements GatherND Identity Pad Parameter
    Range Reshape Result Roll ScatterElementsUpdate ScatterNDUpdate ScatterUpdate ShapeOf ShuffleChannels Slice
    SpaceToDepth Split Squeeze StridedSlice Tile TopK Transpose Unsqueeze VariadicSplit

    ReduceL1 ReduceL2 ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
"""

ALLOWED = frozenset(_LAYER_TYPES.split())
"""The layer types of feed-forward networks, without types that loop, keep a state, draw random numbers or call other
code."""

_ELEMENT_TYPES = "boolean bf16 f16 f32 f64 i4 i8 i16 i32 i64 u1 u4 u8 u16 u32 u64"
_NUMBERS = frozenset(_ELEMENT_TYPES.split())
_OPSETS = frozenset(f"opset{number}" for number in range(1, 17))


@dataclass(frozen=True)
class StoredGraph:
    """A graph whose digest was verified.

    `files` is the content of its files by name, without `network.json`; `facts` is the content of `network.json`.
    """

    files: Mapping[str, bytes]
    facts: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """The digest of the files and facts: 32 hexadecimal digits."""
        return str(self.facts["digest"])

    def write(self, place: Path) -> None:
        """Write the files and the facts into an empty folder.

        Raises:
            OSError: the files cannot be written.
        """
        for name, content in self.files.items():
            (place / name).write_bytes(content)
        (place / FACTS).write_text(json.dumps(self.facts), encoding="utf-8")


def carried_graph(folder: Path) -> StoredGraph | None:
    """Read the graph, in OpenVINO's format, that a model folder contains.

    Return None if the folder has no graph, or if the graph is damaged or belongs to another network.
    """
    try:
        stored = read_graph(folder / GRAPH, "openvino")
    except ModelError:
        return None
    return stored if stored.facts["of"] == graph_name(folder) else None


def is_sound(stored: StoredGraph) -> bool:
    """Return whether `checked_xml` accepts the XML of a graph in OpenVINO's format."""
    try:
        checked_xml(stored.files[XML], len(stored.files[CONSTANTS]))
    except ValueError:
        return False
    return True


def read_graph(place: Path, form: Form) -> StoredGraph:
    """Read the graph in the folder `place`.

    Raises:
        ModelError: a file is missing, not regular or damaged.
    """
    try:
        facts = parse_json(read_regular(place / FACTS, limit=_MAX_FACTS_BYTES))
        limits = {XML: MAX_XML_BYTES}
        files = {name: read_regular(place / name, limit=limits.get(name, _MAX_BYTES)) for name in FILES[form]}
        if not isinstance(facts, dict) or facts.get("digest") != _digest(files, facts):
            raise ValueError("its files were changed")
        return StoredGraph(files, _checked_facts(facts, "the graph"))
    except OSError as error:
        raise damaged(place, reason_of(error)) from error
    except ValueError as error:
        raise damaged(place, str(error)) from error


def damaged(place: Path, reason: str) -> ModelError:
    """Return the error that says why the graph in the folder `place` cannot be used."""
    return ModelError(f"{place}: is damaged ({reason}); remove this folder; a new graph is made if torch is installed")


def seal(place: Path, facts: Mapping[str, Any], form: Form) -> None:
    """Complete a graph in the folder `place`: write `network.json` with the facts and the digest of all files.

    Raises:
        OSError: a file cannot be read or written.
    """
    files = {name: (place / name).read_bytes() for name in FILES[form]}
    (place / FACTS).write_text(json.dumps({**facts, "digest": _digest(files, facts)}), encoding="utf-8")


def save_openvino(model: Any, path: Path) -> None:
    """Write an `openvino.Model` as the XML file `path` and a .bin file beside it, without compression to float16.

    Raises:
        OSError: a file cannot be written; OpenVINO's RuntimeError also becomes an OSError.
    """
    import openvino

    try:
        openvino.save_model(model, path, compress_to_fp16=False)
    except RuntimeError as error:
        raise OSError(last_line(error)) from error


def after_graph(stored: StoredGraph, folder: Path) -> tuple[Upsampling, NetworkProfile]:
    """Return the last upsampling, receptive field and memory use that are stored with a graph.

    A learned kernel of the upsampling is read from the model folder.

    Raises:
        ModelError: the weights are damaged, or the learned kernel has the wrong shape.
    """
    facts = stored.facts
    upsampling, name = Upsampling(**facts["upscoring"]), facts["kernel"]
    profile = NetworkProfile(facts["footprint"]["reach"], facts["footprint"]["bytes_per_pixel"])
    if name is None:
        return upsampling, profile
    kernel = read_arrays(folder, name)[name]
    size, classes = upsampling.kernel_size, upsampling.classes
    if kernel.shape not in ((classes, 1, size, size), (classes, classes, size, size)):
        raise ModelError(
            f"{folder / WEIGHTS}: does not fit {CONFIG}: {name} is {kernel.shape}; copy the model folder again"
        )
    return Upsampling(**facts["upscoring"], kernel=kernel.astype(np.float32)), profile


def openvino_model(stored: StoredGraph, place: Path, folder: Path, *, is_foreign: bool) -> Any:
    """Build an `openvino.Model` from a graph, which was read from the folder `place`, and a model folder's weights.

    Raises:
        ModelError: the weights do not fit the graph or are not numbers; or the graph came with the model folder
            (`is_foreign`) and is not a graph that `write_graph` writes.
    """
    import openvino

    xml, constants = stored.files[XML], stored.files[CONSTANTS]
    try:
        model = openvino.Core().read_model(checked_xml(xml, len(constants)) if is_foreign else xml, constants)
        if len(model.inputs) > 1:
            _fill(model, folder)
        if is_foreign:
            refuse_too_large(model)
            _refuse_other_output(model, stored.facts["upscoring"]["classes"])
    except (ValueError, RuntimeError) as error:
        raise damaged(place, last_line(error)) from error
    return model


def _refuse_other_output(model: Any, classes: int) -> None:
    shape = model.outputs[0].get_partial_shape()
    if shape.rank != 4 or not shape[1].is_static or shape[1].get_length() != classes:
        raise ValueError(f"it yields the shape {shape}; expected scores (N, {classes}, H, W)")


def _fill(model: Any, folder: Path) -> None:
    """Replace the inputs of a model that are named after weights by constants, the weights of a model folder."""
    import openvino
    from openvino import opset13 as op

    tensors = read_arrays(folder)
    for parameter in model.get_parameters():
        name, shape = parameter.output(0).get_any_name(), parameter.get_partial_shape()
        if name == PIXELS:
            continue
        found = tensors.get(name)
        if found is None or not shape.compatible(openvino.PartialShape(found.shape)):
            misfit = "is missing" if found is None else f"is {found.shape} instead of {tuple(shape.to_shape())}"
            raise ModelError(f"{folder / WEIGHTS}: does not fit {CONFIG}: {name} {misfit}; copy the model folder again")
        if found.dtype.kind != "f":
            raise ModelError(
                f"{folder / WEIGHTS}: does not fit {CONFIG}: {name} holds {found.dtype}; copy the model folder again"
            )
        numbers = found.astype(parameter.get_element_type().to_dtype(), copy=False)
        parameter.output(0).replace(op.constant(numbers, shared_memory=True).output(0))
        model.remove_parameter(parameter)


def read_arrays(folder: Path, *names: str) -> dict[str, npt.NDArray[Any]]:
    """Read the tensors `names`, by default all tensors, from the weights of a model folder, without torch.

    Raises:
        ModelError: the tensors cannot be read, or hold NaN or infinity.
    """
    from safetensors import SafetensorError, safe_open

    weights = folder / WEIGHTS
    try:
        with weights_file(folder), safe_open(weights, framework="numpy") as tensors:
            arrays = {name: tensors.get_tensor(name) for name in names or tensors.keys()}
    except (SafetensorError, OSError, TypeError) as error:  # TypeError: a number type that NumPy lacks
        raise ModelError(f"{weights}: cannot be read as weights ({error}); copy or download it again") from error
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise non_finite_weights(str(weights), name)
    return arrays


def graph_name(folder: Path) -> list[object]:
    """Return the entry "of" in the `network.json` of a graph, which identifies the network.

    The entry is a list: the version of the graph folder's content, and the `graph_fingerprint` of the model folder.
    """
    return [_VERSION, graph_fingerprint(folder)]


def _digest(files: Mapping[str, bytes], facts: Mapping[str, Any]) -> str:
    """Return the digest of the content of all files, and of the facts without the digest itself."""
    plain = {name: value for name, value in facts.items() if name != "digest"}
    digest = hashlib.blake2b(json.dumps(plain, sort_keys=True).encode(), digest_size=16)
    for name, content in files.items():
        digest.update(f"{name} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def _of(value: object, what: str) -> list[object]:
    if not isinstance(value, list) or len(value) not in (2, 3):
        raise ValueError(f"{what} must be a list of 2 or 3 entries")
    return value


def _stride(value: object, what: str) -> int | None:
    return None if value is None else whole(value, what, 1, _MAX_STRIDE)


def _kernel(value: object, what: str) -> str | None:
    return None if value is None else text(value, what, 200)


def _reach(value: object, what: str) -> int | None:
    return None if value is None else one_of(value, what, range(0, _MAX_REACH + 1, ALIGNMENT))


def _upscoring(value: object, what: str) -> dict[str, Any]:
    return entries_of(
        value,
        what,
        {
            "classes": lambda value, what: whole(value, what, 1, 255),
            "stride": _stride,
            "kernel_size": lambda value, what: whole(value, what, 0, _MAX_KERNEL),
            "origin": lambda value, what: whole(value, what, 0, _MAX_ORIGIN),
        },
    )


def _footprint(value: object, what: str) -> dict[str, Any]:
    checks = {"reach": _reach, "bytes_per_pixel": lambda value, what: whole(value, what, 1, _MAX_PIXEL_BYTES)}
    return entries_of(value, what, checks)


def _checked_facts(value: object, what: str) -> dict[str, Any]:
    checks = {
        "of": _of,
        "upscoring": _upscoring,
        "kernel": _kernel,
        "footprint": _footprint,
        "digest": lambda value, what: text(value, what, 32),
    }
    return entries_of(value, what, checks)


def checked_xml(content: bytes, data: int) -> bytes:
    """Check the XML of a graph whose file of constants has `data` bytes; return the parsed XML as new text.

    Raises:
        ValueError: the XML is not accepted.
    """
    if b"<!" in content or content.count(b"<?") > 1 or b"\0" in content:
        raise ValueError("it has a document type, an entity, a comment, a processing instruction or a null byte")
    try:
        content.decode("utf-8")
        net = ET.fromstring(content)  # noqa: S314 - entities, which could grow without end, are refused above
    except (UnicodeDecodeError, ET.ParseError) as error:
        raise ValueError(f"it is not XML ({error})") from error
    layers = net.findall("./layers/layer")
    if net.tag != "net" or net.get("version") != "11" or not 1 <= len(layers) <= MAX_LAYERS:
        raise ValueError(f"it is not a network of 1 to {MAX_LAYERS} layers in version 11 of OpenVINO's format")
    if len(layers) != sum(element.tag == "layer" for element in net.iter()):
        raise ValueError("some of its layers contain a graph of their own, such as If or Loop")
    for layer in layers:
        _check_layer(layer, data)
    anew: bytes = ET.tostring(net, encoding="utf-8", xml_declaration=True)
    return anew


def refuse_too_large(model: Any) -> None:
    """Check that an `openvino.Model` takes little memory for a small image.

    For the check the model gets the shape of a small image; if the check passes, its dynamic shape is restored.

    Raises:
        ValueError: the model is too large, or does not have exactly one input for pixels and one output of coarse
            scores.
    """
    pixels = [port for port in model.inputs if PIXELS in port.get_names()]
    if len(pixels) != 1 or len(model.outputs) != 1:
        raise ValueError(
            f"it has {len(pixels)} inputs for pixels and {len(model.outputs)} outputs; expected 1 input and 1 output"
        )
    free = pixels[0].get_partial_shape()
    outputs = [(operation, port) for operation in model.get_ops() for port in operation.outputs()]
    constant = [(operation, port) for operation, port in outputs if port.get_partial_shape().is_static]
    _refuse_large(constant, MAX_ELEMENTS)
    model.reshape({pixels[0]: [1, *PROBE, 3]})
    _refuse_large(outputs, max([MAX_PER_PIXEL * math.prod(PROBE), *(_elements(port) for _, port in constant)]))
    model.reshape({pixels[0]: free})


def _refuse_large(outputs: Iterable[tuple[Any, Any]], most: int) -> None:
    for operation, port in outputs:
        if _elements(port) > most:
            raise ValueError(
                f"the output of its layer {operation.get_type_name()} has {_elements(port)} elements for a small "
                f"image; expected at most {most}"
            )


def _elements(port: Any) -> int:
    """Return the number of elements of an operation's output `port`; 0 if its shape is not fixed."""
    shape = port.get_partial_shape()
    return math.prod(shape.to_shape()) if shape.is_static else 0


def _check_layer(layer: ET.Element, data: int) -> None:
    kind, opset, details = layer.get("type", ""), layer.get("version", ""), layer.find("data")
    if kind not in ALLOWED or opset not in _OPSETS:
        raise ValueError(
            f"it has the operator {shown(kind)} of the operator set {shown(opset)}, which no supported network has"
        )
    if kind in ("Const", "Constant"):
        entries = {} if details is None else details.attrib
        offset, size = (_count(entries.get(name, "")) for name in ("offset", "size"))
        shape = [_count(side) for side in entries.get("shape", "").split(",") if side.strip()]
        if entries.get("element_type") not in _NUMBERS or offset + size > data or math.prod(shape) > 8 * max(1, size):
            raise ValueError(
                f"its constant {shown(layer.get('name', ''))} is of an unsupported type, or not within the file of "
                "constants"
            )


def _count(digits: str) -> int:
    digits = digits.strip()
    if not digits.isascii() or not digits.isdigit() or len(digits) > 18:
        raise ValueError(f"{shown(digits)} is not a valid offset, size or dimension of a constant")
    return int(digits)
