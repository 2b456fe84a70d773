"""Frequent characters as tokens of their own, wherever they stand.

BPE over bytes learns tokens that begin or end inside a character, and leaves many Chinese characters in pieces. So the
merges that build the covered characters out of their bytes come first. Such a merge joins a lead byte with a
continuation, or what that made with the next one: it never crosses a character, so nothing comes between. All
later merges are learnt on whole characters.
"""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from castline import _C

Counts = npt.NDArray[np.int64]

CODE_POINTS = 0x110000
ASCII = 0x80
BATCH = 256
DEFAULT_COVERAGE = 0.999
# Blocks of Han characters: unified ideographs, extensions A to J, compatibility ideographs, 〇 and 々.
HAN = ((0x3005, 0x3008), (0x3400, 0x4DC0), (0x4E00, 0xA000), (0xF900, 0xFB00), (0x20000, 0x323B0))
SCRIPTS = ("han", "other")


def count_characters(texts: Iterable[str], counts: Counts | None = None) -> Counts:
    """How often each code point beyond ASCII occurs: shape [0x110000]. Adds to `counts`, where given."""
    counts = np.zeros(CODE_POINTS, np.int64) if counts is None else counts
    remaining = iter(texts)
    while batch := list(itertools.islice(remaining, BATCH)):
        _C.count_characters(batch, counts)
    return counts


def sparse(counts: Counts) -> Counts:
    """The characters that occur, with their counts: shape [characters, 2]."""
    points = np.flatnonzero(counts)
    return np.stack([points, counts[points]], axis=1)


def add_sparse(counts: Counts, found: Counts) -> None:
    """Add what `sparse` made of other counts."""
    counts[found[:, 0]] += found[:, 1]


def of_script(script: str) -> npt.NDArray[np.bool_]:
    """Which code points belong to "han", or to "other": everything else beyond ASCII."""
    han = np.zeros(CODE_POINTS, bool)
    for start, end in HAN:
        han[start:end] = True
    if script == "han":
        return han
    han[:ASCII] = True
    return ~han


def choose_characters(counts: Counts, share: float) -> list[str]:
    """Of each script the most frequent characters that make up `share` of its occurrences, most frequent first."""
    chosen: list[int] = []
    for script in SCRIPTS:
        points = np.flatnonzero(of_script(script) & (counts > 0))
        points = points[np.argsort(-counts[points], kind="stable")]
        covered = np.cumsum(counts[points])
        if share > 0 and len(points):
            chosen += points[: int(np.searchsorted(covered, share * covered[-1])) + 1].tolist()
    return [chr(point) for point in sorted(chosen, key=lambda point: (-counts[point], point))]


def as_many_as_fit(characters: list[str], tokens: int) -> list[str]:
    """The longest beginning of `characters` whose tokens, those of shared lead bytes included, are at most `tokens`."""
    known: set[bytes] = set()
    for number, character in enumerate(characters):
        known.update(_beginnings(character))
        if len(known) > tokens:
            return characters[:number]
    return characters


def byte_merges(characters: list[str]) -> list[tuple[bytes, bytes]]:
    """The merges that build the characters out of their bytes, each once, shorter results first."""
    made = sorted({beginning for character in characters for beginning in _beginnings(character)}, key=_by_length)
    return [(made_of[:-1], made_of[-1:]) for made_of in made]


def _beginnings(character: str) -> list[bytes]:
    """The first two, three, … bytes of a character, itself included."""
    encoded = character.encode()
    return [encoded[:end] for end in range(2, len(encoded) + 1)]


def _by_length(made: bytes) -> tuple[int, bytes]:
    return len(made), made


@dataclass(frozen=True)
class Coverage:
    """Of one script: how many different characters the text has, how many are one token, and their share of it."""

    characters: int
    single_tokens: int
    share: float  # of the occurrences; 1.0 where there are none


def measure_coverage(tokenizer: _C.Tokenizer, counts: Counts) -> dict[str, Any]:
    """Which characters a tokenizer encodes as one token, by script: `Coverage` as plain values."""
    result = {}
    for script in SCRIPTS:
        points = np.flatnonzero(of_script(script) & (counts > 0))
        encoded = tokenizer.encode_batch([chr(point) for point in points.tolist()], threads=1)
        single = np.array([len(ids) == 1 for ids in encoded], dtype=bool)
        total = int(counts[points].sum())
        share = int(counts[points][single].sum()) / total if total else 1.0
        result[script] = vars(Coverage(len(points), int(single.sum()), share))
    return result
