"""Run networks by ONNX Runtime on the CPU, without torch."""

from collections.abc import Sequence
from threading import Lock
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from maskpencil.extras import needed_for
from maskpencil.images import RGBImage
from maskpencil.runtimes.base import CoarseScores, Finish
from maskpencil.runtimes.graph_cache import ConvertedRuntime, PreparedNetwork
from maskpencil.runtimes.upsampling import Block, Floats, Upsampling

_IR, _OPSET = 10, 18
"""The versions of the ONNX format and its operators in `finish_graph`; every ONNX Runtime in use supports them."""


class OnnxRuntime(ConvertedRuntime):
    """A runtime that runs a network converted to ONNX on the CPU, in float32.

    Args:
        prepared: the converted network.

    Raises:
        ConfigError: onnxruntime or onnx is not installed.
    """

    name: ClassVar[str] = "onnx"

    def __init__(self, prepared: PreparedNetwork) -> None:
        super().__init__(prepared, precision="fp32")
        self._network = _session(prepared.graph)
        self._finishes: dict[tuple[Finish, bool], Any] = {}
        self._lock = Lock()

    def coarse_scores(self, images: Sequence[RGBImage]) -> CoarseScores:
        """Run the network without its last upsampling, see `Runtime.coarse_scores`."""
        pixels = np.stack(images)
        (values,) = self._network.run(None, {"pixels": pixels})
        return CoarseScores(values, (pixels.shape[1], pixels.shape[2]))

    def finish(self, scores: Floats, block: Block, kind: Finish) -> tuple[npt.NDArray[Any], ...]:
        """Compute one block of pixels from the values of coarse scores, see `Runtime.finish`."""
        down, across = block.down, block.across
        inputs = {"scores": np.ascontiguousarray(scores[..., down.span, across.span])}
        if down.matrix is not None and across.matrix is not None:
            inputs |= {"rows": down.matrix, "columns": np.ascontiguousarray(across.matrix.T)}
        outputs = self._finish(kind, mixed=len(inputs) > 1).run(None, inputs)
        if len(inputs) > 1:
            return tuple(outputs)
        height, width = (place.stop - place.start for place in block.place)
        rows, columns = slice(down.offset, down.offset + height), slice(across.offset, across.offset + width)
        return tuple(output[..., rows, columns] for output in outputs)

    def _finish(self, kind: Finish, *, mixed: bool) -> Any:
        with self._lock:
            if (kind, mixed) not in self._finishes:
                self._finishes[kind, mixed] = _session(finish_graph(self.upsampling, kind, mixed=mixed))
            return self._finishes[kind, mixed]


def finish_graph(upsampling: Upsampling, kind: Finish, *, mixed: bool) -> bytes:
    """Build the graph that computes the outputs for a block of pixels, see `Finish`, from coarse scores.

    If the network has a learned upsampling, the graph applies it first. With `mixed`, the graph then multiplies the
    result by the interpolation matrices of the block's rows and columns, which are two more inputs. Without `mixed`,
    the caller cuts the block out of the outputs.
    """
    with needed_for("--runtime onnx"):
        from onnx import TensorProto, helper, numpy_helper

    nodes, constants, inputs, logits = [], [], ["scores"], "scores"
    if upsampling.kernel is not None and upsampling.stride:
        constants.append(numpy_helper.from_array(upsampling.kernel, "kernel"))
        strides = [upsampling.stride] * 2
        nodes.append(
            helper.make_node(
                "ConvTranspose", [logits, "kernel"], ["upscored"], strides=strides, group=upsampling.groups
            )
        )
        logits = "upscored"
    if mixed:
        inputs += ["rows", "columns"]
        nodes.append(helper.make_node("MatMul", [logits, "columns"], ["across"]))
        nodes.append(helper.make_node("MatMul", ["rows", "across"], ["logits"]))  # (N, K, rows, columns)
        logits = "logits"
    outputs = {"logits": [logits], "labels": ["labels"]}.get(kind, ["labels", kind])
    if kind != "logits":
        nodes.append(helper.make_node("ArgMax", [logits], ["best"], axis=1, keepdims=0))
        nodes.append(helper.make_node("Cast", ["best"], ["labels"], to=TensorProto.UINT8))
    if len(outputs) > 1:
        nodes.append(helper.make_node("Softmax", [logits], ["probabilities"], axis=1))
    if kind == "confidence":
        constants.append(numpy_helper.from_array(np.array([1], np.int64), "classes"))
        nodes.append(helper.make_node("ReduceMax", ["probabilities", "classes"], ["confidence"], keepdims=0))
    kinds = {"labels": TensorProto.UINT8}
    graph = helper.make_graph(
        nodes,
        f"finish_{kind}",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in inputs],
        [helper.make_tensor_value_info(name, kinds.get(name, TensorProto.FLOAT), None) for name in outputs],
        constants,
    )
    opsets = [helper.make_opsetid("", _OPSET)]
    return bytes(helper.make_model(graph, ir_version=_IR, opset_imports=opsets).SerializeToString())


def _session(graph: bytes) -> Any:
    with needed_for("--runtime onnx"):
        import onnxruntime
    return onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
