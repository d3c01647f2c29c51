"""From settings to the rule of the steps."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from maskpencil.training.config import TrainConfig
from maskpencil.training.muon import RELATIVE_RATE, Muon, can_turn
from maskpencil.training.values import parse_learning_rate

ITERATIONS = 10
HISTORY = 20


def build_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Backbone and head, kernels and biases at their own rates; biases and normalization layers do not decay.

    Every group has its greatest rate as `peak`.
    """
    rate = parse_learning_rate(config.learning_rate).value
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    groups: list[dict[str, Any]] = []
    for in_backbone, part_rate in ((True, rate * config.backbone_rate), (False, rate)):
        part = [(name, p) for name, p in named if name.startswith("backbone.") is in_backbone]
        turns = config.optimizer == "muon" and in_backbone
        turned = [p for _, p in part if turns and can_turn(p)]
        kernels = [p for _, p in part if p.ndim > 1 and not (turns and can_turn(p))]
        biases = [p for name, p in part if p.ndim <= 1 and name.endswith(".bias")]
        scales = [p for name, p in part if p.ndim <= 1 and not name.endswith(".bias")]
        for parameters, peak, decay in (
            (turned, part_rate * RELATIVE_RATE, 0.0),
            (kernels, part_rate, config.weight_decay),
            (biases, part_rate * config.bias_rate, 0.0),
            (scales, part_rate, 0.0),
        ):
            group = {"params": parameters, "lr": peak, "peak": peak, "weight_decay": decay}
            groups.append(group | ({"turned": parameters is turned} if config.optimizer == "muon" else {}))
    groups = [group for group in groups if group["params"]]
    if config.optimizer == "muon":
        return Muon(groups, lr=rate, momentum=config.momentum)
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=config.momentum, fused=True)
    return (torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam)(groups, lr=rate, fused=True)


def lbfgs(coordinates: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Rounds of at most `ITERATIONS` steps, each to where the loss along its direction is least.

    Source: Liu and Nocedal, "On the Limited Memory BFGS Method for Large Scale Optimization", 1989.
    """
    optimizer = torch.optim.LBFGS(
        coordinates, lr=1.0, max_iter=ITERATIONS, history_size=HISTORY, line_search_fn="strong_wolfe"
    )
    optimizer.param_groups[0]["peak"] = 1.0
    return optimizer
