"""Decontamination: evaluation files in their forms, exact numbers, and what is said about a document that goes."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from castline.corpus.annotate.annotators import make_annotators
from castline.corpus.build import build_corpus
from castline.corpus.explain import explain_document
from castline.errors import DataError

from .conftest import PROSE, configure, write_jsonl

PROBLEM = "Write a function that returns the sum of all even numbers in a list, and raises an error for an empty one."
CHINESE = "请编写一个函数，返回列表中所有偶数的和，如果列表为空则抛出异常。"
WORDS = len(PROBLEM.split())
RECORDS = [
    {"text": PROSE},
    {"text": PROSE + PROBLEM.upper().replace(",", " ;")},
    {"text": PROSE + "Write a function that returns the sum of all even numbers."},  # 11 words
    {"text": PROSE + CHINESE},
]
FILES = {"files": ["problems.jsonl", "*.txt"]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    problems = [{"task": "T/0", "prompt": "too short"}, {"task": "T/1", "nested": [{"prompt": PROBLEM}]}]
    write_jsonl(tmp_path / "problems.jsonl", problems)
    (tmp_path / "questions.txt").write_text(f"\n\nToo short.\n\n{CHINESE}\n", encoding="utf-8")
    return tmp_path


def test_what_is_found_and_what_drops_a_document(folder: Path, build: Callable[..., pa.Table]) -> None:
    table = build(RECORDS, decontaminate=FILES)
    han = sum("\u4e00" <= character <= "\u9fff" for character in CHINESE)
    assert table["contamination_ngrams"].to_pylist() == [0, WORDS - 12, 0, han - 12]
    assert table["contamination_source"].to_pylist() == [None, "problems.jsonl:2", None, "questions.txt:5"]
    assert table["contamination_share"].to_pylist() == [None, 1, None, 1]
    rule = "decontaminate.ngrams"
    assert table["rule"].to_pylist() == ["", rule, "", rule]
    explanation = explain_document(folder / "out", table["id"][1].as_py())
    assert explanation.annotations == ["contamination_ngrams", "contamination_share", "contamination_source"]
    assert explanation.measurements["contamination_source"] == "problems.jsonl:2"
    row = "<td><code>problems.jsonl:2</code></td><td>1</td><td>100.0%</td>"
    assert row in (folder / "out" / "report.html").read_text()


def test_shorter_n_grams_and_tolerance(folder: Path, tmp_path: Path, build: Callable[..., pa.Table]) -> None:
    rules = {"decontaminate": {"ngrams": {"max": 4}}}
    table = build(RECORDS, decontaminate={**FILES, "ngram": 8}, rules=rules)
    assert table["contamination_ngrams"].to_pylist()[:3] == [0, WORDS - 7, 11 - 7]
    assert table["contamination_share"].to_pylist()[:3] == [None, 1, (11 - 7) / (WORDS - 7)]
    assert table["rule"].to_pylist()[:3] == ["", "decontaminate.ngrams", ""]
    assert explain_document(tmp_path / "out", table["id"][2].as_py()).kept


def test_fields_and_compressed_files(folder: Path, build: Callable[..., pa.Table]) -> None:
    lines = [json.dumps({"question": PROBLEM, "context": PROSE})]
    (folder / "eval.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    table = build(RECORDS, decontaminate={"files": ["eval.jsonl.gz"], "fields": ["question"]})
    assert table["contamination_ngrams"].to_pylist() == [0, WORDS - 12, 0, 0]


def test_a_changed_evaluation_file_compares_again(folder: Path) -> None:
    write_jsonl(folder / "web.jsonl", RECORDS)
    config = configure(decontaminate=FILES)
    first = build_corpus(config, folder / "out", base=folder)
    assert first.manifest["totals"]["dropped"] == {"decontaminate.ngrams": 2}
    assert build_corpus(config, folder / "out", base=folder).reused
    (folder / "questions.txt").write_text("Nothing of this is in any of the documents.\n")
    second = build_corpus(config, folder / "out", base=folder, force=True)
    assert second.manifest["totals"]["dropped"] == {"decontaminate.ngrams": 1}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"files": ["words.txt"]}, r"expected texts of at least 8 words in .*words\.txt, but found none"),
        ({"files": ["bad.jsonl"]}, r"bad\.jsonl:2: expected a JSON object"),
        ({"files": ["list.jsonl"]}, r"list\.jsonl:1: expected a JSON object, but found \[1\]"),
        ({"files": ["data.csv"]}, r"expected evaluation data as \.jsonl, \.txt or \.md"),
        ({"files": ["latin.txt"]}, r"latin\.txt: expected UTF-8 text, but found"),
        ({"files": ["cut.jsonl.gz"]}, r"cut\.jsonl\.gz: expected UTF-8 text, but found"),
        ({"files": ["none*.jsonl"]}, r"expected a file at .*none\*\.jsonl, but there is none"),
        (
            {"files": ["problems.jsonl"], "fields": ["question"]},
            r"problems\.jsonl:1: expected a field 'question' \(decontaminate\.fields\), but found: prompt, task",
        ),
    ],
)
def test_files_that_are_no_evaluation_data(folder: Path, table: dict[str, Any], message: str) -> None:
    (folder / "words.txt").write_text("two words\n")
    (folder / "bad.jsonl").write_text("{}\n{\n")
    (folder / "list.jsonl").write_text("[1]\n")
    (folder / "data.csv").write_text("a,b\n")
    (folder / "latin.txt").write_bytes(b"caf\xe9\n")
    (folder / "cut.jsonl.gz").write_bytes(gzip.compress(b"{}\n" * 99)[:-9])
    with pytest.raises(DataError, match=message):
        make_annotators(configure(decontaminate=table), folder)
