"""The network of the page as an ONNX file."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from tests.helpers import noise

from maskpencil.page.onnx import onnx_of
from maskpencil.segmenter import Segmenter

pytestmark = pytest.mark.slow


def test_the_onnx_file_labels_images_of_any_size_as_the_segmenter_and_stores_halves(model: Path) -> None:
    content = onnx_of(model)
    session = onnxruntime.InferenceSession(content)
    segmenter = Segmenter.from_pretrained(model, runtime="torch", device="cpu", precision="fp32")
    for height, width in ((64, 96), (33, 47), (1, 1)):
        image = noise(height, width)
        labels, confidence = session.run(["labels", "confidence"], {"pixels": image[None]})
        expected = segmenter.predict(image).label_map
        assert labels.dtype == np.uint8
        assert confidence.dtype == np.float32
        assert confidence.shape == labels.shape == (1, height, width)
        assert (labels[0] == expected).mean() >= 0.99, "but for near ties, since weights are rounded"
    kinds = {
        tensor.data_type for tensor in onnx.load_from_string(content).graph.initializer if np.prod(tensor.dims) >= 64
    }
    assert onnx.TensorProto.FLOAT not in kinds
    assert onnx.TensorProto.FLOAT16 in kinds
