"""Read untrusted files: refuse named pipes, devices and hostile JSON, and check the values in JSON.

A named pipe would block the reader, and a device such as /dev/zero never ends. `read_json` refuses JSON that other
parsers read differently, or that could exhaust memory. `mapping`, `one_of`, `whole`, `number`, `text` and `entries_of`
check one value and return it with its type, or raise `ValueError` with what was found and what was expected; `what` is
the name of the value in the error.
"""

import errno
import json
import math
import os
import stat
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, TypeVar

from maskpencil.errors import DataError, MaskPencilError
from maskpencil.parsing import shown

_SPECIAL = ((stat.S_ISFIFO, "a named pipe"), (stat.S_ISSOCK, "a socket"), (stat.S_ISCHR, "a device"))


def special_kind(path: str | os.PathLike[str]) -> str | None:
    """Return the kind of a special file, such as "a named pipe"; None for files, folders and missing paths.

    Reading a special file may block forever or never end.
    """
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - for names with a NUL byte or of any length
    except (OSError, ValueError):
        return None
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return None
    return next((kind for is_kind, kind in _SPECIAL if is_kind(mode)), "a device")


def refuse_special(path: str | os.PathLike[str], *, error: type[MaskPencilError] = DataError) -> None:
    """Raise `error` if a path is a named pipe, device or socket.

    Raises:
        MaskPencilError: the path is a named pipe, device or socket.
    """
    kind = special_kind(path)
    if kind:
        raise error(f"{os.fspath(path)}: is {kind}; expected a regular file; copy its content to a file")


@contextmanager
def open_regular(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a regular file for reading, without ever waiting for the writer of a pipe.

    Raises:
        OSError: the file cannot be opened, or is a folder, pipe, socket or device.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    _refuse_special(Path(path).stat().st_mode, path)  # before it is opened: opening a device may already act on it
    with os.fdopen(os.open(path, flags), "rb") as file:
        _refuse_special(os.fstat(file.fileno()).st_mode, path)
        yield file


def read_regular(path: str | os.PathLike[str], *, limit: int) -> bytes:
    """Read a regular file of at most `limit` bytes.

    Raises:
        OSError: the file cannot be read, is not regular, or is larger than `limit`.
    """
    with open_regular(path) as file:
        content = b"" if os.fstat(file.fileno()).st_size > limit else file.read(limit + 1)
        if os.fstat(file.fileno()).st_size > limit or len(content) > limit:
            raise OSError(errno.EFBIG, f"it is larger than {limit >> 10} KiB", os.fspath(path))
        return content


def read_lines(path: Path, expected: str) -> list[tuple[int, str]]:
    """Return the lines of a file that are not empty, with their numbers from 1; errors contain the text `expected`.

    Raises:
        DataError: the file cannot be read.
    """
    refuse_special(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error}); expected {expected}") from error
    return numbered_lines(decode_text(content, path, expected))


GUESSES = {"gb18030": "GB18030", "cp1252": "WINDOWS-1252"}
"""Encodings of Windows programs in China, and in Western Europe and America: Python's name, iconv's name."""


def decode_text(content: bytes, path: Path, expected: str) -> str:
    """Decode a text file in UTF-8, UTF-16 or UTF-32.

    The encoding is found by a byte order mark or zero bytes at the beginning.

    Args:
        content: the bytes.
        path: the path of the file, for errors.
        expected: a description of the expected content, for errors.

    Raises:
        DataError: the text is not in UTF-8, UTF-16 or UTF-32.
    """
    try:
        return content.decode(json.detect_encoding(content[:4])).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        likely = [name for encoding, name in GUESSES.items() if _decodes(content, encoding)]
        perhaps = f", perhaps {' or '.join(likely)}" if likely else ""
        command = f", or type iconv -f {likely[0]} -t UTF-8 FILE > NEW" if likely else ""
        raise DataError(
            f"{path}: cannot be read (its text is not UTF-8 at byte {error.start}{perhaps}); expected {expected}; save "
            f"it as UTF-8 in an editor{command}"
        ) from error


def _decodes(content: bytes, encoding: str) -> bool:
    try:
        content.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def numbered_lines(text: str) -> list[tuple[int, str]]:
    """Return the lines that are not empty, without white space around them, with their numbers from 1."""
    return [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]


def reason_of(error: OSError) -> str:
    """Return the reason why a file cannot be read, in a few words without the name of the file."""
    return error.strerror or str(error)


def _refuse_special(mode: int, path: str | os.PathLike[str]) -> None:
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe, socket or device"
        raise OSError(errno.EINVAL, f"it is {kind}, not a regular file", os.fspath(path))


T = TypeVar("T")

MAX_JSON_BYTES = 2**22
MAX_DEPTH = 32
MAX_DIGITS = 30


def read_json(
    path: Path,
    *,
    error: type[MaskPencilError],
    remedy: str,
    limit: int = MAX_JSON_BYTES,
    any_text: bool = False,
) -> Any:
    """Read a JSON file of at most `limit` bytes.

    Args:
        path: a regular file.
        error: the class of the error to raise.
        remedy: the remedy, with which the message of the error ends.
        limit: the largest size in bytes.
        any_text: whether strings may contain NUL and unpaired surrogates; Python uses unpaired surrogates for the bytes
            of file names that are not UTF-8.

    Raises:
        MaskPencilError: an error of the class `error`; the file is missing, not regular, too large or not JSON, or
            holds a name twice, NaN, infinity, a number of more than `MAX_DIGITS` digits, more than `MAX_DEPTH` levels,
            or, without `any_text`, a NUL or an unpaired surrogate.
    """
    try:
        return parse_json(read_regular(path, limit=limit), any_text=any_text)
    except OSError as reason:
        raise error(f"{path}: cannot be read ({reason_of(reason)}); {remedy}") from reason
    except ValueError as reason:
        raise error(f"{path}: cannot be read as JSON ({reason}); {remedy}") from reason


def parse_json(content: bytes, *, any_text: bool = False) -> Any:
    """Parse JSON as `read_json` does.

    Raises:
        ValueError: the content is not JSON, or holds something for which `read_json` raises an error.
    """
    try:
        value = json.loads(
            content.decode("utf-8"),
            object_pairs_hook=_without_repeats,
            parse_constant=_refuse_constant,
            parse_int=_whole_number,
            parse_float=_finite_number,
        )
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 at byte {error.start}") from error
    except RecursionError as error:
        raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep") from error
    _refuse_hostile(value, any_text=any_text)
    return value


def is_clean(value: str) -> bool:
    """Return whether a string can be written to files and terminals: it contains no NUL and no unpaired surrogate."""
    try:
        return b"\0" not in value.encode("utf-8")
    except UnicodeEncodeError:
        return False


def mapping(value: object, what: str) -> dict[str, Any]:
    """Check that a value is a mapping."""
    return value if isinstance(value, dict) else _refuse(value, what, "a mapping")


def one_of(value: object, what: str, known: Collection[T]) -> T:
    """Check that a value equals an element of `known` of the same type, and return the value."""
    for candidate in known:
        if type(candidate) is type(value) and candidate == value:
            return candidate
    return _refuse(value, what, "one of " + ", ".join(map(str, known)))


def whole(value: object, what: str, low: int, high: int) -> int:
    """Check that a value is a whole number from `low` to `high`."""
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
        return value
    return _refuse(value, what, f"a whole number from {low} to {high}")


def number(value: object, what: str, low: float, high: float) -> float:
    """Check that a value is a number from `low` to `high`."""
    if isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high:
        return value
    return _refuse(value, what, f"a number from {low:g} to {high:g}")


def text(value: object, what: str, longest: int) -> str:
    """Check that a value is a string of 1 to `longest` characters."""
    return (
        value
        if isinstance(value, str) and 1 <= len(value) <= longest
        else _refuse(value, what, f"a string of 1 to {longest} characters")
    )


def entries_of(value: object, what: str, checks: Mapping[str, Callable[[object, str], T]]) -> dict[str, T]:
    """Check that a value is a mapping with exactly the keys of `checks`, and that each entry passes its check."""
    entries = mapping(value, what)
    if missing := [name for name in checks if name not in entries]:
        raise ValueError(f"{what}: {', '.join(missing)} is missing")
    if unknown := [name for name in entries if name not in checks]:
        raise ValueError(f"{what} has the unknown entry {shown(unknown[0])}; expected {', '.join(checks)}")
    return {name: check(entries[name], f"{what}.{name}") for name, check in checks.items()}


def _refuse(value: object, what: str, expected: str) -> NoReturn:
    raise ValueError(f"{what} must be {expected}, but got {shown(value)}")


def without_conflicts(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return the mapping of a JSON object; for `object_pairs_hook`, as `json` keeps the last of several values.

    Raises:
        ValueError: a name has several values that differ.
    """
    entries = dict(pairs)
    if len(entries) < len(pairs):
        for name, value in pairs:
            if entries[name] != value:
                raise ValueError(f"the name {shown(name)} occurs twice in one mapping, with different values")
    return entries


def _without_repeats(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        repeated, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"the name {shown(repeated)} occurs more than once in one mapping")
    return entries


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"it holds {name}; expected finite numbers only")


def _whole_number(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a number has {len(digits)} digits; expected at most {MAX_DIGITS}")
    return int(digits)


def _finite_number(digits: str) -> float:
    value = float(digits) if len(digits) <= 10 * MAX_DIGITS else math.inf
    if not math.isfinite(value):
        raise ValueError(f"the number {shown(digits)} is too large or too long")
    return value


def _refuse_hostile(value: object, *, any_text: bool) -> None:
    """Raise `ValueError` for deep nesting, and for strings that cannot be written to files or terminals.

    The function does not call itself, since deep nesting could exceed Python's recursion limit.
    """
    level: list[object] = [value]
    for depth in range(MAX_DEPTH + 1):
        below: list[object] = []
        for item in level:
            if isinstance(item, str) and not any_text and not is_clean(item):
                raise ValueError(f"the string {shown(item)} holds a NUL or an unpaired surrogate")
            if isinstance(item, dict):
                below += [*item, *item.values()]
            elif isinstance(item, list):
                below += item
        if depth == MAX_DEPTH and any(isinstance(item, dict | list) for item in level):
            raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")
        level = below
