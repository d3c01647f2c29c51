"""Read the weights files of Caffe, without Caffe and without protobuf.

A `.caffemodel` is one `NetParameter` message in protobuf's wire format. A message is a sequence of fields, each with a
number and a value; its declaration gives the meaning of the numbers. Only the parts of Caffe's messages that contain
weights are declared here; all other fields are skipped. A value is represented by the range of its bytes in the mapped
file, so nothing is copied. docs/adr/0031-caffe-files-are-mapped.md says why the package protobuf is not used.

Sources: src/caffe/proto/caffe.proto of https://github.com/BVLC/caffe,
https://protobuf.dev/programming-guides/encoding/
"""

import math
from collections.abc import Iterator, Mapping
from itertools import islice
from mmap import ACCESS_READ, mmap
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from maskpencil.errors import ModelError

# a field is its tag, the varint (number << 3 | wire type), followed by its value
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5  # wire types; the other two are for groups, which are obsolete
_FIXED_BYTES = {_FIXED64: 8, _FIXED32: 4}
_WIRE_TYPE_BITS, _WIRE_TYPE = 3, 0b111
_LAST_FIELD_NUMBER = 2**29 - 1
# each byte of a varint holds 7 of its up to 64 bits, the low ones first; the highest bit is set if another byte follows
_PAYLOAD = 0b0111_1111
_SHIFTS = range(0, 64, 7)

MAX_FIELDS = 2**22
"""The largest number of fields in a message; networks have hundreds of fields, or millions if each number has its own
field."""

STRING = MESSAGE = (_LENGTH,)
INTEGER = (_VARINT,)
# repeated numbers may be packed into one field, or have a field each
INTEGERS, FLOATS, DOUBLES = (_LENGTH, _VARINT), (_LENGTH, _FIXED32), (_LENGTH, _FIXED64)

Fields = Mapping[int, tuple[str, tuple[int, ...]]]
"""The fields of a message: number -> name and allowed wire types."""


class FormatError(Exception):
    """The error of a file that does not have the expected format; `read_caffemodel` turns it into a `ModelError`.

    Args:
        found: the problem, for the message.
        remedy: the remedy, for the message.
    """

    def __init__(
        self, found: str, remedy: str = "if the file should be a .caffemodel, copy or download it again"
    ) -> None:
        super().__init__(found)
        self.remedy = remedy


# the messages of caffe.proto; the network's name is not used, but its wire type helps to recognize other files
_NET_PARAMETER: Fields = {1: ("name", STRING), 2: ("layers", MESSAGE), 100: ("layer", MESSAGE)}
_LAYER_PARAMETER: Fields = {
    1: ("name", STRING),
    2: ("type", STRING),
    7: ("blobs", MESSAGE),
    117: ("inner_product_param", MESSAGE),
}
_V1_LAYER_PARAMETER: Fields = {
    1: ("layer", MESSAGE),  # holds everything in even older files, as a V0LayerParameter
    4: ("name", STRING),
    5: ("type", INTEGER),
    6: ("blobs", MESSAGE),
}
_INNER_PRODUCT_PARAMETER: Fields = {6: ("transpose", INTEGER)}
_BLOB_PROTO: Fields = {
    1: ("num", INTEGER),
    2: ("channels", INTEGER),
    3: ("height", INTEGER),
    4: ("width", INTEGER),
    5: ("data", FLOATS),
    7: ("shape", MESSAGE),
    8: ("double_data", DOUBLES),
}
_BLOB_SHAPE: Fields = {1: ("dim", INTEGERS)}

_LAYERS = {"layer": _LAYER_PARAMETER, "layers": _V1_LAYER_PARAMETER}
_LEGACY_AXES = ("num", "channels", "height", "width")
_MAX_AXES = 32  # kMaxBlobAxes of Caffe
_CONVOLUTION, _DECONVOLUTION, _INNER_PRODUCT = "Convolution", "Deconvolution", "InnerProduct"
_V1_TYPES = {4: _CONVOLUTION, 14: _INNER_PRODUCT, 39: _DECONVOLUTION}

_WEIGHT, _BIAS = "weight", "bias"
_PARAMETERS = {0: _WEIGHT, 1: _BIAS}
_AXES = {_CONVOLUTION: {_BIAS: 1}, _DECONVOLUTION: {_BIAS: 1}, _INNER_PRODUCT: {_WEIGHT: 2, _BIAS: 1}}
"""The number of axes of a parameter in PyTorch, for layers whose parameters have four axes in old Caffe files."""


def read_caffemodel(path: str | Path) -> dict[str, Tensor]:
    """Read the weights from a .caffemodel file as float32 tensors with PyTorch's shapes, by the file's layer names.

    A layer's first array is LAYER.weight, its second array LAYER.bias, further arrays LAYER.blob2, LAYER.blob3 and so
    on; so mean, variance and scale factor of a BatchNorm layer are weight, bias and blob2. Layers without arrays are
    left out. The tensors do not share memory with the file.

    Shapes, as in PyTorch: convolution (C_out, C_in/groups, H, W), deconvolution (C_in, C_out/groups, H, W), inner
    product (C_out, C_in), bias (C_out,). Old files store every array with four axes: inner products as (1, 1, C_out,
    C_in) and biases as (1, 1, 1, C_out), whose leading 1s are dropped. The arrays of other layers keep the stored
    shape. The numbers are unchanged: a network for BGR images still takes BGR images.

    A file that was truncated exactly between two layers looks complete, since the format stores neither its length nor
    the number of layers. Loading the tensors strictly reveals the missing layers.

    Raises:
        ModelError: the file is missing, damaged or of another kind, has no weights, or has two layers of the same name.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"{path}: there is no such weights file; expected a .caffemodel file of Caffe")
    try:
        if path.stat().st_size == 0:  # it cannot be mapped
            raise FormatError("it is empty")
        with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
            return _read_net(content)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror or error}); expected a readable file") from error
    except FormatError as error:
        raise ModelError(
            f"{path}: cannot be read as weights of Caffe ({error}); expected a binary .caffemodel, which is neither "
            f"the .prototxt nor a .caffemodel.h5; {error.remedy}"
        ) from error


def _read_net(content: mmap) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for field, value in read_fields(content, range(len(content)), _NET_PARAMETER):
        if field not in _LAYERS:
            continue
        layer, parameters = _read_layer(content, value, _LAYERS[field])
        if parameters and f"{layer}.{_WEIGHT}" in tensors:
            raise FormatError(f"it has two layers named {layer!r} with weights")
        tensors |= {f"{layer}.{name}": tensor for name, tensor in parameters.items()}
    if not tensors:
        raise FormatError("it has no layer with weights")
    return tensors


def _read_layer(content: mmap, message: range, known: Fields) -> tuple[str, dict[str, Tensor]]:
    """Read the name of a layer, and its tensors by parameter name; `known` are the fields of the layer's message."""
    layer = layer_type = ""
    parameters: dict[str, Tensor] = {}
    for field, value in read_fields(content, message, known):
        match field:
            case "name":
                layer = read_text(content, value)
            case "type" if known is _V1_LAYER_PARAMETER:
                layer_type = _V1_TYPES.get(read_integer(content, value), "")
            case "type":
                layer_type = read_text(content, value)
            case "blobs":
                name = _PARAMETERS.get(len(parameters), f"blob{len(parameters)}")
                parameters[name] = _read_blob(content, value, f"{layer}.{name}")
            case "inner_product_param":
                if any(
                    read_integer(content, flag) for _, flag in read_fields(content, value, _INNER_PRODUCT_PARAMETER)
                ):
                    raise FormatError(
                        f"the weights of {layer!r} are stored transposed", "store them with transpose: false"
                    )
            case "layer":
                raise FormatError(
                    "its layers have Caffe's oldest form, V0",
                    "convert it with Caffe's upgrade_net_proto_binary",
                )
    if parameters and not layer:
        raise FormatError("a layer with weights has no name")
    for name, axes in _AXES.get(layer_type, {}).items():
        if name in parameters:
            parameters[name] = _without_leading_ones(parameters[name], axes)
    return layer, parameters


def _read_blob(content: mmap, message: range, name: str) -> Tensor:
    """Read an array as a float32 tensor of the stored shape."""
    legacy: dict[str, int] = {}
    shape: list[int] = []
    data, double_data = bytearray(), bytearray()
    for field, value in read_fields(content, message, _BLOB_PROTO):
        match field:
            case "data":
                append_bytes(data, content, value)
            case "double_data":
                append_bytes(double_data, content, value)
            case "shape":
                for _, dims in read_fields(content, value, _BLOB_SHAPE):
                    shape += islice(read_integers(content, dims), _MAX_AXES + 1)
                    if len(shape) > _MAX_AXES:
                        raise FormatError(f"an array has more than {_MAX_AXES} axes")
            case _:
                legacy[field] = read_integer(content, value)
    if legacy:  # as in Caffe, the four old fields take precedence over the shape, and doubles over floats
        shape = [legacy.get(axis, 0) for axis in _LEGACY_AXES]
    numbers, dtype = (double_data, np.dtype("<f8")) if double_data else (data, np.dtype("<f4"))
    needed = math.prod(shape) * dtype.itemsize
    if len(numbers) != needed or not needed:
        raise FormatError(
            f"{name!r} has {len(numbers)} bytes of {dtype.name}, but its shape {tuple(shape)} needs {needed}"
        )
    array = np.frombuffer(numbers, dtype).astype(dtype.newbyteorder("="), copy=False)
    return torch.from_numpy(array).to(torch.float32).reshape(shape)


def _without_leading_ones(tensor: Tensor, axes: int) -> Tensor:
    while tensor.ndim > axes and len(tensor) == 1:
        tensor = tensor.squeeze(0)
    return tensor


def read_fields(content: mmap, message: range, known: Fields) -> Iterator[tuple[str, range]]:
    """Yield the name and the byte range of the value of each known field of the message in the bytes `message`.

    Raises:
        FormatError: the bytes are not a message, or a known field has another wire type.
    """
    position, count = message.start, 0
    while position < message.stop:
        start, count = position, count + 1
        if count > MAX_FIELDS:
            raise FormatError(f"a message has more than {MAX_FIELDS} fields")
        tag, position = _varint(content, position, message.stop)
        number, wire_type = tag >> _WIRE_TYPE_BITS, tag & _WIRE_TYPE
        if not 1 <= number <= _LAST_FIELD_NUMBER:
            raise FormatError(f"the field at byte {start} has the impossible number {number}")
        if wire_type == _VARINT:
            length = _varint(content, position, message.stop)[1] - position
        elif wire_type == _LENGTH:
            length, position = _varint(content, position, message.stop)
        elif wire_type in _FIXED_BYTES:
            length = _FIXED_BYTES[wire_type]
        else:
            raise FormatError(f"the field at byte {start} has the unsupported wire type {wire_type}")
        value = range(position, position + length)
        position = value.stop
        if position > message.stop:
            raise FormatError(
                f"the field at byte {start} reaches to byte {position}, but its message ends at {message.stop}"
            )
        if number in known:
            name, wire_types = known[number]
            if wire_type not in wire_types:
                raise FormatError(f"the field {name!r} at byte {start} has the unexpected wire type {wire_type}")
            yield name, value


def read_integer(content: mmap, value: range) -> int:
    """Read the integer of an INTEGER field; negative numbers, which are invalid, become large positive numbers."""
    return _varint(content, value.start, value.stop)[0]


def read_integers(content: mmap, value: range) -> Iterator[int]:
    """Read the integers of an INTEGERS field, packed or not."""
    position = value.start
    while position < value.stop:
        number, position = _varint(content, position, value.stop)
        yield number


def read_text(content: mmap, value: range) -> str:
    """Read the text of a STRING field; bytes that are not UTF-8, which old programs may have written, are escaped."""
    return content[value.start : value.stop].decode("utf-8", errors="backslashreplace")


def append_bytes(numbers: bytearray, content: mmap, value: range) -> None:
    """Append the little-endian bytes of a FLOATS or DOUBLES field, packed or not, to `numbers`."""
    with memoryview(content) as whole, whole[value.start : value.stop] as part:  # slices of a mmap would be copies
        numbers += part


def _varint(content: mmap, position: int, end: int) -> tuple[int, int]:
    """Read the variable-length integer at a position before `end`; return it and the position after it."""
    value, start = 0, position
    for shift in _SHIFTS:
        if position == end:
            break
        byte = content[position]
        position += 1
        value |= (byte & _PAYLOAD) << shift
        if byte <= _PAYLOAD:
            return value, position
    raise FormatError(f"an integer at byte {start} is longer than {len(_SHIFTS)} bytes, or than its message")
