"""Shingle sets and their similarity, plainly: what the search for near duplicates is held against."""

from array import array
from typing import Literal

import numpy as np
import regex

from castline import _C

Kind = Literal["text", "code"]
Shingles = set[tuple[str, ...]]

UPPER = regex.compile(r"[\p{Lu}\p{Lt}]")
CONTENT = regex.compile(r"[\p{L}\p{N}\p{Script=Han}]")


def lower(match: regex.Match[str]) -> str:
    """A letter in lower case, where that is one letter."""
    one = match[0].lower()
    return one if len(one) == 1 else match[0]


def shingles(text: str, kind: Kind = "text") -> Shingles:
    """The sets that similarities are defined on: five words in a row, or all words of a shorter text."""
    words = _C.tokens(text, kind)
    if kind == "text":
        words = [UPPER.sub(lower, word) for word in words if CONTENT.search(word)]
    if 0 < len(words) < 5:
        return {tuple(words)}
    return {tuple(words[i : i + 5]) for i in range(len(words) - 4)}


def jaccard(a: Shingles, b: Shingles) -> float:
    """The size of the intersection over that of the union; one of both has an element."""
    common = len(a & b)
    return common / (len(a) + len(b) - common)


def similar_pairs(sets: list[Shingles], threshold: float) -> dict[tuple[int, int], float]:
    """All pairs whose similarity reaches the threshold, with it: brute force over the documents of every shingle."""
    documents: dict[tuple[str, ...], array[int]] = {}
    sizes = np.array([len(one) for one in sets])
    found: dict[tuple[int, int], float] = {}
    for second, one in enumerate(sets):
        met = [np.frombuffer(documents[shingle], np.intc) for shingle in one if shingle in documents]
        if met:
            common = np.bincount(np.concatenate(met), minlength=second)
            similarity = common / (sizes[:second] + len(one) - common)
            found.update(((int(i), second), float(similarity[i])) for i in np.flatnonzero(similarity >= threshold))
        del met  # an array that is looked at cannot grow
        for shingle in one:
            documents.setdefault(shingle, array("i")).append(second)
    return found
