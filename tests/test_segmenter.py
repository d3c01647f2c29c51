from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

from maskpencil.errors import ImageError
from maskpencil.segmenter import Segmenter

SIZES = [(40, 60), (40, 60), (33, 47), (40, 60)]


def photos() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (*size, 3), dtype=np.uint8) for size in SIZES]


@pytest.fixture(params=["torch", "openvino", "onnx"])
def segmenter(request, make_segmenter, tmp_path):
    make_segmenter().save(tmp_path / "model")
    return Segmenter.from_pretrained(tmp_path / "model", runtime=request.param, device="cpu", precision="fp32")


def test_an_image_may_come_in_any_form_alone_or_with_others(segmenter, tmp_path):
    image = photos()[0]
    expected = segmenter.predict(image).label_map
    Image.fromarray(image).save(tmp_path / "photo.png")
    tensor = torch.from_numpy(image).permute(2, 0, 1)
    forms = [tmp_path / "photo.png", str(tmp_path / "photo.png"), (tmp_path / "photo.png").read_bytes()]
    forms += [Image.fromarray(image), tensor]
    for form in forms:
        np.testing.assert_array_equal(segmenter.predict(form).label_map, expected)
    for several in (forms, tuple(forms), np.stack([image] * 2), torch.stack([tensor] * 2)):
        predictions = segmenter.predict(several)
        assert len(predictions) == len(several)
        for prediction in predictions:
            np.testing.assert_array_equal(prediction.label_map, expected)


@pytest.mark.parametrize("batch_size", [None, 1, 3])
def test_a_stream_gives_what_each_image_alone_gives_in_order(segmenter, batch_size):
    images = photos()
    found = list(segmenter.predict_stream((image for image in images), batch_size=batch_size))
    assert [prediction.label_map.shape for prediction in found] == SIZES
    for image, prediction in zip(images, found, strict=True):
        alone = segmenter.predict(image)
        np.testing.assert_array_equal(prediction.image, image)
        assert (prediction.label_map == alone.label_map).mean() > 0.999
        np.testing.assert_allclose(prediction.confidence, alone.confidence, atol=1e-4)


def test_a_stream_tells_what_cannot_be_read_after_what_could(segmenter):
    stream = segmenter.predict_stream([photos()[0], b"no image"])
    assert next(stream).label_map.shape == SIZES[0]
    with pytest.raises(ImageError, match="is text, not an image"):
        next(stream)


def test_threads_may_share_a_segmenter(segmenter):
    images = photos() * 4
    expected = [segmenter.predict(image).label_map for image in images]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(segmenter.predict, images))
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one, other.label_map)
