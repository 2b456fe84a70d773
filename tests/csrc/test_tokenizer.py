"""The C++ tokenizer gives the ids, and the text, of Hugging Face tokenizers."""

import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from castline import _C

# What splitting patterns and merges treat differently, to be strung together.
FRAGMENTS = [
    " ", "  ", "\n", "\r\n", "\t", "\u00a0", "\u3000", "\u2028", "\x85", "\x1c", "\x0b", "\0",
    "'s", "'S", "'ll", "'LL", "'Ve", "'re", "'d", "'", "''", "\u017f", "'\u017f", "’s",
    "the", "Hello", "ß", "İ", "e\u0301", "\u0301", "a\u0323\u0302", "\u1100\u1161\u11a8", "Ａ",
    "中文", "。", "，", "한국어", "ไทย", "עברית",
    "1", "23", "456", "7890", "²", "Ⅷ", "١٢", "〇", "½", "௧",
    "!", "...", "—", "$", "_", "#!", "😀", "👩‍👩‍👧", "🏳️‍🌈", "\ufffd", "\ufeff", "\U0010ffff",
    "<|endoftext|>", "<|im_start|>", "<|endoftext", "<", "|>",
]  # fmt: skip
TEXTS = st.one_of(
    st.text(max_size=60),
    st.lists(st.sampled_from(FRAGMENTS), max_size=30).map("".join),
    st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.text(max_size=3)), max_size=20).map("".join),
)
BYTES = st.one_of(
    st.binary(max_size=60),
    TEXTS.map(str.encode).flatmap(lambda data: st.integers(0, len(data)).map(lambda cut: data[cut:])),
    st.tuples(TEXTS, st.binary(max_size=4), TEXTS).map(lambda t: t[0].encode() + t[1] + t[2].encode()),
)
RUNS = ["a", "ab", " ", "\n", " \n", "中", "😀", "1", "'", "'s", "!", "é", "\u3000"]


def byte_of() -> dict[str, int]:
    """GPT-2's alphabet: printable Latin-1 stands for itself, the other bytes follow from U+0100."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(b): b for b in printable} | {chr(0x100 + i): b for i, b in enumerate(others)}


BYTE_OF = byte_of()


def their_pieces(tokenizer: Tokenizer, text: str) -> list[bytes]:
    assert tokenizer.pre_tokenizer is not None
    pieces = tokenizer.pre_tokenizer.pre_tokenize_str(text)
    return [bytes(BYTE_OF[character] for character in piece) for piece, _ in pieces]


def test_every_code_point_is_of_the_class_it_has_there(pair: Any) -> None:
    # Planes 4 to 13 are unassigned, 15 and 16 private: a corner of each will do.
    codes = [*range(0xD800), *range(0xE000, 0x40000), *range(0xE0000, 0xE1000), 0xF0000, 0x10FFFF]
    text = "".join(map(chr, codes))
    assert pair.ours.pre_tokenize(text) == their_pieces(pair.theirs, text)


@given(text=TEXTS)
def test_pieces(pair: Any, text: str) -> None:
    assert pair.ours.pre_tokenize(text) == their_pieces(pair.theirs, text)


@given(text=TEXTS)
def test_ids(pair: Any, text: str) -> None:
    assert pair.ours.encode(text).tolist() == pair.theirs.encode(text).ids


@given(data=BYTES)
def test_bytes_that_are_not_utf8_are_read_as_python_reads_them(pair: Any, data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    assert pair.ours.encode(data).tolist() == pair.theirs.encode(text).ids


@pytest.mark.parametrize("run", RUNS, ids=ascii)
def test_long_runs(pair: Any, run: str) -> None:
    for text in (run * 3000, "x" + run * 3000 + "y", " " + run * 97):
        assert pair.ours.encode(text).tolist() == pair.theirs.encode(text).ids


@pytest.mark.parametrize("run", ["a", " \n", "中", "1", "'s"], ids=ascii)
def test_a_run_of_a_million_takes_no_quadratic_time(pair: Any, run: str) -> None:
    text = run * (1_000_000 // len(run.encode()))
    assert pair.round_trip(text) == pair.text(text)


@given(text=TEXTS)
def test_text_survives_the_round_trip(pair: Any, text: str) -> None:
    assert pair.round_trip(text) == pair.text(text)


@given(ids=st.lists(st.integers(0, 1499), max_size=40), skip_special=st.booleans())
def test_decoding(pair: Any, ids: list[int], skip_special: bool) -> None:
    decoded = pair.ours.decode(ids, skip_special).decode("utf-8", "replace")
    assert decoded == pair.theirs.decode(ids, skip_special_tokens=skip_special)


@given(ids=st.lists(st.integers(0, 1499), max_size=40), skip_special=st.booleans())
def test_a_stream_is_cut_between_characters_only(pair: Any, ids: list[int], skip_special: bool) -> None:
    stream = _C.StreamDecoder(pair.ours, skip_special)
    pieces = [stream.push(id) for id in ids]
    text = "".join(pieces) + stream.finish()
    assert text == pair.ours.decode(ids, skip_special).decode("utf-8", "replace")
    assert stream.finish() == ""


@pytest.fixture(scope="module")
def real_texts() -> list[str]:
    """Some of the standard library's sources."""
    files = sorted(Path(sysconfig.get_path("stdlib")).glob("b*.py"))
    texts = [file.read_text(encoding="utf-8") for file in files]
    assert sum(map(len, texts)) > 50_000
    return texts


def test_real_files(pair: Any, real_texts: list[str]) -> None:
    for text in real_texts:
        assert pair.ours.encode(text).tolist() == pair.theirs.encode(text).ids


def test_a_batch_is_the_same_for_any_number_of_threads(pair: Any, real_texts: list[str]) -> None:
    texts: list[str | bytes] = [*real_texts, "", b"\xff\x00", *FRAGMENTS]
    expected = [pair.ours.encode(text).tolist() for text in texts]
    for threads in (1, 2, 5):
        assert [ids.tolist() for ids in pair.ours.encode_batch(texts, threads)] == expected


def test_one_tokenizer_serves_many_threads(pair: Any, real_texts: list[str]) -> None:
    expected = [pair.ours.encode(text).tolist() for text in real_texts]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(2):
            results = pool.map(pair.ours.encode, real_texts)
            assert [ids.tolist() for ids in results] == expected


@pytest.fixture(scope="module")
def smollm2(smollm2_gguf: Path) -> Tokenizer:
    """The tokenizer that transformers makes of the GGUF file."""
    from transformers import AutoTokenizer

    loaded = AutoTokenizer.from_pretrained(str(smollm2_gguf.parent), gguf_file=smollm2_gguf.name)
    backend: Tokenizer = loaded.backend_tokenizer
    return backend


def test_a_real_tokenizer(smollm2: Tokenizer, real_texts: list[str]) -> None:
    ours = _C.Tokenizer.from_json(smollm2.to_str())
    fragments = ["".join(FRAGMENTS[i:] + FRAGMENTS[:i]) for i in range(len(FRAGMENTS))]
    chat = "<|im_start|>system\nYou are helpful.<|im_end|>\n<|im_start|>user\n1234 + 5?<|im_end|>\n"
    for text in [*real_texts, *fragments, chat, *RUNS]:
        ids = ours.encode(text, add_special=True).tolist()
        assert ids == smollm2.encode(text).ids
        assert ours.decode(ids) == text.encode()
        assert ours.decode(ids, skip_special=True).decode() == smollm2.decode(ids)
