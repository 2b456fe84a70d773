"""What `castline score` does: ids or text in, log-probabilities out, from a package or a checkpoint."""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from castline.errors import DataError
from castline.files import read_json

Backend = Literal["auto", "cpu", "tensorrt"]


@dataclass(frozen=True)
class Ids:
    """Token ids to score: the sequences, and whether the file held one list or a list of lists."""

    sequences: list[list[int]]
    nested: bool


@dataclass(frozen=True)
class Text:
    """Text to score, and where it came from."""

    text: str
    where: str


@dataclass(frozen=True)
class Scored:
    """Natural log-probabilities (the first token of a sequence has none), tokens read, perplexity."""

    logprobs: list[float | None] | list[list[float | None]]
    tokens: int
    perplexity: float


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


def read_text(path: Path | None) -> Text:
    """Read UTF-8 text from a file, or from standard input when `path` is None.

    Raises:
        DataError: the file is missing, empty or not UTF-8.
    """
    where = str(path) if path is not None else "standard input"
    try:
        data = path.read_bytes() if path is not None else sys.stdin.buffer.read()
        text = data.decode()
    except OSError as error:
        raise DataError(f"cannot read {where}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"expected UTF-8 text in {where}, but byte {error.start} is not") from None
    if not text:
        raise DataError(f"expected text in {where}, but it is empty")
    return Text(text, where)


def score(model: Path, source: Ids | Text, *, backend: Backend = "auto", threads: int = 0) -> Scored:
    """Score `source` under a package (through its engine) or a checkpoint (through PyTorch).

    Text longer than the model's context is scored in windows of that length, each on its own.

    Raises:
        DataError: the folder is neither; an id is outside the vocabulary; a sequence is longer than the
            context; text is given to a model without a tokenizer; there are fewer than two tokens.
    """
    scorer: _Scorer
    if (model / "package.json").exists():
        scorer = _PackageScorer(model, backend, threads)
    else:
        scorer = _CheckpointScorer(model, threads)
    if isinstance(source, Ids):
        sequences = source.sequences
        for ids in sequences:
            _check(ids, scorer)
    else:
        ids = scorer.encode(source)
        sequences = [ids[i : i + scorer.max_context] for i in range(0, len(ids), scorer.max_context)]
    rows: list[list[float | None]] = [[None, *scorer.logprobs(ids)] for ids in sequences]
    values = [value for row in rows for value in row if value is not None]
    if not values:
        raise DataError("expected at least two tokens to score, but found fewer")
    nested = isinstance(source, Ids) and source.nested
    return Scored(
        logprobs=rows if nested else [value for row in rows for value in row],
        tokens=sum(len(ids) for ids in sequences),
        perplexity=math.exp(-math.fsum(values) / len(values)),
    )


def _check(ids: list[int], scorer: "_Scorer") -> None:
    if len(ids) > scorer.max_context:
        raise DataError(f"expected at most {scorer.max_context} ids (the model's context), but got {len(ids)}")
    if max(ids) >= scorer.vocab_size:
        raise DataError(f"expected ids below {scorer.vocab_size} (the vocabulary), but got {max(ids)}")


class _Scorer(Protocol):
    vocab_size: int
    max_context: int

    def encode(self, source: Text) -> list[int]: ...

    def logprobs(self, ids: Sequence[int]) -> list[float]: ...


class _PackageScorer:
    def __init__(self, package: Path, backend: Backend, threads: int) -> None:
        from castline._C import Engine
        from castline.compile.package import check_files, read_manifest

        check_files(package, read_manifest(package))
        self._where = package
        self._engine = Engine(package, backend=backend, threads=threads)
        info = self._engine.info()
        self.vocab_size: int = info["vocab_size"]
        self.max_context: int = info["max_context"]

    def encode(self, source: Text) -> list[int]:
        if self._engine.tokenizer is None:
            raise DataError(f"{self._where} has no tokenizer, so it scores token ids only: --ids FILE")
        return [int(i) for i in self._engine.tokenizer.encode(source.text, add_special=True)]

    def logprobs(self, ids: Sequence[int]) -> list[float]:
        return [float(value) for value in self._engine.score(ids)] if len(ids) > 1 else []


class _CheckpointScorer:
    def __init__(self, checkpoint: Path, threads: int) -> None:
        import torch

        from castline.model.checkpoint import load_decoder

        if threads:
            torch.set_num_threads(threads)
        self._where = checkpoint
        self._decoder = load_decoder(checkpoint)
        self.vocab_size: int = self._decoder.config.vocab_size
        self.max_context: int = self._decoder.config.max_position_embeddings

    def encode(self, source: Text) -> list[int]:
        from castline._C import Tokenizer

        path = self._where / "tokenizer.json"
        if not path.exists():
            raise DataError(f"{self._where} has no tokenizer.json, so it scores token ids only: --ids FILE")
        return [int(i) for i in Tokenizer(path).encode(source.text, add_special=True)]

    def logprobs(self, ids: Sequence[int]) -> list[float]:
        from castline.model.score import token_logprobs

        return [float(value) for value in token_logprobs(self._decoder, ids)] if len(ids) > 1 else []
