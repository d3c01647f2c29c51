import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image
from tests.helpers import ONNX

from maskpencil.errors import ImageError
from maskpencil.segmenter import Segmenter

SIZES = [(40, 60), (40, 60), (33, 47), (40, 60)]


def photos() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (*size, 3), dtype=np.uint8) for size in SIZES]


@pytest.fixture(params=["torch", "openvino", ONNX])
def segmenter(request, make_segmenter, shared_cache, tmp_path):
    make_segmenter().save(tmp_path / "model")
    return Segmenter.from_pretrained(tmp_path / "model", runtime=request.param, device="cpu", precision="fp32")


@pytest.fixture
def forms(tmp_path):
    """One image in every form that `predict` takes, by its name."""
    image = photos()[0]
    path = tmp_path / "photo.png"
    Image.fromarray(image).save(path)
    return {
        "path": path,
        "text": str(path),
        "bytes": path.read_bytes(),
        "file": io.BytesIO(path.read_bytes()),
        "Pillow image": Image.fromarray(image),
        "array": image,
        "tensor": torch.from_numpy(image).permute(2, 0, 1),
    }


def label_map_of(prediction):
    return prediction.label_map


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "values"), [("predict", label_map_of), ("logits", np.asarray), ("probabilities", np.asarray)]
)
def test_an_image_may_have_any_form_single_or_in_a_list(segmenter, forms, method, values):
    compute = getattr(segmenter, method)
    expected = values(compute(photos()[0]))
    assert expected.shape == (SIZES[0] if method == "predict" else (5, *SIZES[0]))
    for image in forms.values():
        np.testing.assert_array_equal(values(compute(image)), expected)
    many = list(forms.values())
    for several in (many, tuple(many), np.stack([forms["array"]] * 2), torch.stack([forms["tensor"]] * 2)):
        found = compute(several)
        assert isinstance(found, list)
        assert len(found) == len(several)
        for one in found:
            np.testing.assert_array_equal(values(one), expected)


@pytest.mark.parametrize("method", ["predict", "logits", "probabilities"])
def test_several_images_may_be_of_different_sizes_or_none_at_all(segmenter, method):
    compute = getattr(segmenter, method)
    found = compute(photos())
    shapes = [one.label_map.shape if method == "predict" else one.shape[1:] for one in found]
    assert shapes == SIZES
    assert compute([]) == []
    with pytest.raises(ImageError, match="is text, not an image"):
        compute([photos()[0], b"no image"])


def test_one_image_and_a_batch_give_the_same_logits_and_probabilities(segmenter):
    image = photos()[0]
    np.testing.assert_array_equal(segmenter.logits(image), segmenter.logits_batch([image])[0])
    probabilities = segmenter.probabilities(image)
    np.testing.assert_array_equal(probabilities, segmenter.probabilities_batch([image])[0])
    np.testing.assert_allclose(probabilities.sum(axis=0), 1, atol=1e-5)
    np.testing.assert_array_equal(probabilities.argmax(axis=0), segmenter.predict(image).label_map)


@pytest.mark.slow
def test_the_image_size_of_the_model_can_be_replaced(segmenter, make_segmenter, smallest_backbone, tmp_path):
    make_segmenter(smallest_backbone, image_size=(32, 48)).save(tmp_path / "scaling")
    for asked, expected in ((None, (32, 48)), ("native", None), (64, 64), ((16, 24), (16, 24))):
        settings = {"runtime": segmenter.runtime.name, "device": "cpu", "precision": "fp32"}
        loaded = Segmenter.from_pretrained(tmp_path / "scaling", **settings, image_size=asked)
        assert loaded.preprocessing.image_size == expected
        assert loaded.predict(photos()[0]).label_map.shape == SIZES[0]


@pytest.mark.parametrize("batch_size", [None, 1, 3])
def test_a_stream_yields_the_predictions_of_single_images_in_order(segmenter, batch_size):
    images = photos()
    found = list(segmenter.predict_stream((image for image in images), batch_size=batch_size))
    assert [prediction.label_map.shape for prediction in found] == SIZES
    for image, prediction in zip(images, found, strict=True):
        alone = segmenter.predict(image)
        np.testing.assert_array_equal(prediction.image, image)
        assert (prediction.label_map == alone.label_map).mean() > 0.999
        np.testing.assert_allclose(prediction.confidence, alone.confidence, atol=1e-4)


def test_a_stream_yields_readable_images_before_the_error_of_an_unreadable_one(segmenter):
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
