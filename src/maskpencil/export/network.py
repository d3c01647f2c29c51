"""Convert a model's network, with its pre- and post-processing, to ONNX, OpenVINO's format and a torch program."""

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
"""The names of the files of each form, the one to load first."""

_EXAMPLE = (2, 64, 96, 3)

_OPSET = 18
"""The ONNX version of the operators, which every ONNX Runtime in use supports."""

_LEAST_STORED = 64
"""Smaller tensors stay float32 in a file with fp16 weights: they take no space and may be exact numbers."""


class ExportedNetwork(nn.Module):
    """A network that maps images (N, H, W, 3) uint8 RGB of any size to label maps and confidence, or to logits.

    Args:
        parts: the network and its preprocessing.
        output: labels, for (labels (N, H, W) uint8, confidence (N, H, W) float32); or logits, for (N, K, H, W) float32.
    """

    def __init__(self, parts: ModelParts, output: Output) -> None:
        super().__init__()
        self.network, self.output = parts.model.cpu().eval(), output
        self.preprocessing: Preprocessing = parts.preprocessing

    def forward(self, pixels: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Compute the outputs for images (N, H, W, 3)."""
        logits: Tensor = self.network(self.preprocessing.normalize(pixels.permute(0, 3, 1, 2)))
        if self.output == "logits":
            return logits
        return logits.argmax(dim=1).to(torch.uint8), logits.softmax(dim=1).amax(dim=1)


def output_names(output: Output) -> list[str]:
    """Return the names of the outputs of an exported network."""
    return ["logits"] if output == "logits" else ["labels", "confidence"]


def to_onnx(network: ExportedNetwork, title: str) -> Any:
    """Convert a network to an `onnx.ModelProto`; `title` names it in errors.

    Raises:
        ConfigError: onnx is not installed.
        ModelError: the network has a layer that cannot be converted, or is too large for a file of 2 GiB.
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
        # tracing: symbolic shapes grow without end in networks that pad by the size of their features
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
    """Add the metadata to an `onnx.ModelProto`, and return the content of the file."""
    del model.metadata_props[:]
    for key, value in facts.metadata().items():
        model.metadata_props.add(key=key, value=value)
    model.producer_name, model.producer_version = "maskpencil", ""
    return bytes(model.SerializeToString())


def in_fp16(model: Any) -> Any:
    """Return a copy of an `onnx.ModelProto` whose large float32 weights are stored as float16; it computes in float32.

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
        halves = half_precision(values, tensor.name)
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(halves, f"{name}_fp16"))
        casts.append(helper.make_node("Cast", [f"{name}_fp16"], [name], to=TensorProto.FLOAT, name=f"{name}_cast"))
    nodes = [*casts, *copy.graph.node]
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    return copy


def half_precision(values: npt.NDArray[np.float32], name: str) -> npt.NDArray[np.float16]:
    """Convert weights to float16.

    Raises:
        ModelError: a weight is too large.
    """
    with np.errstate(over="ignore"):
        halves = values.astype(np.float16)
    if not np.isfinite(halves).all():
        raise ModelError(
            f"its tensor {name} has weights up to {np.abs(values).max():.3g}, which do not fit into fp16; export it "
            "with --weights fp32"
        )
    return halves


def to_openvino(content: bytes, facts: ExportFacts, place: Path, title: str) -> None:
    """Convert the content of an ONNX file to OpenVINO's format, and write it into the folder `place`.

    `title` names the model in errors.

    Raises:
        ModelError: OpenVINO does not know a layer of the network.
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
    """Write a network as a torch program (.pt2), and return the program.

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
    """Return a copy of a network in which convolutions that pad by the size of their input pad by constants.

    TensorFlow's padding depends on the size only if it is not a multiple of the stride. The features of a network are,
    since it pads images to multiples of the coarsest stride. Symbolic sizes would grow with every such layer.
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
    """Return an `onnx.ModelProto` in int8, calibrated on images (1, H, W, 3).

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
        fast_bias_correction=False,  # which corrects each layer's mean error roughly: 1 in 100 labels more differ
        ignored_scope=nncf.IgnoredScope(names=[first], patterns=[".*score.*"], validate=False),
    )


@contextmanager
def _conversion(title: str, form: str) -> Iterator[None]:
    """Silence the warnings of a converter, and turn its errors into a `ModelError`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what tracing would fix; the sizes it records stay free
            yield
    except (RuntimeError, ValueError) as error:
        raise ModelError(f"{title}: cannot be converted to {form} ({first_line(error)})") from error
