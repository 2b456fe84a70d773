"""n-grams of evaluation data are counted as plain Python counts them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from castline import _C


def words(text: str) -> list[str]:
    return [token.lower() for token in _C.tokens(text) if any(character.isalnum() for character in token)]


def ngrams(text: str, length: int) -> list[tuple[str, ...]]:
    found = words(text)
    return [tuple(found[at : at + length]) for at in range(len(found) - length + 1)]


def oracle(text: str, records: list[str], ngram: int, least: int) -> tuple[int, int, int]:
    of_record = []
    for record in records:
        count = len(words(record))
        of_record.append(set(ngrams(record, min(count, ngram))) if count >= least else set())
    places = set()
    shared = [0] * len(records)
    for length in {len(gram) for grams in of_record for gram in grams}:
        mine = ngrams(text, length)
        places |= {at for at, gram in enumerate(mine) if any(gram in grams for grams in of_record)}
        for number, grams in enumerate(of_record):
            shared[number] += len(set(mine) & grams)
    most = max(shared, default=0)
    return len(places), shared.index(most) if most else -1, most


WORDS = st.lists(st.sampled_from(["a", "B", "b", "c", "中", "文,", "é", "."]), max_size=25).map(" ".join)


@settings(max_examples=300, deadline=None)
@given(WORDS, st.lists(WORDS, min_size=1, max_size=4), st.integers(1, 5), st.data())
def test_the_same_numbers_as_plain_counting(text: str, records: list[str], ngram: int, data: st.DataObject) -> None:
    least = data.draw(st.integers(1, ngram))
    index = _C.ContaminationIndex(records, np.arange(len(records)), ngram, least)
    ngrams, record, shared = index.find([text])
    assert (ngrams[0], record[0], shared[0]) == oracle(text, records, ngram, least)


def test_several_texts_make_a_record() -> None:
    index = _C.ContaminationIndex(["a b c d", "e f g", "x y z"], np.array([0, 0, 1]), ngram=3, least=3)
    assert index.record_ngrams == [3, 1]
    ngrams, record, shared = index.find(["x y z e f g", "Z, A B; C! d", "nothing"], threads=2)
    assert ngrams.tolist() == [2, 2, 0]
    assert record.tolist() == [0, 0, -1]
    assert shared.tolist() == [1, 2, 0]


def test_lengths_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected 1 <= least <= ngram, but got least 9 and ngram 8"):
        _C.ContaminationIndex(["a"], np.array([0]), ngram=8, least=9)
    with pytest.raises(ValueError, match="expected a record for each of 2 texts, but got 1"):
        _C.ContaminationIndex(["a", "b"], np.array([0]))
