"""Convert a model to the ONNX file that the page runs."""

import io
import warnings
from pathlib import Path
from typing import Any

from maskpencil.errors import ModelError, first_line
from maskpencil.extras import needed_for
from maskpencil.model_folder import read_model_folder

PIXELS = "pixels"
LABELS, CONFIDENCE = "labels", "confidence"

_EXAMPLE = (2, 61, 93, 3)  # no stride divides the sides; else the cut to the size of the image is traced away
_OPSET = 18


def onnx_of(model: Path) -> bytes:
    """Return the ONNX file of a model folder.

    Its input `pixels` is (N, H, W, 3) uint8, RGB, of any size; its outputs are `labels` (N, H, W) uint8 and
    `confidence` (N, H, W) float32. Weights are stored as float16 and computed with as float32.

    Raises:
        ConfigError: a required package is not installed.
        ModelError: the model cannot be read or converted.
    """
    with needed_for("maskpencil page"):
        import onnx
        import onnxscript  # noqa: F401 - torch.onnx needs it
        import torch
    parts = read_model_folder(model)

    class Labeling(torch.nn.Module):
        """Class numbers and their probabilities, of images (N, H, W, 3) uint8."""

        def __init__(self) -> None:
            super().__init__()
            self.network = parts.model.eval()

        def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            logits = self.network(parts.preprocessing.normalize(pixels.permute(0, 3, 1, 2)))  # (N, K, H, W)
            probabilities = logits.softmax(dim=1)
            return logits.argmax(dim=1).to(torch.uint8), probabilities.amax(dim=1)

    free = torch.export.Dim.DYNAMIC
    try:
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")  # of what tracing would fix; the sizes it records stay free
            program: Any = torch.onnx.export(
                Labeling(),
                (torch.zeros(_EXAMPLE, dtype=torch.uint8),),
                dynamo=True,
                opset_version=_OPSET,
                input_names=[PIXELS],
                output_names=[LABELS, CONFIDENCE],
                dynamic_shapes={PIXELS: {0: free, 1: free, 2: free}},
                verbose=False,
            )
    except RuntimeError as error:
        raise ModelError(
            f"{model}: {parts.model.config.title} cannot be converted to ONNX ({first_line(error)})"
        ) from error
    buffer = io.BytesIO()
    onnx.save_model(_with_half_weights(program.model_proto), buffer)
    return buffer.getvalue()


def _with_half_weights(graph: Any) -> Any:
    """Store the large float32 weights of an ONNX model as float16, each followed by a Cast."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in graph.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < 64:
            continue
        name, values = tensor.name, numpy_helper.to_array(tensor)
        half = np.clip(values, -65504, 65504).astype(np.float16)
        tensor.CopyFrom(numpy_helper.from_array(half, f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    for cast in reversed(casts):
        graph.graph.node.insert(0, cast)
    return graph
