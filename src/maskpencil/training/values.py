"""Reading the values of settings that are written as words."""

import math
import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from maskpencil.errors import ConfigError

CROSS_ENTROPY = "cross-entropy"

LOSS_TERMS = (CROSS_ENTROPY, "ohem", "dice", "lovasz")
"""What a loss may consist of."""

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
"""What stands here for losses of other tools: ohem, as focal loss does, gives hard pixels more weight."""

FIND = "find"
"""The learning rate that is still to be found."""


@dataclass(frozen=True)
class LearningRate:
    """A rate and the loss it belongs to, averaged or summed over the pixels: one means nothing without the other."""

    value: float
    reduction: Literal["mean", "sum"]


def parse_learning_rate(rate: float | str) -> LearningRate:
    """Read `0.001`, for a loss averaged over pixels, `sum:1e-10`, or `find`, which is tried in parts of 1.

    Raises:
        ConfigError: it is none of these, or not above 0.
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
            f"--learning-rate must be a number above 0, such as 1e-3 or sum:1e-10, or {FIND}, but got {rate!r}"
        )
    return LearningRate(value, "mean" if number == text else "sum")


def parse_image_size(text: str) -> int | tuple[int, int] | Literal["auto"] | None:
    """Read `auto`, or what `parse_fixed_image_size` reads.

    Raises:
        ConfigError: the text is none of these.
    """
    return (
        "auto" if text == "auto" else parse_fixed_image_size(text, "auto, native, a number of pixels or HEIGHTxWIDTH")
    )


def parse_fixed_image_size(
    text: str, expected: str = "native, a number of pixels or HEIGHTxWIDTH"
) -> int | tuple[int, int] | None:
    """Read `native` (None), `512` or `360x480` (height, width).

    Raises:
        ConfigError: the text is none of these; it names what was `expected`.
    """
    if text == "native":
        return None
    if text.isdigit() and int(text) > 0:
        return int(text)
    return height_and_width("--image-size", text, expected)


def parse_crop_size(text: str) -> tuple[int, int] | Literal["auto"] | None:
    """Read `auto`, `none` (None) or `240x320` (height, width).

    Raises:
        ConfigError: the text is none of these.
    """
    if text in ("auto", "none"):
        return "auto" if text == "auto" else None
    return height_and_width("--crop-size", text, "auto, none or HEIGHTxWIDTH")


def parse_loss(text: str) -> tuple[str, ...]:
    """Read the name of a term, or several with `+` between: cross-entropy+dice.

    Raises:
        ConfigError: there is no such term.
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


def parse_time(option: str, text: str) -> float:
    """Read `90s`, `20m`, `1h30m` or `1h` as seconds.

    Raises:
        ConfigError: the text is none of these.
    """
    parts = re.fullmatch(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?", text)
    hours, minutes, rest = (float(part or 0) for part in parts.groups()) if parts else (0.0, 0.0, 0.0)
    seconds = 3600 * hours + 60 * minutes + rest
    if not seconds > 0:
        raise ConfigError(f"{option} must be a time such as 90s, 20m or 1h30m, but got {text!r}")
    return seconds


def height_and_width(option: str, text: str, expected: str) -> tuple[int, int]:
    """Read the value HEIGHTxWIDTH of an option; `expected` is told in the error.

    Raises:
        ConfigError: it is none.
    """
    height, _, width = text.partition("x")
    if not (height.isdigit() and width.isdigit() and int(height) and int(width)):
        raise ConfigError(f"{option} must be {expected}, but got {text!r}")
    return int(height), int(width)
