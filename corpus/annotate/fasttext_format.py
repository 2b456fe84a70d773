"""The layout of a fastText model file, checked from end to end.

fastText trusts its files: it crashes, or asks for any amount of memory, on one that is damaged. So nothing reaches
it that does not add up. The layout is that of fastText's own `saveModel` (version 12, little-endian): arguments,
dictionary, pruned buckets, input matrix (plain or product-quantised), output matrix.
"""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from castline.errors import DataError

MAGIC = 793712314
VERSIONS = (11, 12)
SUPERVISED = 3
HIERARCHICAL = 1  # the loss whose tree is built from the labels' counts
_CENTROIDS = 256
_LARGEST_COUNT = 10**15


class _DamagedError(Exception):
    """Something in the file that cannot be; the message says what was expected."""


def check_classifier(path: Path) -> list[str]:
    """Check that `path` is a whole fastText classifier; returns its labels without their prefix.

    Raises:
        DataError: it is missing, is not a fastText classifier, or is damaged.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read the fastText model {path}: {error.strerror}") from None
    try:
        return _File(data).classifier()
    except _DamagedError as damage:
        raise DataError(
            f"{path}: expected a fastText classifier (.bin or .ftz), but {damage}; "
            "`castline corpus classifier train` makes one"
        ) from None


class _File:
    """A file read from front to back; whatever does not add up raises `_DamagedError`."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def classifier(self) -> list[str]:
        if len(self._data) < 8 or struct.unpack_from("<i", self._data)[0] != MAGIC:
            raise _DamagedError("it does not begin like one")
        (version,) = self._take("<4xi")
        _expect(version in VERSIONS, f"its version is {version}, not {VERSIONS[-1]}")
        *arguments, _ = self._take("<12id")
        dim, _, _, _, _, word_ngrams, loss, model, bucket, minn, maxn, _ = arguments
        _expect(model == SUPERVISED, "it holds word vectors, not a classifier")
        _expect(0 < dim <= 65_536, f"its vectors have {dim} dimensions")
        _expect(1 <= loss <= 4, f"its loss is number {loss}")
        _expect(0 <= minn <= maxn <= 64 and 1 <= word_ngrams <= 64, "its n-gram lengths cannot be")
        _expect(bucket > 0 or (bucket == 0 and maxn == 0 and word_ngrams == 1), f"it has {bucket} buckets")
        words, labels, pruned = self._dictionary(loss)
        quantised = self._flag()
        rows = words + (bucket if pruned < 0 else pruned)
        self._quantised_matrix(rows, dim) if quantised else self._matrix(rows, dim)
        quantised_output = self._flag()
        if quantised and quantised_output:
            self._quantised_matrix(len(labels), dim)
        else:
            self._matrix(len(labels), dim)
        _expect(self._at == len(self._data), f"it goes on for {len(self._data) - self._at} bytes behind its end")
        return labels

    def _dictionary(self, loss: int) -> tuple[int, list[str], int]:
        """Number of words, labels, and number of pruned buckets (-1: all are kept)."""
        size, words, labels, _, pruned = self._take("<3i2q")
        _expect(labels > 0 and words >= 0 and words + labels == size, f"it has {words} words and {labels} labels")
        names: list[str] = []
        counts: list[int] = []
        for number in range(size):
            end = self._data.find(b"\0", self._at)
            _expect(end >= 0, "it ends inside the dictionary")
            entry = self._data[self._at : end]
            self._at = end + 1
            count, kind = self._take("<qb")
            _expect(kind == (number >= words), "words and labels are mixed up")
            if kind == 1:
                _expect(entry.startswith(b"__label__"), "a label lacks its prefix")
                names.append(entry.removeprefix(b"__label__").decode("utf-8", "replace"))
                counts.append(count)
        in_order = counts == sorted(counts, reverse=True) and counts[-1] >= 0 and counts[0] < _LARGEST_COUNT
        _expect(loss != HIERARCHICAL or in_order, "its labels are not in order")
        _expect(-1 <= pruned <= len(self._data), f"it keeps {pruned} buckets")
        if pruned > 0:
            pairs = self._array("<i4", 2 * pruned).reshape(-1, 2)
            _expect(bool((pairs >= 0).all() and (pairs[:, 1] < pruned).all()), "its kept buckets are not its own")
        return words, names, pruned

    def _matrix(self, rows: int, columns: int) -> None:
        _expect(self._take("<2q") == (rows, columns), "a matrix has not the size it needs")
        values = self._array("<f4", rows * columns)
        _expect(bool(np.isfinite(values).all()), "a matrix holds values that are no numbers")

    def _quantised_matrix(self, rows: int, columns: int) -> None:
        with_norms = self._flag()
        (*shape, codes) = self._take("<2qi")
        _expect(shape == [rows, columns], "a quantised matrix has not the size it needs")
        self._array("u1", codes)
        parts = self._quantiser(columns)
        _expect(codes == rows * parts, f"a quantised matrix has {codes} codes")
        if with_norms:
            self._array("u1", rows)
            _expect(self._quantiser(1) == 1, "its norms have more than one part")

    def _quantiser(self, columns: int) -> int:
        """The number of codes per row."""
        dim, parts, width, last = self._take("<4i")
        fits = dim == columns and 0 < width <= dim and parts == -(-dim // width) and last == (dim % width or width)
        _expect(fits, "a quantiser does not fit its matrix")
        values = self._array("<f4", dim * _CENTROIDS)
        _expect(bool(np.isfinite(values).all()), "a quantiser holds values that are no numbers")
        return int(parts)

    def _flag(self) -> bool:
        (value,) = self._take("<B")
        _expect(value in (0, 1), f"a switch is {value}")
        return value == 1

    def _take(self, layout: str) -> tuple[int, ...]:
        size = struct.calcsize(layout)
        _expect(self._at + size <= len(self._data), f"it ends after {len(self._data)} bytes")
        values = struct.unpack_from(layout, self._data, self._at)
        self._at += size
        return values

    def _array(self, kind: str, count: int) -> npt.NDArray[Any]:
        size = count * np.dtype(kind).itemsize
        _expect(0 <= size <= len(self._data) - self._at, f"it ends after {len(self._data)} bytes")
        values = np.frombuffer(self._data, kind, count, self._at)
        self._at += size
        return values


def _expect(condition: bool, damage: str) -> None:
    if not condition:
        raise _DamagedError(damage)
