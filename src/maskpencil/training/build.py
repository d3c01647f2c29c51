"""Build a trainer from a training plan and a data set."""

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from maskpencil.data.folder import DataFolder
from maskpencil.errors import ConfigError, ModelError
from maskpencil.model_folder import ModelParts, read_model_folder
from maskpencil.models import FCN, FCNConfig, build_fcn
from maskpencil.models.backbones.origin import Origin
from maskpencil.models.build import in_class_order, transplant
from maskpencil.preprocessing import Preprocessing
from maskpencil.progress import ProgressBar
from maskpencil.segmenter import Segmenter
from maskpencil.training.checkpoints import first_not_finite
from maskpencil.training.config import CROSS_ENTROPY, TrainConfig
from maskpencil.training.dataset import EpochBatches, SegmentationDataset, TrainingImages, load_batches
from maskpencil.training.distributed import in_turn
from maskpencil.training.folding import find_folds
from maskpencil.training.frozen.feature_cache import CachedBatches, FeatureCache, Head, Views, cached_features
from maskpencil.training.frozen.lbfgs import LBFGS, Whitening, WholeSet, build_lbfgs
from maskpencil.training.losses import Loss, class_weights
from maskpencil.training.optimizers import ExponentialMovingAverage, build_optimizer
from maskpencil.training.resolve import TrainPlan
from maskpencil.training.schedule import COARSE, EpochSchedule, Schedule, TimeBudgetSchedule, coarse_time
from maskpencil.training.trainer import GradientDescent, Solver, Trainer
from maskpencil.training.transforms import Augmentation, training_transform

GPU_WORKERS = 8
"""The number of processes that load images for a GPU."""


def build_trainer(
    plan: TrainPlan,
    images: TrainingImages,
    accelerator: Accelerator,
    *,
    start: bool = True,
    origin: Origin | None = None,
    notes: tuple[str, ...] = (),
) -> Trainer:
    """Build a trainer with its network, batches, loss, optimizer and schedule.

    Args:
        plan: the settings.
        images: the images to train on, with their data set.
        accelerator: the device and the processes.
        start: whether to read the initial weights of the network; False if a checkpoint is loaded afterwards.
        origin: where the initial weights came from, as the run recorded it; for a resumed run, which does not read
            these weights again.
        notes: further lines for the log.

    Raises:
        ConfigError: the settings do not fit the backbone, the machine or the number of processes.
        ModelError: the backbone's weights cannot be read, or are not finite.
    """
    config, data = plan.config, images.data
    torch.manual_seed(config.seed)
    device = accelerator.device
    _refuse(config, accelerator)
    loss = _loss(plan, data, device)
    model, started = _network(config, data, start=start)
    if start and (broken := first_not_finite(model.state_dict())):
        raise ModelError(
            f"{config.init or config.weights}: the initial weights are not finite numbers ({broken}); use other weights"
        )
    if config.fully_connected and not model.config.fully_connected:  # the weights have none
        config = replace(config, fully_connected=False)
        plan = replace(plan, config=config)
    origin = model.backbone.origin = model.backbone.origin or origin
    if config.freeze == "backbone":
        model.backbone.requires_grad_(False)
    preprocessing = _preprocessing(plan, model)
    model.to(device).to(memory_format=torch.channels_last)
    ema = ExponentialMovingAverage(model, config.average) if config.average else None
    segmenter = Segmenter.of_network(
        ModelParts(
            ema.network if ema else model,
            data.classes,
            preprocessing,
            {"data": data.root.resolve().name, **config.to_dict(), **(origin.to_dict() if origin else {})},
        ),
        device=device,
        precision=config.precision,
    )
    dataset = SegmentationDataset(
        images,
        transform_of=_transforms(plan, preprocessing).__getitem__,
        color_jitter=config.color_jitter,
        seed=config.seed,
    )
    batches = EpochBatches(
        len(dataset),
        batch_size=config.batch_size,
        seed=config.seed,
        rank=accelerator.process_index,
        world=accelerator.num_processes,
    )
    on_gpu = device.type == "cuda"
    workers = config.workers if config.workers is not None else (GPU_WORKERS if on_gpu else 0)
    trained: nn.Module = model
    solver: Solver = GradientDescent()
    loader: Iterable[tuple[Any, Tensor]]
    if config.cache_views:
        with in_turn(accelerator):
            cache = _cached(plan, segmenter, model, dataset)
        trained = Head(model, size=cache.size)
        if config.optimizer == "lbfgs":
            whitening = Whitening(model, cache)
            optimizer, solver, loader = build_lbfgs(whitening.coordinates), LBFGS(whitening), WholeSet(cache, batches)
        else:
            optimizer, loader = build_optimizer(model, plan), CachedBatches(cache, batches)
    else:
        optimizer = build_optimizer(model, plan)
        loader = load_batches(dataset, batches, workers=workers, fill=preprocessing.fill, pin=on_gpu)
    prepared, optimizer = _prepared(config, accelerator, trained, optimizer)
    return Trainer(
        plan=plan,
        data=data,
        segmenter=segmenter,
        network=model,
        model=prepared,
        ema=ema,
        optimizer=optimizer,
        solver=solver,
        batches=batches,
        loader=loader,
        loss=loss,
        schedule=_schedule(plan, len(batches)),
        accelerator=accelerator,
        folds=find_folds(model.backbone) if _folds(config) else {},
        notes=(*started, *notes),
    )


def _folds(config: TrainConfig) -> bool:
    return bool(config.fixed_statistics) and config.freeze == "none" and not (config.compile or config.sync_batch_norm)


def _refuse(config: TrainConfig, accelerator: Accelerator) -> None:
    """Check, before anything is computed, that this machine and number of processes support the settings.

    Raises:
        ConfigError: they do not support a setting.
    """
    if config.optimizer == "lbfgs" and accelerator.num_processes > 1:
        raise ConfigError(
            f"--optimizer lbfgs works in one process, but got {accelerator.num_processes}; start maskpencil without "
            "torchrun, accelerate launch or srun, or give another --optimizer"
        )
    if config.sync_batch_norm and accelerator.device.type != "cuda":
        raise ConfigError(
            f"--sync-batch-norm works on CUDA devices, but the device is {accelerator.device.type}; leave out "
            "--sync-batch-norm, or give --device cuda"
        )


def _schedule(plan: TrainPlan, batches: int) -> Schedule:
    config = plan.config
    if plan.time_budget:
        return TimeBudgetSchedule(plan.time_budget, coarse_time(config.coarse_share))
    return EpochSchedule(config.epochs, batches, plan.coarse_epochs, config.validate_every)


def _loss(plan: TrainPlan, data: DataFolder, device: torch.device) -> Loss:
    config, terms, reduction = plan.config, plan.loss_terms, plan.learning_rate.reduction
    if reduction == "sum" and terms != (CROSS_ENTROPY,):
        raise ConfigError(
            f"--learning-rate {config.learning_rate} is for a summed cross-entropy, not --loss {config.loss}; give a "
            "rate without the prefix 'sum:'"
        )
    areas = np.array([math.prod(data.facts[pair.mask].size) for pair in data.pairs("train")])
    weights = class_weights(config.class_weights, data.classes, data.class_counts("train"), areas)
    return Loss(terms, None if weights is None else weights.to(device), reduction)


def _prepared(
    config: TrainConfig, accelerator: Accelerator, model: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Wrap network and optimizer for the device and the number of processes."""
    if config.sync_batch_norm:
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
    if config.compile:
        model = torch.compile(model, dynamic=False)  # type: ignore[assignment]
    prepared, accelerated = accelerator.prepare(model, optimizer)
    return prepared, accelerated


def _cached(plan: TrainPlan, segmenter: Segmenter, model: FCN, dataset: SegmentationDataset) -> FeatureCache:
    """Compute and cache the features of the frozen backbone, or reuse the features of an earlier run."""
    config = plan.config
    names = ("seed", "crop_size", "scale", "flip", "color_jitter", "as_released")
    with ProgressBar("computing features", 1) as bar:
        return cached_features(
            segmenter,
            model,
            dataset,
            views=Views(config.cache_views, plan.crop_size, {name: getattr(config, name) for name in names}),
            announce=bar.say,
            report=bar.update_of,
        )


def _network(config: TrainConfig, data: DataFolder, *, start: bool) -> tuple[FCN, tuple[str, ...]]:
    """Build the network with its initial weights, and return it with lines for the log.

    Raises:
        ConfigError: the settings do not suit the backbone, or the network in `config.init` has another backbone.
        ModelError: the weights cannot be read.
    """
    if not start or not config.init:
        return build_fcn(_architecture(config, data), weights=config.weights if start else "none"), ()
    model, parts = build_fcn(_architecture(config, data), weights="none"), read_model_folder(config.init)
    other, theirs, ours = parts.model, parts.classes.names, data.classes.names
    if not isinstance(other, FCN) or any(
        getattr(other.config, name) != getattr(model.config, name) for name in ("backbone", "as_released")
    ):
        raise ConfigError(
            f"--init {config.init}: is {other.config.title}; expected a network on the same backbone as "
            f"{model.config.title}, and --as-released for both networks or for none"
        )
    model.backbone.origin = Origin.from_dict(parts.training)
    new = transplant(in_class_order(other.state_dict(), theirs, ours), model)
    notes = [f"layers that start untrained, since {config.init} has no fitting weights: {', '.join(new) or 'none'}"]
    if theirs != ours:
        what = (
            "in another order, matched by name"
            if {*theirs} == {*ours}
            else "different, so that the score layers start untrained"
        )
        notes.append(f"{config.init}: its classes are {what}: {', '.join(theirs)}; the data's are {', '.join(ours)}")
    return model, tuple(notes)


def _architecture(config: TrainConfig, data: DataFolder) -> FCNConfig:
    names = ("backbone", "stride", "fully_connected", "dropout", "learned_upsampling", "at_once_scales", "as_released")
    return FCNConfig(num_classes=len(data.classes), **{name: getattr(config, name) for name in names})


def _preprocessing(plan: TrainPlan, model: FCN) -> Preprocessing:
    backbone = model.backbone
    return Preprocessing(backbone.mean, backbone.std, plan.image_size, backbone.channel_order)


def _transforms(plan: TrainPlan, preprocessing: Preprocessing) -> dict[float, Augmentation]:
    """Map each relative resolution of training images, 0.5 and 1, to its augmentation."""
    config, size = plan.config, plan.crop_size

    def augmentation(resolution: float) -> Augmentation:
        least, greatest = config.scale
        return training_transform(
            crop_size=(round(size[0] * resolution), round(size[1] * resolution)) if size else None,
            scale=(least * resolution, greatest * resolution),
            flip=config.flip,
            fill=preprocessing.fill,
        )

    return {resolution: augmentation(resolution) for resolution in (COARSE, 1.0)}
