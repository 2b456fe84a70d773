"""A small corpus with something for every annotator to find, and building it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from castline.corpus.build import build_corpus
from castline.corpus.config import CorpusConfig
from castline.corpus.tables import read_table
from castline.recipe import parse

PART = "000000-000000"
PROSE = (
    "The children walked along the river until the bridge came into sight, and then they all began to run. "
    "Nobody had told them that the old bridge was closed, and so they stopped before the gate and looked at it. "
)


def configure(**tables: Any) -> CorpusConfig:
    """One source `web.jsonl`, its prose not judged by its form, and the tables given."""
    off = {name: {"enabled": False} for name in ("gopher_quality", "gopher_repetition")}
    values = {
        "sources": [{"name": "web", "path": "web.jsonl"}],
        "language": {"detect": False},
        "dedup": {"near": False},
        "tokenizer": {"vocab_size": 264},
        **tables,
    }
    return parse(CorpusConfig, {**values, "rules": {**off, **tables.get("rules", {})}}, "recipe.toml")


def write_jsonl(path: Path, records: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., pa.Table]:
    """Builds `tmp_path / "out"` from records; gives the measurements, with the rule that dropped each document."""

    def run(records: list[dict[str, Any]], **tables: Any) -> pa.Table:
        write_jsonl(tmp_path / "web.jsonl", records)
        build_corpus(configure(**tables), tmp_path / "out", base=tmp_path, force=True)
        measured, decided = (
            read_table(tmp_path / "out" / name / f"{PART}.parquet") for name in ("measurements", "decisions")
        )
        return measured.append_column("rule", decided["rule"])

    return run
