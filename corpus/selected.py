"""What goes on to the tokenizer and the shards: kept documents as they were read, or repositories packed from them.

A part is the one or the other as a whole, because a source's files are packed all or none. Both are read here
alike: a table with a row per selected document, and their texts in the same order.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from castline.corpus.documents import Document, read_documents
from castline.corpus.measure import Part
from castline.corpus.tables import read_table

PACKED = "packed"  # the folder of packed documents: NAME.jsonl.zst, and NAME.parquet with a row for each
COLUMNS = ("id", "language", "bytes", "split", "repeats")
_MEASURED = ("id", "language", "bytes", "words", "characters")


def selected_table(out: Path, part: Part, columns: Sequence[str] = COLUMNS) -> pa.Table:
    """The selected documents of a part: `id`, `language`, `bytes`, `split` and `repeats` (times read per pass).

    Or some of these `columns`; of a part that is not packed also `words` and `characters`.
    """
    if part.packed:
        return read_table(out / PACKED / f"{part.name}.parquet", columns)
    measured = [name for name in columns if name in _MEASURED]
    decided = [name for name in columns if name not in _MEASURED]
    table = read_table(out / "decisions" / f"{part.name}.parquet", [*decided, "kept"])
    kept = table["kept"]
    found = {name: table[name] for name in decided}
    if measured:
        table = read_table(out / "measurements" / f"{part.name}.parquet", measured)
        found |= {name: table[name] for name in measured}
    return pa.table({name: found[name] for name in columns}).filter(kept)


def selected_documents(out: Path, part: Part, split: str | None = None) -> Iterator[Document]:
    """The selected documents of a part, in order; those of one split where it is given."""
    if part.packed:
        rows = read_table(out / PACKED / f"{part.name}.parquet", ["split"])
        wanted = pa.array(np.ones(len(rows), dtype=bool)) if split is None else pc.equal(rows["split"], split)
        path = out / PACKED / f"{part.name}.jsonl.zst"
    else:
        rows = read_table(out / "decisions" / f"{part.name}.parquet", ["kept", "split"])
        wanted = rows["kept"] if split is None else pc.equal(rows["split"], split)
        path = out / "documents" / f"{part.name}.jsonl.zst"
    yield from read_documents(path, frozenset(pc.indices_nonzero(wanted).to_pylist()))
