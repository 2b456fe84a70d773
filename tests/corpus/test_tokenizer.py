"""The trained tokenizer: readable by others, the same ids everywhere, special tokens only where they are meant."""

import json
import re
import shutil
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from castline import _C
from castline.corpus.build import CorpusSummary, build_corpus
from castline.corpus.documents import Document, read_documents
from castline.corpus.special_tokens import SPECIAL_TOKENS
from castline.corpus.tokenization.encoder import SpecialCuts, TextEncoder
from castline.errors import DataError

from .conftest import configure


def texts(built: CorpusSummary, count: int) -> list[str]:
    paths = sorted((built.out / "documents").glob("*.zst"))
    return [document.text for path in paths for document in read_documents(path)][::count]


def document(text: str, kind: str) -> Document:
    return Document("", "", kind, "", "", 0, text)


def test_sizes_and_special_tokens(built: CorpusSummary) -> None:
    info = built.manifest["tokenizer"]
    tokenizer = _C.Tokenizer(built.out / "tokenizer.json")
    assert info["vocab_size"] == tokenizer.vocab_size == 2048
    assert info["merges"] + 256 + len(SPECIAL_TOKENS) + info["reserved"] == 2048
    assert [tokenizer.is_special(info["eos_id"] + n) for n in range(3)] == [True] * 3
    assert [tokenizer.token_bytes(info["eos_id"] + n).decode() for n in range(3)] == list(SPECIAL_TOKENS)
    assert sorted(tokenizer.token_bytes(n) for n in range(256)) == [bytes([n]) for n in range(256)]


def test_others_read_it_and_give_the_same_ids(built: CorpusSummary) -> None:
    ours = _C.Tokenizer(built.out / "tokenizer.json")
    reference = Tokenizer.from_file(str(built.out / "tokenizer.json"))
    chosen = [*texts(built, 9), "2024年, naïve café 🙂\r\n\n\t  x" * 3]
    for text, ids in zip(chosen, ours.encode_batch(chosen), strict=True):
        assert ids.tolist() == reference.encode(text).ids
        assert ours.decode(ids).decode() == text
    auto = AutoTokenizer.from_pretrained(built.out)
    assert auto.eos_token_id == built.manifest["tokenizer"]["eos_id"]
    assert auto(chosen[0])["input_ids"] == ours.encode(chosen[0]).tolist()
    chat = auto.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False, add_generation_prompt=True)
    assert chat == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"


def test_text_cannot_spell_a_special_token(built: CorpusSummary) -> None:
    tokenizer = _C.Tokenizer(built.out / "tokenizer.json")
    text = "a <|endoftext|> b <|im_start|><|reserved_3|> <<|im_end|>"
    special = {tokenizer.token_id(token) for token in SPECIAL_TOKENS}
    encoder = TextEncoder(built.out / "tokenizer.json", built.manifest["tokenizer"]["eos_id"])
    plain, chat = encoder([document(text, "text"), document(text, "chat")])
    assert not special & set(plain.tolist())
    assert special <= set(chat.tolist())
    assert tokenizer.decode(plain).decode() == text
    assert {number for number in chat.tolist() if tokenizer.is_special(number)} == special
    cuts = SpecialCuts([*SPECIAL_TOKENS, "[INST]", "x"])
    assert cuts("[[INST] <|im_end|> x") == ["[[", "INST] <", "|im_end|> x"]


@pytest.fixture
def sixteen_words(tmp_path: Path) -> Path:
    """A text of sixteen different words: few merges can be learnt from it."""
    words = [f"{first}{second}" for first in ("ka", "lo", "mi", "tu") for second in ("ren", "sol", "tav", "wix")]
    text = " ".join(words[n * n * n % 16] for n in range(2000))
    (tmp_path / "text.jsonl").write_text(json.dumps({"text": text}) + "\n")
    return tmp_path


def build_words(folder: Path, **tokenizer: int) -> CorpusSummary:
    rules = {name: {"enabled": False} for name in ("gopher_quality", "gopher_repetition", "text_form")}
    config = configure([{"name": "words", "path": "text.jsonl"}], rules=rules, tokenizer=tokenizer)
    return build_corpus(config, folder / "out", base=folder)


def test_a_vocabulary_larger_than_the_text_supports(sixteen_words: Path) -> None:
    with pytest.raises(DataError, match="vocabulary of 5,000 tokens") as caught:
        build_words(sixteen_words, vocab_size=5000)
    found = re.search(r"support only (\d+); set tokenizer.vocab_size to (\d+) or less", str(caught.value))
    assert found is not None
    reached, suggested = map(int, found.groups())
    assert build_words(sixteen_words, vocab_size=suggested).manifest["tokenizer"]["vocab_size"] >= suggested
    shutil.rmtree(sixteen_words / "out")
    info = build_words(sixteen_words, vocab_size=reached).manifest["tokenizer"]
    assert info["merges"] + 256 + len(SPECIAL_TOKENS) == reached
    assert info["vocab_size"] == -(-reached // 128) * 128
    shutil.rmtree(sixteen_words / "out")
    with pytest.raises(DataError, match="support only"):
        build_words(sixteen_words, vocab_size=reached + 1)


def test_the_default_size_fits_the_text(sixteen_words: Path) -> None:
    assert build_words(sixteen_words).manifest["tokenizer"]["vocab_size"] == 384
