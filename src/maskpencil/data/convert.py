"""Convert a data set to the format of another tool."""

from collections.abc import Callable
from pathlib import Path

from maskpencil.data.folder import DataFolder
from maskpencil.data.formats import WRITERS, LabeledImage
from maskpencil.data.formats.base import FreeNames, refuse_names
from maskpencil.errors import ConfigError
from maskpencil.files import folder_written_whole


def convert(data: DataFolder, out: Path, file_format: str, *, report: Callable[[int, int], None] | None = None) -> int:
    """Write all pairs of a data set to `out` and return their number.

    Args:
        data: the data set.
        out: a folder that is missing or empty; it appears whole.
        file_format: a key of `formats.WRITERS`.
        report: called with (done, total).

    Raises:
        ConfigError: there is no such format.
        DataError: the format cannot hold the masks, or a mask cannot be read.
        OutputError: `out` cannot be written, is not empty, or another process is writing it.
    """
    if file_format not in WRITERS:
        raise ConfigError(f"the format must be {', '.join(WRITERS)}, but got {file_format!r}")
    pairs = [(split, pair) for split, pairs in data.splits.items() for pair in pairs]
    refuse_names((pair.image for _, pair in pairs), file_format)
    names = FreeNames()
    with folder_written_whole(out, fresh=True) as folder, WRITERS[file_format](folder, data.classes) as add:
        for done, (split, pair) in enumerate(pairs, start=1):
            _, label_map = data.read_pair(pair)
            add(LabeledImage(split, names.free(split, pair.name), pair.image, label_map))
            if report:
                report(done, len(pairs))
    return len(pairs)
