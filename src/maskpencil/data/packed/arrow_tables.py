"""Read tables of images in parquet files and Arrow streams; only this module needs pyarrow.

Sources: https://arrow.apache.org/docs/python/parquet.html and https://arrow.apache.org/docs/python/ipc.html
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from maskpencil.data.packed.archives import Budget
from maskpencil.errors import DataError

READ_BYTES = 2**20


@dataclass(frozen=True)
class Schema:
    """The columns of a table.

    `columns` maps the name of each column to the name of its type, and `images` are the names of the columns of images.
    `metadata` is Hugging Face's JSON on the columns; b"" if the file has none.
    """

    columns: dict[str, str]
    images: tuple[str, ...]
    metadata: bytes


def read_schema(path: Path) -> Schema:
    """Read the schema of a table; an image is stored as a struct with its encoded `bytes`, or as the bytes alone.

    Raises:
        DataError: pyarrow is not installed, or the file is damaged.
    """
    pyarrow = _pyarrow(path)
    with _reading(path), _opened(path) as source:
        schema = source.schema_arrow if _is_parquet(path) else source.schema
        images = tuple(field.name for field in schema if _holds_bytes(pyarrow, field.type))
        metadata = (schema.metadata or {}).get(b"huggingface", b"")
        return Schema({field.name: str(field.type) for field in schema}, images, metadata)


def read_rows(path: Path, columns: Sequence[str]) -> Iterator[list[bytes | None]]:
    """Yield, for each row, the encoded images in `columns`, with None for a missing image.

    Raises:
        DataError: pyarrow is not installed, or the file is damaged, lacks a column, or names image files instead of
            holding images.
    """
    images = read_schema(path).images
    absent = next((name for name in columns if name not in images), None)
    if absent is not None:
        raise DataError(f"{path}: has no column {absent!r} of images, unlike the other files; save it with this column")
    number = 0
    with _reading(path), _opened(path) as source:
        for batch in _parquet_batches(path, source, columns) if _is_parquet(path) else source:
            arrays = [batch.column(name) for name in columns]
            for i in range(batch.num_rows):
                yield [_content(path, number, name, array[i]) for name, array in zip(columns, arrays, strict=True)]
                number += 1


def _content(path: Path, row: int, name: str, value: Any) -> bytes | None:
    elsewhere = None
    if value.is_valid and hasattr(value, "keys"):  # a struct
        elsewhere = value["path"].as_py() if "path" in value else None
        value = value["bytes"]
    if not value.is_valid and elsewhere is not None:
        raise DataError(
            f"{path}: row {row} of the column {name!r} names the file {elsewhere!r:.80}, but does not hold its bytes; "
            "save the data set again with save_to_disk or push_to_hub, which embed images"
        )
    content: bytes | None = value.as_py()
    return content


def _is_parquet(path: Path) -> bool:
    return path.suffix.lower() == ".parquet"


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a parquet file, or map an Arrow stream into memory."""
    pyarrow = _pyarrow(path)
    if _is_parquet(path):
        with pyarrow.parquet.ParquetFile(path, buffer_size=READ_BYTES, pre_buffer=False) as file:
            yield file
    else:
        with pyarrow.memory_map(str(path)) as source, pyarrow.ipc.open_stream(source) as stream:
            yield stream


def _parquet_batches(path: Path, file: Any, columns: Sequence[str]) -> Iterator[Any]:
    declared = Budget(path, path.stat().st_size, None)
    for group in range(file.metadata.num_row_groups):
        declared.claim(max(0, file.metadata.row_group(group).total_byte_size), files=0)
    # row by row, since a value that is stored once may be repeated in every row, so batches could be of any size; group
    # by group, since a reader of several groups keeps all of them in memory
    for group in range(file.metadata.num_row_groups):
        yield from file.iter_batches(batch_size=1, row_groups=[group], columns=list(columns), use_threads=False)


def _holds_bytes(pyarrow: Any, kind: Any) -> bool:
    if pyarrow.types.is_struct(kind):
        at = kind.get_field_index("bytes")
        return (
            at >= 0 and not pyarrow.types.is_struct(kind.field(at).type) and _holds_bytes(pyarrow, kind.field(at).type)
        )
    return bool(pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind))


def _pyarrow(path: Path) -> Any:
    try:
        import_module("pyarrow.parquet")
        return import_module("pyarrow")
    except ModuleNotFoundError as error:
        raise DataError(
            f"{path}: needs pyarrow, which is not installed; install it with pip install 'maskpencil[parquet]'"
        ) from error


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn the exceptions that pyarrow raises for a damaged file into one `DataError`."""
    try:
        yield
    except (OSError, ValueError, TypeError, KeyError, NotImplementedError, MemoryError, OverflowError) as error:
        reason = " ".join(str(error).split()).rstrip(".")[:120] or type(error).__name__
        raise DataError(
            f"{path}: is damaged, or not in the format of its suffix ({reason}); download or save it again"
        ) from error
