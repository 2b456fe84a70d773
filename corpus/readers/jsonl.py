"""Reader of JSON lines: one document per line, in the source's text field."""

import json
from collections.abc import Iterator

from castline.corpus.documents import Document, Reason, Reject
from castline.corpus.readers.compressed import read_lines
from castline.corpus.readers.fields import document_of
from castline.corpus.readers.record import Origin


def read_jsonl(origin: Origin) -> Iterator[Document | Reject]:
    """A document or a reject for every line that is not blank; lines count from 1."""
    for number, line in enumerate(read_lines(origin.file.location), start=1):
        if not line or line.isspace():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield origin.reject(Reason.BROKEN_JSON, at=str(number), detail=str(error))
            continue
        yield document_of(origin, record, number, at=str(number))
