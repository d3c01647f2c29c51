"""Convert a network, with normalization and the choice of labels, to ONNX, OpenVINO's format and a torch program."""

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from maskpencil.errors import ModelError, first_line
from maskpencil.exported import MAX_BYTES, PIXELS, ExportFacts, Output
from maskpencil.extras import needed_for
from maskpencil.model_folder import ModelParts
from maskpencil.preprocessing import Preprocessing

Form = Literal["onnx", "openvino", "torch"]

FILES: dict[Form, tuple[str, ...]] = {
    "onnx": ("model.onnx",),
    "openvino": ("model.xml", "model.bin"),
    "torch": ("model.pt2",),
}
"""The names of the files of each form; the file that programs load comes first."""

_EXAMPLE = (2, 64, 96, 3)
"""The shape (N, H, W, 3) of the images of zeros on which the network is run to record it."""

_OPSET = 18
"""The version of the ONNX operator set; every ONNX Runtime in use supports this version."""

_LEAST_STORED = 64
"""Tensors with fewer values stay float32 in a file with fp16 weights, since they take little space and may be constants
that must be exact."""


class ExportedNetwork(nn.Module):
    """A network that maps images (N, H, W, 3) uint8 RGB of any size to label maps and confidences, or to logits.

    Args:
        parts: the network and its preprocessing, of which only the normalization is applied.
        output: "labels" for label maps (N, H, W) uint8 and confidences (N, H, W) float32, 0..1; "logits" for logits
            (N, K, H, W) float32.
    """

    def __init__(self, parts: ModelParts, output: Output) -> None:
        super().__init__()
        self.network, self.output = parts.model.cpu().eval(), output
        self.preprocessing: Preprocessing = parts.preprocessing

    def forward(self, pixels: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Compute the logits, or (labels, confidence), of images (N, H, W, 3) uint8 RGB."""
        logits: Tensor = self.network(self.preprocessing.normalize(pixels.permute(0, 3, 1, 2)))
        if self.output == "logits":
            return logits
        return logits.argmax(dim=1).to(torch.uint8), logits.softmax(dim=1).amax(dim=1)


def output_names(output: Output) -> list[str]:
    """Return the names of an exported network's outputs, in their order."""
    return ["logits"] if output == "logits" else ["labels", "confidence"]


def to_onnx(network: ExportedNetwork, title: str) -> Any:
    """Convert a network to an `onnx.ModelProto`; `title` is the name of the model in errors.

    Raises:
        ConfigError: onnx is not installed.
        ModelError: the network has a layer that cannot be converted, or is too large for an ONNX file (2 GiB).
    """
    with needed_for("export"):
        import onnx
    size = sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
    if size > MAX_BYTES - 2**24:
        raise ModelError(
            f"{title}: its weights take {size / 2**30:.1f} GiB, but an ONNX file can have at most 2 GiB; export it "
            "with --to torch"
        )
    sides = {0: "images", 1: "height", 2: "width"}
    axes = {PIXELS: sides, **dict.fromkeys(("labels", "confidence"), sides)}
    axes |= {"logits": {0: "images", 2: "height", 3: "width"}}
    names = output_names(network.output)
    content = BytesIO()
    with _conversion(title, "ONNX"), torch.inference_mode():
        # traced, without dynamo: its symbolic shapes grow without end if a network pads by the size of its features
        torch.onnx.export(
            network,
            (torch.zeros(_EXAMPLE, dtype=torch.uint8),),
            content,  # type: ignore[arg-type]
            dynamo=False,
            opset_version=_OPSET,
            input_names=[PIXELS],
            output_names=names,
            dynamic_axes={name: axes[name] for name in (PIXELS, *names)},
        )
    model = onnx.load_from_string(content.getvalue())
    onnx.checker.check_model(model, full_check=True)
    return model


def with_facts(model: Any, facts: ExportFacts) -> bytes:
    """Replace the metadata of an `onnx.ModelProto` by the facts, and return the content of the file to write."""
    del model.metadata_props[:]
    for key, value in facts.metadata().items():
        model.metadata_props.add(key=key, value=value)
    model.producer_name, model.producer_version = "maskpencil", ""
    return bytes(model.SerializeToString())


def in_fp16(model: Any, title: str) -> Any:
    """Return a copy of an `onnx.ModelProto` that stores large float32 weights as float16, but computes in float32.

    `title` is the name of the model in errors.

    Raises:
        ModelError: a weight is too large for float16.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    casts = []
    for tensor in copy.graph.initializer:
        values = numpy_helper.to_array(tensor) if tensor.data_type == TensorProto.FLOAT else None
        if values is None or values.size < _LEAST_STORED:
            continue
        halves = half_precision(values, f"{title}: the network's tensor {tensor.name}")
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(halves, f"{name}_fp16"))
        casts.append(helper.make_node("Cast", [f"{name}_fp16"], [name], to=TensorProto.FLOAT, name=f"{name}_cast"))
    nodes = [*casts, *copy.graph.node]
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    return copy


def half_precision(values: npt.NDArray[np.float32], name: str) -> npt.NDArray[np.float16]:
    """Convert weights to float16; `name` names their tensor in errors.

    Raises:
        ModelError: a weight is too large for float16.
    """
    with np.errstate(over="ignore"):
        halves = values.astype(np.float16)
    if not np.isfinite(halves).all():
        raise ModelError(
            f"{name} has weights up to {np.abs(values).max():.3g}, which are too large for fp16; give --weights fp32"
        )
    return halves


def to_openvino(content: bytes, facts: ExportFacts, place: Path, title: str) -> None:
    """Convert the content of an ONNX file to OpenVINO's format, and write it into the folder `place`.

    The facts become its metadata; `title` is the name of the model in errors.

    Raises:
        ModelError: OpenVINO does not support a layer of the network.
        OSError: a file cannot be written.
    """
    import openvino

    with _conversion(title, "OpenVINO"):
        model = openvino.Core().read_model(content, b"")
    for key, value in facts.metadata().items():
        model.set_rt_info(value, [key])
    try:
        openvino.save_model(model, place / FILES["openvino"][0], compress_to_fp16=facts.weights == "fp16")
    except RuntimeError as error:
        raise OSError(first_line(error)) from error


def to_torch(network: ExportedNetwork, facts: ExportFacts, path: Path, title: str) -> Any:
    """Write a network as a torch program (.pt2), and return the program as a `torch.export.ExportedProgram`.

    Args:
        network: the network.
        facts: the facts, which are written into the file.
        path: the file to write.
        title: the name of the model in errors.

    Raises:
        ModelError: the network has a layer that cannot be converted.
    """
    free = torch.export.Dim.DYNAMIC
    network = _with_constant_padding(network)
    try:
        with _conversion(title, "a torch program"):
            program = torch.export.export(
                network,
                (torch.zeros(_EXAMPLE, dtype=torch.uint8),),
                dynamic_shapes={PIXELS: {0: free, 1: free, 2: free}},
            )
            torch.export.save(program, os.fspath(path), extra_files=dict(facts.metadata()))
    except ModelError as error:
        raise ModelError(f"{error}; export it with --to onnx") from error
    return program


def _with_constant_padding(network: ExportedNetwork) -> ExportedNetwork:
    """Return a copy of a network in which every `Conv2dSame` layer pads by constants, not by the size of its input.

    With the size of the input, the expressions for symbolic sizes would grow with every such layer. The results stay
    the same: TensorFlow's "same" padding only depends on the size if the size is not a multiple of the stride, but the
    network pads images to multiples of its coarsest stride, so that the sizes of all features are multiples.
    """
    from timm.layers.conv2d_same import Conv2dSame

    copy = deepcopy(network)
    for place, layer in list(copy.named_modules()):
        if not isinstance(layer, Conv2dSame):
            continue
        both = zip(layer.kernel_size, layer.stride, layer.dilation, strict=True)
        down, across = (max((kernel - 1) * dilation + 1 - stride, 0) for kernel, stride, dilation in both)
        padding = nn.ZeroPad2d((across // 2, across - across // 2, down // 2, down - down // 2))
        plain = nn.Conv2d(
            layer.in_channels,
            layer.out_channels,
            layer.kernel_size,  # type: ignore[arg-type]
            layer.stride,  # type: ignore[arg-type]
            dilation=layer.dilation,  # type: ignore[arg-type]
            groups=layer.groups,
            bias=layer.bias is not None,
        )
        plain.weight, plain.bias = layer.weight, layer.bias
        parent, _, name = place.rpartition(".")
        setattr(copy.get_submodule(parent), name, nn.Sequential(padding, plain))
    return copy


def quantized(model: Any, samples: Sequence[npt.NDArray[np.uint8]]) -> Any:
    """Quantize an `onnx.ModelProto` to int8, with the ranges of activations from images (1, H, W, 3) uint8 RGB.

    The first convolution and the layers of the class scores stay in float32: they take little time, and the labels
    depend on them most.

    Raises:
        ConfigError: nncf is not installed.
    """
    with needed_for("--weights int8"):
        import nncf
    first = next(node.name for node in model.graph.node if node.op_type == "Conv")
    inputs = [{PIXELS: sample} for sample in samples]
    return nncf.quantize(
        model,
        nncf.Dataset(inputs),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(inputs),
        fast_bias_correction=False,  # the fast correction is rougher: 1 in 100 labels more differ
        ignored_scope=nncf.IgnoredScope(names=[first], patterns=[".*score.*"], validate=False),
    )


@contextmanager
def _conversion(title: str, form: str) -> Iterator[None]:
    """Silence the warnings of a converter, and turn its errors into a `ModelError` with the model and the form."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about values that tracing makes constant; the image sizes stay variable
            yield
    except (RuntimeError, ValueError) as error:
        raise ModelError(f"{title}: cannot be converted to {form} ({first_line(error)})") from error
