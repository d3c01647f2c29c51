import copy

import pytest
import torch
from torch import nn

from maskpencil.training.config import TrainConfig
from maskpencil.training.optimizers import MAX_FILTERS, Muon, build_optimizer, can_turn, orthogonalized
from maskpencil.training.resolve import TrainPlan, resolve


@pytest.mark.parametrize("shape", [(16, 144), (64, 147), (32, 8)])
def test_the_directions_stay_and_the_lengths_become_about_one(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(shape)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    found = left.mT @ orthogonalized(matrix) @ right.mT
    lengths = found.diagonal()
    assert ((lengths > 0.6) & (lengths < 1.3)).all()
    assert (found - lengths.diag()).abs().max() < 1e-3


def test_a_matrix_of_zeros_stays_one() -> None:
    assert not orthogonalized(torch.zeros(4, 9)).any()


def test_kernels_over_several_channels_and_of_few_filters_are_turned() -> None:
    assert can_turn(nn.Conv2d(3, 64, 7).weight)
    assert not can_turn(nn.Conv2d(64, 64, 3, groups=64).weight)
    assert not can_turn(nn.Conv2d(4, MAX_FILTERS + 1, 1).weight)
    assert not can_turn(nn.Linear(4, 4).weight)
    assert not can_turn(nn.init.zeros_(nn.Conv2d(4, 4, 1).weight))
    assert not can_turn(nn.BatchNorm2d(4).weight)


def network() -> nn.Module:
    torch.manual_seed(0)
    net = nn.Module()
    net.backbone = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 1))
    net.score = nn.Conv2d(8, 2, 1)
    return net.to(memory_format=torch.channels_last)


def plan(optimizer: str) -> TrainPlan:
    shares = {"backbone_rate": 1.0, "bias_rate": 1.0, "weight_decay": 0.05, "momentum": 0.9}
    return resolve(
        TrainConfig(optimizer=optimizer, learning_rate=2e-3, **shares), {"train": [(64, 64)], "val": [(64, 64)]}
    )


def backward(net: nn.Module, seed: int) -> float:
    torch.manual_seed(seed)
    images, targets = torch.randn(2, 3, 6, 5), torch.randint(0, 2, (2, 6, 5))
    loss = nn.functional.cross_entropy(net.score(net.backbone(images)), targets)
    loss.backward()
    return loss.item()


def test_a_turned_kernel_keeps_its_length_and_moves_by_the_rate() -> None:
    net = network()
    optimizer = build_optimizer(net, plan("muon"))
    before = net.backbone[0].weight.detach().clone()
    backward(net, 1)
    optimizer.step()
    after = net.backbone[0].weight.detach()
    torch.testing.assert_close(after.norm(), before.norm())
    assert ((after - before).norm() / before.norm()).item() == pytest.approx(0.03, rel=0.1)
    assert (after - before).flatten() @ net_gradient(1).flatten() < 0


def net_gradient(seed: int) -> torch.Tensor:
    net = network()
    backward(net, seed)
    return net.backbone[0].weight.grad


def test_everything_else_steps_as_with_adamw() -> None:
    turned, plain = network(), network()
    with torch.no_grad():
        for kernel in (plain.backbone[0].weight, plain.backbone[3].weight):
            kernel.requires_grad_(False)
    muon = build_optimizer(turned, plan("muon"))
    adamw = torch.optim.AdamW(
        [
            {"params": [plain.score.weight], "weight_decay": 0.05},
            {"params": [p for p in plain.parameters() if p.ndim == 1], "weight_decay": 0.0},
        ],
        lr=2e-3,
        betas=(0.9, 0.99),
    )
    backward(turned, 1)
    backward(plain, 1)
    muon.step()
    adamw.step()
    for (name, ours), (_, theirs) in zip(turned.named_parameters(), plain.named_parameters(), strict=True):
        if ours.ndim == 1 or name == "score.weight":
            torch.testing.assert_close(ours, theirs)


def test_a_kernel_without_a_gradient_stays() -> None:
    kernel = nn.Parameter(torch.ones(2, 2, 1, 1))
    Muon([{"params": [kernel], "turned": True}], lr=0.1, momentum=0.9).step()
    assert (kernel == 1).all()


def test_it_goes_on_from_its_state_exactly() -> None:
    net = network()
    optimizer = build_optimizer(net, plan("muon"))
    for seed in range(3):
        backward(net, seed)
        optimizer.step()
        optimizer.zero_grad()
    other = copy.deepcopy(net)
    again = build_optimizer(other, plan("muon"))
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for each, rule in ((net, optimizer), (other, again)):
        backward(each, 9)
        rule.step()
    for ours, theirs in zip(net.parameters(), other.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_closure_gives_the_gradients() -> None:
    net = network()
    optimizer = build_optimizer(net, plan("muon"))
    loss = optimizer.step(lambda: backward(net, 1))
    assert loss == backward(network(), 1)


def test_it_learns() -> None:
    net = network()
    optimizer = build_optimizer(net, plan("muon"))
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        losses.append(backward(net, 1))
        optimizer.step()
    assert losses[-1] < 0.95 * losses[0]
