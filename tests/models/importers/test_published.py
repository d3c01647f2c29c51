import pytest
import torch
from torch import Tensor, nn

from maskpencil.errors import ModelError
from maskpencil.models import FCN, FCNConfig, build_fcn
from maskpencil.models.importers.published import load_published

CLASSES = 3


@pytest.fixture(scope="module")
def alexnet() -> FCN:
    return released("alexnet", 32)


def released(backbone: str, stride: int, **settings: object) -> FCN:
    torch.manual_seed(0)
    config = FCNConfig(num_classes=CLASSES, backbone=backbone, stride=stride, as_released=True, **settings)
    net = build_fcn(config, weights="none").eval()
    for name, parameter in net.named_parameters():
        if name.startswith("score"):
            nn.init.normal_(parameter, std=0.05)
    return net


def as_ports_write_it(net: FCN) -> dict[str, Tensor]:
    """Without our prefix, and with a whole kernel from every class to every class."""
    tensors = {}
    for name, tensor in net.state_dict().items():
        if name.startswith("upscore") and tensor.shape[1] == 1:
            whole = torch.zeros(CLASSES, *tensor.shape[:1], *tensor.shape[2:])
            whole[range(CLASSES), range(CLASSES)] = tensor[:, 0]
            tensor = whole
        tensors[name.removeprefix("backbone.")] = tensor
    return tensors


def assert_same(one: FCN, other: FCN) -> None:
    assert one.config == other.config
    theirs = other.state_dict()
    assert one.state_dict().keys() == theirs.keys()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in one.state_dict().items())


@pytest.mark.slow
@pytest.mark.parametrize("learned", ["none", "all"])
def test_a_network_is_recognized_by_its_names_and_shapes(learned):
    net = released("alexnet", 32, learned_upsampling=learned)
    if learned == "all":
        nn.init.normal_(net.upscore.weight)
    assert_same(load_published(as_ports_write_it(net), source="net.pth"), net)


@pytest.mark.parametrize(("stride", "at_once"), [(32, None), (16, None), (8, None), (8, True)])
def test_every_released_vgg_is_recognized(stride, at_once):
    scaled = {"at_once_scales": bool(at_once)}
    config = FCNConfig(CLASSES, "vgg16", stride, learned_upsampling="none", as_released=True, **scaled)
    net = build_fcn(config, weights="blank")
    for name, tensor in list(net.state_dict().items()):  # each number stored once: 134 million take no memory
        if tensor.is_meta:
            module, _, parameter = name.rpartition(".")
            once = torch.tensor(0.5).expand(tensor.shape)
            setattr(net.get_submodule(module), parameter, nn.Parameter(once))
    assert_same(load_published(as_ports_write_it(net), source="net.pth", at_once_scales=at_once), net)


def test_a_network_trained_at_once_is_recognized_by_caffes_scales(alexnet):
    tensors = as_ports_write_it(alexnet)
    assert not load_published(tensors, source="net").config.at_once_scales
    scales = {"scale_pool4.weight": torch.tensor([0.01]), "scale_pool3.weight": torch.tensor([0.0001])}
    assert load_published(tensors | scales, source="net").config.at_once_scales
    with pytest.raises(ModelError, match=r"net: scale_pool4\.weight is 0\.5; expected 0\.01, as in the released"):
        load_published(tensors | {"scale_pool4.weight": torch.tensor([0.5])}, source="net")


def test_what_is_missing_unexpected_or_misshaped_is_listed(alexnet):
    tensors = as_ports_write_it(alexnet)
    del tensors["conv3.bias"]
    tensors |= {"conv9.weight": torch.zeros(1), "fc7.bias": torch.zeros(5)}
    with pytest.raises(ModelError) as raised:
        load_published(tensors, source="net.pth")
    message = str(raised.value)
    assert message.startswith("net.pth: does not fit")
    for part in ("missing backbone.conv3.bias", "unexpected backbone.conv9.weight", "fc7.bias (5,)"):
        assert part in message
    assert "the authors' FCN-32s on alexnet" in message


def test_a_network_of_others_is_refused():
    with pytest.raises(
        ModelError, match=r"net\.pth: is not a network of the FCN authors; expected the tensors score_fr"
    ):
        load_published({"conv1.weight": torch.zeros(1)}, source="net.pth")
