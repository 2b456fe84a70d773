"""Masking through a whole build: the masked text is what goes on, its counts are columns, rules and in the report."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from castline.corpus.annotate.annotators import make_annotators
from castline.corpus.annotate.findings import Finding, findings
from castline.corpus.documents import read_documents
from castline.corpus.explain import explain_document
from castline.corpus.manifest import read_manifest
from castline.corpus.plan import plan_corpus
from castline.errors import RecipeError

from .conftest import PART, PROSE, configure

RECORDS = [
    {"text": PROSE},
    {"text": PROSE + "Ask jane@corp.com or john@corp.com, or call +1 415 555 2671."},
    {"text": PROSE + "Call (415) 555-2671, host 93.184.216.34."},
]
MASK = {"mask": ["email", "phone"]}


def test_the_masked_text_is_what_goes_on(build: Callable[..., pa.Table], tmp_path: Path) -> None:
    table = build(RECORDS, privacy=MASK)
    texts = [document.text for document in read_documents(tmp_path / "out" / "documents" / f"{PART}.jsonl.zst")]
    assert texts == [
        PROSE,
        PROSE + "Ask <EMAIL> or <EMAIL>, or call <PHONE>.",
        PROSE + "Call <PHONE>, host 93.184.216.34.",
    ]
    assert table["bytes"].to_pylist() == [len(text) for text in texts]
    assert table["private_emails"].to_pylist() == [0, 2, 0]
    assert table["private_phones"].to_pylist() == [0, 1, 1]
    assert "private_ips" not in table.column_names


def test_code_is_masked_as_code(build: Callable[..., pa.Table], tmp_path: Path) -> None:
    source = {"name": "web", "path": "web.jsonl", "kind": "code"}
    off = {"code_quality": {"enabled": False}}
    build([{"text": "x = 13800138001  # jane@corp.com\n" * 9}], privacy=MASK, sources=[source], rules=off)
    (document,) = read_documents(tmp_path / "out" / "documents" / f"{PART}.jsonl.zst")
    assert document.text == "x = 13800138001  # <EMAIL>\n" * 9


def test_counts_are_in_the_report_and_explained(build: Callable[..., pa.Table], tmp_path: Path) -> None:
    table = build(RECORDS, privacy=MASK)
    out = tmp_path / "out"
    found = findings(out, read_manifest(out))
    assert found == [Finding("private_emails", 3, 1, 2), Finding("private_phones", 3, 2, 2)]
    row = "<td><code>private_emails</code></td><td>3</td><td>1</td><td>2</td>"
    assert row in (out / "report.html").read_text()
    assert explain_document(out, table["id"][1].as_py()).measurements["private_emails"] == 2


def test_a_rule_may_bound_what_was_masked(build: Callable[..., pa.Table]) -> None:
    table = build(RECORDS, privacy=MASK, rules={"privacy": {"emails": {"max": 1}}})
    assert table["rule"].to_pylist() == ["", "privacy.emails", ""]


def test_nothing_is_masked_unless_asked_for(build: Callable[..., pa.Table], tmp_path: Path) -> None:
    assert make_annotators(configure(), tmp_path) == []
    table = build(RECORDS)
    assert "private_emails" not in table.column_names
    assert "Found in documents" not in (tmp_path / "out" / "report.html").read_text()


def test_a_dry_run_says_what_will_be_masked(build: Callable[..., pa.Table], tmp_path: Path) -> None:
    build(RECORDS)
    plan = plan_corpus(configure(privacy=MASK), base=tmp_path)
    assert plan.annotators == ["privacy: e-mail addresses masked, telephone numbers masked"]


def test_an_unknown_kind_is_refused() -> None:
    tables: dict[str, Any] = {"privacy": {"mask": ["mail"]}}
    with pytest.raises(RecipeError, match=r"privacy\.mask\.0: .*'email', 'ip', 'phone' or 'key'.*"):
        configure(**tables)
