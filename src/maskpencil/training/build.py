"""From settings and data to the parts of a run."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from accelerate import Accelerator

from maskpencil.data.dataset import EpochBatches, SegmentationDataset, load_batches
from maskpencil.data.folder import DataFolder
from maskpencil.data.transforms import Augmentation, CoarseThenFine, training_transform
from maskpencil.hardware import available_memory
from maskpencil.models import FCN, FCNConfig, build_fcn
from maskpencil.preprocessing import Preprocessing
from maskpencil.segmenter import Segmenter
from maskpencil.training.config import TrainConfig, parse_crop_size, parse_image_size
from maskpencil.training.fit import Job
from maskpencil.training.losses import class_weights
from maskpencil.training.recipes import coarse_epochs

GPU_WORKERS = 8
MEMORY_SHARE = 1 / 3
"""How much of the free memory decoded pictures may take."""


def build_job(config: TrainConfig, data: DataFolder, accelerator: Accelerator) -> Job:
    """Build network, batches, loss weights and optimizer from settings that `resolve` has filled.

    Raises:
        ConfigError: the settings do not fit the backbone or the machine.
        ModelError: the backbone's weights cannot be had.
    """
    torch.manual_seed(config.seed)
    device = accelerator.device
    model = build_fcn(_architecture(config, data), weights=config.weights)
    preprocessing = _preprocessing(config, model)
    segmenter = Segmenter(
        model,
        data.classes,
        preprocessing,
        training={"data": data.root.resolve().name, **config.to_dict()},
        device=device,
        precision=config.precision,
    )
    dataset = SegmentationDataset(
        data,
        "train",
        working_size=preprocessing.working_size,
        transform_of=_transform_of(config, preprocessing),
        seed=config.seed,
    )
    if dataset.memory <= available_memory() * MEMORY_SHARE:
        dataset.keep()
    batches = EpochBatches(
        len(dataset),
        batch_size=config.batch_size,
        seed=config.seed,
        rank=accelerator.process_index,
        world=accelerator.num_processes,
    )
    on_gpu = device.type == "cuda"
    workers = config.workers if config.workers is not None else (GPU_WORKERS if on_gpu else 0)
    areas = np.array([math.prod(data.facts[pair.mask].size) for pair in data.pairs("train")])
    weights = class_weights(config.class_weights, data.class_counts("train"), areas)
    prepared, optimizer = accelerator.prepare(model, _optimizer(model, config))
    return Job(
        config=config,
        data=data,
        segmenter=segmenter,
        model=prepared,
        optimizer=optimizer,
        batches=batches,
        loader=load_batches(dataset, batches, workers=workers, fill=preprocessing.fill, pin=on_gpu),
        class_weights=None if weights is None else weights.to(device),
        accelerator=accelerator,
    )


def _architecture(config: TrainConfig, data: DataFolder) -> FCNConfig:
    names = ("backbone", "stride", "fully_connected", "dropout", "learned_upsampling", "at_once_scales")
    return FCNConfig(num_classes=len(data.classes), **{name: getattr(config, name) for name in names})


def _preprocessing(config: TrainConfig, model: FCN) -> Preprocessing:
    size = parse_image_size(config.image_size)
    backbone = model.backbone
    return Preprocessing(
        _three(backbone.mean), _three(backbone.std), None if size == "auto" else size, backbone.channel_order
    )


def _three(values: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = values
    return red, green, blue


def _transform_of(config: TrainConfig, preprocessing: Preprocessing) -> CoarseThenFine:
    size = parse_crop_size(config.crop_size)

    def augmentation(resolution: float) -> Augmentation:
        least, greatest = config.scale
        return training_transform(
            crop_size=(round(size[0] * resolution), round(size[1] * resolution)) if isinstance(size, tuple) else None,
            scale=(least * resolution, greatest * resolution),
            flip=config.flip,
            color_jitter=config.color_jitter,
            fill=preprocessing.fill,
        )

    return CoarseThenFine(augmentation(0.5), augmentation(1.0), coarse_epochs=coarse_epochs(config))


def _optimizer(model: FCN, config: TrainConfig) -> torch.optim.Optimizer:
    """Backbone and head at their own rates; biases and normalization layers do not decay."""
    rate, decay = config.learning_rate, config.weight_decay
    groups = []
    for parameters, peak in (
        (list(model.backbone.parameters()), rate * config.backbone_rate),
        ([p for name, p in model.named_parameters() if not name.startswith("backbone.")], rate),
    ):
        learned = [parameter for parameter in parameters if parameter.requires_grad]
        kernels, others = [p for p in learned if p.ndim > 1], [p for p in learned if p.ndim <= 1]
        groups.append({"params": kernels, "lr": peak, "peak": peak, "weight_decay": decay})
        groups.append({"params": others, "lr": peak, "peak": peak, "weight_decay": 0.0})
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return kind([group for group in groups if group["params"]], lr=rate, fused=True)
