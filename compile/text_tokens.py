"""Tokens of text for the proof of a package, and for calibrating its weights.

A proof runs over held-out tokens of the model's own corpus where they can be had. In this order: a text the
user names; the held-out part of the corpus that the checkpoint's `castline.json` names; a sample text that
comes with castline; random ids, for a checkpoint without a tokenizer. Weights are calibrated on a text the user
names, or on what the checkpoint was trained on.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from castline import _C
from castline.corpus.shards import open_shards
from castline.errors import CompileError
from castline.files import read_json, sha256_file

SEQUENCE_TOKENS = 256
_FEWEST_TOKENS = 64
_SAMPLE = Path(__file__).with_name("sample.txt")

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class TextTokens:
    """Equally long sequences of token ids [sequences, length], and where they are from."""

    ids: Ids
    source: str


class _Stream(NamedTuple):
    """Tokens in a row, read by range, so that a long one stays on the disk."""

    tokens: int
    read: Callable[[int, int], NDArray[Any]]


def proof_tokens(checkpoint: Path, *, tokens: int, context: int, vocab_size: int, text: Path | None) -> TextTokens:
    """Choose the tokens of a proof.

    Args:
        checkpoint: the checkpoint's folder
        tokens: how many there should be
        context: no sequence is longer than this (nor than 256)
        vocab_size: ids must be below
        text: a text file of the user's

    Raises:
        CompileError: the text is too short, there is no tokenizer for it, or an id is outside the vocabulary.
    """
    tokenizer = checkpoint / "tokenizer.json"
    if text is not None:
        streams, source = [_named_text(checkpoint, text, "a proof")], f"text {text.name}"
    elif held_out := _corpus_streams(checkpoint, held_out=True):
        streams, source = held_out, "held-out tokens of the corpus"
    elif tokenizer.is_file():
        streams, source = [_encode(tokenizer, _SAMPLE)], "castline's sample text"
    else:
        random = np.random.default_rng(0).integers(0, vocab_size, tokens + SEQUENCE_TOKENS)
        streams, source = [_stream(random)], "random ids"
    return _chosen(checkpoint, streams, source, tokens, context, vocab_size)


def calibration_tokens(
    checkpoint: Path, *, tokens: int, context: int, vocab_size: int, text: Path | None
) -> TextTokens | None:
    """Choose the tokens to calibrate on; None where there is no text.

    Args:
        checkpoint: the checkpoint's folder
        tokens: how many there should be
        context: no sequence is longer than this (nor than 256)
        vocab_size: ids must be below
        text: a text file of the user's, or jsonl with a `text` per line

    Raises:
        CompileError: the text is too short, there is no tokenizer for it, or an id is outside the vocabulary.
    """
    if text is not None:
        streams, source = [_named_text(checkpoint, text, "calibration")], f"text {text.name}"
    elif trained_on := _corpus_streams(checkpoint, held_out=False):
        streams, source = trained_on, "training tokens of the corpus"
    else:
        return None
    return _chosen(checkpoint, streams, source, tokens, context, vocab_size)


def _chosen(
    checkpoint: Path, streams: list[_Stream], source: str, tokens: int, context: int, vocab_size: int
) -> TextTokens:
    ids = _sequences(streams, tokens, min(context, SEQUENCE_TOKENS))
    if ids.max() >= vocab_size:
        raise CompileError(
            f"{checkpoint}: expected token ids below the vocabulary's {vocab_size}, but got {ids.max()}; "
            "the tokenizer or corpus belongs to another model"
        )
    return TextTokens(ids, source)


def _named_text(checkpoint: Path, text: Path, purpose: str) -> _Stream:
    tokenizer = checkpoint / "tokenizer.json"
    if not tokenizer.is_file():
        raise CompileError(f"{purpose} over {text} needs a tokenizer, but {checkpoint} has no tokenizer.json")
    stream = _encode(tokenizer, text)
    if stream.tokens < _FEWEST_TOKENS:
        raise CompileError(
            f"{text}: expected {_FEWEST_TOKENS} tokens or more for {purpose}, but it has {stream.tokens}"
        )
    return stream


def _stream(ids: NDArray[Any]) -> _Stream:
    return _Stream(len(ids), lambda start, end: ids[start:end])


def _encode(tokenizer: Path, text: Path) -> _Stream:
    try:
        data = text.read_bytes()
    except OSError as error:
        raise CompileError(f"cannot read the text {text}: {error.strerror}") from None
    return _stream(_C.Tokenizer(tokenizer).encode(_texts_of_jsonl(text, data) if text.suffix == ".jsonl" else data))


def _texts_of_jsonl(path: Path, data: bytes) -> bytes:
    texts = []
    for number, line in enumerate(data.splitlines(), start=1):
        try:
            texts.append(json.loads(line)["text"].encode())
        except (ValueError, KeyError, TypeError, AttributeError):
            raise CompileError(
                f"{path}:{number}: expected an object with a string `text`, but got something else"
            ) from None
    return b"\n\n".join(texts)


def _corpus_streams(checkpoint: Path, *, held_out: bool) -> list[_Stream]:
    """Tokens of the corpus a checkpoint was trained on, if it is still there: held out, by source, or the others."""
    provenance = checkpoint / "castline.json"
    if not provenance.is_file():
        return []
    corpus = read_json(provenance).get("corpus")
    if not corpus:
        return []
    folder = (checkpoint / corpus["path"]).resolve()
    if not all((folder / name).is_file() for name in ("manifest.json", "shards/manifest.json")):
        return []
    if sha256_file(folder / "manifest.json") != corpus["manifest_sha256"]:
        return []
    shards = open_shards(folder)
    splits = [shards.split(name) for name in shards.held_out] if held_out else [shards.split("train")]
    return [_Stream(len(split), split.read) for split in splits if len(split)]


def _sequences(streams: list[_Stream], tokens: int, length: int) -> Ids:
    """Sequences spread evenly over every stream, the streams in turn; shorter than `length` if all are."""
    length = min(length, max(stream.tokens for stream in streams))
    streams = [stream for stream in streams if stream.tokens >= length]
    wanted = -(-tokens // length)
    shares = [len(range(index, wanted, len(streams))) for index in range(len(streams))]
    chosen = []
    for stream, share in zip(streams, shares, strict=True):
        count = min(share, stream.tokens // length)
        starts = np.linspace(0, stream.tokens - length, count).astype(int)
        chosen += [stream.read(start, start + length) for start in starts.tolist()]
    return np.stack(chosen).astype(np.int64)
