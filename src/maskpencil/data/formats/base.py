"""What the reader of a public data set or of an annotation tool's files says of a folder it knows."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from maskpencil.data.layout import Layout
from maskpencil.data.masks.encoding import MaskEncoding


@dataclass(frozen=True)
class Recognized:
    """A folder in the form of the data set or tool `name`: which files are pairs, and what their masks mean."""

    name: str
    layout: Layout
    encoding: MaskEncoding


Reader = Callable[[Path], Recognized | None]
"""Takes a folder, existing or not, and returns None, quickly, unless it is in the reader's own form.

It opens no image but for its size, and raises `DataError` only where the folder can be nothing else and is of no use,
such as test images without masks.
"""
