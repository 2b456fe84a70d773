"""Which tokens a proof runs over."""

import json
from pathlib import Path

import numpy as np
import pytest
from shards import write_split

from castline import _C
from castline.compile.text_tokens import TextTokens, proof_tokens
from castline.corpus.shards import token_dtype, write_manifest
from castline.errors import CompileError
from castline.files import sha256_file

from .conftest import VOCABULARY, write_tokenizer


def choose(checkpoint: Path, *, text: Path | None = None, tokens: int = 256, context: int = 64) -> TextTokens:
    return proof_tokens(checkpoint, tokens=tokens, context=context, vocab_size=VOCABULARY, text=text)


@pytest.fixture
def with_corpus(tmp_path: Path) -> Path:
    """A checkpoint whose castline.json names a corpus with two held-out sources, of ids 10… and 100…."""
    checkpoint, corpus = tmp_path / "run" / "checkpoint", tmp_path / "corpus"
    checkpoint.mkdir(parents=True)
    splits = {}
    for source, first, documents in (("prose", 10, 30), ("code", 100, 30), ("empty", 0, 0)):
        split = f"held_out/{source}"
        rows = [(np.arange(50) + first, f"{source}{index}", source, "en") for index in range(documents)]
        splits[split] = write_split(corpus / "shards", split, token_dtype(VOCABULARY), 1000, rows) if rows else []
    write_manifest(
        corpus / "shards",
        vocab_size=VOCABULARY,
        eos_id=0,
        tokenizer_sha256="",
        splits={"train": []} | splits,
        sources={},
    )
    (corpus / "manifest.json").write_text("{}")
    digest = sha256_file(corpus / "manifest.json")
    origin = {"corpus": {"path": "../../corpus", "manifest_sha256": digest}}
    (checkpoint / "castline.json").write_text(json.dumps(origin))
    write_tokenizer(checkpoint)
    return checkpoint


def test_held_out_tokens_come_from_every_source_in_turn(with_corpus: Path) -> None:
    found = choose(with_corpus)
    assert found.source == "held-out tokens of the corpus"
    assert found.ids.shape == (4, 64)
    prose = (found.ids < 100).all(axis=1)
    code = (found.ids >= 100).all(axis=1)
    assert (prose.sum(), code.sum()) == (2, 2)


def test_another_corpus_in_its_place_is_not_taken(with_corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "corpus" / "manifest.json").write_text('{"another": 1}')
    assert choose(with_corpus).source == "castline's sample text"


def test_the_sample_text_has_words_in_two_languages_and_code(with_corpus: Path) -> None:
    (with_corpus / "castline.json").unlink()
    found = choose(with_corpus, tokens=4096)
    assert found.source == "castline's sample text"
    assert found.ids.size >= 4096
    text = _C.Tokenizer(with_corpus / "tokenizer.json").decode(found.ids.flatten()).decode(errors="replace")
    assert "the" in text
    assert "的" in text
    assert "def " in text


def test_a_text_of_the_users_own_comes_first(with_corpus: Path, tmp_path: Path) -> None:
    text = tmp_path / "mine.txt"
    text.write_text("abc " * 200)
    found = choose(with_corpus, text=text)
    assert found.source == "text mine.txt"
    assert len(np.unique(found.ids)) <= 4


def test_a_short_text_gives_what_it_has(with_corpus: Path, tmp_path: Path) -> None:
    text = tmp_path / "mine.txt"
    text.write_text("ab" * 50)
    assert choose(with_corpus, text=text).ids.shape == (1, 64)


@pytest.mark.parametrize("content", ["", "too short"])
def test_a_text_that_is_too_short_is_refused(with_corpus: Path, tmp_path: Path, content: str) -> None:
    (tmp_path / "mine.txt").write_text(content)
    with pytest.raises(CompileError, match=rf"expected 64 tokens or more for a proof, but it has {len(content)}"):
        choose(with_corpus, text=tmp_path / "mine.txt")


def test_a_missing_text_and_a_missing_tokenizer_are_named(with_corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(CompileError, match=r"nowhere\.txt: No such file"):
        choose(with_corpus, text=tmp_path / "nowhere.txt")
    (with_corpus / "tokenizer.json").unlink()
    (tmp_path / "mine.txt").write_text("abc " * 200)
    with pytest.raises(CompileError, match=r"has no tokenizer\.json"):
        choose(with_corpus, text=tmp_path / "mine.txt")


def test_without_a_tokenizer_ids_are_random_and_the_same_every_time(tmp_path: Path) -> None:
    first, second = choose(tmp_path), choose(tmp_path)
    assert first.source == "random ids"
    assert first.ids.shape == (4, 64)
    assert np.array_equal(first.ids, second.ids)
    assert len(np.unique(first.ids)) > 100


def test_a_tokenizer_with_ids_beyond_the_vocabulary_is_refused(with_corpus: Path) -> None:
    with pytest.raises(CompileError, match="belongs to another model"):
        proof_tokens(with_corpus, tokens=256, context=64, vocab_size=50, text=None)
