"""What `predict` is given, in the forms in which Python programs give it."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from maskpencil.errors import ConfigError
from maskpencil.inference.sources import Source, find_sources
from maskpencil.parsing import read_path, read_path_text, shown


def read_sources(value: Any, *, out: Path, tell: Callable[[str], None]) -> Sequence[Source]:
    """Take sources as they are, or find those that a path, or several, stand for; see `find_sources`.

    Raises:
        ConfigError: it is none of these.
        DataError: a path yields nothing to predict.
    """
    if isinstance(value, str | os.PathLike):
        value = [value]
    if not isinstance(value, Sequence):
        raise ConfigError(f"sources must be paths or what find_sources gives, but got {shown(value)}")
    if all(isinstance(each, Source) for each in value):
        return value
    for each in value:
        read_path_text("each of the sources", each)
    paths = [each if "://" in os.fspath(each) else read_path("source", each) for each in value]
    return find_sources(paths, out=out, tell=tell)
