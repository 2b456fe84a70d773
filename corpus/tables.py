"""Parquet tables of a corpus: written atomically and the same bytes every time, read with a clear error."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
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
    try:
        with pq.ParquetFile(path) as file:
            missing = [name for name in columns or () if name not in file.schema_arrow.names]
            if missing:
                raise DataError(f"{path}: expected a column '{missing[0]}', but there is none")
            return file.read(columns)
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            f"{path}: expected a table that castline wrote, but found: {error}; build the corpus again with --force"
        ) from error
