"""Scoring text or token ids, for `castline score`: by a package through its engine, by a checkpoint through PyTorch."""

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from castline._C import Engine, Tokenizer
from castline.compile.one_file import is_one_file
from castline.compile.package import check_files, is_package, read_file, read_manifest
from castline.errors import DataError
from castline.files import read_json

BackendChoice = Literal["auto", "cpu", "tensorrt"]


@dataclass(frozen=True)
class Ids:
    """Token ids to score: the sequences, and whether the file held one list or a list of lists."""

    sequences: list[list[int]]
    nested: bool


@dataclass(frozen=True)
class Scored:
    """Natural log-probabilities (the first token of a sequence has none), tokens read, perplexity."""

    logprobs: list[float | None] | list[list[float | None]]
    tokens: int
    perplexity: float
    note: str = ""
    """Of a package: why "auto" did not take its TensorRT engine."""


def read_ids(path: Path) -> Ids:
    """Read a JSON list of token ids, or a list of such lists.

    Raises:
        DataError: the file is missing or holds anything else.
    """
    value = read_json(path)
    if isinstance(value, list) and value:
        if all(_is_id(item) for item in value):
            return Ids([value], nested=False)
        if all(isinstance(item, list) and item and all(_is_id(i) for i in item) for item in value):
            return Ids(value, nested=True)
    raise DataError(f"expected a JSON list of token ids (or a list of such lists, none empty) in {path}")


def _is_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def read_text(path: Path | None) -> str:
    """Read UTF-8 text from a file, or from standard input when `path` is None.

    Raises:
        DataError: the file is missing, empty or not UTF-8.
    """
    where = str(path) if path is not None else "standard input"
    try:
        text = (path.read_bytes() if path is not None else sys.stdin.buffer.read()).decode()
    except OSError as error:
        raise DataError(f"cannot read {where}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"expected UTF-8 text in {where}, but byte {error.start} is not") from None
    if not text:
        raise DataError(f"expected text in {where}, but it is empty")
    return text


def score(model: Path, source: Ids | str, *, backend: BackendChoice = "auto", threads: int = 0) -> Scored:
    """Score token ids or text under a package or a checkpoint.

    Text longer than the model's context is scored in windows of that length, each on its own.

    Args:
        model: a package or a checkpoint folder
        source: token ids, or text for the model's own tokenizer
        backend: of a package
        threads: of a package; 0: one per core

    Raises:
        PackageError, CheckpointError: the folder is damaged, or neither.
        DataError: an id is outside the vocabulary, a sequence is longer than the context, the model has no
            tokenizer for text, or there are fewer than two tokens.
    """
    package = is_package(model)
    context, vocabulary = _limits(model, package)
    if isinstance(source, Ids):
        sequences, nested = source.sequences, source.nested
    else:
        ids = _encode(model, source)
        sequences, nested = [ids[i : i + context] for i in range(0, len(ids), context)], False
    for sequence in sequences:
        if len(sequence) > context:
            raise DataError(f"expected at most {context} ids (the model's context), but got {len(sequence)}")
        if max(sequence) >= vocabulary:
            raise DataError(f"expected ids below {vocabulary} (the vocabulary), but got {max(sequence)}")
    if all(len(sequence) < 2 for sequence in sequences):
        raise DataError("expected at least two tokens to score, but found fewer")
    note = ""
    if package:
        engine = Engine(model, backend=backend, threads=threads)
        rows, note = _package_rows(engine, sequences), engine.info()["note"]
    else:
        rows = _checkpoint_rows(model, sequences)
    values = [value for row in rows for value in row if value is not None]
    return Scored(
        logprobs=rows if nested else [value for row in rows for value in row],
        tokens=sum(len(sequence) for sequence in sequences),
        perplexity=math.exp(-math.fsum(values) / len(values)),
        note=note,
    )


def _limits(model: Path, package: bool) -> tuple[int, int]:
    if package:
        manifest = read_manifest(model)
        check_files(model, manifest)
        return manifest.generation.max_context, manifest.model.vocab_size
    from castline.model.checkpoint import CheckpointReader

    config = CheckpointReader(model).config
    return config.max_position_embeddings, config.vocab_size


def _encode(model: Path, text: str) -> list[int]:
    here = read_manifest(model).tokenizer is not None if is_one_file(model) else (model / "tokenizer.json").is_file()
    if not here:
        raise DataError(f"{model} has no tokenizer.json, so it scores token ids only: --ids FILE")
    return [int(i) for i in Tokenizer.from_json(read_file(model, "tokenizer.json")).encode(text, add_special=True)]


def _package_rows(engine: Engine, sequences: list[list[int]]) -> list[list[float | None]]:
    return [
        [None, *(float(value) for value in engine.score(sequence))] if len(sequence) > 1 else [None]
        for sequence in sequences
    ]


def _checkpoint_rows(checkpoint: Path, sequences: list[list[int]]) -> list[list[float | None]]:
    from castline.model.score import score as score_checkpoint

    return score_checkpoint(checkpoint, sequences).logprobs
