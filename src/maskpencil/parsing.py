"""Parse arguments that users give: paths, numbers, flags, choices; errors name the argument."""

import ipaddress
import math
import operator
import os
import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from maskpencil.errors import ConfigError

T = TypeVar("T", str, int)

_NUMBER = r"[0-9]+(?:\.[0-9]+)?"

LONGEST = 80
"""The largest number of characters of a wrong value that an error shows."""

MAX_DIGITS = 9
"""The largest number of digits of a number of pixels."""


def read_path(name: str, value: Any) -> Path:
    """Read a path, given as a string or an `os.PathLike`; a leading ~ is the home folder.

    Raises:
        ConfigError: the value is not a path, or is empty.
    """
    return Path(os.path.expanduser(read_path_text(name, value)))  # noqa: PTH111 - Path.expanduser fails without a home


def read_path_text(name: str, value: Any) -> str:
    """Read a path as an unchanged string, for arguments that may also be something else, such as a network's name.

    Raises:
        ConfigError: the value is not a path, or is empty.
    """
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(text, str) or not text or "\0" in text:
        raise ConfigError(f"{name} must be a path, but got {shown(value)}")
    return str.__str__(text)  # also turns numpy's strings and enumerations into plain strings


def read_optional_path(name: str, value: Any) -> Path | None:
    """Read a path as `read_path` does; return None if the value is None."""
    return None if value is None else read_path(name, value)


def read_whole(name: str, value: Any, *, least: int | None = None, most: int | None = None) -> int:
    """Read a whole number from `least` to `most` (None: no limit); NumPy and torch scalars are accepted too.

    Raises:
        ConfigError: the value is out of range or not a whole number; True, 3.0 and "3" do not count as whole numbers.
    """
    try:
        number = None if isinstance(value, bool | np.bool_) else operator.index(value)
    except TypeError:
        number = None
    if number is None:
        raise ConfigError(f"{name} must be a whole number, but got {shown(value)}")
    if (least is not None and number < least) or (most is not None and number > most):
        raise ConfigError(f"{name} must be a whole number {_range(least, most)}, but got {shown(number)}")
    return number


def read_number(name: str, value: Any, *, least: float | None = None, most: float | None = None) -> float:
    """Read a finite number from `least` to `most` (None: no limit); NumPy and torch scalars are accepted too.

    Raises:
        ConfigError: the value is out of range, not finite or not a number; True and "0.5" do not count as numbers.
    """
    is_number = hasattr(type(value), "__float__") and not isinstance(value, bool | np.bool_)
    try:
        number = float(value) if is_number and getattr(value, "ndim", 0) == 0 else math.nan
    except (TypeError, ValueError, OverflowError):  # several numbers, a complex one, or one that is too large
        number = math.nan
    if not math.isfinite(number):
        raise ConfigError(f"{name} must be a finite number, but got {shown(value)}")
    if (least is not None and number < least) or (most is not None and number > most):
        raise ConfigError(f"{name} must be a number {_range(least, most)}, but got {shown(number)}")
    return number


def read_duration(name: str, value: Any) -> float:
    """Read a duration, or a time in a video, as seconds: `90`, `90.5`, `90s`, `1h30m`, `1:30` or `0:01:30.5`.

    Raises:
        ConfigError: the value has none of these forms.
    """
    text = value if isinstance(value, str) else ""
    units = re.fullmatch(f"(?:({_NUMBER})h)?(?:({_NUMBER})m)?(?:({_NUMBER})s?)?", text)
    clock = re.fullmatch(f"(?:([0-9]+):)?([0-9]+):({_NUMBER})", text)
    if clock and float(clock[3]) >= 60:
        raise ConfigError(f"{name} must have seconds below 60 after a colon, but got {shown(value)}")
    parts = units or clock
    if not text or not parts:
        raise ConfigError(f"{name} must be a time such as 90, 90s, 1m30s, 1h30m or 1:30, but got {shown(value)}")
    hours, minutes, seconds = (float(part or 0) for part in parts.groups())
    return 3600 * hours + 60 * minutes + seconds


def is_several(value: Any) -> bool:
    """Return whether a value is a list, a tuple or a one-dimensional array, rather than a string."""
    return (isinstance(value, Sequence) and not isinstance(value, str | bytes)) or getattr(value, "ndim", 0) == 1


def read_flag(name: str, value: Any) -> bool:
    """Read True or False, which may also be a scalar of NumPy.

    Raises:
        ConfigError: the value is neither True nor False.
    """
    if not isinstance(value, bool | np.bool_):
        raise ConfigError(f"{name} must be True or False, but got {shown(value)}")
    return bool(value)


def read_text(name: str, value: Any) -> str:
    """Read a string that is not empty.

    Raises:
        ConfigError: the value is not a string, or is empty.
    """
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{name} must be a string that is not empty, but got {shown(value)}")
    return str.__str__(value)


def read_choice(name: str, value: Any, choices: Sequence[T]) -> T:
    """Read one of several strings or whole numbers.

    Raises:
        ConfigError: the value is not one of the choices; the message suggests the most similar choice.
    """
    for choice in choices:
        if isinstance(choice, str) and isinstance(value, str) and choice == value:
            return choice
        if isinstance(choice, int) and not isinstance(value, str | bool | np.bool_) and _equals(value, choice):
            return choice
    listed = ", ".join(map(str, choices[:-1])) + f" or {choices[-1]}"
    raise ConfigError(f"{name} must be {listed}, but got {shown(value)}{did_you_mean(value, map(str, choices))}")


def size_text(option: str, size: Any) -> str:
    """Return a size, given as a number, a pair (height, width) or a string, as a string for `parse_image_size`.

    Raises:
        ConfigError: the size has none of these forms, or a side is not above 0.
    """
    if isinstance(size, str):
        return read_text(option, size)
    if not is_several(size):
        return str(read_whole(option, size, least=1))
    if len(size) != 2:
        raise ConfigError(f"{option} must be a number of pixels or a pair (height, width), but got {shown(size)}")
    return "x".join(str(read_whole(option, side, least=1)) for side in size)


def parse_image_size(
    text: str, expected: str = "native, a number of pixels or HEIGHTxWIDTH"
) -> int | tuple[int, int] | None:
    """Parse `--image-size`: `native` (None), `512` or `360x480` (height, width).

    Raises:
        ConfigError: the text has none of these forms; the message contains `expected`.
    """
    if text == "native":
        return None
    return _side(text) or parse_size("--image-size", text, expected)


def parse_size(option: str, text: str, expected: str) -> tuple[int, int]:
    """Parse a size such as `360x480` to (height, width).

    Raises:
        ConfigError: the text is not a size; the message names the `option` and what was `expected`.
    """
    height, _, width = text.partition("x")
    sides = _side(height), _side(width)
    if not all(sides):
        raise ConfigError(f"{option} must be {expected}, but got {shown(text)}")
    return sides


def parse_time(option: str, text: Any) -> float:
    """Parse a time budget such as `90s`, `20m`, `1h30m` or `1:30` to seconds.

    Raises:
        ConfigError: the text is not a time above 0, or is a number without a unit.
    """
    if isinstance(text, str) and text.isdecimal():
        raise ConfigError(f"{option} must have a unit, such as {text}s or {text}m, but got {shown(text)}")
    seconds = read_duration(option, text)
    if seconds <= 0:
        raise ConfigError(f"{option} must be longer than zero, but got {shown(text)}")
    return seconds


def did_you_mean(value: Any, known: Iterable[str]) -> str:
    """Return a hint such as "; did you mean NAME?" with the name in `known` that is most similar to `value`.

    Return "" if none is similar.
    """
    names = {name.casefold(): name for name in known}
    close = get_close_matches(str(value).casefold().replace("-", "_"), names, 1) if isinstance(value, str) else []
    return f"; did you mean {names[close[0]]}?" if close else ""


def shown(value: Any) -> str:
    """Return a value as error messages show it: on one line, at most `LONGEST` characters."""
    text = " ".join(repr(value).split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def _equals(value: Any, choice: int) -> bool:
    try:
        return operator.index(value) == choice
    except TypeError:
        return False


def _range(least: float | None, most: float | None) -> str:
    if most is None:
        return f"of {least} or more"
    return f"of {most} or less" if least is None else f"from {least} to {most}"


def _side(text: str) -> int:
    """Parse a number of pixels; 0 if the text is not a number."""
    return int(text) if text.isdecimal() and len(text) <= MAX_DIGITS else 0


def is_local(host: str) -> bool:
    """Return whether only programs on this computer can reach a host, given as a name or an IP address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
