"""Turn settings into a training plan: fill in missing settings from the recipe and the images, then parse strings."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from maskpencil.errors import ConfigError
from maskpencil.images import fitted_size
from maskpencil.label_maps import LabelMap
from maskpencil.parsing import parse_time
from maskpencil.training.config import (
    CROSS_ENTROPY,
    FIND,
    LearningRate,
    TrainConfig,
    parse_auto_image_size,
    parse_crop_size,
    parse_learning_rate,
    parse_loss,
)
from maskpencil.training.recipes import CVPR_RATES, HEAVY_STEPS, MODERN_IMAGES, RECIPES
from maskpencil.training.schedule import work_of_epochs

FROZEN_SHARE = 0.2
"""The share of a time budget for the run with a frozen backbone, if a second run fine-tunes the network."""

LBFGS_ROUNDS = 3
"""The number of rounds of L-BFGS if `epochs` is not set."""

LBFGS_L2 = 4.0
"""The factor of the L2 penalty on the head for L-BFGS, divided by the number of training images.

Without the penalty the head fits the training images too closely, the more the fewer they are."""

Size = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class TrainPlan:
    """The complete settings of a run, with every string parsed.

    Args:
        config: the complete settings, as stored in config.yaml and in the model folder.
        image_size: the size to which images are scaled: (height, width), or the largest length of the longer side;
            None for images that are not scaled.
        crop_size: (height, width) of the training window; None for whole images.
        learning_rate: the highest learning rate, and the reduction of the loss (mean or sum) for which the rate is
            meant.
        loss_terms: names of the terms that the loss sums.
        time_budget: the duration of the run in seconds; if a second run will fine-tune the network, only the first
            run's share of the time budget. None if the run has a number of epochs.
        coarse_epochs: the number of epochs at half the resolution, which come first; 0 with a time budget.
        notes: lines for the log on settings that were chosen from the images.
    """

    config: TrainConfig
    image_size: int | Size | None
    crop_size: Size | None
    learning_rate: LearningRate
    loss_terms: tuple[str, ...]
    time_budget: float | None
    coarse_epochs: int
    notes: tuple[str, ...] = ()

    @property
    def finds_learning_rate(self) -> bool:
        """Whether a range test chooses the learning rate."""
        return self.config.learning_rate == FIND

    def with_learning_rate(self, rate: float) -> "TrainPlan":
        """Return the plan with the learning rate found by a range test."""
        return make_plan(replace(self.config, learning_rate=rate))


def make_plan(config: TrainConfig) -> TrainPlan:
    """Parse complete settings, such as the settings in the config.yaml of a run."""
    image_size, crop_size = parse_auto_image_size(config.image_size), parse_crop_size(config.crop_size)
    budget = None if config.time_budget is None else parse_time("--time-budget", config.time_budget)
    return TrainPlan(
        config=config,
        image_size=None if image_size == "auto" else image_size,
        crop_size=None if crop_size == "auto" else crop_size,
        learning_rate=parse_learning_rate(config.learning_rate),
        loss_terms=parse_loss(config.loss),
        time_budget=budget * FROZEN_SHARE if budget and config.then_finetune else budget,
        coarse_epochs=0 if config.time_budget else round(config.coarse_share * config.epochs),
    )


def resolve(config: TrainConfig, sizes: Mapping[str, Sequence[Size]], label_maps: Iterable[LabelMap] = ()) -> TrainPlan:
    """Fill in missing settings from the recipe, and settings that are `auto` from the images and the backbone.

    In the plan's config every setting has a value, except optional settings, and `epochs` if there is a time budget.
    Resolving this config again changes nothing.

    Args:
        config: the settings as given.
        sizes: (height, width) of every image, by split: `train` and `val`.
        label_maps: label maps (H, W) of some training images, from which an automatic stride is chosen.

    Raises:
        ConfigError: a setting is invalid, or the backbone is unknown.
    """
    complete, reason = _with_stride(filled(config), sizes["train"], label_maps)
    if complete.crop_size == "none":
        if config.scale not in (None, (1.0, 1.0)):
            raise ConfigError("--scale needs training windows; give a --crop-size, or leave out --scale")
        complete = replace(complete, scale=(1.0, 1.0))
    return replace(make_plan(_fill(complete, sizes)), notes=(reason,) if reason else ())


def _fill(config: TrainConfig, sizes: Mapping[str, Sequence[Size]]) -> TrainConfig:
    from_scratch = config.weights == "none" and not config.init
    config = replace(config, loss=config.loss or _loss(config, from_scratch=from_scratch))
    config = replace(config, optimizer=config.optimizer or _optimizer(config))
    if config.optimizer == "lbfgs":
        config = _convex(config)
    image_size = _image_size(config, sizes["train"])
    config = replace(config, learning_rate=config.learning_rate or _learning_rate(config))
    crop_size = _crop_size(config, _median([fitted_size(size, image_size) for size in sizes["train"]]))
    config = replace(
        config,
        image_size=_text(image_size) if image_size else "native",
        crop_size=_text(crop_size) if crop_size else "none",
        backbone_rate=_first_set(config.backbone_rate, _backbone_rate(config, from_scratch=from_scratch)),
        weight_decay=_first_set(config.weight_decay, 0.05 if config.optimizer in ("adamw", "muon") else 5e-4),
        # the norm of Muon's steps does not depend on the gradient
        clip_norm=_first_set(config.clip_norm, 0.0 if config.optimizer == "muon" else 1.0),
        head_l2=_first_set(config.head_l2, _head_l2(config, len(sizes["train"]))),
        coarse_share=_coarse_share(config, crop_size, from_scratch=from_scratch),
        fixed_statistics=_fixed_statistics(config, from_scratch=from_scratch),
        cache_views=_cache_views(config),
    )
    if config.time_budget:
        return config
    config = replace(config, epochs=config.epochs or _epochs(config, len(sizes["train"])))
    return replace(
        config, validate_every=config.validate_every or _validate_every(config, image_size, crop_size, sizes)
    )


def _with_stride(config: TrainConfig, sizes: Sequence[Size], label_maps: Iterable[LabelMap]) -> tuple[TrainConfig, str]:
    """Replace the stride `auto`, and return the reason for the stride if it is not 8, else ""."""
    if config.stride != "auto":
        return config, ""
    if config.as_released or config.at_once_scales:
        return replace(config, stride=8), ""
    from maskpencil.training.strides import choose_stride  # imports torch, which listing recipes does not need

    stride, reason = choose_stride(label_maps, backbone=config.backbone, image_size=_image_size(config, sizes))
    return replace(config, stride=stride), reason


def filled(config: TrainConfig) -> TrainConfig:
    """Give unset settings the values of the recipe; settings that depend on the images stay unset."""
    recipe = RECIPES[config.recipe]
    unset = {name: value for name, value in recipe.items() if getattr(config, name) is None}
    if config.time_budget:
        unset.pop("epochs", None)
    return replace(config, **unset)


def _loss(config: TrainConfig, *, from_scratch: bool) -> str:
    """Choose the loss: cross-entropy+lovasz if a pretrained backbone is trained, else cross-entropy.

    A `learning_rate` of sum:NUMBER is for a loss that is summed over the pixels; the loss is then always cross-entropy.
    """
    summed = config.learning_rate is not None and parse_learning_rate(config.learning_rate).reduction == "sum"
    alone = from_scratch or config.freeze == "backbone" or summed
    return CROSS_ENTROPY if alone else f"{CROSS_ENTROPY}+lovasz"


def _optimizer(config: TrainConfig) -> Literal["muon", "adamw", "lbfgs"]:
    """Choose the optimizer by the backbone, by whether the backbone is frozen, and by the loss.

    L-BFGS trains the head before fine-tuning if the loss is the cross-entropy. Otherwise Muon is used if the backbone
    is trained and has batch normalization, else AdamW.
    """
    if config.then_finetune and config.loss == CROSS_ENTROPY:
        return "lbfgs"
    from maskpencil.models.backbones import normalizes_batches  # imports torch, which listing recipes does not need

    return "muon" if config.freeze == "none" and normalizes_batches(config.backbone) else "adamw"


def _backbone_rate(config: TrainConfig, *, from_scratch: bool) -> float:
    """Choose the factor between the learning rates of backbone and head: 1 from scratch, less if pretrained.

    The factor of a pretrained backbone is larger with Muon, whose steps are proportional to the norms of the kernels.
    """
    if from_scratch:
        return 1.0
    return 0.25 if config.optimizer == "muon" else 0.1


def _fixed_statistics(config: TrainConfig, *, from_scratch: bool) -> bool:
    if config.fixed_statistics is not None:
        return config.fixed_statistics
    return not from_scratch and config.recipe == "modern" and not config.sync_batch_norm


def _learning_rate(config: TrainConfig) -> float | str:
    skips = 0 if config.stride == 32 else 1 if config.stride == 16 else 2
    if config.recipe == "heavy":
        return "sum:1e-10" if config.at_once_scales else f"sum:1e-{10 + 2 * skips}"
    if config.recipe == "cvpr":
        return float(CVPR_RATES.get(config.backbone, CVPR_RATES["vgg16"]) / 100**skips)
    return 0.1 if config.optimizer == "sgd" else 2e-3


def _epochs(config: TrainConfig, images: int) -> int:
    if config.optimizer == "lbfgs":
        return LBFGS_ROUNDS
    if config.recipe == "heavy":
        return math.ceil(HEAVY_STEPS * (3 if config.at_once_scales else 1) * config.batch_size / images)
    return min(300, max(10, round(MODERN_IMAGES / (images * work_of_epochs(config.coarse_share)))))


def _head_l2(config: TrainConfig, images: int) -> float:
    return float(f"{LBFGS_L2 / images:.2g}") if config.optimizer == "lbfgs" else 0.0


def _first_set(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def _coarse_share(config: TrainConfig, crop_size: Size | None, *, from_scratch: bool) -> float:
    """Return the share of epochs at half the resolution: the share that is set, or by default 0.55 from scratch.

    The default is 0 for a pretrained or frozen backbone, for whole images, and if a side of the training windows is
    below 128 pixels.

    Raises:
        ConfigError: the share is set, and training uses whole images or cached features.
    """
    if config.coarse_share is not None:
        if config.coarse_share and not crop_size:
            raise ConfigError("--coarse-share needs training windows; give a --crop-size, or --coarse-share 0")
        if config.coarse_share and _cache_views(config):
            raise ConfigError(
                "--coarse-share needs images, not cached features; set --coarse-share or --cache-views to 0"
            )
        return config.coarse_share
    gains = from_scratch and config.freeze == "none"  # a pretrained trunk gains nothing from a coarse start
    return 0.55 if gains and crop_size and min(crop_size) >= 128 else 0.0


def _convex(config: TrainConfig) -> TrainConfig:
    """Return the settings, changed so that the loss is convex in the weights of the head, as lbfgs requires.

    Raises:
        ConfigError: the backbone is not frozen, or the loss is not the cross-entropy.
    """
    if config.freeze != "backbone":
        raise ConfigError("--optimizer lbfgs needs the features of a frozen backbone; add --freeze backbone")
    if config.loss != CROSS_ENTROPY:
        raise ConfigError(
            f"--optimizer lbfgs needs the convex loss {CROSS_ENTROPY}, but got --loss {config.loss}; give --loss "
            f"{CROSS_ENTROPY}, or another --optimizer"
        )
    return replace(
        config,
        learned_upsampling="none",
        dropout=0.0,
        cache_views=1,
        weight_decay=0.0,
        clip_norm=0.0,
        average=0.0,
        accumulate=1,
        coarse_share=0.0,
        schedule="constant",
        learning_rate=1.0,
    )


def _cache_views(config: TrainConfig) -> int:
    if config.freeze == "none":
        return 0
    changed = config.flip or config.color_jitter or config.scale != (1.0, 1.0) or config.crop_size != "none"
    return config.cache_views if config.cache_views is not None else (4 if changed else 1)


def _image_size(config: TrainConfig, sizes: Sequence[Size]) -> int | Size | None:
    size = parse_auto_image_size(config.image_size)
    if size == "auto":
        return None if max(_median(sizes)) <= 1024 else 1024
    return size


def _crop_size(config: TrainConfig, median: Size) -> Size | None:
    """Return the size of training windows.

    For `auto`, height and width are two thirds of the height and width of the median image, rounded to multiples of
    32 pixels, at least 64 and at most 512.
    """
    size = parse_crop_size(config.crop_size)
    if size == "auto":
        height, width = (min(512, max(64, round(side * 2 / 3 / 32) * 32)) for side in median)
        return height, width
    return size


def _validate_every(
    config: TrainConfig, image_size: int | Size | None, crop_size: Size | None, sizes: Mapping[str, Sequence[Size]]
) -> int:
    """Choose the number of epochs between validations so that validations take a tenth of the time of training.

    Validating a pixel takes a third of the time of training a pixel, since there is no backward pass.
    """
    trained: float = sum(math.prod(crop_size or fitted_size(size, image_size)) for size in sizes["train"])
    validated = sum(math.prod(fitted_size(size, image_size)) for size in sizes["val"])
    trained *= work_of_epochs(config.coarse_share)
    return min(config.epochs, max(1, round(validated / 3 / trained / 0.1)))


def _median(sizes: Sequence[Size]) -> Size:
    heights, widths = sorted(height for height, _ in sizes), sorted(width for _, width in sizes)
    return heights[len(sizes) // 2], widths[len(sizes) // 2]


def _text(size: int | Size) -> str:
    return str(size) if isinstance(size, int) else f"{size[0]}x{size[1]}"
