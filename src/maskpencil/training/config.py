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
"""The terms of a loss."""

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
"""Losses of other tools, and the most similar term; ohem, like focal loss, gives hard pixels more weight."""

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
    """The settings of a run; the recipe decides those that are not given.

    Accepted are also numpy and torch numbers, a `Path` for a file, a number or a pair (height, width) for a size, and a
    `torch.device`; the fields hold plain values.

    Example:
        >>> config = mp.TrainConfig(backbone="resnet18", loss="cross-entropy+dice", epochs=20)
        >>> run = mp.train("street", config=config, quiet=True)

    Raises:
        ConfigError: a setting is out of range.
    """

    recipe: Literal["modern", "tutorial", "cvpr", "heavy"] = "modern"
    """The preset of all settings that are not given; see `maskpencil info recipes`."""

    backbone: str = RECIPE
    """The classifier whose trunk computes the features; see `maskpencil info backbones`."""

    weights: str = "auto"
    """Where the backbone's weights come from: auto (an installed package, the cache or a download), imagenet (the same,
    of ImageNet alone), none (from scratch) or a file of the classifier's weights."""

    init: str | None = None
    """A model folder to start from instead of `weights`, such as a coarser net: every layer that fits is copied."""

    stride: Literal[2, 4, 8, 16, 32] = RECIPE
    """Pixels per cell of the finest scores: 8 for FCN-8s, 16 for FCN-16s, 32 for FCN-32s; 4 and 2 for structures that
    are a few pixels wide."""

    fully_connected: bool = RECIPE
    """Keep the classifier's fully connected layers, cast into convolutions, where it has them."""

    learned_upsampling: Literal["all", "twofold", "none"] = RECIPE
    """Which upsampling kernels are trained: all, twofold (all but the last) or none; the others stay bilinear."""

    at_once_scales: bool = RECIPE
    """Scale the skips' features by the fixed factors of the FCN-8s that is trained at once."""

    as_released: bool = RECIPE
    """Pad and crop exactly as the authors' nets do, and take BGR images (vgg16, alexnet)."""

    dropout: float = RECIPE
    """The share of features dropped before the scores (and between fc6 and fc7), 0 to below 1."""

    epochs: int = RECIPE
    """Passes over the training images; auto in the modern recipe: the work of 3,700 images."""

    time_budget: str | None = None
    """A time budget instead of `epochs`, such as 90s, 20m or 1h30m; it includes validating and writing the model."""

    batch_size: int = RECIPE
    """Images per step and process."""

    accumulate: int = 1
    """Gradient accumulation: the micro-batches that a batch is computed in, to need less memory. It doubles by itself
    where the memory of a GPU does not suffice."""

    optimizer: Literal["sgd", "muon", "adamw", "adam", "lbfgs"] = RECIPE
    """The optimizer; sgd and muon have a momentum. Auto in the modern recipe: muon from scratch where the
    backbone normalizes batches, else adamw. lbfgs finds the optimum on the cached features of a frozen backbone, where
    there is only one: without dropout, learned upsampling and random views; an epoch is then one of its rounds."""

    momentum: float = RECIPE
    """The momentum of sgd and muon, 0 to below 1."""

    learning_rate: float | str = RECIPE
    """The greatest learning rate for a loss averaged over pixels, or sum:RATE for one summed over pixels, or find: the
    rate at which the loss falls fastest, in a hundred steps made for it."""

    backbone_rate: float = RECIPE
    """The backbone's learning rate as a share of `learning_rate`, above 0; see `freeze`."""

    freeze: Literal["none", "backbone"] = "none"
    """What is not trained: with a frozen backbone the features of every image are computed once and kept on disk,
    and the head alone is trained on them, many times faster."""

    cache_views: int = RECIPE
    """The random views of each image whose features are cached, where the backbone is frozen: by default 1 without
    random changes of images, else 4; 0 computes features of a new view in every step."""

    bias_rate: float = RECIPE
    """The learning rate of biases as a multiple of that of kernels."""

    weight_decay: float = RECIPE
    """Decay of all kernels: adamw's and muon's is decoupled from the loss, the others' is its L2 penalty."""

    clip_norm: float = RECIPE
    """The greatest norm of the gradient of all weights together; greater ones are clipped. 0 is no limit."""

    head_l2: float = RECIPE
    """L2 penalty on the kernels of the head, added to the loss as half the sum of squares times this."""

    schedule: Literal["one-cycle", "constant"] = RECIPE
    """The learning rate schedule: one cycle, up and down, or constant."""

    loss: str = RECIPE
    """The loss: cross-entropy, ohem (that of the hardest quarter of the pixels), dice or lovasz, or several
    with + between, such as cross-entropy+dice."""

    class_weights: str = RECIPE
    """How much more rare classes count in the cross-entropy: none, median-frequency, sqrt-median-frequency, enet, or a
    YAML file of a weight for each class."""

    average: float = RECIPE
    """The decay of the exponential moving average (EMA) of the weights, such as 0.99, which is validated and saved; 0
    saves the last weights."""

    image_size: str = RECIPE
    """The size the network sees, also later in prediction: native, HEIGHTxWIDTH, a number of pixels for the longer
    side at most, or auto (native up to 1024 pixels)."""

    crop_size: str = RECIPE
    """The training window: HEIGHTxWIDTH, a number of pixels for both sides, none (whole images) or auto (about two
    thirds of the image's sides)."""

    scale: tuple[float, float] = RECIPE
    """The random scale of training images, least and greatest factor."""

    flip: float = RECIPE
    """The probability of mirroring a training image left to right."""

    color_jitter: float = RECIPE
    """The greatest relative change of brightness, contrast and saturation."""

    coarse_share: float = RECIPE
    """The share of the epochs, from the first on, that run at half the resolution and so four times as fast."""

    validate_every: int = RECIPE
    """Epochs between validations; by default so that validation costs at most about a tenth of the training."""

    checkpoint_minutes: float = 10.0
    """Minutes of training between checkpoints, which are also written after every epoch."""

    sync_batch_norm: bool = False
    """Batch normalization over the images of all processes together, on GPUs."""

    compile: bool = False
    """Let torch.compile fuse the network's operations: a minute or more at the start, faster steps after."""

    tracker: str | None = None
    """An experiment tracker besides TensorBoard: wandb, mlflow, aim, or another that Accelerate supports."""

    seed: int = 0
    """The source of all random numbers."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute: auto is CUDA where there is a device, else MPS, else the CPU."""

    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """The precision of the convolutions: auto is bf16 where the device computes it natively, else fp32. fp16 is for
    CUDA devices without bf16; the loss is scaled so that small gradients are not lost in it."""

    workers: int | None = None
    """Processes that load images; by default none on the CPU, else up to 8."""

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
                raise ConfigError(f"{_option(name)} must be a share from 0 to {most}, but got {value}")
        if self.learning_rate is not None:
            parse_learning_rate(self.learning_rate)
        if self.loss is not None:
            parse_loss(self.loss)
        if self.time_budget is not None:
            parse_time("--time-budget", self.time_budget)
            if self.epochs is not None:
                raise ConfigError("--time-budget and --epochs both set the length of the run; give only one of them")
            if self.validate_every is not None:
                raise ConfigError("--validate-every has no effect with --time-budget; leave it out")
        if self.scale is not None and not 0 < self.scale[0] <= self.scale[1]:
            raise ConfigError(f"--scale must be the least and the greatest factor above 0, but got {self.scale}")
        if self.image_size is not None:
            parse_auto_image_size(self.image_size)
        if self.crop_size is not None:
            parse_crop_size(self.crop_size)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain values; None if the recipe decides."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, entries: Mapping[str, Any]) -> Self:
        """Build the settings from plain values.

        Raises:
            ConfigError: a setting is unknown or out of range.
        """
        known = [field.name for field in fields(cls)]
        unknown = sorted({*map(str, entries)} - {*known})
        if unknown:
            hint = did_you_mean(unknown[0], known) if len(unknown) == 1 else ""
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
        raise ConfigError(f"{path}: cannot be read as training settings (it holds a {type(entries).__name__})")
    return TrainConfig.from_dict(entries)


def write_config(path: Path, config: TrainConfig) -> None:
    """Write config.yaml, whole or not at all."""
    with written_whole(path) as temporary:
        temporary.write_text(yaml.safe_dump(config.to_dict(), sort_keys=False), encoding="utf-8")


@cache
def _kinds() -> Mapping[str, Any]:
    """Map each setting to its type, with `| None` removed."""
    hints = get_type_hints(TrainConfig)
    return {field.name: _without_none(hints[field.name]) for field in fields(TrainConfig)}


def _without_none(kind: Any) -> Any:
    if get_origin(kind) not in (Union, UnionType):
        return kind
    kinds = [each for each in get_args(kind) if each is not type(None)]
    return kinds[0] if len(kinds) == 1 else kind


def _plain(name: str, kind: Any, value: Any) -> Any:
    """Convert the value of a setting to its plain type.

    Raises:
        ConfigError: the value is of another type.
    """
    option = _option(name)
    if name in SIZES:
        return size_text(option, value)
    if name in FILES:
        text = read_path_text(option, value)
        return os.path.expanduser(text)  # noqa: PTH111 - it may be no path
    if name == "learning_rate":
        return read_text(option, value) if isinstance(value, str) else read_number(option, value)
    if name == "scale":
        if not is_several(value) or len(value) != 2:
            raise ConfigError(f"{option} must be the least and the greatest factor above 0, but got {shown(value)}")
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
    """Parse a learning rate: `0.001` for a loss averaged over pixels, `sum:1e-10` for a summed one, or `find`.

    `find` gives the rate 1, which the range test multiplies by its factors.

    Raises:
        ConfigError: the rate is none of these, or not above 0.
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
    """Parse `auto`, or what `parse_image_size` parses (None for `native`).

    Raises:
        ConfigError: the text is neither.
    """
    return "auto" if text == "auto" else parse_image_size(text, "auto, native, a number of pixels or HEIGHTxWIDTH")


def parse_crop_size(text: str) -> tuple[int, int] | Literal["auto"] | None:
    """Parse a crop size: `auto`, `none` (None), `240x320` (height, width) or `256` (both sides).

    Raises:
        ConfigError: the text is none of these.
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
        hint = f"; the nearest is {nearest}" if nearest else ""
        raise ConfigError(
            f"--loss must be {', '.join(LOSS_TERMS)}, or several of them with + between, but got {unknown[0]!r}{hint}"
        )
    return terms
