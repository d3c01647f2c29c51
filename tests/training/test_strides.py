"""The stride of the finest scores, chosen from the masks."""

import re

import numpy as np
import pytest
import torch

from maskpencil.classes import IGNORE_INDEX
from maskpencil.training.config import TrainConfig
from maskpencil.training.resolve import resolve
from maskpencil.training.strides import bound, choose_stride

SIZES = {"train": [(96, 96)] * 4, "val": [(96, 96)]}


def striped(width):
    """A label map (96, 96) of lines of `width` pixels, 24 pixels apart."""
    label_map = np.zeros((96, 96), np.uint8)
    for start in range(5, 96, 24):
        label_map[:, start : start + width] = 1
    return label_map


def test_masks_that_fit_the_cells_are_shown_without_loss():
    label_map = torch.zeros(64, 64, dtype=torch.uint8)
    label_map[:, 32:] = 3
    assert bound([label_map], 8) == 1


def test_the_bound_falls_with_the_width_of_lines_and_rises_with_finer_strides():
    bounds = {
        (width, stride): bound([torch.from_numpy(striped(width))], stride)
        for width in (1, 2, 6)
        for stride in (8, 4, 2)
    }
    for width in (1, 2, 6):
        assert bounds[width, 8] <= bounds[width, 4] <= bounds[width, 2]
    assert bounds[1, 8] < 0.6 < 0.9 < bounds[6, 2]


def test_ignored_pixels_do_not_count():
    label_map = striped(1)
    label_map[label_map == 1] = IGNORE_INDEX
    assert bound([torch.from_numpy(label_map)], 8) == 1


@pytest.mark.parametrize(("width", "stride"), [(12, 8), (2, 2), (1, 2)])
def test_thin_lines_get_a_fine_stride(width, stride):
    assert choose_stride([striped(width)], backbone="resnet18", image_size=None)[0] == stride


def test_images_that_are_reduced_have_thinner_lines():
    assert choose_stride([striped(12)], backbone="resnet18", image_size=None) == (8, "")
    assert choose_stride([striped(12)], backbone="resnet18", image_size=24)[0] < 8


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
    assert resolve(config, SIZES, [striped(12)]).config.stride == 8
    assert resolve(TrainConfig(backbone="resnet18", weights="none", stride=16), SIZES, [striped(1)]).config.stride == 16


def test_the_reason_names_what_each_stride_could_reach():
    (reason,) = resolve(TrainConfig(backbone="resnet18", weights="none"), SIZES, [striped(1)]).notes
    expected = (
        r"stride 2, since the masks have narrow parts: mean IoU at most 0\.\d\d at stride 8, 0\.\d\d at stride 4, "
    )
    assert re.fullmatch(expected + r"0\.\d\d at stride 2", reason)
    assert not resolve(TrainConfig(backbone="resnet18", weights="none"), SIZES, [striped(12)]).notes
