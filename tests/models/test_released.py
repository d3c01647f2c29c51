"""The authors' nets beside a plain re-implementation, written from the facts of their prototxt files."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from maskpencil.errors import ConfigError
from maskpencil.models import FCN, FCNConfig, build_fcn
from maskpencil.models.backbones import Backbone, create_backbone
from maskpencil.preprocessing import Preprocessing

SIZES = [(1, 1), (33, 70), (64, 64), (45, 101), (97, 32)]
CLASSES = 5
VGG_STAGES = (2, 2, 3, 3, 3)


@pytest.fixture(scope="module")
def vgg():
    return backbone("vgg16")


@pytest.fixture(scope="module")
def alexnet():
    return backbone("alexnet")


def backbone(name: str):
    torch.manual_seed(0)
    made = create_backbone(name, weights="none", as_released=True)
    for parameter in made.parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter, std=0.1)
    return made


def fcn(trunk: nn.Module, stride: int, *, at_once: bool = False) -> FCN:
    torch.manual_seed(stride)
    config = FCNConfig(
        num_classes=CLASSES,
        backbone=trunk.name,
        stride=stride,
        learned_upsampling="none",
        at_once_scales=at_once,
        as_released=True,
    )
    net = FCN(config, backbone=trunk).eval()
    for name, parameter in net.named_parameters():
        if name.startswith("score"):
            nn.init.normal_(parameter, std=0.05)
    return net


def crop(cells: Tensor, offset: int, size: tuple[int, int]) -> Tensor:
    return cells[..., offset : offset + size[0], offset : offset + size[1]]


def deconvolution(cells: Tensor, size: int, stride: int) -> Tensor:
    """Caffe's, with a bilinear filter for every class and zeros between the classes."""
    factor = (size + 1) // 2
    center = factor - 1 if size % 2 else factor - 0.5
    line = [1 - abs(i - center) / factor for i in range(size)]
    weight = torch.zeros(CLASSES, CLASSES, size, size)
    for k in range(CLASSES):
        for y in range(size):
            weight[k, k, y] = torch.tensor([line[y] * x for x in line])
    return functional.conv_transpose2d(cells, weight, stride=stride)


def vgg_pools(blobs: dict[str, Tensor], image: Tensor) -> dict[int, Tensor]:
    x, pools = image, {}
    for stage, convs in enumerate(VGG_STAGES, start=1):
        for number in range(1, convs + 1):
            name = f"conv{stage}_{number}"
            padding = 100 if name == "conv1_1" else 1
            x = functional.conv2d(x, blobs[f"{name}.weight"], blobs[f"{name}.bias"], padding=padding).relu()
        x = pools[stage] = functional.max_pool2d(x, 2, 2, ceil_mode=True)
    return pools


def fc7_of(blobs: dict[str, Tensor], pool5: Tensor) -> Tensor:
    fc6 = functional.conv2d(pool5, blobs["fc6.weight"], blobs["fc6.bias"]).relu()
    return functional.conv2d(fc6, blobs["fc7.weight"], blobs["fc7.bias"]).relu()


def score_fr(blobs: dict[str, Tensor], fc7: Tensor) -> Tensor:
    return functional.conv2d(fc7, blobs["score_fr.weight"], blobs["score_fr.bias"])


def reference_vgg(
    blobs: dict[str, Tensor],
    pools: dict[int, Tensor],
    fc7: Tensor,
    size: tuple[int, int],
    stride: int,
    scales: tuple[float, float],
) -> Tensor:
    score = score_fr(blobs, fc7)
    if stride == 32:
        return crop(deconvolution(score, 64, 32), 19, size)
    score = deconvolution(score, 4, 2)
    pool4 = functional.conv2d(scales[0] * pools[4], blobs["score_pool4.weight"], blobs["score_pool4.bias"])
    score = score + crop(pool4, 5, score.shape[-2:])
    if stride == 16:
        return crop(deconvolution(score, 32, 16), 27, size)
    score = deconvolution(score, 4, 2)
    pool3 = functional.conv2d(scales[1] * pools[3], blobs["score_pool3.weight"], blobs["score_pool3.bias"])
    score = score + crop(pool3, 9, score.shape[-2:])
    return crop(deconvolution(score, 16, 8), 31, size)


def reference_alexnet(blobs: dict[str, Tensor], image: Tensor) -> Tensor:
    def conv(x: Tensor, name: str, **how: int) -> Tensor:
        return functional.conv2d(x, blobs[f"{name}.weight"], blobs[f"{name}.bias"], **how).relu()

    def pool(x: Tensor) -> Tensor:
        return functional.max_pool2d(x, 3, 2, ceil_mode=True)

    def norm(x: Tensor) -> Tensor:
        squares = torch.stack([functional.pad(x**2, (0, 0, 0, 0, 2, 2))[:, i : i + x.shape[1]] for i in range(5)]).sum(
            0
        )
        return x / (1 + 1e-4 / 5 * squares) ** 0.75

    x = norm(pool(conv(image, "conv1", stride=4, padding=100)))
    x = norm(pool(conv(x, "conv2", padding=2, groups=2)))
    x = conv(conv(x, "conv3", padding=1), "conv4", padding=1, groups=2)
    x = pool(conv(x, "conv5", padding=1, groups=2))
    return crop(deconvolution(score_fr(blobs, fc7_of(blobs, x)), 63, 32), 18, image.shape[-2:])


def blobs_of(net: FCN) -> dict[str, Tensor]:
    return {name.removeprefix("backbone."): tensor for name, tensor in net.state_dict().items()}


def noise(size: tuple[int, int]) -> Tensor:
    return 255 * torch.rand(1, 3, *size) - 110


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
@torch.inference_mode()
def test_vgg_networks_compute_the_logits_of_the_released_ones(vgg, size):
    image = noise(size)
    features = fcn(vgg, 8).features(image)
    pools = vgg_pools(blobs_of(fcn(vgg, 8)), image)
    fc7 = fc7_of(blobs_of(fcn(vgg, 8)), pools[5])
    for stride, at_once in ((32, False), (16, False), (8, False), (8, True)):
        net = fcn(vgg, stride, at_once=at_once)
        expected = reference_vgg(blobs_of(net), pools, fc7, size, stride, (0.01, 0.0001) if at_once else (1, 1))
        logits = net(image) if at_once and size == SIZES[1] else net.logits(features, size)
        assert logits.shape == (1, CLASSES, *size)
        assert (logits - expected).abs().max() <= 1e-4 * expected.abs().max()


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
@torch.inference_mode()
def test_the_alexnet_computes_the_logits_of_the_released_one(alexnet, size):
    net, image = fcn(alexnet, 32), noise(size)
    expected = reference_alexnet(blobs_of(net), image)
    logits = net(image)
    assert logits.shape == (1, CLASSES, *size)
    assert (logits - expected).abs().max() <= 1e-4 * expected.abs().max()


@pytest.mark.slow
def test_the_crops_are_derived(vgg, alexnet):
    assert fcn(vgg, 32).score.offset == 19
    assert [layer.offset for layer in (fcn(vgg, 16).score_pool4c, fcn(vgg, 16).score)] == [5, 27]
    net = fcn(vgg, 8)
    assert [layer.offset for layer in (net.score_pool4c, net.score_pool3c, net.score)] == [5, 9, 31]
    assert fcn(alexnet, 32).score.offset == 18


@pytest.mark.slow
def test_the_images_are_the_authors(vgg, alexnet):
    for trunk in (vgg, alexnet):
        assert trunk.channel_order == "bgr"
        assert [round(255 * mean, 3) for mean in trunk.mean] == [122.679, 116.669, 104.007]
        assert [round(255 * std, 6) for std in trunk.std] == [1, 1, 1]


class OneConvolution(Backbone):
    def __init__(self) -> None:
        super().__init__("one", channels={8: 4, 16: 4, 32: 4})
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        return {8: self.conv(images)}


def test_a_classifier_of_rgb_images_gives_the_same_features_of_the_authors_images():
    torch.manual_seed(1)
    pixels = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    backbone = OneConvolution()
    of_rgb = backbone(Preprocessing(backbone.mean, backbone.std).normalize(pixels))[8]
    backbone.take_released_images("conv")
    assert backbone.channel_order == "bgr"
    preprocessing = Preprocessing(backbone.mean, backbone.std, channel_order=backbone.channel_order)
    torch.testing.assert_close(backbone(preprocessing.normalize(pixels))[8], of_rgb, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_the_authors_images_are_bgr_in_0_to_255_less_the_mean(vgg):
    red = torch.tensor([255, 0, 0], dtype=torch.uint8).view(1, 3, 1, 1)
    prepared = Preprocessing(vgg.mean, vgg.std, channel_order="bgr").normalize(red)
    torch.testing.assert_close(prepared.flatten(), torch.tensor([-104.00699, -116.66877, 255 - 122.67892]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"backbone": "resnet18"}, "VGG or AlexNet"),
        ({"backbone": "vgg16", "fully_connected": False}, "with fully_connected false"),
    ],
)
def test_only_the_authors_networks_can_be_as_released(settings, message):
    with pytest.raises(ConfigError, match=message):
        build_fcn(FCNConfig(num_classes=2, as_released=True, **settings), weights="none")


def test_torchvisions_alexnet_is_not_the_released_one():
    with pytest.raises(ConfigError, match=r"Caffe's.*\.caffemodel"):
        create_backbone("alexnet", weights="imagenet", as_released=True)
