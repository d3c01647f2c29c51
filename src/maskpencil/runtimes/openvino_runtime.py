"""Run networks by OpenVINO on CPUs, without torch."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache, cached_property, partial
from queue import Empty, LifoQueue
from threading import Lock
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import openvino
from openvino import opset13 as op

from maskpencil.hardware import choose_precision
from maskpencil.images import RGBImage
from maskpencil.runtimes.base import CoarseScores, Finish
from maskpencil.runtimes.graph_cache import ConvertedRuntime, PreparedNetwork
from maskpencil.runtimes.upsampling import Block, Floats, Upsampling

_MAX_AT_ONCE = 4
"""The largest number of images that are computed simultaneously; each of these images takes memory."""

_KERNELS_KEPT = {"LATENCY": 256, "THROUGHPUT": 128}
"""The number of compiled layers that OpenVINO may keep in memory for each of its streams, by performance hint; the
default is 5,000.

A layer is compiled for one image size. Each image size needs about two compiled layers, of half a MiB each, so that
images of a hundred sizes are computed without compiling a layer twice.
"""

_PRIMITIVES_KEPT = 256
"""The number of compiled operations that oneDNN, OpenVINO's library, may keep in memory for the whole process.

The default is 1,024. The operations of the last upsampling take half a MiB for each image size.
"""

_PRECISIONS = {"fp32": "f32", "bf16": "bf16"}

_first_use = Lock()


class OpenVINORuntime(ConvertedRuntime):
    """A runtime that runs a network converted to OpenVINO's format on the CPU.

    Args:
        prepared: the converted network.
        precision: fp32, bf16, or int8 for a quantized network.
    """

    name: ClassVar[str] = "openvino"

    def __init__(self, prepared: PreparedNetwork, *, precision: str) -> None:
        super().__init__(prepared, precision=precision)
        _initialize_bindings()
        with _few_primitives_kept():
            self._for_one = _Compiled(prepared, precision, "LATENCY")
        self._many, self._lock = 0, Lock()  # the number of open blocks of `side_by_side`

    @cached_property
    def _for_many(self) -> "_Compiled":
        """The network compiled for simultaneous images; each image runs on some of the cores."""
        return _Compiled(self.prepared, self.precision, "THROUGHPUT")

    @property
    def _compiled(self) -> "_Compiled":
        return self._for_many if self._many else self._for_one

    @property
    def at_once(self) -> int:
        """The largest number of images that the runtime computes simultaneously, see `Runtime.at_once`."""
        return self._for_many.network.at_once if self._many else 1

    @contextmanager
    def side_by_side(self) -> Iterator[int]:
        """Prepare for simultaneous predictions, see `Runtime.side_by_side`."""
        with self._lock:
            self._many += 1
            _ = self._for_many  # compiled here, so that only one thread compiles
        try:
            yield self.at_once + 1  # one more than run at once, so that no core waits for the next image
        finally:
            with self._lock:
                self._many -= 1

    def coarse_scores(self, images: Sequence[RGBImage]) -> CoarseScores:
        """Run the network without its last upsampling, see `Runtime.coarse_scores`."""
        pixels = images[0][None] if len(images) == 1 else np.stack(images)
        with self._compiled.network.run(pixels) as (values,):
            return CoarseScores(values.copy(), (pixels.shape[1], pixels.shape[2]))

    def finish(self, scores: Floats, block: Block, kind: Finish) -> tuple[npt.NDArray[Any], ...]:
        """Compute one block of pixels from the values of coarse scores, see `Runtime.finish`."""
        down, across = block.down, block.across
        inputs = [np.ascontiguousarray(scores[..., down.span, across.span])]
        if down.matrix is not None and across.matrix is not None:
            inputs += [down.matrix, across.matrix]
        with self._compiled.finish(kind, mixed=len(inputs) > 1).run(*inputs) as outputs:
            if len(inputs) > 1:
                return tuple(output.copy() for output in outputs)
            height, width = (place.stop - place.start for place in block.place)
            rows, columns = slice(down.offset, down.offset + height), slice(across.offset, across.offset + width)
            return tuple(output[..., rows, columns].copy() for output in outputs)


class _Compiled:
    """The graphs of a network, each compiled once for this machine; `hint` is OpenVINO's performance hint."""

    def __init__(self, prepared: PreparedNetwork, precision: str, hint: str) -> None:
        self._settings = {
            "PERFORMANCE_HINT": hint,
            "PERFORMANCE_HINT_NUM_REQUESTS": _MAX_AT_ONCE,
            "CPU_RUNTIME_CACHE_CAPACITY": _KERNELS_KEPT[hint],
        }
        self._prepared = prepared
        others = choose_precision("auto", "cpu") if precision == "int8" else precision  # for the layers not quantized
        self.network = _Requests(prepared.compiled_network(_core(), self._with(_PRECISIONS[others])))
        self._finishes: dict[tuple[Finish, bool], _Requests] = {}
        self._lock = Lock()

    def finish(self, kind: Finish, *, mixed: bool) -> "_Requests":
        """Return the graph that `finish_graph` builds for these arguments, compiled."""
        with self._lock:
            if (kind, mixed) not in self._finishes:
                graph = partial(finish_graph, self._prepared.upsampling, kind, mixed=mixed)
                name = f"{kind}-{'mixed' if mixed else 'cut'}"
                compiled = self._prepared.compiled(name, _core(), graph, self._with("f32"))
                self._finishes[kind, mixed] = _Requests(compiled)
            return self._finishes[kind, mixed]

    def _with(self, precision: str) -> dict[str, Any]:
        return self._settings | {"INFERENCE_PRECISION_HINT": precision}


def finish_graph(upsampling: Upsampling, kind: Finish, *, mixed: bool) -> openvino.Model:
    """Build the graph that computes the outputs for a block of pixels, see `Finish`, from coarse scores.

    If the network has a learned upsampling, the graph applies it first. With `mixed`, the graph then multiplies the
    result by the interpolation matrices of the block's rows and columns, which are two more inputs. Without `mixed`,
    the caller cuts the block out of the outputs.
    """
    scores = op.parameter([-1, upsampling.classes, -1, -1], np.float32, name="scores")
    inputs, logits = [scores], scores
    if upsampling.kernel is not None and upsampling.stride:
        geometry = {"strides": [upsampling.stride] * 2, "pads_begin": [0, 0], "pads_end": [0, 0], "dilations": [1, 1]}
        kernel, groups = upsampling.kernel, upsampling.groups  # (K, K / groups, k, k)
        if groups == 1:
            logits = op.convolution_backprop_data(logits, op.constant(kernel), **geometry)
        else:
            filters = op.constant(kernel.reshape(groups, len(kernel) // groups, *kernel.shape[1:]))
            logits = op.group_convolution_backprop_data(logits, filters, **geometry)
    if mixed:
        rows = op.parameter([-1, -1], np.float32, name="rows")
        columns = op.parameter([-1, -1], np.float32, name="columns")
        inputs += [rows, columns]
        logits = op.matmul(rows, op.matmul(logits, columns, False, True), False, False)  # (N, K, rows, columns)
    return openvino.Model(_outputs(logits, kind), inputs, f"finish_{kind}")


def _outputs(logits: Any, kind: Finish) -> list[Any]:
    """Return the nodes that compute the outputs `kind`, see `Finish`, from `logits` (N, K, rows, columns)."""
    if kind == "logits":
        return [logits]
    axis = op.constant(np.array([1], np.int64))
    best = op.topk(logits, op.constant(np.int64(1)), 1, "max", "none", index_element_type="i32")
    labels = op.convert(op.squeeze(best.output(1), axis), "u8")
    if kind == "labels":
        return [labels]
    if kind == "probabilities":
        return [labels, op.softmax(logits, 1)]
    others = op.reduce_sum(op.exp(op.subtract(logits, best.output(0))), axis, keep_dims=False)
    return [labels, op.divide(op.constant(np.float32(1)), others)]


class _Requests:
    """A compiled graph that several threads can run at the same time, each with its own infer request."""

    def __init__(self, compiled: openvino.CompiledModel) -> None:
        self._create = compiled.create_infer_request
        self._free: LifoQueue[openvino.InferRequest] = LifoQueue()

        self.at_once = min(_MAX_AT_ONCE, int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")))

    @contextmanager
    def run(self, *inputs: npt.NDArray[Any]) -> Iterator[list[npt.NDArray[Any]]]:
        """Run the graph and yield its outputs, which are valid only inside the `with` block."""
        try:
            request = self._free.get_nowait()
        except Empty:
            request = self._create()
        try:
            request.infer(list(inputs), share_inputs=True)
            yield [output.data for output in request.output_tensors]
        finally:
            self._free.put(request)


def _initialize_bindings() -> None:
    """Initialize OpenVINO's tables of number types in one thread, before another thread can use them.

    OpenVINO's Python binding creates these tables at their first use, in a C++ static initializer that releases the
    interpreter lock while it imports NumPy. If two threads use the tables first at the same time, they deadlock: one
    waits for the initializer while it holds the interpreter lock, the other waits for the lock inside the initializer.
    """
    with _first_use:
        for number in (np.uint8, np.float32):
            tensor = openvino.Tensor(np.zeros(1, number))
            tensor.element_type.to_dtype()
            tensor.data.sum()


@contextmanager
def _few_primitives_kept() -> Iterator[None]:
    """Limit oneDNN's cache of primitives; this has an effect only if oneDNN is first used inside the `with` block.

    oneDNN reads the limit from an environment variable at its first use. If the user has set this variable, it is not
    changed; otherwise it is removed after the block.
    """
    name = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
    with _first_use:
        is_given = name in os.environ
        os.environ.setdefault(name, str(_PRIMITIVES_KEPT))
        try:
            yield
        finally:
            if not is_given:  # other libraries in this process, such as torch, have their own oneDNN
                del os.environ[name]


@cache
def _core() -> openvino.Core:
    return openvino.Core()
