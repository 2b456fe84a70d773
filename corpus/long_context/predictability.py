"""The perplexity filter: by how many nats per token a segment makes the next one more predictable.

For neighbouring segments a and b of a document: mean over the tokens of b of ln p(token | a, b before it) minus
ln p(token | b before it). A text that goes on from what came before gains; a collection of unrelated pieces does not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from castline import _C
from castline.corpus.encode import TokenFiles
from castline.corpus.measure import Part
from castline.corpus.selected import selected_table
from castline.corpus.shards import token_dtype
from castline.corpus.split import TRAIN
from castline.errors import DataError
from castline.files import sha256_file

BACKGROUND_TOKENS = 8_000_000
CONTEXT_NEEDED = 16


@dataclass(frozen=True)
class LongDocument:
    """A document to score: its row among the selected ones of its part, and its text."""

    id: str
    row: int
    text: str


class Scorer(Protocol):
    """Scores documents of a part."""

    def gains(self, part: Part, documents: Sequence[LongDocument]) -> list[float]:
        """The mean gain of the scored pairs of each document; 0 where it is too short for one."""


def segment_pairs(tokens: int, size: int, most: int) -> npt.NDArray[np.int64]:
    """At most `most` pairs of neighbouring segments of `size` tokens, spread evenly over so many tokens.

    Returns:
        For every pair where the first segment starts, the second one starts, and that one ends: shape [pairs, 3].
        A text too short for one pair is divided in half.
    """
    size = min(size, tokens // 2)
    count = tokens // size - 1 if size else 0
    first = np.unique(np.linspace(0, count - 1, min(most, count)).astype(np.int64)) if count else np.empty(0, np.int64)
    return np.stack([first * size, (first + 1) * size, (first + 2) * size], axis=1)


def scorer_identity(scorer: str | Path, base: Path) -> str:
    """What the scores depend on besides the corpus: "ngram", or the hash of the package's manifest.

    Raises:
        DataError: the path names no package.
    """
    if scorer == "ngram":
        return "ngram"
    manifest = base / scorer / "package.json"
    if not manifest.is_file():
        raise DataError(
            f"expected long_context.scorer to name a castline package or to be 'ngram', but found no {manifest}; "
            "`castline compile` makes packages"
        )
    return sha256_file(manifest)


class NgramScorer:
    """The built-in model, over the corpus's own tokens.

    Its background is trained on training documents of the corpus, in two halves by document id: each document is
    scored by the half that does not hold it.
    """

    def __init__(self, out: Path, parts: Sequence[Part], vocab_size: int, pairs: tuple[int, int], threads: int) -> None:
        """`pairs` are the size of a segment in tokens and the most pairs of a document."""
        self._out = out
        self._dtype = token_dtype(vocab_size)
        self._pairs = pairs
        self._threads = threads
        self._halves = (_C.NgramModel(vocab_size), _C.NgramModel(vocab_size))
        tables = {part.name: selected_table(out, part) for part in parts}
        lengths = {part.name: self._lengths(part) for part in parts}
        share = BACKGROUND_TOKENS / max(sum(int(length.sum()) for length in lengths.values()), 1)
        for part in parts:
            tokens = self._tokens(part)
            ends = np.cumsum(lengths[part.name])
            rows = zip(tables[part.name]["id"].to_pylist(), tables[part.name]["split"].to_pylist(), strict=True)
            for row, (identity, split) in enumerate(rows):
                if split == TRAIN and int(identity[:13], 16) < share * 16**13:
                    self._halves[_half(identity)].add(tokens[ends[row] - lengths[part.name][row] : ends[row] - 1])

    def gains(self, part: Part, documents: Sequence[LongDocument]) -> list[float]:
        """See `Scorer`."""
        tokens, lengths = self._tokens(part), self._lengths(part)
        ends = np.cumsum(lengths)
        result = []
        for document in documents:
            end = int(ends[document.row])
            own = tokens[end - int(lengths[document.row]) : end - 1]
            other_half = self._halves[1 - _half(document.id)]
            gains = other_half.context_gains(own, segment_pairs(len(own), *self._pairs), threads=self._threads)
            result.append(float(gains.mean()) if len(gains) else 0.0)
        return result

    def _lengths(self, part: Part) -> npt.NDArray[np.int64]:
        return np.load(TokenFiles.of(self._out, part.name).counts)[:, 0]  # type: ignore[no-any-return]

    def _tokens(self, part: Part) -> npt.NDArray[Any]:
        path = TokenFiles.of(self._out, part.name).tokens
        return np.memmap(path, dtype=self._dtype, mode="r") if path.stat().st_size else np.empty(0, self._dtype)


class PackageScorer:
    """The model of a castline package, through the C++ runtime; it reads texts with its own tokenizer."""

    def __init__(self, package: Path, pairs: tuple[int, int], threads: int) -> None:
        """`pairs` are the size of a segment in tokens (less where the context does not hold two) and the most pairs.

        Raises:
            DataError: the package is damaged, or has no tokenizer, or a context too small.
        """
        self._engine = _C.Engine(package, threads=threads)
        if self._engine.tokenizer is None:
            raise DataError(f"{package}: expected a package with a tokenizer to score texts, but it has none")
        self._tokenizer = self._engine.tokenizer
        context = int(self._engine.info()["max_context"])
        if context < CONTEXT_NEEDED:
            raise DataError(f"{package}: expected a context of at least {CONTEXT_NEEDED} tokens, but it has {context}")
        self._pairs = (min(pairs[0], context // 2), pairs[1])

    def gains(self, part: Part, documents: Sequence[LongDocument]) -> list[float]:
        """See `Scorer`."""
        del part
        return [self._gain(self._tokenizer.encode(document.text)) for document in documents]

    def _gain(self, ids: npt.NDArray[np.uint32]) -> float:
        gains = []
        for start, middle, end in segment_pairs(len(ids), *self._pairs).tolist():
            together = self._engine.score(ids[start:end])[
                middle - start :
            ]  # without b's first token: alone, it has none
            alone = self._engine.score(ids[middle:end])
            gains.append(float(np.mean(together.astype(np.float64) - alone)))
        return sum(gains) / len(gains) if gains else 0.0


def _half(identity: str) -> int:
    return int(identity[-1], 16) % 2
