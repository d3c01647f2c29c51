import torch
from torch import nn
from torch.nn import functional
from torchvision import models

from maskpencil.models import create_backbone


@torch.inference_mode()
def test_fc7_is_what_the_classifier_computes_on_a_patch_of_pool5(tmp_path):
    torch.manual_seed(0)
    classifier = models.alexnet().eval()
    torch.save(classifier.state_dict(), tmp_path / "alexnet.pth")
    backbone = create_backbone("alexnet", weights=tmp_path / "alexnet.pth").eval()
    image = torch.randn(1, 3, 224, 256)  # pool5 has 7x8 cells
    features = backbone(image)
    pool5 = backbone.pool(features[16])
    linears = nn.Sequential(*(layer for layer in classifier.classifier[:-1]))  # up to the ReLU after fc7
    # cell (3, 4) of fc6 sees three cells before it and two after
    expected = linears(pool5[:, :, 0:6, 1:7].flatten(1))[0]
    torch.testing.assert_close(features[32][0, :, 3, 4], expected)


@torch.inference_mode()
def test_convolutions_are_those_of_the_classifier_but_for_their_borders(tmp_path):
    torch.manual_seed(0)
    classifier = models.alexnet().features.eval()
    torch.save({f"features.{k}": v for k, v in classifier.state_dict().items()}, tmp_path / "alexnet.pth")
    backbone = create_backbone("alexnet", weights=tmp_path / "alexnet.pth", fully_connected=False).eval()
    image = torch.randn(1, 3, 128, 128)
    # the classifier pads conv1 by 2, this net by 4: with 2 more around and valid pools they see the same
    expected = classifier[:5](functional.pad(image, (2, 2, 2, 2)))
    got = backbone(image)[8]
    torch.testing.assert_close(got[..., :12, :12], expected[..., :12, :12])


def test_the_cells_have_the_positions_that_the_comment_derives():
    backbone = create_backbone("alexnet", weights="none", fully_connected=False)
    for conv in (m for m in backbone.modules() if isinstance(m, nn.Conv2d)):
        nn.init.ones_(conv.weight)
    backbone.double()
    images = torch.zeros(1, 3, 256, 256, dtype=torch.double, requires_grad=True)
    backbone.pool = nn.AvgPool2d(3, stride=2, ceil_mode=True)  # spreads evenly over what a cell sees
    pool5 = backbone.pool(backbone(images + 1)[16])
    pool5[0, 0, 4, 4].backward()
    seen = images.grad[0, 0].sum(dim=0).nonzero().flatten()
    center = (seen.min() + seen.max()).item() / 2
    assert center == 4 * 32 + 29
