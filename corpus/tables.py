"""Parquet tables of a corpus: written atomically and the same bytes every time, read with a clear error."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from castline.errors import DataError
from castline.files import atomic_write


def write_table(path: Path, table: pa.Table) -> None:
    """Write a table as zstd-compressed Parquet."""
    with atomic_write(path) as file:
        pq.write_table(table, file, compression="zstd")


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a table, or some of its columns.

    Raises:
        DataError: the file is missing or damaged, or lacks a column.
    """
    with _opened(path) as file:
        there = set(file.schema_arrow.names)
        missing = [name for name in columns or () if name not in there]
        if missing:
            raise DataError(f"{path}: expected a column '{missing[0]}', but there is none")
        return file.read(columns)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            f"{path}: expected a table that castline wrote, but found: {error}; build the corpus again with --force"
        ) from error


def rows_and_columns(path: Path) -> tuple[int, list[str]]:
    """How many rows a table has, and the names of its columns.

    Raises:
        DataError: the file is missing or damaged.
    """
    with _opened(path) as file:
        return file.metadata.num_rows, file.schema_arrow.names


def few_strings(column: pa.ChunkedArray) -> npt.NDArray[np.object_]:
    """A column with few distinct strings: an array of as many objects, however many rows there are."""
    parts = [np.empty(0, dtype=object)]
    for chunk in column.chunks:
        encoded = chunk if pa.types.is_dictionary(chunk.type) else chunk.dictionary_encode()
        parts.append(np.array(encoded.dictionary.to_pylist(), dtype=object)[encoded.indices.to_numpy()])
    return np.concatenate(parts)


def fixed_width(column: pa.ChunkedArray, dtype: str) -> npt.NDArray[Any]:
    """A column whose strings, or bytes, are all as long as `dtype` ("S32", "V16"), without an object per row."""
    width = np.dtype(dtype).itemsize
    parts = [np.empty(0, dtype)]
    for chunk in column.chunks:
        values = pc.cast(pc.cast(chunk, pa.binary()), pa.binary(width))
        parts.append(np.frombuffer(values.buffers()[1], dtype, len(values), values.offset * width))
    return np.concatenate(parts)


def strings(values: npt.NDArray[Any]) -> pa.Array:
    """The column of an array of bytes ("S32") or of string objects."""
    return (
        pa.array(values, pa.string()) if values.dtype == object else pc.cast(pa.array(values, pa.binary()), pa.string())
    )
