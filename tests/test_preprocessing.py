import json

import numpy as np
import pytest
import torch
from torchvision import tv_tensors

from maskpencil.errors import ConfigError
from maskpencil.preprocessing import Preprocessing
from maskpencil.training.transforms import FitSize

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def images(height: int, width: int, count: int = 1) -> torch.Tensor:
    random = np.random.default_rng(0).integers(0, 256, (count, 3, height, width), dtype=np.uint8)
    return torch.from_numpy(random)


def test_normalized_images_have_mean_zero_and_deviation_one() -> None:
    pixels = images(32, 48, 2)
    mean, std = (pixels.float() / 255).mean((0, 2, 3)).tolist(), (pixels.float() / 255).std((0, 2, 3)).tolist()
    normalized = Preprocessing(tuple(mean), tuple(std)).normalize(pixels)
    assert normalized.dtype == torch.float32
    assert normalized.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(normalized.mean((0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(normalized.std((0, 2, 3)), torch.ones(3), atol=1e-4, rtol=0)


def test_normalizing_is_what_imagenet_networks_expect() -> None:
    pixels = torch.tensor([0, 128, 255], dtype=torch.uint8).view(1, 3, 1, 1)
    expected = [(value / 255 - mean) / std for value, mean, std in zip((0, 128, 255), MEAN, STD, strict=True)]
    torch.testing.assert_close(Preprocessing(MEAN, STD).normalize(pixels).flatten(), torch.tensor(expected))


@pytest.mark.parametrize(
    ("image_size", "expected"),
    [(None, (30, 50)), (50, (30, 50)), (80, (30, 50)), (25, (15, 25)), (2, (1, 2)), ((20, 20), (20, 20))],
)
def test_images_come_to_their_working_size(image_size: int | tuple[int, int] | None, expected: tuple[int, int]) -> None:
    preprocessing = Preprocessing(MEAN, STD, image_size)
    assert preprocessing.working_size((30, 50)) == expected
    resized = preprocessing.resize(images(30, 50)[0].permute(1, 2, 0).numpy())
    assert resized.shape == (*expected, 3)
    assert resized.dtype == np.uint8


@pytest.mark.parametrize("size", [(12, 16), (41, 53), (96, 100)])
def test_images_are_scaled_in_prediction_as_in_training(size: tuple[int, int]) -> None:
    pixels = images(48, 64)[0]
    resized = Preprocessing(MEAN, STD, size).resize(pixels.permute(1, 2, 0).numpy())
    trained = FitSize(Preprocessing(MEAN, STD, size).working_size)(tv_tensors.Image(pixels)).permute(1, 2, 0).numpy()
    assert np.abs(resized.astype(int) - trained).max() <= 1


@pytest.mark.parametrize(
    "preprocessing",
    [Preprocessing(MEAN, STD), Preprocessing(MEAN, STD, 512), Preprocessing(MEAN, STD, (160, 576))],
)
def test_it_survives_json(preprocessing: Preprocessing) -> None:
    assert Preprocessing.from_dict(json.loads(json.dumps(preprocessing.to_dict()))) == preprocessing


@pytest.mark.parametrize("image_size", [0, -5, (0, 10), (10,), (10, 10, 3)])
def test_an_invalid_image_size_is_refused(image_size: int | tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match="image_size must be one or two whole numbers above 0, but got"):
        Preprocessing(MEAN, STD, image_size)


@pytest.mark.parametrize(("mean", "std"), [((0.5,), STD), (MEAN, (0.2, 0.2)), (MEAN, (0.2, 0.0, 0.2))])
def test_an_invalid_mean_or_std_is_refused(mean: tuple[float, float, float], std: tuple[float, float, float]) -> None:
    with pytest.raises(ConfigError, match=r"must be three numbers each, at most .*, and std at least 1e-06"):
        Preprocessing(mean, std)
