import torch
from torch import nn

from maskpencil.models import FCN, FCNConfig, build_fcn
from maskpencil.models.build import in_class_order, transplant


def fcn(stride: int, *, classes: int = 3) -> FCN:
    return build_fcn(FCNConfig(classes, "test_resnet", stride, learned_upsampling="none"), weights="none").eval()


def trained(stride: int) -> FCN:
    torch.manual_seed(stride)
    net = fcn(stride)
    for name, parameter in net.named_parameters():
        if name.startswith("score"):
            nn.init.normal_(parameter)
    return net


def test_a_finer_network_copies_all_of_a_coarser_one_and_its_skip_starts_at_zero():
    coarse, fine = trained(32), fcn(16)
    assert transplant(coarse.state_dict(), fine) == ["upscore2", "score_pool4", "upscore16"]
    own = fine.state_dict()
    shared = {name: tensor for name, tensor in coarse.state_dict().items() if name != "upscore.weight"}
    assert all(torch.equal(own[name], tensor) for name, tensor in shared.items())
    images = torch.randn(1, 3, 96, 64)
    # the skip adds nothing yet: the scores are the coarser net's, in between cells interpolated in two steps
    coarse_scores = coarse.score_fr(coarse.backbone(images)[32])
    torch.testing.assert_close(fine(images), fine.upscore16(fine.upscore2(coarse_scores)), rtol=1e-5, atol=1e-5)


def test_other_classes_keep_the_trunk_and_the_new_layers_are_listed():
    before, after = trained(8), fcn(8, classes=5)
    new = transplant(before.state_dict(), after)
    assert new == ["score_fr", "upscore2", "score_pool4", "upscore_pool4", "score_pool3", "upscore8"]
    theirs = before.backbone.state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in after.backbone.state_dict().items())
    assert torch.equal(after(torch.randn(1, 3, 32, 32)), torch.zeros(1, 5, 32, 32))


def test_classes_in_another_order_are_matched_by_name():
    before = build_fcn(FCNConfig(3, "test_resnet", 8, learned_upsampling="all"), weights="none").eval()
    torch.manual_seed(0)
    for name, parameter in before.named_parameters():
        if name.startswith(("score", "upscore")):
            nn.init.normal_(parameter)
    after = build_fcn(before.config, weights="none").eval()
    assert transplant(in_class_order(before.state_dict(), ("a", "b", "c"), ("c", "a", "b")), after) == []
    images = torch.randn(1, 3, 64, 96)
    torch.testing.assert_close(after(images), before(images)[:, [2, 0, 1]], rtol=1e-4, atol=1e-4)


def test_score_layers_of_other_class_names_start_untrained_even_if_the_number_is_equal():
    before, after = trained(8), fcn(8)
    new = transplant(in_class_order(before.state_dict(), ("a", "b", "c"), ("a", "b", "d")), after)
    assert new == ["score_fr", "upscore2", "score_pool4", "upscore_pool4", "score_pool3", "upscore8"]
    assert torch.equal(after(torch.randn(1, 3, 32, 32)), torch.zeros(1, 3, 32, 32))
