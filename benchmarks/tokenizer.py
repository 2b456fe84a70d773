"""Claim: the C++ tokenizer encodes at least twice as fast as tiktoken, with the same ids.

    pip install tiktoken
    python benchmarks/tokenizer.py FILE...            (UTF-8 text; one row of the table per file)

For each splitting pattern a vocabulary is trained on all the files. castline, tiktoken and Hugging Face
tokenizers then encode every file, cut into documents at blank lines, one thread each, in turns; speeds are in
megabytes per second of processor time, the median of the rounds. "first" is a tokenizer of ours that has
encoded nothing before: it remembers words, the others do not. All three get the same merges, and their ids
are compared. The ceiling is a look at every character and a hash of it, and no more.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tiktoken
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from castline import _C

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
)
PATTERNS = {"gpt2": GPT2, "llama3": LLAMA3}

Encode = Callable[[list[str]], Sequence[Sequence[int] | npt.NDArray[np.uint32]]]


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


def hash_all(texts: list[str]) -> Sequence[npt.NDArray[np.uint32]]:
    """Class and hash every character; one text at a time, as the encoders get them."""
    for text in texts:
        _C.content_hashes([text])
    return []


def seconds(encode: Encode, documents: list[str]) -> float:
    """Processor time to encode all documents."""
    start = time.process_time()
    encode(documents)
    return time.process_time() - start


def compare(name: str, pattern: str, corpora: dict[str, list[str]], vocab_size: int, rounds: int) -> None:
    """Print the rows of one splitting pattern."""
    theirs = train(pattern, [document for documents in corpora.values() for document in documents], vocab_size)
    ours = _C.Tokenizer.from_json(theirs.to_str())
    encoding = to_tiktoken(pattern, ours)
    encoders: dict[str, Encode] = {
        "first": lambda texts: list(map(_C.Tokenizer.from_json(theirs.to_str()).encode, texts)),
        "castline": lambda texts: list(map(ours.encode, texts)),
        "tiktoken": lambda texts: list(map(encoding.encode_ordinary, texts)),
        "tokenizers": lambda texts: [theirs.encode(text).ids for text in texts],
    }
    loading = statistics.median(seconds(encoders["first"], []) for _ in range(rounds))
    for stem, documents in corpora.items():
        megabytes = sum(len(document.encode()) for document in documents) / 1e6
        times: dict[str, list[float]] = {encoder: [] for encoder in encoders}
        for _ in range(rounds):
            for encoder, encode in encoders.items():
                times[encoder].append(seconds(encode, documents))
        speed = {encoder: megabytes / statistics.median(values) for encoder, values in times.items()}
        speed["first"] = megabytes / (statistics.median(times["first"]) - loading)
        expected = encoders["tiktoken"](documents)
        same = all(
            list(map(list, encoders[encoder](documents))) == expected for encoder in ("first", "castline", "tokenizers")
        )
        cells = " | ".join(f"{speed[encoder]:.1f}" for encoder in encoders)
        ratio = speed["castline"] / speed["tiktoken"]
        ceiling = megabytes / statistics.median(seconds(hash_all, documents) for _ in range(rounds))
        share = speed["castline"] / ceiling
        ids = "same" if same else "DIFFER"
        print(f"| {name} | {stem} | {megabytes:.1f} | {cells} | {ratio:.1f} | {share:.0%} | {ids} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--vocab-size", type=int, default=32_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()

    corpora = {path.stem: path.read_text(encoding="utf-8").split("\n\n") for path in arguments.files}
    names = ("pattern", "text", "MB", "castline, first", "castline", "tiktoken", "tokenizers", "× tiktoken")
    print(f"| {' | '.join(names)} | of the ceiling | ids |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name, pattern in PATTERNS.items():
        compare(name, pattern, corpora, arguments.vocab_size, arguments.rounds)


if __name__ == "__main__":
    main()
