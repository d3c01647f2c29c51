"""Named presets of the training configuration, and what `auto` means for a given folder."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from maskpencil.errors import ConfigError
from maskpencil.images import fitted_size
from maskpencil.training.config import TrainConfig, parse_crop_size, parse_image_size

Size = tuple[int, int]

MODERN_PICTURES = 4000
"""The work of the modern recipe when `epochs` is not set: so many training pictures, repeats counted, those at half the
resolution as quarters."""

COARSE_WORK = 1 / 4
"""The work of a picture at half the resolution."""

RECIPES: Mapping[str, Mapping[str, Any]] = {
    # AdamW and one cycle: Loshchilov and Hutter 2019, Smith and Topin 2018
    "modern": {
        "backbone": "resnet18",
        "stride": 8,
        "fully_connected": True,
        "learned_upsampling": "twofold",
        "at_once_scales": False,
        "dropout": 0.1,
        "epochs": None,
        "batch_size": 4,
        "optimizer": "adamw",
        "learning_rate": 2e-3,
        "backbone_rate": None,
        "weight_decay": 0.05,
        "head_l2": 0.0,
        "schedule": "one-cycle",
        "class_weights": "sqrt-median-frequency",
        "image_size": "auto",
        "crop_size": "auto",
        "scale": (0.7, 1.6),
        "flip": 0.5,
        "color_jitter": 0.3,
        "coarse_share": None,
    },
    # the course project's settings: whole pictures at 160x576, Adam, L2 on the decoder's kernels
    "tutorial": {
        "backbone": "vgg16",
        "stride": 8,
        "fully_connected": True,
        "learned_upsampling": "all",
        "at_once_scales": False,
        "dropout": 0.5,
        "epochs": 50,
        "batch_size": 10,
        "optimizer": "adam",
        "learning_rate": 1e-3,
        "backbone_rate": 1.0,
        "weight_decay": 0.0,
        "head_l2": 1e-3,
        "schedule": "constant",
        "class_weights": "none",
        "image_size": "160x576",
        "crop_size": "none",
        "scale": (1.0, 1.0),
        "flip": 0.0,
        "color_jitter": 0.0,
        "coarse_share": 0.0,
    },
}

DESCRIPTIONS: Mapping[str, str] = {
    "modern": "AdamW, one cycle, coarse then fine; random scale, window, mirror, colour; rare classes count more",
    "tutorial": "the course project: Adam 1e-3, keep 0.5, L2 1e-3 on the head, whole pictures at 160x576, 50 epochs",
}


def resolve(config: TrainConfig, sizes: Mapping[str, Sequence[Size]]) -> TrainConfig:
    """Fill what is not set from the recipe, and what is `auto` from the pictures.

    `sizes` holds the (height, width) of every picture of `train` and `val`. Every setting of the result but `workers`
    is set; resolving it again changes nothing.
    """
    recipe = RECIPES[config.recipe]
    unset = {name: value for name, value in recipe.items() if getattr(config, name) is None}
    config = replace(config, **unset)
    image_size = _image_size(config, sizes["train"])
    crop_size = _crop_size(config, _median([fitted_size(size, image_size) for size in sizes["train"]]))
    config = replace(
        config,
        image_size=_text(image_size) if image_size else "native",
        crop_size=_text(crop_size) if crop_size else "none",
        # pretrained features need smaller steps than new ones
        backbone_rate=config.backbone_rate or (1.0 if config.weights == "none" else 0.1),
        coarse_share=_coarse_share(config, crop_size),
    )
    work = len(sizes["train"]) * work_of_epochs(config.coarse_share)
    config = replace(config, epochs=config.epochs or min(300, max(10, round(MODERN_PICTURES / work))))
    return replace(config, validate_every=config.validate_every or _validate_every(config, image_size, sizes))


def work_of_epochs(coarse_share: float) -> float:
    """The work of an epoch, on average, as a share of one at full resolution."""
    return 1 - coarse_share * (1 - COARSE_WORK)


def coarse_epochs(config: TrainConfig) -> int:
    """How many epochs, from the first on, run at half the resolution."""
    return round(config.coarse_share * config.epochs)


def _coarse_share(config: TrainConfig, crop_size: Size | None) -> float:
    """Three quarters, where half a window still shows something."""
    if config.coarse_share is not None:
        if config.coarse_share and not crop_size:
            raise ConfigError("--coarse-share needs windows; give a --crop-size, or 0")
        return config.coarse_share
    return 0.75 if crop_size and min(crop_size) >= 128 else 0.0


def _image_size(config: TrainConfig, sizes: Sequence[Size]) -> int | Size | None:
    size = parse_image_size(config.image_size)
    if size == "auto":
        return None if max(_median(sizes)) <= 1024 else 1024
    return size


def _crop_size(config: TrainConfig, median: Size) -> Size | None:
    """Two thirds of the median picture's sides, in multiples of 32, from 64 to 512 pixels."""
    size = parse_crop_size(config.crop_size)
    if size == "auto":
        height, width = (min(512, max(64, round(side * 2 / 3 / 32) * 32)) for side in median)
        return height, width
    return size


def _validate_every(config: TrainConfig, image_size: int | Size | None, sizes: Mapping[str, Sequence[Size]]) -> int:
    """A validated pixel costs a third of a trained one, for it is not run backward."""
    crop = parse_crop_size(config.crop_size)
    trained: float = sum(
        math.prod(crop if isinstance(crop, tuple) else fitted_size(s, image_size)) for s in sizes["train"]
    )
    validated = sum(math.prod(fitted_size(size, image_size)) for size in sizes["val"])
    trained *= work_of_epochs(config.coarse_share)
    return min(config.epochs, max(1, round(validated / 3 / trained / 0.1)))


def _median(sizes: Sequence[Size]) -> Size:
    heights, widths = sorted(height for height, _ in sizes), sorted(width for _, width in sizes)
    return heights[len(sizes) // 2], widths[len(sizes) // 2]


def _text(size: int | Size) -> str:
    return str(size) if isinstance(size, int) else f"{size[0]}x{size[1]}"
