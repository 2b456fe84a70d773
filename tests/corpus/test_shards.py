"""Token shards: what is written is read back, and every position names its document."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shards import write_split

from castline.corpus.shards import TokenShards, open_shards, token_dtype, write_manifest
from castline.errors import DataError

EOS = 7
Documents = list[npt.NDArray[np.uint32]]


def write(corpus: Path, documents: Documents, shard_tokens: int, vocab_size: int = 1000) -> None:
    rows = [(tokens, f"doc{number}", "web", "en") for number, tokens in enumerate(documents)]
    written = write_split(corpus / "shards", "train", token_dtype(vocab_size), shard_tokens, rows)
    write_manifest(
        corpus / "shards",
        vocab_size=vocab_size,
        eos_id=EOS,
        tokenizer_sha256="",
        splits={"train": written, "held_out/web": []},
        sources={},
    )


def arrays(lengths: list[int]) -> Documents:
    random = np.random.default_rng(0)
    return [np.append(random.integers(8, 1000, n - 1), EOS).astype(np.uint32) for n in lengths]


@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=30), shard_tokens=st.integers(1, 100))
def test_every_position_names_the_document_that_was_written(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], shard_tokens: int
) -> None:
    corpus = tmp_path_factory.mktemp("corpus")
    documents = arrays(lengths)
    write(corpus, documents, shard_tokens)
    shards = TokenShards.open(corpus)

    assert np.array_equal(shards.read(0, len(shards)), np.concatenate(documents))
    assert np.array_equal(shards.document_starts, np.cumsum([0, *lengths]))
    assert [span.document_id for span in shards.spans()] == [f"doc{n}" for n in range(len(lengths))]
    owner = np.repeat(np.arange(len(lengths)), lengths)
    for position in range(len(shards)):
        span = shards.document_at(position)
        assert span.document_id == f"doc{owner[position]}"
        assert np.array_equal(shards.read(span.start, span.end), documents[owner[position]])
    assert all(len(shard) <= max(shard_tokens, *lengths) for shard in shards.tokens)


def test_read_crosses_shards(tmp_path: Path) -> None:
    documents = arrays([5, 6, 7, 8])
    write(tmp_path, documents, shard_tokens=11)
    shards = TokenShards.open(tmp_path)
    assert len(shards.tokens) == 3
    whole = np.concatenate(documents)
    for start in range(len(whole) + 1):
        for end in range(start, len(whole) + 1):
            assert np.array_equal(shards.read(start, end), whole[start:end])
    with pytest.raises(IndexError, match="26"):
        shards.read(0, 27)


def test_large_vocabularies_take_four_bytes(tmp_path: Path) -> None:
    write(tmp_path, [np.array([70_000, EOS], dtype=np.uint32)], 100, vocab_size=2**16 + 1)
    shards = TokenShards.open(tmp_path)
    assert shards.read(0, 2).tolist() == [70_000, EOS]
    assert shards.tokens[0].dtype == np.dtype("<u4")


def test_an_empty_split_has_no_tokens(tmp_path: Path) -> None:
    write(tmp_path, arrays([3]), 100)
    corpus = open_shards(tmp_path)
    assert corpus.held_out == ["held_out/web"]
    held_out = corpus.split("held_out/web")
    assert len(held_out) == 0
    assert held_out.document_starts.tolist() == [0]


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="castline corpus build"):
        TokenShards.open(tmp_path)
    write(tmp_path, arrays([3]), 100)
    with pytest.raises(DataError, match="held_out/web"):
        TokenShards.open(tmp_path, "held_out/books")
    path = tmp_path / "shards" / "train" / "00000.tokens"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"expected 6 bytes .* found 5"):
        TokenShards.open(tmp_path)
