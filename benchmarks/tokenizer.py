"""Claim: the C++ tokenizer encodes at least twice as fast as tiktoken, with the same ids.

    pip install tiktoken
    python benchmarks/tokenizer.py FILE...            (UTF-8 text; one row of the table per file)

For each splitting pattern a vocabulary is trained on all the files. castline, tiktoken and Hugging Face
tokenizers then encode every file, cut into documents at blank lines, one thread each, in turns: the median of
the rounds counts. All three get the same merges, and their ids are compared.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tiktoken
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from castline import _C

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
)
PATTERNS = {"gpt2": GPT2, "llama3": LLAMA3}

Encode = Callable[[list[str]], list[list[int]]]


def train(pattern: str, texts: list[str], vocab_size: int) -> Tokenizer:
    """A byte-level BPE tokenizer trained with Hugging Face tokenizers."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def to_tiktoken(pattern: str, ours: _C.Tokenizer) -> tiktoken.Encoding:
    """The same vocabulary for tiktoken: Hugging Face numbers trained tokens in the order of their merges."""
    ranks = {ours.token_bytes(id): id for id in range(ours.vocab_size)}
    return tiktoken.Encoding("trained", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})


def timed(encode: Callable[[list[str]], object], documents: list[str]) -> float:
    """Seconds to encode all documents."""
    start = time.perf_counter()
    encode(documents)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--vocab-size", type=int, default=32_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()

    corpora = {path.stem: path.read_text(encoding="utf-8").split("\n\n") for path in arguments.files}
    everything = [document for documents in corpora.values() for document in documents]
    print("| pattern | text | MB | castline MB/s | tiktoken | tokenizers | × tiktoken | ids |")
    print("|---|---|---|---|---|---|---|---|")
    for name, pattern in PATTERNS.items():
        theirs = train(pattern, everything, arguments.vocab_size)
        ours = _C.Tokenizer.from_json(theirs.to_str())
        encoding = to_tiktoken(pattern, ours)
        encoders: dict[str, Callable[[list[str]], object]] = {
            "castline": lambda texts, t=ours: [t.encode(text) for text in texts],
            "tiktoken": lambda texts, t=encoding: [t.encode_ordinary(text) for text in texts],
            "tokenizers": lambda texts, t=theirs: [t.encode(text).ids for text in texts],
        }
        for stem, documents in corpora.items():
            same = all(
                np.array_equal(ours.encode(text), np.array(encoding.encode_ordinary(text), np.uint32))
                and np.array_equal(ours.encode(text), np.array(theirs.encode(text).ids, np.uint32))
                for text in documents
            )
            size = sum(len(document.encode()) for document in documents) / 1e6
            rounds = [
                {encoder: timed(encode, documents) for encoder, encode in encoders.items()}
                for _ in range(arguments.rounds)
            ]
            speed = {encoder: size / statistics.median(r[encoder] for r in rounds) for encoder in encoders}
            cells = " | ".join(f"{speed[encoder]:.1f}" for encoder in encoders)
            ratio = speed["castline"] / speed["tiktoken"]
            print(f"| {name} | {stem} | {size:.1f} | {cells} | {ratio:.1f} | {'same' if same else 'DIFFER'} |")


if __name__ == "__main__":
    main()
