"""Define and check the settings of a training run, given as Python arguments, options or a YAML file."""

import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Self, Union, get_args, get_origin, get_type_hints

import yaml

from maskpencil.classes import read_yaml
from maskpencil.errors import ConfigError, DataError
from maskpencil.files import written_whole
from maskpencil.hardware import device_name
from maskpencil.parsing import (
    did_you_mean,
    is_several,
    parse_image_size,
    parse_size,
    parse_time,
    read_choice,
    read_flag,
    read_number,
    read_path_text,
    read_text,
    read_whole,
    shown,
    size_text,
)

RECIPE: Any = None
"""The value of a setting that `resolve` fills from the recipe."""

CROSS_ENTROPY = "cross-entropy"

LOSS_TERMS = (CROSS_ENTROPY, "ohem", "dice", "lovasz")
"""The names of the terms that a loss can sum."""

_NEAREST_LOSS = {
    "focal": "ohem",
    "hard-mining": "ohem",
    "topk": "ohem",
    "bootstrapped-ce": "ohem",
    "ce": CROSS_ENTROPY,
    "bce": CROSS_ENTROPY,
    "nll": CROSS_ENTROPY,
    "softmax": CROSS_ENTROPY,
    "binary-cross-entropy": CROSS_ENTROPY,
    "iou": "lovasz",
    "jaccard": "lovasz",
    "tversky": "dice",
    "dice-ce": "dice+cross-entropy",
    "dicece": "dice+cross-entropy",
    "ce-dice": "cross-entropy+dice",
}
"""The names of losses in other tools, each with the most similar term of this program; ohem, like focal loss,
emphasizes pixels with a high loss."""

FIND = "find"
"""The value of `learning_rate` that requests a range test."""

SIZES = ("image_size", "crop_size")
FILES = ("weights", "init", "class_weights")
"""Settings that may be the path of a file."""

READERS: Mapping[Any, Any] = {bool: read_flag, int: read_whole, float: read_number, str: read_text}

MAX_SEED = 2**63 - 1
"""The largest seed that torch accepts."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The settings of a run; settings that are not given take the values of the recipe.

    Values may also be numpy or torch numbers, a `Path` for a file, a number or a pair (height, width) for a size, and a
    `torch.device`; the fields hold plain Python values.

    Example:
        >>> config = mp.TrainConfig(backbone="resnet18", loss="cross-entropy+dice", epochs=20)
        >>> run = mp.train("street", config=config, quiet=True)

    Raises:
        ConfigError: a setting is of another type or out of range, or excludes another setting.
    """

    recipe: Literal["modern", "tutorial", "cvpr", "heavy"] = "modern"
    """The recipe, a preset of all settings that are not given: modern (fast training by current methods), tutorial (an
    FCN-8s on VGG16 trained by Adam, as in a course project), cvpr (the CVPR 2015 paper) or heavy (the networks that the
    paper's authors released). `maskpencil info recipes` lists the values of each recipe."""

    backbone: str = RECIPE
    """The classifier that computes the features, such as resnet18 or vgg16; `maskpencil info backbones` lists them."""

    weights: str = "auto"
    """The initial weights of the backbone: auto (pretrained, from an installed package, the cache or a download),
    imagenet (as auto, but only weights that were trained on ImageNet alone), none (random) or the path of a weights
    file."""

    init: str | None = None
    """A trained model folder to start from, in place of `weights`, such as an FCN-16s before training an FCN-8s; layers
    with the same name and shape are copied."""

    stride: Literal["auto", 2, 4, 8, 16, 32] = RECIPE
    """The stride of the finest score map in pixels: 8 (FCN-8s), 16 (FCN-16s) or 32 (FCN-32s); a smaller stride gives
    finer outlines. 4 and 2 are for structures that are only a few pixels wide; auto chooses 8, or 4 or 2 if the masks
    show such structures."""

    fully_connected: bool = RECIPE
    """Keep the layers fc6 and fc7 of VGG and AlexNet as convolutions, or leave them out; other backbones have no such
    layers."""

    learned_upsampling: Literal["all", "twofold", "none"] = RECIPE
    """The upsampling layers that are trained: all, twofold (those that upsample by 2, which are all except the last) or
    none; layers that are not trained interpolate bilinearly."""

    at_once_scales: bool = RECIPE
    """Scale the features of pool4 by 0.01 and of pool3 by 0.0001, as in the paper's FCN-8s that is trained in one
    stage."""

    as_released: bool = RECIPE
    """Build the network as the paper's authors released it: images are padded by 100 pixels and have their color
    channels in the order blue, green, red, and score maps are cropped to the image. For vgg16 and alexnet only."""

    dropout: float = RECIPE
    """The dropout probability, 0 to 0.99, before score_fr, the layer that turns the coarsest features into class
    scores, and after fc6 if the network has fc6."""

    epochs: int = RECIPE
    """The number of passes over the training images. The modern recipe chooses 10 to 300, so that about 3,700
    images are processed in total (epochs times images; images at half the resolution count as a quarter)."""

    time_budget: str | None = None
    """The duration of the whole run, including validation and saving, such as 90s, 20m or 1h30m; give it in place of
    `epochs`."""

    batch_size: int = RECIPE
    """The number of images per optimizer step, in each process."""

    accumulate: int = 1
    """The number of micro-batches into which each batch is split to save memory (gradient accumulation); the number is
    doubled automatically if a GPU runs out of memory."""

    optimizer: Literal["sgd", "muon", "adamw", "adam", "lbfgs"] = RECIPE
    """The optimizer. The modern recipe uses muon if the backbone has batch normalization and is trained, else adamw.
    lbfgs trains only the head, with a convex loss. It needs a frozen backbone (see `freeze`) and `loss` cross-entropy,
    turns off dropout and learned upsampling, and augments every image only once. With lbfgs, an epoch consists of ten
    steps of L-BFGS, each on all training images."""

    momentum: float = RECIPE
    """The momentum of sgd and muon, 0 to 0.99; other optimizers ignore it."""

    learning_rate: float | str = RECIPE
    """The highest learning rate of the schedule. With NUMBER, such as 1e-3, the loss is averaged over the pixels of a
    batch; with sum:NUMBER, such as sum:1e-10, it is summed over them, as in the released networks; with find, a
    test before training (a hundred steps at rising rates) chooses the rate at which the loss falls fastest."""

    backbone_rate: float = RECIPE
    """The learning rate of the backbone as a multiple of `learning_rate`, above 0; to keep the backbone unchanged, set
    `freeze` to backbone."""

    freeze: Literal["none", "backbone"] = "none"
    """The part of the network that is not trained: none or backbone. With a frozen backbone, the features of every
    image are computed once and cached on disk, and only the head is trained, which is many times faster."""

    fixed_statistics: bool = RECIPE
    """Keep the means and variances of the backbone's batch normalization as they are in the initial weights, instead of
    computing them from each batch; training is faster, and the batches may be small. By default on for a pretrained
    backbone, off from scratch."""

    then_finetune: bool = False
    """After training with `freeze` backbone, train the whole network in a second run that starts from the first run's
    model. The first run is kept in RUN-frozen, where RUN is the run folder. With `time_budget`, the first run takes a
    fifth of the time; `epochs` sets only the length of the second run. The first run uses lbfgs if `loss` is
    cross-entropy and no optimizer is given."""

    cache_views: int = RECIPE
    """With a frozen backbone, the number of randomly augmented versions of each image whose features are cached; by
    default 4, or 1 without augmentation. 0 caches nothing: every step augments its images anew and computes their
    features."""

    bias_rate: float = RECIPE
    """The learning rate of biases as a multiple of the learning rate of kernels, 0 or more."""

    weight_decay: float = RECIPE
    """The weight decay of kernels, 0 or more: decoupled in adamw and muon, an L2 penalty in sgd and adam."""

    clip_norm: float = RECIPE
    """The largest norm of the gradient over all weights; a larger gradient is scaled down to this norm. 0 turns
    clipping off."""

    head_l2: float = RECIPE
    """The factor of an L2 penalty on the kernels of the head, 0 or more: this factor times half the sum of the squared
    kernels is added to the loss. With lbfgs the default is 4 divided by the number of training images, and the penalty
    is on the kernels that apply to whitened features."""

    schedule: Literal["one-cycle", "constant"] = RECIPE
    """The schedule of the learning rate: one-cycle (the rate rises, then falls) or constant."""

    loss: str = RECIPE
    """The loss: cross-entropy, ohem (cross-entropy of the quarter of pixels with the highest loss), dice, lovasz, or a
    sum of several of these losses, such as cross-entropy+dice. The modern recipe uses cross-entropy+lovasz if a
    pretrained backbone is trained, else cross-entropy."""

    class_weights: str = RECIPE
    """The weights of classes in the cross-entropy, higher for rare classes: none, median-frequency,
    sqrt-median-frequency (the square roots of these weights), enet (the formula of the ENet paper), or a YAML file with
    a weight for each class."""

    average: float = RECIPE
    """The decay of the exponential moving average (EMA) of the weights, 0 to 0.9999, such as 0.99; the average is
    validated and saved. With 0, the weights themselves are validated and saved."""

    image_size: str = RECIPE
    """The size to which images are scaled in training and prediction: native (not scaled), HEIGHTxWIDTH, or a number N:
    images whose longer side is above N pixels are scaled down in proportion, so that this side has N pixels; auto is
    1024 if the median image is larger than that, else native."""

    crop_size: str = RECIPE
    """The size of the random window that is cut from each training image: HEIGHTxWIDTH, a number (the height and the
    width in pixels), none (whole images) or auto (about two thirds of the height and width of the median image, 64 to
    512 pixels)."""

    scale: tuple[float, float] = RECIPE
    """The smallest and the largest factor by which training images are randomly scaled, such as 0.8 1.3; 1 1 turns
    scaling off."""

    flip: float = RECIPE
    """The probability that a training image is mirrored left to right, 0 to 1."""

    color_jitter: float = RECIPE
    """The largest random change of brightness, contrast and saturation, as a share, such as 0.15; 0 keeps the
    colors."""

    coarse_share: float = RECIPE
    """The share of the epochs, 0 to 1, that train at half the resolution, which is two to four times as fast; these
    epochs come first. The modern recipe uses 0.55 from scratch, else 0."""

    validate_every: int = RECIPE
    """The number of epochs from one validation to the next; by default chosen so that validation takes about a tenth of
    the time."""

    checkpoint_minutes: float = 10.0
    """The number of minutes from one checkpoint to the next; a checkpoint is also written after every epoch."""

    sync_batch_norm: bool = False
    """Compute the statistics of batch normalization over the images of all processes; on CUDA devices only."""

    compile: bool = False
    """Compile the network with torch.compile: training starts a minute or more later, then runs faster."""

    tracker: str | None = None
    """An experiment tracker to use in addition to TensorBoard: wandb, mlflow, aim or any other that Accelerate
    supports."""

    seed: int = 0
    """The seed of the random numbers, 0 or more."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """The device to compute on: cpu, cuda (an NVIDIA or AMD GPU) or mps (the GPU of a Mac); auto chooses cuda if this
    machine has a GPU for it, else mps if possible, else cpu."""

    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """The number format of convolutions; auto chooses bf16 if the device computes bf16 natively, else fp32. fp16 is for
    CUDA devices without bf16 and includes loss scaling, which protects small gradients."""

    workers: int | None = None
    """The number of extra processes that load images, 0 or more; by default 8 on a CUDA device, else 0."""

    def __post_init__(self) -> None:
        for name, kind in _kinds().items():
            value = getattr(self, name)
            if value is not None or getattr(type(self), name) is not None:  # fields without a default may stay unset
                object.__setattr__(self, name, _plain(name, kind, value))
        self._refuse_out_of_range()

    def _refuse_out_of_range(self) -> None:
        positive = ("epochs", "batch_size", "validate_every", "backbone_rate", "accumulate", "checkpoint_minutes")
        for name in positive:
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"{_option(name)} must be above 0, but got {value}")
        if self.seed > MAX_SEED:
            raise ConfigError(f"--seed must be at most {MAX_SEED}, but got {self.seed}")
        lengths = ("weight_decay", "clip_norm", "head_l2", "color_jitter", "bias_rate")
        for name in (*lengths, "workers", "seed", "cache_views"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ConfigError(f"{_option(name)} must be 0 or more, but got {value}")
        for name, most in (
            ("dropout", 0.99),
            ("momentum", 0.99),
            ("average", 0.9999),
            ("flip", 1),
            ("coarse_share", 1),
        ):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= most:
                raise ConfigError(f"{_option(name)} must be a number from 0 to {most}, but got {value}")
        if self.learning_rate is not None:
            parse_learning_rate(self.learning_rate)
        if self.loss is not None:
            parse_loss(self.loss)
        if self.time_budget is not None:
            parse_time("--time-budget", self.time_budget)
            if self.epochs is not None:
                raise ConfigError("--time-budget and --epochs both set the length of the run; give only one of them")
            if self.validate_every is not None:
                raise ConfigError("--validate-every has no effect with --time-budget; leave out --validate-every")
        if self.then_finetune and self.freeze != "backbone":
            raise ConfigError("--then-finetune continues from a network with a frozen backbone; add --freeze backbone")
        if self.scale is not None and not 0 < self.scale[0] <= self.scale[1]:
            raise ConfigError(
                f"--scale must be two factors above 0, the smaller first, such as 0.8 1.3, but got {self.scale}"
            )
        if self.image_size is not None:
            parse_auto_image_size(self.image_size)
        if self.crop_size is not None:
            parse_crop_size(self.crop_size)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain values; None for settings that take the value of the recipe."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, entries: Mapping[str, Any]) -> Self:
        """Build the settings from plain values.

        Raises:
            ConfigError: a setting is unknown, of another type or out of range.
        """
        known = [field.name for field in fields(cls)]
        unknown = sorted({*map(str, entries)} - {*known})
        if unknown:
            hint = (did_you_mean(unknown[0], known) if len(unknown) == 1 else "") or "; remove them"
            raise ConfigError(f"unknown training settings: {', '.join(unknown)}{hint}")
        return cls(**entries)


def read_config(path: Path) -> TrainConfig:
    """Read a run's config.yaml.

    Raises:
        ConfigError: the file is missing, not YAML, or holds invalid settings.
    """
    try:
        entries = read_yaml(path)
    except DataError as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise ConfigError(f"{path}: cannot be read as training settings ({reason})") from error
    if not isinstance(entries, Mapping):
        raise ConfigError(
            f"{path}: cannot be read as training settings; expected lines `name: value`, but it holds a "
            f"{type(entries).__name__}"
        )
    try:
        return TrainConfig.from_dict(entries)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def write_config(path: Path, config: TrainConfig) -> None:
    """Write config.yaml, whole or not at all."""
    with written_whole(path) as temporary:
        temporary.write_text(yaml.safe_dump(config.to_dict(), sort_keys=False), encoding="utf-8")


@cache
def _kinds() -> Mapping[str, Any]:
    """Return the type of each setting by its name, with `| None` removed."""
    hints = get_type_hints(TrainConfig)
    return {field.name: _without_none(hints[field.name]) for field in fields(TrainConfig)}


def _without_none(kind: Any) -> Any:
    if get_origin(kind) not in (Union, UnionType):
        return kind
    kinds = [each for each in get_args(kind) if each is not type(None)]
    return kinds[0] if len(kinds) == 1 else kind


def _plain(name: str, kind: Any, value: Any) -> Any:
    """Convert the value of the setting `name` to a plain Python value of the type `kind`.

    Raises:
        ConfigError: the value is of another type.
    """
    option = _option(name)
    if name in SIZES:
        return size_text(option, value)
    if name in FILES:
        text = read_path_text(option, value)
        return os.path.expanduser(text)  # noqa: PTH111 - it may not be a path
    if name == "learning_rate":
        return read_text(option, value) if isinstance(value, str) else read_number(option, value)
    if name == "scale":
        if not is_several(value) or len(value) != 2:
            raise ConfigError(
                f"{option} must be two factors above 0, the smaller first, such as 0.8 1.3, but got {shown(value)}"
            )
        return tuple(read_number(option, each) for each in value)
    if get_origin(kind) is Literal:
        return read_choice(option, device_name(value) if name == "device" else value, get_args(kind))
    if name == "time_budget":
        parse_time(option, value)
    return READERS[kind](option, value)


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


@dataclass(frozen=True)
class LearningRate:
    """A learning rate, and whether it applies to a loss averaged or summed over the pixels."""

    value: float
    reduction: Literal["mean", "sum"]


def parse_learning_rate(rate: float | str) -> LearningRate:
    """Parse a learning rate: `0.001` for a loss averaged over pixels, `sum:1e-10` for a summed loss, or `find`.

    For `find` return the rate 1, which the range test multiplies by each rate that it tests.

    Raises:
        ConfigError: the rate has none of these forms, or is not above 0.
    """
    text = str(rate)
    if text == FIND:
        return LearningRate(1.0, "mean")
    number = text.removeprefix("sum:")
    try:
        value = float(number)
    except ValueError:
        value = 0.0
    if not 0 < value < math.inf:
        raise ConfigError(
            f"--learning-rate must be a number above 0, such as 1e-3 or sum:1e-10, or {FIND}, but got {shown(rate)}"
        )
    return LearningRate(value, "mean" if number == text else "sum")


def parse_auto_image_size(text: str) -> int | tuple[int, int] | Literal["auto"] | None:
    """Parse `auto`, or a size in a form of `parse_image_size` (None for `native`).

    Raises:
        ConfigError: the text has none of these forms.
    """
    return "auto" if text == "auto" else parse_image_size(text, "auto, native, a number of pixels or HEIGHTxWIDTH")


def parse_crop_size(text: str) -> tuple[int, int] | Literal["auto"] | None:
    """Parse a crop size: `auto`, `none` (None), `240x320` (height, width) or `256` (both sides).

    Raises:
        ConfigError: the text has none of these forms.
    """
    if text in ("auto", "none"):
        return "auto" if text == "auto" else None
    sides = f"{text}x{text}" if text.isdecimal() else text
    return parse_size("--crop-size", sides, "auto, none, a number of pixels or HEIGHTxWIDTH")


def parse_loss(text: str) -> tuple[str, ...]:
    """Parse a loss: the name of a term, or several joined by `+`, such as cross-entropy+dice.

    Raises:
        ConfigError: a term is unknown.
    """
    terms = tuple(text.split("+"))
    if unknown := [term for term in terms if term not in LOSS_TERMS]:
        plain = unknown[0].lower().replace("_", "-").removesuffix("-loss").removesuffix("loss")
        close = get_close_matches(plain, LOSS_TERMS, 1, cutoff=0.65)
        nearest = _NEAREST_LOSS.get(plain) or "".join(close)
        hint = f"; the most similar is {nearest}" if nearest else ""
        raise ConfigError(
            f"--loss must be {', '.join(LOSS_TERMS)}, or several of them with + between, but got {unknown[0]!r}{hint}"
        )
    return terms
