"""Define the recipes, named presets of the training settings."""

from collections.abc import Mapping
from typing import Any

MODERN_IMAGES = 3700
"""The number of training images that the modern recipe processes if `epochs` is not set. An image counts once in every
epoch; at half the resolution it counts as a quarter of an image."""

HEAVY_STEPS = 100_000
"""The number of steps in the recipe heavy for each of FCN-32s, FCN-16s and FCN-8s, which are trained one after the
other; an FCN-8s that is trained at once takes three times as many steps."""

CVPR_RATES = {"alexnet": 1e-3, "vgg16": 1e-4, "googlenet": 5e-5}
"""The learning rates of the CVPR 2015 paper for an FCN-32s, by backbone."""

_PAPER: Mapping[str, Any] = {
    "backbone": "vgg16",
    "stride": 32,
    "fully_connected": True,
    "at_once_scales": False,
    "as_released": False,
    "dropout": 0.5,
    "optimizer": "sgd",
    "learning_rate": None,
    "backbone_rate": 1.0,
    "bias_rate": 2.0,
    "weight_decay": 5e-4,
    "clip_norm": 0.0,
    "head_l2": 0.0,
    "schedule": "constant",
    "loss": "cross-entropy",
    "class_weights": "none",
    "average": 0.0,
    "image_size": "native",
    "crop_size": "none",
    "scale": (1.0, 1.0),
    "flip": 0.0,
    "color_jitter": 0.0,
    "coarse_share": 0.0,
}
"""The settings that the recipes cvpr and heavy share: whole images at native size, SGD, biases without weight decay."""

RECIPES: Mapping[str, Mapping[str, Any]] = {
    # one cycle: Smith and Topin 2018; AdamW: Loshchilov and Hutter 2019
    "modern": {
        "backbone": "tf_efficientnet_lite0",
        "stride": "auto",
        "fully_connected": True,
        "learned_upsampling": "twofold",
        "at_once_scales": False,
        "dropout": 0.1,
        "as_released": False,
        "epochs": None,
        "batch_size": 8,
        "optimizer": None,
        "momentum": 0.9,
        "learning_rate": None,
        "backbone_rate": None,
        "bias_rate": 1.0,
        "weight_decay": None,
        "clip_norm": None,
        "head_l2": None,
        "schedule": "one-cycle",
        "loss": None,
        "class_weights": "sqrt-median-frequency",
        "average": 0.0,
        "image_size": "auto",
        "crop_size": "auto",
        "scale": (0.8, 1.3),
        "flip": 0.5,
        "color_jitter": 0.15,
        "coarse_share": None,
    },
    # the course project's settings: whole images at 160x576, Adam, L2 on the head's kernels
    "tutorial": {
        "backbone": "vgg16",
        "stride": 8,
        "fully_connected": True,
        "learned_upsampling": "all",
        "at_once_scales": False,
        "as_released": False,
        "dropout": 0.5,
        "epochs": 50,
        "batch_size": 10,
        "optimizer": "adam",
        "momentum": 0.0,
        "learning_rate": 1e-3,
        "backbone_rate": 1.0,
        "bias_rate": 1.0,
        "weight_decay": 0.0,
        "clip_norm": 0.0,
        "head_l2": 1e-3,
        "schedule": "constant",
        "loss": "cross-entropy",
        "class_weights": "none",
        "average": 0.0,
        "image_size": "160x576",
        "crop_size": "none",
        "scale": (1.0, 1.0),
        "flip": 0.0,
        "color_jitter": 0.0,
        "coarse_share": 0.0,
    },
    # Long, Shelhamer and Darrell, CVPR 2015, section 4.3: the averaged loss
    "cvpr": {**_PAPER, "learned_upsampling": "twofold", "epochs": 175, "batch_size": 20, "momentum": 0.9},
    # the solvers of the authors' release: the summed loss, one image a step
    "heavy": {
        **_PAPER,
        "learned_upsampling": "none",
        "as_released": True,
        "epochs": None,
        "batch_size": 1,
        "momentum": 0.99,
    },
}

DESCRIPTIONS: Mapping[str, str] = {
    "modern": "one-cycle schedule; from scratch, first at half the resolution; random scale, crop, flip and color",
    "tutorial": "the course project: Adam at 1e-3, dropout 0.5, whole images at 160x576, 50 epochs",
    "cvpr": "the CVPR 2015 paper: SGD on the averaged loss, 20 whole images per step, 175 epochs; begin with stride 32",
    "heavy": "the released networks: SGD on the summed loss, one image per step, 100,000 steps; begin with stride 32",
}
