"""A model folder's network in a runtime that takes a converted one. Without torch, once it is converted."""

from pathlib import Path

from maskpencil.errors import ConfigError
from maskpencil.extras import needed_for
from maskpencil.hardware import PRECISIONS, choose_precision
from maskpencil.parsing import read_choice
from maskpencil.runtimes.base import Runtime
from maskpencil.runtimes.prepared import prepared_network, quantized_network


def load_runtime(folder: Path, name: str, precision: str) -> Runtime:
    """Run a model folder's network by `openvino` or `onnx` in a precision, or auto.

    Raises:
        ConfigError: the runtime lacks the precision, or is not installed.
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
