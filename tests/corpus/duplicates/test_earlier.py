"""A new crawl against finished corpora: what they have already goes, and why is said."""

import json
import pydoc_data.topics
import shutil
from pathlib import Path
from typing import Any

import pytest

from castline.corpus.build import CorpusSummary, build_corpus
from castline.corpus.config import CorpusConfig
from castline.corpus.documents import document_id
from castline.corpus.duplicates.summary import summarise
from castline.corpus.explain import Explanation, explain_document
from castline.corpus.plan import plan_corpus
from castline.corpus.report import write_report
from castline.corpus.sample import sample_documents
from castline.errors import DataError, RecipeError
from castline.recipe import parse

TOPICS = [text for _, text in sorted(pydoc_data.topics.topics.items()) if 1000 < len(text) < 20_000]
SHORT = "Too short for the rules to keep, but long enough to have a few word sequences of its own."


def changed(text: str, *, at: int) -> str:
    """The same text with one word in every 60 replaced: a near duplicate."""
    words = text.split(" ")
    words[at::60] = [f"other{i}" for i in range(len(words[at::60]))]
    return " ".join(words)


FIRST = [*TOPICS[:12], changed(TOPICS[0], at=1), TOPICS[1], SHORT]
SECOND = [
    TOPICS[2],  # 1: kept there
    changed(TOPICS[3], at=1),  # 2: nearly kept there
    changed(changed(changed(TOPICS[0], at=1), at=21), at=41),  # 3: only like what went there as a duplicate
    f"{SHORT} {SHORT}",  # 4: dropped there by a rule, and here
    SHORT,  # 5
    *TOPICS[12:24],  # 6 to 17: new
    changed(TOPICS[12], at=5),  # 18: a duplicate among the new ones
]
THIRD = [*TOPICS[24:34], TOPICS[12], TOPICS[0]]


def build(folder: Path, name: str, texts: list[str], **dedup: Any) -> CorpusSummary:
    """A corpus of these texts, in a folder of its name."""
    with (folder / f"{name}.jsonl").open("w") as file:
        file.writelines(json.dumps({"text": text}) + "\n" for text in texts)
    return build_corpus(configure(name, **dedup), folder / name, base=folder)


def configure(name: str, **dedup: Any) -> CorpusConfig:
    off = {"enabled": False}
    tables = {
        "sources": [{"name": "web", "path": f"{name}.jsonl"}],
        "rules": {"gopher_quality": {"alphabetic_word_fraction": False}, "gopher_repetition": off, "text_form": off},
        "dedup": {"keep": "first", **dedup},
        "tokenizer": {"vocab_size": 384},
    }
    return parse(CorpusConfig, tables, "recipe.toml")


@pytest.fixture(scope="module")
def crawls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three corpora, each against those before."""
    folder = tmp_path_factory.mktemp("crawls")
    build(folder, "first", FIRST)
    build(folder, "second", SECOND, against="first")
    build(folder, "third", THIRD, against=["first", "second"])
    return folder


def explain(folder: Path, name: str, record: int) -> Explanation:
    return explain_document(folder / name, document_id("web", f"{name}.jsonl", record))


def test_what_an_earlier_corpus_has_is_dropped(crawls: Path) -> None:
    fates = [explain(crawls, "second", record) for record in range(1, len(SECOND) + 1)]
    assert [one.rule for one in fates[:3]] == ["duplicate_of_earlier"] * 3
    assert {one.rule for one in fates[3:5]} == {"gopher_quality.words"}
    assert [one.kept for one in fates[6:17]] == [True] * 11
    assert (fates[5].rule, fates[17].rule) == ("", "near_duplicate")
    earlier = [(one.duplicate_of, one.earlier_corpus) for one in fates[:3]]
    stayed = [document_id("web", "first.jsonl", record) for record in (3, 4, 1)]
    assert earlier == [(document, "first") for document in stayed]
    assert not any(one.earlier_corpus for one in fates[3:])


def test_the_account_adds_up(crawls: Path) -> None:
    manifest = json.loads((crawls / "second" / "manifest.json").read_text())
    account = manifest["sources"]["web"]
    assert account["dropped"]["duplicate_of_earlier"] == 3
    assert account["read"] == sum(account["kept"].values()) + sum(account["dropped"].values())
    assert list(manifest["against"]) == ["first"]


def test_the_match_is_explained(crawls: Path) -> None:
    same, near, third_hand = (explain(crawls, "second", record) for record in (1, 2, 3))
    assert [(step.id, step.corpus, step.similarity) for step in same.chain] == [(same.duplicate_of, "first", 1.0)]
    assert near.chain == near.matches
    assert 0.7 <= near.chain[0].similarity < 1
    assert [(step.id, step.corpus) for step in third_hand.chain] == [(document_id("web", "first.jsonl", 13), "first")]


def test_against_several_corpora(crawls: Path) -> None:
    fates = [explain(crawls, "third", record) for record in range(1, len(THIRD) + 1)]
    assert [one.kept for one in fates] == [True] * 10 + [False] * 2
    assert (fates[10].duplicate_of, fates[10].earlier_corpus) == (document_id("web", "second.jsonl", 6), "second")
    assert (fates[11].duplicate_of, fates[11].earlier_corpus) == (document_id("web", "first.jsonl", 1), "first")


def test_it_is_shown(crawls: Path) -> None:
    page = write_report(crawls / "second").read_text()
    assert "of first" in page
    found = summarise(crawls / "second", 0.7)
    assert (found.clusters, found.documents) == (5, 7), "three with earlier documents, the short ones, one of new ones"
    assert sum(step.pairs for step in found.similarities) == 6
    assert found.similarities[-1].pairs == 2, "the first, and the short one"
    short, of_six, *with_earlier = found.largest
    assert (short.documents, short.kept) == (2, "")
    assert (of_six.documents, of_six.kept) == (2, explain(crawls, "second", 6).id)
    assert {one.earlier_corpus for one in with_earlier} == {"first"}
    dropped = sample_documents(crawls / "second", rule="duplicate_of_earlier")
    assert {document.earlier_corpus for document in dropped} == {"first"}


def test_the_same_as_when_all_were_one_corpus(crawls: Path, tmp_path: Path) -> None:
    """What is kept in total is one of each cluster, as one corpus of all documents would keep."""
    whole = build(tmp_path, "whole", [*FIRST, *SECOND, *THIRD])
    kept = [
        json.loads((crawls / name / "manifest.json").read_text())["totals"]["kept"]
        for name in ("first", "second", "third")
    ]
    assert sum(sum(one.values()) for one in kept) == sum(whole.manifest["totals"]["kept"].values())


def test_a_changed_earlier_corpus_is_noticed(crawls: Path, tmp_path: Path) -> None:
    folder = tmp_path / "crawls"
    shutil.copytree(crawls, folder)
    config = configure("second", against="first")
    assert build_corpus(config, folder / "second", base=folder).reused
    shutil.rmtree(folder / "first")
    build(folder, "first", FIRST[:3] + TOPICS[12:15])
    with pytest.raises(DataError, match="have changed since"):
        build_corpus(config, folder / "second", base=folder)
    again = build_corpus(config, folder / "second", base=folder, force=True)
    assert again.resumed["read"] == again.resumed["index"] == 1
    assert again.manifest["totals"]["dropped"]["duplicate_of_earlier"] == 5


def test_mistakes(crawls: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="'first' is the one to be built"):
        build_corpus(configure("first", against=["first"]), crawls / "first", base=crawls)
    with pytest.raises(RecipeError, match="each corpus once"):
        plan_corpus(configure("third", against=["first", "./first"]), base=crawls)
    with pytest.raises(DataError, match="expected a finished corpus in"):
        plan_corpus(configure("third", against=["zeroth"]), base=crawls)
    with pytest.raises(DataError, match=r"build both corpora with the same \[dedup\]"):
        build_corpus(configure("third", against=["first"], permutations=64), tmp_path / "out", base=crawls)
    shutil.copytree(crawls / "first", tmp_path / "first")
    shutil.rmtree(tmp_path / "first" / "duplicates" / "index")
    with pytest.raises(DataError, match="expected the index of the corpus"):
        plan_corpus(configure("third", against=[str(tmp_path / "first")]), base=crawls)
