"""What records say about themselves: mapped fields, dates in one form, languages as castline writes them."""

import json
from datetime import UTC, date, datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from castline.corpus.build import build_corpus
from castline.corpus.documents import Document, Reject, read_documents
from castline.corpus.readers.metadata import date_text
from castline.corpus.tables import read_table

from .conftest import CHINESE, configure
from .test_readers import only_reject, read, read_bytes

ROW = {"text": "one", "url": "https://a.example/x", "date": "2024-01-31T12:00:00+02:00", "license": "MIT", "id": 7}
KNOWN = {"url": "https://a.example/x", "date": "2024-01-31T10:00:00Z", "licence": "MIT", "record_id": "7"}


def write(folder: Path, form: str, rows: list[dict[str, Any]]) -> Path:
    path = folder / f"a.{form}"
    if form == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def documents(records: list[Document | Reject]) -> list[Document]:
    assert all(isinstance(record, Document) for record in records), records
    return [record for record in records if isinstance(record, Document)]


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_usual_fields_are_found_and_others_are_mapped(tmp_path: Path, form: str) -> None:
    usual = documents(read(write(tmp_path, form, [ROW])))
    assert usual[0].metadata == KNOWN
    row = {"body": "one", "link": ROW["url"], "crawled": ROW["date"], "terms": "MIT", "key": 7, "lang": "eng_Latn"}
    fields = {"text": "body", "url": "link", "date": "crawled", "licence": "terms", "id": "key", "language": "lang"}
    mapped = documents(read(write(tmp_path, form, [row]), **{f"{name}_field": value for name, value in fields.items()}))
    assert (mapped[0].text, mapped[0].language, mapped[0].metadata) == ("one", "en", KNOWN)


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_what_a_record_does_not_say_is_the_sources_or_unknown(tmp_path: Path, form: str) -> None:
    rows = [
        {"text": "one", "url": None, "date": "soon", "licence": "GPL"},
        {"text": "two", "url": " ", "licence": None},
    ]
    found = documents(read(write(tmp_path, form, rows), licence="CC-BY-4.0"))
    assert [document.metadata for document in found] == [{"licence": "GPL"}, {"licence": "CC-BY-4.0"}]


def test_a_missing_column_is_said_with_those_there_are(tmp_path: Path) -> None:
    reject = only_reject(read(write(tmp_path, "parquet", [ROW]), url_field="link"))
    assert (
        reject.detail == "expected a column 'link', but found: text, url, date, license, id; set the source's url_field"
    )


@pytest.mark.parametrize(
    ("value", "kind", "language", "expected"),
    [
        ("zh-CN", "text", "auto", "zh"),
        ("EN", "text", "auto", "en"),
        ("en", "text", "fr", "fr"),
        (7, "text", "auto", "auto"),
        ("?", "text", "auto", "auto"),
        ("C++", "code", "auto", "c++"),
        ("Jupyter Notebook", "code", "auto", "jupyter-notebook"),
        (None, "code", "auto", "unknown"),
    ],
)
def test_languages(tmp_path: Path, value: Any, kind: str, language: str, expected: str) -> None:
    line = json.dumps({"text": "x", "lang": value}).encode()
    records = read_bytes(tmp_path, "a.jsonl", line, kind=kind, language=language, language_field="lang")
    assert documents(records)[0].language == expected


@given(
    moment=st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(2100, 1, 1)),
    hours=st.integers(min_value=-12, max_value=14),
)
def test_one_moment_in_every_form(moment: datetime, hours: int) -> None:
    moment = moment.replace(microsecond=0, tzinfo=UTC)
    local = moment.astimezone(timezone(timedelta(hours=hours)))
    expected = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    seconds = int(moment.timestamp())
    for form in (local, local.isoformat(), format_datetime(local), moment.replace(tzinfo=None), seconds):
        assert date_text(form) == expected
    if seconds > 200_000_000:
        assert date_text(seconds * 1000) == expected
    assert date_text(date(2024, 1, 31)) == "2024-01-31T00:00:00Z"


@given(value=st.one_of(st.text(max_size=30), st.floats(), st.integers(), st.booleans(), st.none()))
def test_anything_may_stand_where_a_date_should(value: Any) -> None:
    text = date_text(value)
    assert text is None or datetime.fromisoformat(text).tzinfo is not None


def test_metadata_reaches_documents_measurements_and_manifest(tmp_path: Path) -> None:
    rows = [{"text": text, "url": f"https://a.example/{n}", "date": f"202{n}-01-01"} for n, text in enumerate(CHINESE)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = {"name": "web", "path": "a.jsonl", "licence": "CC0-1.0"}
    out = build_corpus(configure([source], tokenizer={"vocab_size": 300}), tmp_path / "out", base=tmp_path).out
    part = "000000-000000"
    stored = list(read_documents(out / "documents" / f"{part}.jsonl.zst"))
    assert [document.metadata["licence"] for document in stored] == ["CC0-1.0"] * 3
    table = read_table(out / "measurements" / f"{part}.parquet", ["url", "date"])
    assert table["url"].to_pylist() == [row["url"] for row in rows]
    assert table["date"].to_pylist() == [f"202{n}-01-01T00:00:00Z" for n in range(3)]
    assert json.loads((out / "manifest.json").read_text())["sources"]["web"]["licence"] == "CC0-1.0"
