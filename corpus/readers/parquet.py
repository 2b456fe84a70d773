"""Reader of Parquet files: one document per row, in the source's text column."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from castline.corpus.documents import Document, Reason, Reject
from castline.corpus.readers.fields import document_of
from castline.corpus.readers.metadata import mapped_fields, wanted_columns
from castline.corpus.readers.record import Origin


def read_parquet(origin: Origin) -> Iterator[Document | Reject]:
    """A document or a reject for every row; rows count from 0. Only the text and what is mapped is read."""
    field = origin.source.field
    row = 0
    try:
        with pq.ParquetFile(origin.file.location) as file:
            names = file.schema_arrow.names
            asked = {"text": field, **mapped_fields(origin.source)}
            missing = next((name for name, column in asked.items() if column not in names), None)
            if missing:
                known = ", ".join(names)
                detail = f"expected a column '{asked[missing]}', but found: {known}; set the source's {missing}_field"
                yield origin.reject(Reason.BAD_FIELD, detail=detail)
                return
            columns = list(dict.fromkeys([field, *wanted_columns(origin.source, names)]))
            for batch in file.iter_batches(batch_size=1024, columns=columns):
                for record in batch.to_pylist():
                    yield document_of(origin, record, row, at=f"row {row}")
                    row += 1
    except pa.ArrowException as error:
        yield origin.reject(Reason.CORRUPT, at=f"row {row}", detail=str(error))
