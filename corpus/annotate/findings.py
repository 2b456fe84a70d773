"""What annotators found in a whole corpus: sums of their counts, for the report and the command line."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from castline.corpus.tables import read_table


@dataclass(frozen=True)
class Finding:
    """One column of counts, summed over all documents that were read."""

    column: str
    looked_at: int  # documents with a value
    documents: int  # with a value above 0
    total: int


def findings(out: Path, manifest: dict[str, Any]) -> list[Finding]:
    """The counts of all annotators of the corpus `out`, in the order they ran.

    Raises:
        DataError: a table is missing or damaged.
    """
    names = columns_of_type(manifest, "int64")
    if not names:
        return []
    table = pa.concat_tables([read_table(path, names) for path in sorted((out / "measurements").glob("*.parquet"))])
    return [_finding(name, table[name]) for name in names]


def columns_of_type(manifest: dict[str, Any], kind: str) -> list[str]:
    """The annotators' columns of a type, in the order they were measured."""
    made = manifest.get("annotators", {}).values()
    return [name for annotator in made for name, its_kind in annotator["columns"].items() if its_kind == kind]


def _finding(name: str, values: pa.ChunkedArray) -> Finding:
    found = pc.sum(pc.greater(values, 0)).as_py() or 0
    return Finding(name, len(values) - values.null_count, found, pc.sum(values).as_py() or 0)
