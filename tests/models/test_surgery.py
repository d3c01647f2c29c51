import pytest
import torch
from torch import nn
from torch.nn import functional

from maskpencil.errors import ConfigError
from maskpencil.models.surgery import adapt_input_channels, bilinear_kernel, bilinear_upsampling, convolutionalize


def test_a_convolutionalized_layer_computes_the_same_on_a_patch():
    torch.manual_seed(0)
    linear = nn.Linear(5 * 6 * 6, 7)
    patch = torch.randn(2, 5, 6, 6)
    conv = convolutionalize(linear, 5, 6, padding=0)
    torch.testing.assert_close(conv(patch).flatten(1), linear(patch.flatten(1)))


def test_a_convolutionalized_layer_slides_over_a_larger_map():
    torch.manual_seed(0)
    linear = nn.Linear(3 * 7 * 7, 4)
    images = torch.randn(1, 3, 12, 10)
    conv = convolutionalize(linear, 3, 7, padding=3)
    out = conv(images)
    assert out.shape == (1, 4, 12, 10)
    torch.testing.assert_close(out[:, :, 5, 4], linear(images[:, :, 2:9, 1:8].flatten(1)))


def test_a_convolutionalized_layer_without_bias_has_none():
    assert convolutionalize(nn.Linear(4, 2, bias=False), 4, 1, padding=0).bias is None


def test_a_convolutionalized_layer_shares_the_tensors_and_can_be_trained():
    linear = nn.Linear(2 * 3 * 3, 4)
    conv = convolutionalize(linear, 2, 3, padding=1)
    assert conv.weight.data_ptr() == linear.weight.data_ptr()
    assert conv.bias is linear.bias
    conv(torch.randn(1, 2, 3, 3)).sum().backward()
    assert conv.weight.grad is not None


def test_a_layer_of_other_inputs_cannot_be_convolutionalized():
    with pytest.raises(ConfigError, match=r"a 7x7 convolution of 3 channels .* of 147 inputs, but got a layer of 146"):
        convolutionalize(nn.Linear(146, 2), 3, 7, padding=3)


def test_the_bilinear_kernel_of_two_fold_upsampling_is_the_known_one():
    row = torch.tensor([0.25, 0.75, 0.75, 0.25])
    torch.testing.assert_close(bilinear_kernel(4), torch.outer(row, row))


def test_the_bilinear_kernel_of_odd_size_has_its_peak_in_the_middle():
    row = torch.tensor([0.5, 1.0, 0.5])
    torch.testing.assert_close(bilinear_kernel(3), torch.outer(row, row))
    torch.testing.assert_close(bilinear_kernel(1), torch.ones(1, 1))


@pytest.mark.parametrize("learned", [True, False])
@pytest.mark.parametrize("stride", [2, 8, 16, 32])
def test_upsampling_starts_as_bilinear_interpolation_away_from_the_border(stride, learned):
    torch.manual_seed(0)
    scores = torch.randn(2, 3, 5, 6)
    out = bilinear_upsampling(3, stride, learned=learned)(scores)
    assert out.shape == (2, 3, 5 * stride, 6 * stride)
    reference = functional.interpolate(scores, scale_factor=stride, mode="bilinear", align_corners=False)
    inside = slice(stride // 2, -(stride // 2))
    torch.testing.assert_close(out[..., inside, inside], reference[..., inside, inside])


@pytest.mark.parametrize("learned", [True, False])
def test_upsampling_learns_only_if_requested(learned):
    layer = bilinear_upsampling(2, 2, learned=learned)
    assert layer.weight.requires_grad is learned
    assert layer.weight.shape == (2, 2 if learned else 1, 4, 4), "between channels there are weights to learn, or none"
    assert layer.bias is None


@pytest.mark.parametrize("stride", [0, 1, 3, -2])
def test_upsampling_by_an_odd_stride_is_refused(stride):
    with pytest.raises(ConfigError, match=f"even number above 0, but got {stride}"):
        bilinear_upsampling(2, stride, learned=False)


def test_upsampling_of_no_channels_and_kernels_of_no_size_are_refused():
    with pytest.raises(ConfigError, match="channels must be 1 or more, but got 0"):
        bilinear_upsampling(0, 2, learned=False)
    with pytest.raises(ConfigError, match="kernel_size must be 1 or more, but got 0"):
        bilinear_kernel(0)


@pytest.mark.parametrize("in_channels", [3, 4, 5])
def test_more_channels_keep_rgb_and_start_new_ones_as_its_mean(in_channels):
    conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)
    adapted = adapt_input_channels(conv, in_channels)
    assert adapted.weight.shape == (8, in_channels, 3, 3)
    assert torch.equal(adapted.weight[:, :3], conv.weight)
    for channel in range(3, in_channels):
        torch.testing.assert_close(adapted.weight[:, channel], conv.weight.mean(dim=1))


@pytest.mark.parametrize("in_channels", [1, 2])
def test_fewer_channels_than_rgb_all_start_as_its_mean(in_channels):
    conv = nn.Conv2d(3, 8, 3)
    adapted = adapt_input_channels(conv, in_channels)
    assert adapted.weight.shape == (8, in_channels, 3, 3)
    for channel in range(in_channels):
        torch.testing.assert_close(adapted.weight[:, channel], conv.weight.mean(dim=1))


def test_adapting_keeps_everything_else_and_does_not_change_the_original():
    class Same(nn.Conv2d):
        pass

    conv = Same(3, 8, 3, stride=2, padding=1, bias=False)
    adapted = adapt_input_channels(conv, 4)
    assert type(adapted) is Same
    assert (adapted.stride, adapted.padding, adapted.bias, adapted.in_channels) == ((2, 2), (1, 1), None, 4)
    assert conv.in_channels == 3
    assert conv.weight.shape[1] == 3
    assert adapted(torch.randn(1, 4, 8, 8)).shape == (1, 8, 4, 4)


def test_only_rgb_convolutions_can_be_adapted_and_only_to_at_least_one_channel():
    with pytest.raises(ConfigError, match="of 3 channels can be adapted to 4, but this one takes 12"):
        adapt_input_channels(nn.Conv2d(12, 8, 3), 4)
    with pytest.raises(ConfigError, match="in_channels must be 1 or more, but got 0"):
        adapt_input_channels(nn.Conv2d(3, 8, 3), 0)
