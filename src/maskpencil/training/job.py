"""`Job`: the parts of a run, put together by `build_job`."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import nn

from maskpencil.data.folder import DataFolder
from maskpencil.models import FCN
from maskpencil.segmenter import Segmenter
from maskpencil.training.config import TrainConfig
from maskpencil.training.course import Course
from maskpencil.training.dataset import EpochBatches, Images
from maskpencil.training.ema import ExponentialMovingAverage
from maskpencil.training.frozen.feature_cache import Features
from maskpencil.training.frozen.whitening import Whitening
from maskpencil.training.losses import Loss
from maskpencil.training.resolve import TrainPlan

Inputs = Images | Features
Batches = Iterable[tuple[Inputs, torch.Tensor]]
"""Images, or their features, with targets (N, H, W)."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """The parts of a run.

    `network` learns, in the form `model` that is prepared for training; `average` follows its weights, where there is
    one. The optimizer moves the network's weights, or the coordinates of the `whitening` where there is one. The
    segmenter, which is validated and saved, has the average's network, or else the one that learns. `notes` tell in
    words how the network was started.
    """

    plan: TrainPlan
    data: DataFolder
    segmenter: Segmenter
    network: FCN
    model: nn.Module
    average: ExponentialMovingAverage | None
    optimizer: torch.optim.Optimizer
    whitening: Whitening | None
    batches: EpochBatches
    loader: Batches
    loss: Loss
    course: Course
    accelerator: Accelerator
    notes: tuple[str, ...]

    @property
    def head_kernels(self) -> list[nn.Parameter]:
        """The learned kernels of the head: scores and upsampling."""
        named = self.network.named_parameters()
        return [p for name, p in named if p.ndim > 1 and p.requires_grad and not name.startswith("backbone.")]

    def start_learning(self) -> None:
        """Put the network into training; a frozen backbone keeps its statistics and drops nothing."""
        self.model.train()
        if self.config.freeze == "backbone":
            self.network.backbone.eval()

    @property
    def device(self) -> torch.device:
        """Where the network learns."""
        place: torch.device = self.accelerator.device
        return place

    @property
    def config(self) -> TrainConfig:
        """The settings, filled."""
        return self.plan.config
