"""`Budget`: limit the unpacked size of a file, so that it cannot fill the disk."""

import shutil
from pathlib import Path

from maskpencil.errors import DataError, OutputError

MAX_RATIO = 100
"""The largest ratio: images hardly shrink when packed, uncompressed masks by a few dozen times."""

HARMLESS_BYTES = 2**26
MAX_FILES = 1_000_000
HARMLESS_FILES = 10_000
PACKED_BYTES_A_FILE = 100
"""A packed image takes more than this, including its name; only empty files take less."""

SHARE_OF_FREE_SPACE = 0.9


class Budget:
    """The limits for unpacking a file `source` of `packed_bytes` to the disk of `target`: bytes and files."""

    def __init__(self, source: Path, packed_bytes: int, target: Path | None) -> None:
        self._source = source
        self._max_bytes = max(HARMLESS_BYTES, MAX_RATIO * packed_bytes)
        self._max_files = min(MAX_FILES, HARMLESS_FILES + packed_bytes // PACKED_BYTES_A_FILE)
        self._free_bytes = self._max_bytes
        if target is not None:
            self._free_bytes = int(shutil.disk_usage(target).free * SHARE_OF_FREE_SPACE)
        self._bytes = self._files = 0

    def claim(self, size: int, *, files: int = 1) -> None:
        """Count a file before it is written.

        Raises:
            DataError: it is more than such a file holds unless it was made to do harm.
            OutputError: it is more than the disk has room for.
        """
        self._bytes += size
        self._files += files
        if self._files > self._max_files:
            raise DataError(
                f"{self._source}: holds more than {self._max_files} files, which is more than its size accounts for; "
                "unpack it yourself if you trust it, and open the folder"
            )
        if self._bytes > self._max_bytes:
            raise DataError(
                f"{self._source}: unpacks to more than {self._max_bytes >> 20} MB, over {MAX_RATIO} times its size, as "
                "files that are made to fill disks do; unpack it yourself if you trust it, and open the folder"
            )
        if self._bytes > self._free_bytes:
            raise OutputError(
                f"{self._source}: unpacks to more than the {self._free_bytes >> 20} MB that can be spared on the disk "
                "of the cache; free some space, or set XDG_CACHE_HOME to a folder on another disk"
            )
