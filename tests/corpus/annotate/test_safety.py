"""Block lists: addresses and their parts, terms through a whole build, and lists that are none."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from castline import _C
from castline.cli.app import app
from castline.corpus.annotate.annotators import make_annotators
from castline.corpus.annotate.safety import Addresses, describe_terms
from castline.corpus.build import build_corpus
from castline.corpus.explain import explain_document
from castline.errors import DataError, RecipeError

from .conftest import PROSE, configure

RECORDS = [
    {"text": PROSE, "url": "https://good.example.org/a"},
    {"text": PROSE + "one", "url": "https://sub.bad.org/b"},
    {"text": PROSE + "two", "url": "http://mixed.org/forum/x"},
    {"text": PROSE + "Buy cheap pills. BUY CHEAP  PILLS now, pills!", "url": "http://mixed.org/news"},
    {"text": PROSE + "没有地址的网页"},
]
LISTS = {"domains": ["domains.txt"], "urls": ["urls.txt"], "words": ["words.txt"]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "domains.txt").write_text("# domains\nbad.org\n")
    (tmp_path / "urls.txt").write_text("https://www.mixed.org/forum/\n")
    (tmp_path / "words.txt").write_text("cheap pills\npills\n")
    return tmp_path


def test_what_is_found_and_what_drops_a_document(folder: Path, build: Callable[..., pa.Table]) -> None:
    table = build(RECORDS, safety=LISTS)
    assert table["blocked_url"].to_pylist() == [0, 1, 1, 0, None]
    assert table["blocked_words"].to_pylist() == [0, 0, 0, 3, 0]
    assert table["blocked_terms"].to_pylist() == ["", "", "", "cheap pills ×2, pills", ""]
    assert table["rule"].to_pylist() == ["", "safety.url", "safety.url", "safety.words", ""]


def test_words_in_code_are_let_be(folder: Path, build: Callable[..., pa.Table]) -> None:
    source = {"name": "web", "path": "web.jsonl", "kind": "code"}
    table = build(
        [{"text": "# cheap pills\n" * 9}], safety=LISTS, sources=[source], rules={"code_quality": {"enabled": False}}
    )
    assert table["blocked_words"].to_pylist() == table["blocked_terms"].to_pylist() == [None]


def test_explain_names_the_words(
    folder: Path, build: Callable[..., pa.Table], capsys: pytest.CaptureFixture[str]
) -> None:
    table = build(RECORDS, safety=LISTS)
    identity = table["id"][3].as_py()
    explanation = explain_document(folder / "out", identity)
    assert (explanation.rule, explanation.measurements["blocked_terms"]) == ("safety.words", "cheap pills ×2, pills")
    checks = {check.rule: (check.value, check.passed) for check in explanation.checks}
    assert (checks["safety.url"], checks["safety.words"]) == ((0, True), (3, False))
    app(["corpus", "explain", str(folder / "out"), identity], standalone_mode=False)
    assert re.search(r"^blocked_terms +cheap pills ×2, pills$", capsys.readouterr().out, re.MULTILINE)


def test_a_changed_list_reads_again_and_a_changed_threshold_does_not(folder: Path) -> None:
    records = [*RECORDS, {"text": PROSE + "另一个网页"}]
    (folder / "web.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    config = configure(safety=LISTS)
    build_corpus(config, folder / "out", base=folder)
    assert build_corpus(config, folder / "out", base=folder).reused
    looser = configure(safety=LISTS, rules={"safety": {"words": {"max": 3}}})
    assert build_corpus(looser, folder / "out", base=folder, force=True).resumed["read"] == 1
    (folder / "words.txt").write_text("网页\n")
    with pytest.raises(DataError, match="or a file that another table of the recipe names"):
        build_corpus(looser, folder / "out", base=folder)
    stricter = configure(safety=LISTS)
    summary = build_corpus(stricter, folder / "out", base=folder, force=True)
    assert "read" not in summary.resumed
    assert summary.manifest["totals"]["dropped"] == {"safety.url": 2, "safety.words": 2}


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"words": ["none.txt"]}, r"expected a file at .*none\.txt, but there is none"),
        ({"words": ["*.list"]}, r"expected a file at .*\*\.list, but there is none"),
        ({"words": ["empty.txt"]}, r"empty\.txt: expected one entry per line, but found none"),
        ({"words": ["latin.txt"]}, r"latin\.txt: expected UTF-8 text, but found .* at byte 3"),
        ({"words": ["blank.txt"]}, r"blank\.txt: expected terms that say something"),
        ({"domains": ["empty.txt"]}, r"empty\.txt\): expected a domain per line, but found none"),
        ({"domains": ["urls.txt"]}, r"urls\.txt\): .*expected a domain such as example\.org, but got 'https://www\.m"),
    ],
)
def test_files_that_are_no_lists(folder: Path, tables: dict[str, Any], message: str) -> None:
    (folder / "empty.txt").write_text("# nothing\n\n")
    (folder / "latin.txt").write_bytes(b"caf\xe9\n")
    (folder / "blank.txt").write_text("word\n\u200b\n")
    with pytest.raises(DataError, match=message):
        make_annotators(configure(safety=tables), folder)


def test_exceptions_need_words() -> None:
    with pytest.raises(RecipeError, match="expected lists of words where there are exceptions"):
        configure(safety={"exceptions": ["words.txt"]})


@pytest.mark.parametrize(
    ("url", "blocked"),
    [
        ("https://bad.org", 1),
        ("http://www.bad.org:8080/x", 1),
        ("HTTPS://A.B.BAD.ORG./", 1),
        ("bad.org/path", 1),
        ("https://user@bad.org/", 1),
        ("https://worse.net/", 1),
        ("https://notbad.org/", 0),
        ("https://bad.org.evil.com/", 0),
        ("https://mixed.org/forum", 1),
        ("https://www.mixed.org/forum/thread?id=1", 1),
        ("https://mixed.org/forum?x", 1),
        ("https://mixed.org/forums", 0),
        ("https://bücher.de/", 1),
        ("https://xn--bcher-kva.de/", 1),
        ("https://[broken/", 0),
        ("", None),
        (None, None),
    ],
)
def test_addresses(url: str | None, blocked: int | None) -> None:
    listed = Addresses(
        ["# 列表\nbad.org\r\n0.0.0.0 worse.net # a hosts file\n", "Bücher.de # 书"], ["https://www.mixed.org/forum/"]
    )
    assert listed.holds(url) == blocked


LABELS = st.text("abw.A", max_size=5).map(lambda text: text + "x")


@settings(deadline=None)
@given(
    st.lists(LABELS, max_size=8), st.lists(LABELS, min_size=1, max_size=4).map(lambda labels: ".".join(labels).lower())
)
def test_domains_are_looked_up_as_in_a_set(listed: list[str], host: str) -> None:
    domains = _C.DomainSet(["\n".join(listed[:4]), " \n".join(listed[4:]) + "  # the rest\n"])
    expected = {name.lower().strip(".").removeprefix("www.") for name in listed}
    labels = host.split(".")
    assert domains.holds(host) == any(".".join(labels[start:]) in expected for start in range(len(labels)))
    assert len(domains) == len(expected)


def test_terms_are_described_by_how_often_they_come() -> None:
    assert describe_terms([]) == ""
    assert describe_terms(["b", "a", "b"]) == "b ×2, a"
    assert describe_terms([str(number) for number in range(12)]).endswith("9, …")
