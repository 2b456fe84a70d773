"""Tokenizers trained here with Hugging Face's trainer: the oracle, and ours read from its file."""

import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import settings
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from castline import _C

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace("{1,3}", "")

SENTENCES = """
It's the year 2024, and they'll say: "We've 1,234,567 reasons I'd DON'T know!"  (see  §4.2)
人工智能的发展速度很快，很多人认为它会改变世界。今天是2024年5月17日，星期五。
Съешь же ещё этих мягких французских булок, да выпей чаю. ¿Dónde está el baño? Où êtes-vous?
日本語のテキストです。カタカナとひらがな。 한국어 문장입니다. สวัสดีชาวโลก مرحبا بالعالم ١٢٣
😀😃👩‍👩‍👧‍👦🏳️‍🌈 👍🏽 e\u0301 a\u0308 \u00a0 \u3000 \t\ttabs\r\nand   spaces   \n\n\n  end
"""


settings.register_profile("castline", deadline=None)  # a busy machine is no failure
settings.load_profile("castline")


@dataclass(frozen=True)
class Pair:
    """The same tokenizer twice."""

    theirs: Tokenizer
    ours: _C.Tokenizer
    adds_spaces: bool = False

    def text(self, text: str) -> bytes:
        """What must come back when `text` was encoded and decoded; without spaces if some are added."""
        if self.theirs.normalizer is not None:
            text = self.theirs.normalizer.normalize_str(text)
        return text.encode().replace(b" ", b"") if self.adds_spaces else text.encode()

    def round_trip(self, text: str) -> bytes:
        """`text` encoded and decoded by ours, in the form that `text` gives."""
        decoded = self.ours.decode(self.ours.encode(text))
        return decoded.replace(b" ", b"") if self.adds_spaces else decoded


def byte_level(
    *before: pre_tokenizers.PreTokenizer, add_prefix_space: bool = False, use_regex: bool = False
) -> pre_tokenizers.PreTokenizer:
    """The steps in `before`, then the byte-level one."""
    last = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space, use_regex=use_regex)
    return pre_tokenizers.Sequence([*before, last]) if before else last


def split(pattern: str) -> pre_tokenizers.PreTokenizer:
    """A splitting pattern as llama and qwen files write it."""
    return pre_tokenizers.Split(Regex(pattern), "isolated")


PRE_TOKENIZERS = {
    "gpt2": byte_level(use_regex=True),
    "gpt2-prefix-space": byte_level(use_regex=True, add_prefix_space=True),
    "gpt2-as-split": byte_level(split(GPT2)),
    "llama3": byte_level(split(LLAMA3)),
    "llama3-removed": byte_level(pre_tokenizers.Split(Regex(LLAMA3), "removed", invert=True)),
    "qwen2": byte_level(split(QWEN2)),
    "smollm2": byte_level(pre_tokenizers.Digits(individual_digits=True), use_regex=True),
    "digit-runs": byte_level(pre_tokenizers.Digits(), add_prefix_space=True),
    "llama3-then-gpt2": byte_level(split(LLAMA3), use_regex=True, add_prefix_space=True),
    "whole": byte_level(),
}


def training_text() -> list[str]:
    """English, code and other scripts, the same on every machine with the same Python."""
    code = inspect.getsource(textwrap) + inspect.getsource(inspect)
    return [*SENTENCES.splitlines(keepends=True), *code.splitlines(keepends=True)]


@pytest.fixture(scope="session")
def train() -> Callable[[pre_tokenizers.PreTokenizer], Tokenizer]:
    """Trains a small vocabulary over the whole byte alphabet, with two special tokens."""

    def run(pre_tokenizer: pre_tokenizers.PreTokenizer) -> Tokenizer:
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizer
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=1500,
            special_tokens=["<|endoftext|>", "<|im_start|>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator(training_text(), trainer)
        return tokenizer

    return run


@pytest.fixture(scope="session", params=list(PRE_TOKENIZERS))
def pair(request: pytest.FixtureRequest, train: Callable[[pre_tokenizers.PreTokenizer], Tokenizer]) -> Pair:
    """One tokenizer for each way to cut text that is supported."""
    theirs = train(PRE_TOKENIZERS[request.param])
    if request.param == "qwen2":
        theirs.normalizer = normalizers.NFC()
    text = theirs.to_str()
    return Pair(theirs, _C.Tokenizer.from_json(text), '"add_prefix_space":true' in text.partition('"decoder"')[0])
