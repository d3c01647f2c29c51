"""Record what the results of images were made from, so that a later run can keep them instead of computing them again.

The file `RECORD` in the folder of results has a line for each image: the stem of its results, the path, size and time
of its file, a digest of the model and of all settings that change a result, and the sizes and times of its results. The
results of an image are kept only if all these values are the same in the later run.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from io import FileIO
from pathlib import Path
from typing import Any, Self

from maskpencil.errors import ConfigError, OutputError
from maskpencil.files import written_whole
from maskpencil.images.tiff import mask_file
from maskpencil.inference.images import image_files
from maskpencil.inference.options import PredictOptions
from maskpencil.inference.sources import Source
from maskpencil.predictor import Predictor, model_digest

RECORD = ".maskpencil-resume.jsonl"
"""The name of the record in a folder of results."""

MAX_RECORD_BYTES = 2**29
"""The largest size of a record, which has room for a million images; a larger file is not read."""

Made = tuple[str, Sequence[Any], Sequence[Any]]
"""An entry of the record: the digest of model and settings, the stamps of the image's files, see `_stamps`, and the
size and time of each result."""


class Resume:
    """The record in a folder of results of images that need not be segmented again; a context manager that closes it.

    Args:
        out: the folder of results.
        predictor: the predictor of this run.
        options: the settings of this run.

    Raises:
        ConfigError: the model cannot be identified: the predictor's `origin` is None.
    """

    def __init__(self, out: Path, predictor: Predictor, options: PredictOptions) -> None:
        self._out, self._options = out, options
        self._digest = _digest(predictor, options)
        self._stamps: dict[str, Sequence[Any]] = {}
        self._file: FileIO | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.close()

    def remaining(self, sources: Sequence[Source]) -> list[Source]:
        """Return the images whose results have to be computed, and remove the lines of these images from the record.

        Raises:
            OutputError: the record cannot be written.
        """
        self._stamps = {source.stem: _stamps(source) for source in sources if source.image is None}
        recorded = self._read()
        done = {source.stem for source in sources if self._is_done(source, recorded)}
        names = {source.stem for source in sources}
        entries = {stem: made for stem, made in recorded.items() if stem in done or stem not in names}
        if os.path.lexists(self._out / RECORD):
            with written_whole(self._out / RECORD) as temporary:
                temporary.write_bytes(b"".join(_line(stem, made) for stem, made in entries.items()))
        return [source for source in sources if source.stem not in done]

    def add(self, source: Source) -> None:
        """Record that the results of an image are written; images in memory are not recorded.

        Call `remaining` with all images first.

        Raises:
            OutputError: the record cannot be written.
        """
        if stamps := self._stamps.get(source.stem):
            try:
                self._file = self._file or (self._out / RECORD).open("ab", buffering=0)
                self._file.write(_line(source.stem, (self._digest, stamps, self._written(source))))
            except OSError as error:
                raise OutputError(
                    f"{self._out / RECORD}: cannot be written ({error.strerror}); free space, or leave --resume out"
                ) from error

    def _is_done(self, source: Source, recorded: Mapping[str, Made]) -> bool:
        """Return whether all results of an image exist, unchanged, and this run would make them from the same input."""
        stamps = self._stamps.get(source.stem)
        with suppress(OSError):
            return bool(stamps) and recorded.get(source.stem) == (self._digest, stamps, self._written(source))
        return False

    def _written(self, source: Source) -> list[list[int]]:
        """Return the sizes and times of the results of an image.

        Raises:
            OSError: a result is missing.
        """
        found = [path.lstat() for path in image_files(self._out, [source], self._options)]
        return [[status.st_size, status.st_mtime_ns] for status in found]

    def _read(self) -> dict[str, Made]:
        path, entries = self._out / RECORD, dict[str, Made]()
        with suppress(OSError):
            if path.is_symlink() or not path.is_file() or path.stat().st_size > MAX_RECORD_BYTES:
                return {}
            for line in path.read_bytes().splitlines():
                with suppress(ValueError, RecursionError):  # an interrupted run left an incomplete line
                    match json.loads(line):
                        case [str(stem), str(digest), list(stamps), list(written)]:
                            entries[stem] = digest, stamps, written
        return entries


def _digest(predictor: Predictor, options: PredictOptions) -> str:
    """Return a digest of the model and the settings: everything except the image that determines its results.

    Raises:
        ConfigError: the model cannot be identified.
    """
    model = model_digest(predictor)
    if model is None:
        raise ConfigError(
            "--resume needs a model that can be identified, such as a model folder, so that only results of the same "
            "model are kept; leave --resume out"
        )
    settings = {name: value for name, value in asdict(options).items() if name not in ("video", "resume")}
    facts = {"model": model, "legend": list(predictor.legend), "settings": settings}
    return hashlib.blake2b(json.dumps(facts, sort_keys=True, default=str).encode(), digest_size=16).hexdigest()


def _stamps(source: Source) -> list[Any]:
    """Return the path, size and time of an image file, and of the GDAL mask file PATH.msk beside it if there is one.

    Return [] if the image file cannot be found.
    """
    stamps: list[Any] = []
    for path in (source.path, mask_file(source.path)):
        with suppress(OSError):
            status = path.stat()
            stamps += [os.path.abspath(path), status.st_size, status.st_mtime_ns]  # noqa: PTH100 - keeps links
        if not stamps:
            return []
    return stamps


def _line(stem: str, made: Made) -> bytes:
    return json.dumps([stem, *made]).encode() + b"\n"
