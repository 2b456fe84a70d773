"""Reader of Parquet files: one document per row, in the source's text column."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from castline.corpus.documents import Reason
from castline.corpus.readers.content import too_large
from castline.corpus.readers.fields import document_of
from castline.corpus.readers.metadata import mapped_fields, wanted_columns
from castline.corpus.readers.record import Origin, Pending, Record

_BATCH_ROWS = 256


def read_parquet(origin: Origin) -> Iterator[Pending]:
    """A record for every row; rows count from 0 in the whole file. Only the text and what is mapped is read."""
    row = 0
    try:
        with origin.content.seekable() as stream, pq.ParquetFile(stream) as file:
            names = file.schema_arrow.names
            asked = {"text": origin.source.field, **mapped_fields(origin.source)}
            missing = next((name for name, column in asked.items() if column not in names), None)
            if missing:
                if not origin.span or origin.span[0] == 0:
                    known = ", ".join(names)
                    detail = f"expected a column '{asked[missing]}', but found: {known}; set the source's "
                    yield origin.rejected(Reason.BAD_FIELD, detail=f"{detail}{missing}_field")
                return
            columns = list(dict.fromkeys([origin.source.field, *wanted_columns(origin.source, names)]))
            for group in range(file.metadata.num_row_groups):
                description = file.metadata.row_group(group)
                if _begins_in(origin.span, description):
                    yield from _row_group(origin, file, group, columns, row)
                row += description.num_rows
    except (pa.ArrowException, OSError) as error:
        yield origin.rejected(Reason.CORRUPT, detail=str(error))


def _row_group(origin: Origin, file: pq.ParquetFile, group: int, columns: list[str], row: int) -> Iterator[Pending]:
    try:
        for batch in file.iter_batches(_BATCH_ROWS, row_groups=[group], columns=columns):
            rows = _Rows(batch)
            for index in range(batch.num_rows):
                yield _record(origin, rows, index, row + index)
            row += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        detail = f"the rest of row group {group} cannot be read: {error}"
        yield origin.rejected(Reason.CORRUPT, at=f"row {row}", detail=detail)


class _Rows:
    """A batch, turned into Python objects when a row is asked for."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        self._batch = batch

    @cached_property
    def values(self) -> list[dict[str, Any]]:
        values: list[dict[str, Any]] = self._batch.to_pylist()
        return values


def _record(origin: Origin, rows: _Rows, index: int, number: int) -> Pending:
    def make() -> Record:
        at = f"row {number}"
        row = rows.values[index]
        text = row[origin.source.field]
        if isinstance(text, str) and len(text) > origin.content.max_record:
            return origin.unreadable(too_large("a text", f"{len(text):,}", origin.content.max_record), at)
        return document_of(origin, row, number, at)

    return origin.later(make)


def _begins_in(span: tuple[int, int] | None, group: Any) -> bool:
    """Whether a row group's first byte lies in the span; every row group lies in one."""
    if span is None:
        return True
    column = group.column(0)
    offsets: list[int] = [column.data_page_offset]
    if column.dictionary_page_offset is not None:
        offsets.append(column.dictionary_page_offset)
    return span[0] <= min(offsets) < span[1]
