"""The report: self-contained, escaped, and its numbers are the manifest's."""

import gzip
import html.parser
import io
import itertools
import json
import re
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from castline.corpus.build import CorpusSummary
from castline.corpus.histogram import histogram
from castline.corpus.plan import plan_corpus
from castline.corpus.report import format_number, funnel, write_report
from castline.corpus.rules.rule_set import Bounds
from castline.errors import DataError

from .conftest import SOURCES, configure
from .samples import response


class Checker(html.parser.HTMLParser):
    """Collects the text and checks that every tag is closed and nothing is loaded from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        assert tag not in ("link", "script", "img", "iframe")
        assert not {"src", "href"} & {name for name, _ in attributes}
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_page_is_whole_and_says_what_the_manifest_says(built: CorpusSummary) -> None:
    page = (built.out / "report.html").read_text()
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    assert "url(" not in page
    text = " ".join(checker.text)
    totals = built.manifest["totals"]
    assert f"{totals['read']:,}" in text
    assert f"{totals['tokens']['train']:,}" in text
    for reason in (*totals["dropped"], *totals["rejected"], *built.manifest["sources"]):
        assert reason in text
    assert "太短了。" in text, "a sample of what was dropped"


def test_text_is_escaped(built: CorpusSummary) -> None:
    page = (built.out / "report.html").read_text()
    samples = re.findall(r"<pre>(.*?)</pre>", page, flags=re.DOTALL)
    assert len(samples) > 5
    assert not any("<" in sample for sample in samples)


def test_written_again_it_is_the_same(built: CorpusSummary) -> None:
    before = (built.out / "report.html").read_bytes()
    assert write_report(built.out).read_bytes() == before
    with pytest.raises(DataError, match="castline corpus build"):
        write_report(built.out / "shards")


def test_the_funnel_ends_with_what_is_kept(built: CorpusSummary) -> None:
    totals = built.manifest["totals"]
    steps = funnel(totals)
    assert steps[0].left == totals["read"]
    assert steps[-1].left == sum(totals["kept"].values())
    for before, after in itertools.pairwise(steps):
        assert after.left == before.left - after.gone


@given(
    values=st.lists(st.integers(0, 10**6) | st.floats(0, 1), min_size=1, max_size=50).map(np.array),
    low=st.none() | st.floats(0, 10),
    high=st.none() | st.floats(10, 10**7),
)
def test_histograms_hold_every_document(values: np.ndarray, low: float | None, high: float | None) -> None:
    bounds = Bounds(min=low, max=high)
    result = histogram("words", values, bounds)
    assert result.documents == len(values)
    assert result.outside == sum(not bounds.allow(value) for value in values.tolist())
    counts = np.square(result.heights)
    assert counts.max() == 1.0
    assert (counts > 0).sum() <= len(values)
    assert all(0.0 <= at <= 1.0 for at, _ in result.thresholds)
    assert result.low < result.high


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234567, "1,234,567"), (0.30000000000000004, "0.3"), (2.0, "2"), (None, "–")],
)
def test_numbers_for_people(value: float | None, text: str) -> None:
    assert format_number(value) == text


def test_the_plan_tells_what_is_there(data: Path, built: CorpusSummary) -> None:
    plan = plan_corpus(configure(SOURCES), base=data)
    for source in plan.sources:
        account = built.manifest["sources"][source.name]
        assert (source.files, source.bytes) == (account["files"], account["bytes"])
        assert 0 < source.text_bytes <= 1.05 * account["bytes"]
    written = sum(path.stat().st_size for path in built.out.rglob("*") if path.suffix in (".zst", ".tokens"))
    assert plan.output_bytes >= written


def test_the_plan_knows_large_files_by_their_beginning(tmp_path: Path) -> None:
    text = "A line of text that is repeated. " * 40
    page = gzip.compress(response("https://a.example/", text.encode(), media_type="text/plain"))
    line = json.dumps({"text": text}).encode() + b"\n"
    (tmp_path / "a.warc.gz").write_bytes(page * 16_000)
    (tmp_path / "a.jsonl").write_bytes(line * 16_000)
    sources = [{"name": "pages", "path": "a.warc.gz"}, {"name": "lines", "path": "a.jsonl"}]
    for source in plan_corpus(configure(sources), base=tmp_path).sources:
        assert source.text_bytes == pytest.approx(16_000 * len(text), rel=0.05)


@pytest.mark.parametrize("name", ["a.jsonl.zst", "a.jsonl.gz", "a.tar", "a.tar.gz", "a.zip"])
def test_the_plan_knows_large_packed_files_by_how_far_it_read(tmp_path: Path, name: str) -> None:
    random = np.random.default_rng(0)
    texts = [" ".join(map(str, random.integers(10**6, size=600))) for _ in range(3000)]
    write_packed(tmp_path / name, texts)
    (source,) = plan_corpus(configure([{"name": "packed", "path": name}]), base=tmp_path).sources
    assert source.text_bytes == pytest.approx(sum(map(len, texts)), rel=0.05)


def write_packed(path: Path, texts: list[str]) -> None:
    """The texts as lines of jsonl, or as files of an archive."""
    if ".jsonl" in path.name:
        lines = b"".join(json.dumps({"text": text}).encode() + b"\n" for text in texts)
        path.write_bytes(zstandard.compress(lines) if path.suffix == ".zst" else gzip.compress(lines))
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for number, text in enumerate(texts):
                archive.writestr(f"{number}.txt", text)
    else:
        with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as tar:
            for number, text in enumerate(texts):
                member = tarfile.TarInfo(f"{number}.txt")
                member.size = len(text)
                tar.addfile(member, io.BytesIO(text.encode()))
