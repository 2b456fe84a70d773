"""Explaining a document: what is said agrees with the corpus, and unclear questions are refused."""

import pytest

from castline import _C
from castline.corpus.build import CorpusSummary
from castline.corpus.documents import document_id
from castline.corpus.explain import explain_document
from castline.corpus.shards import open_shards
from castline.errors import DataError, RecipeError

from .conftest import CHINESE


def test_a_kept_document(built: CorpusSummary) -> None:
    identity = document_id("chinese", "chinese.jsonl", 2)
    found = explain_document(built.out, identity[:12].upper())
    assert (found.id, found.text, found.record) == (identity, CHINESE[1], 2)
    assert (found.source, found.source_path, found.path) == ("chinese", "chinese.jsonl", "chinese.jsonl")
    assert (found.kept, found.rule, found.duplicate_of, found.cluster_size) == (True, "", "", 1)
    assert found.checks
    assert all(check.passed for check in found.checks)
    assert found.measurements["characters"] == len(CHINESE[1])
    tokenizer = _C.Tokenizer(built.out / "tokenizer.json")
    assert len(found.tokens) == (2 if found.split == "train" else 1)
    corpus = open_shards(built.out)
    for place in found.tokens:
        shards = corpus.split(place.shard.rpartition("/")[0])
        tokens = shards.tokens[shards.shard_names.index(place.shard)][place.start : place.end]
        assert tokenizer.decode(tokens[:-1].tolist()).decode() == CHINESE[1]


def test_a_document_that_broke_a_rule(built: CorpusSummary) -> None:
    found = explain_document(built.out, document_id("chinese", "chinese.jsonl", 4))
    assert (found.kept, found.rule, found.split, found.tokens) == (False, "chinese_quality.words", "", [])
    check = next(check for check in found.checks if check.rule == found.rule)
    assert (check.value, check.min, check.max, check.passed) == (3, 50, 100_000, False)


def test_a_duplicate_and_the_one_that_stayed(built: CorpusSummary) -> None:
    stayed = explain_document(built.out, document_id("stdlib", "email/_header_value_parser.py", 0))
    went = explain_document(built.out, document_id("stdlib", "same.py", 0))
    assert (went.kept, went.rule, went.duplicate_of) == (False, "exact_duplicate", stayed.id)
    assert went.cluster == stayed.cluster
    assert went.cluster_size == stayed.cluster_size == 3
    assert {(match.id, match.similarity) for match in went.matches} >= {(stayed.id, 1.0)}


def test_questions_without_one_answer(built: CorpusSummary) -> None:
    with pytest.raises(RecipeError, match="but got 'zzz'"):
        explain_document(built.out, "zzz")
    with pytest.raises(RecipeError, match=r"\d+ begin with ''"):
        explain_document(built.out, "")
    with pytest.raises(DataError, match="castline corpus build"):
        explain_document(built.out / "shards", "00")
