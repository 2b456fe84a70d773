"""What annotators found in a whole corpus: sums of their counts, for the report and the command line."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from castline.corpus.tables import read_table

TYPES = ("int64", "float64", "string")


@dataclass(frozen=True)
class Finding:
    """One column of counts, summed over all documents that were read."""

    column: str
    looked_at: int  # documents with a value
    documents: int  # with a value above 0
    total: int


def findings(out: Path, manifest: dict[str, Any]) -> list[Finding]:
    """The counts of all annotators of the corpus `out` that looked at any document, in the order they ran.

    Raises:
        DataError: a table is missing or damaged.
    """
    names = annotation_columns(manifest, {"int64"})
    if not names:
        return []
    table = _read(out, names)
    found = [_finding(name, table[name]) for name in names]
    return [one for one in found if one.looked_at]


@dataclass(frozen=True)
class EvaluationRecord:
    """A record of evaluation data that is in the corpus: "problems.jsonl:2"."""

    name: str
    documents: int  # that share more with it than with any other
    share: float  # the most of its n-grams that one of them holds


def evaluation_records(out: Path, manifest: dict[str, Any], most: int = 20) -> list[EvaluationRecord]:
    """The evaluation records that are in the most documents of the corpus `out`.

    Raises:
        DataError: a table is missing or damaged.
    """
    names = ["contamination_source", "contamination_share"]
    if names[0] not in annotation_columns(manifest):
        return []
    groups = _read(out, names).group_by("contamination_source")
    found = groups.aggregate([("contamination_share", "count"), ("contamination_share", "max")])
    records = [
        EvaluationRecord(row[names[0]], row["contamination_share_count"], row["contamination_share_max"])
        for row in found.to_pylist()
        if row[names[0]]
    ]
    return sorted(records, key=lambda record: (-record.documents, -record.share, record.name))[:most]


def _read(out: Path, names: list[str]) -> pa.Table:
    return pa.concat_tables([read_table(path, names) for path in sorted((out / "measurements").glob("*.parquet"))])


def annotation_columns(manifest: dict[str, Any], types: Collection[str] = TYPES) -> list[str]:
    """The annotators' columns of these types, in the order they were measured."""
    annotators = manifest.get("annotators", {}).values()
    return [name for annotator in annotators for name, its_type in annotator["columns"].items() if its_type in types]


def _finding(name: str, values: pa.ChunkedArray) -> Finding:
    found = pc.sum(pc.greater(values, 0)).as_py() or 0
    return Finding(name, len(values) - values.null_count, found, pc.sum(values).as_py() or 0)
