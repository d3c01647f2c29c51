"""Check a graph in OpenVINO's form before OpenVINO reads it: a stranger may have written it.

The file is parsed here, everything that our converter never writes is refused, and OpenVINO is given what was parsed,
written anew: it never sees bytes that were understood differently here. Without torch.
"""

import math
from collections.abc import Iterable
from typing import Any
from xml.etree import ElementTree as ET

from maskpencil.parsing import shown

PIXELS = "pixels"
"""The name of the input that takes images (N, H, W, 3) uint8."""

MAX_XML_BYTES = 2**26
MAX_LAYERS = 200_000
MAX_ELEMENTS = 2**27
"""Of a tensor that does not depend on the image: fc6 of VGG16 has 2 ** 26.6."""

MAX_PER_PIXEL = 2**12
"""Of a tensor that does, for an image of `PROBE` (height, width) pixels, at which networks are converted."""

PROBE = (64, 96)

_ELEMENTWISE = (
    *(
        "Abs",
        "Add",
        "BitwiseNot",
        "Ceiling",
        "Clamp",
        "Convert",
        "ConvertLike",
        "Cos",
        "Divide",
        "Equal",
        "Erf",
        "Exp",
        "Floor",
        "FloorMod",
    ),
    *("Greater", "GreaterEqual", "Less", "LessEqual", "Log", "LogicalAnd", "LogicalNot", "LogicalOr", "Maximum"),
    *("Minimum", "Mod", "Multiply", "Negative", "NotEqual", "Power", "Round", "Select", "Sign", "Sin", "Sqrt"),
    *("SquaredDifference", "Subtract"),
)
_ACTIVATIONS = (
    *("Elu", "Gelu", "HSigmoid", "HSwish", "HardSigmoid", "LogSoftmax", "Mish", "PRelu", "PReLU", "ReLU", "Relu"),
    *("Selu", "Sigmoid", "SoftPlus", "SoftSign", "Softmax", "SoftMax", "Swish", "Tanh"),
)
_LAYERS = (
    *("AdaptiveAvgPool", "AvgPool", "BatchNormInference", "Convolution", "ConvolutionBackpropData", "FakeQuantize"),
    *("GroupConvolution", "GroupConvolutionBackpropData", "GroupNormalization", "Interpolate", "LRN", "MVN", "MatMul"),
    *("MaxPool", "NormalizeL2", "RMS", "ScaledDotProductAttention"),
)
_SHAPES = (
    *(
        "Broadcast",
        "Concat",
        "Const",
        "Constant",
        "CumSum",
        "DepthToSpace",
        "Einsum",
        "Gather",
        "GatherElements",
        "GatherND",
    ),
    *("Pad", "Parameter", "Range", "Reshape", "Result", "Roll", "ScatterElementsUpdate", "ScatterNDUpdate"),
    *("ScatterUpdate", "ShapeOf", "ShuffleChannels", "Slice", "SpaceToDepth", "Split", "Squeeze", "StridedSlice"),
    *("Tile", "TopK", "Transpose", "Unsqueeze", "VariadicSplit"),
)
_REDUCTIONS = tuple(f"Reduce{kind}" for kind in ("L1", "L2", "Max", "Mean", "Min", "Prod", "Sum"))

ALLOWED = frozenset((*_ELEMENTWISE, *_ACTIVATIONS, *_LAYERS, *_SHAPES, *_REDUCTIONS))
"""The layers of feed-forward networks: none that loops, keeps a state, draws numbers or calls other code."""

_NUMBERS = frozenset(
    ("boolean", "bf16", "f16", "f32", "f64", "i4", "i8", "i16", "i32", "i64", "u1", "u4", "u8", "u16", "u32", "u64")
)
_OPSETS = frozenset(f"opset{number}" for number in range(1, 17))


def checked_xml(content: bytes, data: int) -> bytes:
    """Check a graph's XML, whose constants lie in a file of `data` bytes, and write it anew.

    Raises:
        ValueError: it is refused.
    """
    if b"<!" in content or content.count(b"<?") > 1 or b"\0" in content:
        raise ValueError("it has a document type, entities, comments or more than text")
    try:
        content.decode("utf-8")
        net = ET.fromstring(content)  # noqa: S314 - entities, which could grow without end, are refused above
    except (UnicodeDecodeError, ET.ParseError) as error:
        raise ValueError(f"it is not XML ({error})") from error
    layers = net.findall("./layers/layer")
    if net.tag != "net" or net.get("version") != "11" or not 1 <= len(layers) <= MAX_LAYERS:
        raise ValueError(f"it is not a network of 1 to {MAX_LAYERS} layers in OpenVINO's form 11")
    if len(layers) != sum(element.tag == "layer" for element in net.iter()):
        raise ValueError("it has layers within layers")
    for layer in layers:
        _check_layer(layer, data)
    anew: bytes = ET.tostring(net, encoding="utf-8", xml_declaration=True)
    return anew


def refuse_too_large(model: Any) -> None:
    """Refuse an `openvino.Model` that would take much memory for a small image; what comes after is in proportion.

    The model's input for pixels is left as free as it was.

    Raises:
        ValueError: it would, or the model has not one input for pixels and one output of cells.
    """
    pixels = [port for port in model.inputs if PIXELS in port.get_names()]
    if len(pixels) != 1 or len(model.outputs) != 1:
        raise ValueError(f"it has {len(pixels)} inputs for pixels and {len(model.outputs)} outputs, not 1 of each")
    free = pixels[0].get_partial_shape()
    outputs = [(operation, port) for operation in model.get_ops() for port in operation.outputs()]
    constant = [(operation, port) for operation, port in outputs if port.get_partial_shape().is_static]
    _refuse_large(constant, MAX_ELEMENTS)
    model.reshape({pixels[0]: [1, *PROBE, 3]})
    _refuse_large(outputs, max([MAX_PER_PIXEL * math.prod(PROBE), *(_size(port) for _, port in constant)]))
    model.reshape({pixels[0]: free})


def _refuse_large(outputs: Iterable[tuple[Any, Any]], most: int) -> None:
    for operation, port in outputs:
        if _size(port) > most:
            raise ValueError(f"a layer {operation.get_type_name()} gives {_size(port)} numbers for a small image")


def _size(port: Any) -> int:
    """The numbers of an output, 0 where they are not known."""
    shape = port.get_partial_shape()
    return math.prod(shape.to_shape()) if shape.is_static else 0


def _check_layer(layer: ET.Element, data: int) -> None:
    kind, opset, details = layer.get("type", ""), layer.get("version", ""), layer.find("data")
    if kind not in ALLOWED or opset not in _OPSETS:
        raise ValueError(f"it has a layer {shown(kind)} of {shown(opset)}, which no network here has")
    if kind in ("Const", "Constant"):
        entries = {} if details is None else details.attrib
        offset, size = (_count(entries.get(name, "")) for name in ("offset", "size"))
        shape = [_count(side) for side in entries.get("shape", "").split(",") if side.strip()]
        if entries.get("element_type") not in _NUMBERS or offset + size > data or math.prod(shape) > 8 * max(1, size):
            raise ValueError(f"its constant {shown(layer.get('name', ''))} does not lie in the file beside it")


def _count(digits: str) -> int:
    digits = digits.strip()
    if not digits.isascii() or not digits.isdigit() or len(digits) > 18:
        raise ValueError(f"{shown(digits)} is not a place or a size")
    return int(digits)
