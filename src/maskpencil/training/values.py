"""Reading the values of settings that are written as words."""

import math
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal

from maskpencil.errors import ConfigError
from maskpencil.parsing import is_several, read_duration, read_text, read_whole, shown

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

MOST_DIGITS = 9
"""Of a number of pixels."""

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
            f"--learning-rate must be a number above 0, such as 1e-3 or sum:1e-10, or {FIND}, but got {shown(rate)}"
        )
    return LearningRate(value, "mean" if number == text else "sum")


def as_size_text(option: str, size: Any) -> str:
    """Write a size, given as a number, a pair (height, width) or a text, as the text that is parsed.

    Raises:
        ConfigError: it is none of these, or a side is not above 0.
    """
    if isinstance(size, str):
        return read_text(option, size)
    if not is_several(size):
        return str(read_whole(option, size, least=1))
    if len(size) != 2:
        raise ConfigError(f"{option} must be a number of pixels or a pair (height, width), but got {shown(size)}")
    return "x".join(str(read_whole(option, side, least=1)) for side in size)


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
    return _side(text) or height_and_width("--image-size", text, expected)


def parse_crop_size(text: str) -> tuple[int, int] | Literal["auto"] | None:
    """Read `auto`, `none` (None), `240x320` (height, width) or `256`, both sides.

    Raises:
        ConfigError: the text is none of these.
    """
    if text in ("auto", "none"):
        return "auto" if text == "auto" else None
    sides = f"{text}x{text}" if text.isdecimal() else text
    return height_and_width("--crop-size", sides, "auto, none, a number of pixels or HEIGHTxWIDTH")


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


def parse_time(option: str, text: Any) -> float:
    """Read a time budget such as `90s`, `20m`, `1h30m` or `1:30` as seconds.

    Raises:
        ConfigError: it is none or zero, or a number that could be of minutes.
    """
    if isinstance(text, str) and text.isdecimal():
        raise ConfigError(f"{option} must have a unit, such as {text}s or {text}m, but got {shown(text)}")
    seconds = read_duration(option, text)
    if seconds <= 0:
        raise ConfigError(f"{option} must be longer than zero, but got {shown(text)}")
    return seconds


def height_and_width(option: str, text: str, expected: str) -> tuple[int, int]:
    """Read the value HEIGHTxWIDTH of an option; `expected` is told in the error.

    Raises:
        ConfigError: it is none.
    """
    height, _, width = text.partition("x")
    sides = _side(height), _side(width)
    if not all(sides):
        raise ConfigError(f"{option} must be {expected}, but got {shown(text)}")
    return sides


def _side(text: str) -> int:
    """A number of pixels, or 0 where the text is none that an image could have."""
    return int(text) if text.isdecimal() and len(text) <= MOST_DIGITS else 0
