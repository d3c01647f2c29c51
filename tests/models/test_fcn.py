import inspect

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from maskpencil.errors import ConfigError
from maskpencil.models import FCN, Backbone, FCNConfig, build_fcn


class TinyBackbone(Backbone):
    """Averages over cells, then one 1x1 convolution a stride."""

    def __init__(self, stride: int) -> None:
        super().__init__("tiny", channels={2: 2, 4: 3, 8: 4, 16: 5, 32: 6}, finest=min(stride, 8))
        self.convs = nn.ModuleDict({str(s): nn.Conv2d(3, c, 1) for s, c in self.channels.items()})

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        return {s: self.convs[str(s)](functional.avg_pool2d(images, s)) for s in self.channels}


def tiny_fcn(**settings: object) -> FCN:
    torch.manual_seed(0)
    config = FCNConfig(num_classes=3, backbone="tiny", **settings)
    return FCN(config, backbone=TinyBackbone(config.stride)).eval()


def with_random_scores(fcn: FCN) -> FCN:
    for name, module in fcn.named_children():
        if name.startswith("score") and isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    return fcn


@pytest.mark.parametrize(
    ("stride", "layers"),
    [
        (32, {"score_fr", "upscore"}),
        (16, {"score_fr", "upscore2", "score_pool4", "upscore16"}),
        (8, {"score_fr", "upscore2", "score_pool4", "upscore_pool4", "score_pool3", "upscore8"}),
    ],
)
def test_the_layers_have_the_published_names(stride, layers):
    fcn = tiny_fcn(stride=stride)
    crops = {"score"} | {f"{name}c" for name in layers if name.startswith("score_pool")}
    assert {name for name, _ in fcn.named_children()} == layers | crops | {"backbone", "drop7"}
    expected = {f"{name}.weight" for name in layers} | {f"{n}.bias" for n in layers if n.startswith("score")}
    assert {name for name in fcn.state_dict() if not name.startswith("backbone.")} == expected


@pytest.mark.parametrize("stride", [32, 16, 8, 4, 2])
@pytest.mark.parametrize("size", [(1, 1), (1, 257), (33, 64), (64, 96), (257, 131)])
def test_logits_have_the_size_of_the_images(stride, size):
    assert tiny_fcn(stride=stride)(torch.randn(2, 3, *size)).shape == (2, 3, *size)


def test_an_untrained_network_scores_every_class_0():
    assert torch.equal(tiny_fcn()(torch.randn(1, 3, 40, 40)), torch.zeros(1, 3, 40, 40))


@pytest.mark.parametrize(("at_once_scales", "scales"), [(False, (1, 1)), (True, (0.01, 0.0001))])
def test_the_head_adds_the_skips_as_the_paper_draws_them(at_once_scales, scales):
    fcn = with_random_scores(tiny_fcn(at_once_scales=at_once_scales))
    images = torch.randn(1, 3, 64, 96)
    features = fcn.backbone(images)
    score_fr, score_pool4, score_pool3 = (
        fcn.score_fr(features[32]),
        fcn.score_pool4(scales[0] * features[16]),
        fcn.score_pool3(scales[1] * features[8]),
    )
    fused = fcn.upscore_pool4(fcn.upscore2(score_fr) + score_pool4) + score_pool3
    torch.testing.assert_close(fcn(images), fcn.upscore8(fused))


@pytest.mark.parametrize("stride", [4, 2])
def test_finer_nets_add_the_skips_of_pool2_and_pool1(stride):
    fcn = with_random_scores(tiny_fcn(stride=stride))
    features = fcn.backbone(images := torch.randn(1, 3, 64, 96))
    score = fcn.upscore2(fcn.score_fr(features[32])) + fcn.score_pool4(features[16])
    score = fcn.upscore_pool4(score) + fcn.score_pool3(features[8])
    score = fcn.upscore_pool3(score) + fcn.score_pool2(features[4])
    if stride == 2:
        score = fcn.upscore_pool2(score) + fcn.score_pool1(features[2])
    torch.testing.assert_close(fcn(images), fcn.last_upscore(score))


@pytest.mark.parametrize("setting", ["as_released", "at_once_scales"])
def test_finer_nets_have_no_released_form(setting):
    with pytest.raises(ConfigError, match=f"{setting} needs a stride of the released networks, 32, 16 or 8, but got 4"):
        FCNConfig(num_classes=2, stride=4, **{setting: True})


def test_padding_is_on_the_right_and_below_and_has_the_mean_color():
    fcn = with_random_scores(tiny_fcn())
    images = torch.randn(1, 3, 40, 70)
    padded = torch.zeros(1, 3, 64, 96)
    padded[..., :40, :70] = images
    torch.testing.assert_close(fcn(images), fcn(padded)[..., :40, :70])


def test_the_head_computes_the_same_logits_from_stored_features():
    fcn = with_random_scores(tiny_fcn())
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(fcn.logits(fcn.backbone(images), (64, 64)), fcn(images))


@pytest.mark.parametrize("stride", [8, 4, 2])
def test_objects_stay_in_place_through_all_upsamplings(stride):
    fcn = tiny_fcn(stride=stride)
    for name, layer in fcn.named_children():
        if name.startswith("score_") and isinstance(layer, nn.Conv2d):
            nn.init.ones_(layer.weight)
    for conv in fcn.backbone.convs.values():
        nn.init.ones_(conv.weight)
        nn.init.zeros_(conv.bias)
    images = torch.zeros(1, 3, 160, 160)
    images[..., 64:96, 64:96] = 1  # one cell of stride 32
    response = fcn(images)[0, 0]
    torch.testing.assert_close(response, response.flip(0))
    torch.testing.assert_close(response, response.T)
    assert response.argmax() // 160 in range(64, 96)


@pytest.mark.parametrize("stride", [32, 16, 8])
@pytest.mark.parametrize("learned", ["all", "twofold", "none"])
def test_the_upsamplings_learn_as_configured(stride, learned):
    fcn = tiny_fcn(stride=stride, learned_upsampling=learned)
    upsamplings = {name: layer for name, layer in fcn.named_children() if isinstance(layer, nn.ConvTranspose2d)}
    for name, layer in upsamplings.items():
        assert layer.weight.requires_grad is (
            learned == "all" or (learned == "twofold" and name in ("upscore2", "upscore_pool4"))
        )


def test_features_are_dropped_before_score_fr_in_training_only():
    fcn = with_random_scores(tiny_fcn(dropout=0.9))
    images = torch.randn(1, 3, 64, 64)
    assert torch.equal(fcn(images), fcn(images))
    fcn.train()
    assert not torch.equal(fcn(images), fcn(images))


def test_forward_reads_in_few_lines():
    for method in (FCN.forward, FCN.fused):
        assert len(inspect.getsource(method).splitlines()) <= 14


def test_a_configuration_survives_its_dict():
    config = FCNConfig(num_classes=2, backbone="alexnet", stride=32, fully_connected=False, at_once_scales=True)
    assert FCNConfig.from_dict(config.to_dict()) == config
    assert FCNConfig.from_dict({"num_classes": 5}) == FCNConfig(num_classes=5)


def test_unknown_and_missing_settings_are_named():
    with pytest.raises(
        ConfigError, match="an FCN has no setting 'skips', 'strid'; its settings are num_classes, backbone"
    ):
        FCNConfig.from_dict({"num_classes": 2, "strid": 8, "skips": 1})
    with pytest.raises(ConfigError, match="num_classes is missing"):
        FCNConfig.from_dict({})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_classes": 0}, "num_classes must be a whole number from 1 to 255, but got 0"),
        ({"num_classes": 2.0}, "num_classes must be a whole number from 1 to 255, but got 2.0"),
        ({"num_classes": True}, "num_classes must be a whole number from 1 to 255, but got True"),
        ({"in_channels": 0}, "in_channels must be a whole number from 1 to 255, but got 0"),
        ({"backbone": ""}, "backbone must be a name such as 'vgg16', but got ''"),
        ({"stride": 64}, "stride must be 32, 16, 8, 4 or 2, but got 64"),
        ({"stride": "8"}, "stride must be 32, 16, 8, 4 or 2, but got '8'"),
        ({"dropout": 1}, "dropout must be a number from 0 to below 1, but got 1"),
        ({"dropout": "half"}, "dropout must be a number from 0 to below 1, but got 'half'"),
        ({"fully_connected": 1}, "fully_connected must be true or false, but got 1"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, message):
    with pytest.raises(ConfigError) as caught:
        FCNConfig(**({"num_classes": 2} | settings))
    assert message in str(caught.value)


def test_build_fcn_builds_the_network_of_the_configuration():
    config = FCNConfig(num_classes=4, backbone="timm/test_convnext", stride=16, in_channels=1)
    fcn = build_fcn(config, weights="none").eval()
    assert fcn.config == config
    assert fcn.backbone.name == "timm/test_convnext"
    assert fcn(torch.randn(1, 1, 40, 50)).shape == (1, 4, 40, 50)
