"""The stride of the finest scores, chosen from the masks."""

import re

import numpy as np
import pytest
import torch

from maskpencil.classes import IGNORE_INDEX
from maskpencil.training.config import TrainConfig
from maskpencil.training.resolve import resolve
from maskpencil.training.strides import choose_stride, soft_mean_iou

SIZES = {"train": [(96, 96)] * 4, "val": [(96, 96)]}


def striped(width):
    """A label map (96, 96) of lines of `width` pixels, 24 pixels apart."""
    label_map = np.zeros((96, 96), np.uint8)
    for start in range(5, 96, 24):
        label_map[:, start : start + width] = 1
    return label_map


def noise(seed):
    return np.random.default_rng(seed).integers(0, 3, (96, 96), dtype=np.uint8)


def test_a_single_class_is_kept_and_lines_are_kept_better_by_finer_strides():
    assert soft_mean_iou([torch.zeros(64, 64, dtype=torch.uint8)], 8) == 1
    for width in (1, 2, 6):
        kept = [soft_mean_iou([torch.from_numpy(striped(width))], stride) for stride in (8, 4, 2)]
        assert kept == sorted(kept)
        assert kept[0] < 0.5


def test_cells_that_hold_half_of_two_classes_give_the_value_of_the_definition():
    label_map = torch.zeros(8, 8, dtype=torch.uint8)
    label_map[::2] = 1  # the shares are 0.5 everywhere
    assert soft_mean_iou([label_map], 8) == pytest.approx((0.5 * 32) / (32 + 0.5 * 32))


def test_ignored_pixels_do_not_count():
    label_map = striped(1)
    label_map[label_map == 1] = IGNORE_INDEX
    kept = soft_mean_iou([torch.from_numpy(label_map)], 8)
    assert 0.9 < kept < 1, "the shares next to ignored pixels are below 1"
    assert soft_mean_iou([torch.full((16, 16), IGNORE_INDEX, dtype=torch.uint8)], 8) == 1


def test_noise_gets_no_fine_stride():
    assert choose_stride([noise(0), noise(1)], backbone="resnet18", image_size=None) == (8, "")


@pytest.mark.parametrize(("width", "stride"), [(24, 8), (12, 4), (3, 2), (1, 2)])
def test_thin_lines_get_a_fine_stride(width, stride):
    assert choose_stride([striped(width)], backbone="resnet18", image_size=None)[0] == stride


def test_images_that_are_reduced_have_thinner_lines():
    assert choose_stride([striped(24)], backbone="resnet18", image_size=None) == (8, "")
    assert choose_stride([striped(24)], backbone="resnet18", image_size=48)[0] < 8


def test_a_stride_that_the_backbone_lacks_is_not_chosen():
    assert choose_stride([striped(1)], backbone="convnext_atto", image_size=None)[0] == 4  # its stem has stride 4


def test_no_mask_and_networks_as_released_keep_stride_8():
    assert choose_stride([], backbone="resnet18", image_size=None) == (8, "")
    for settings in ({"at_once_scales": True}, {"as_released": True}):
        config = TrainConfig(backbone="vgg16", weights="none", **settings)
        assert resolve(config, SIZES, [striped(1)]).config.stride == 8


def test_the_choice_is_in_the_settings_of_the_run_and_a_given_stride_wins():
    config = TrainConfig(backbone="resnet18", weights="none")
    assert resolve(config, SIZES, [striped(1)]).config.stride == 2
    assert resolve(config, SIZES, [striped(24)]).config.stride == 8
    assert resolve(TrainConfig(backbone="resnet18", weights="none", stride=16), SIZES, [striped(1)]).config.stride == 16


def test_the_reason_names_what_each_stride_could_reach():
    (reason,) = resolve(TrainConfig(backbone="resnet18", weights="none"), SIZES, [striped(1)]).notes
    number = r"0\.\d\d"
    listed = ", ".join(f"{number} at stride {stride}" for stride in (8, 4, 2))
    assert re.fullmatch(rf"stride 2, since the masks have narrow parts \(soft IoU {listed}\)", reason)
    assert not resolve(TrainConfig(backbone="resnet18", weights="none"), SIZES, [striped(24)]).notes
