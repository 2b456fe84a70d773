"""Reader of Parquet files: one document per row, in the source's text column."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from castline.corpus.documents import Document, Reason, Reject
from castline.corpus.readers.fields import document_of
from castline.corpus.readers.record import Origin


def read_parquet(origin: Origin) -> Iterator[Document | Reject]:
    """A document or a reject for every row; rows count from 0. Only the text column is read."""
    field = origin.source.field
    row = 0
    try:
        with pq.ParquetFile(origin.file.location) as file:
            names = file.schema_arrow.names
            if field not in names:
                known = ", ".join(names)
                detail = f"expected a column '{field}', but found: {known}; set the source's text_field"
                yield origin.reject(Reason.BAD_FIELD, detail=detail)
                return
            for batch in file.iter_batches(batch_size=1024, columns=[field]):
                for record in batch.to_pylist():
                    yield document_of(origin, record, row, at=f"row {row}")
                    row += 1
    except pa.ArrowException as error:
        yield origin.reject(Reason.CORRUPT, at=f"row {row}", detail=str(error))
