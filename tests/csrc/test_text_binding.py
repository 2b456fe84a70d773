"""The text core as Python sees it: types, shapes, arguments, errors."""

from pathlib import Path

import numpy as np
import pytest

from castline import _C
from castline.errors import DataError, DeviceError

TEXT = "The quick brown fox, and that's it... 你好，世界。\n\n- item\n"


def test_measure_gives_one_typed_column_per_measurement() -> None:
    columns = _C.measure([TEXT, TEXT.encode(), b""], threads=2)
    assert tuple(columns) == _C.MEASUREMENTS
    assert len(set(_C.MEASUREMENTS)) == len(_C.MEASUREMENTS)
    for name, column in columns.items():
        is_share = name.endswith(("_fraction", "_ratio", "_diversity", "_per_sentence")) or name.startswith("mean_")
        assert column.dtype == (np.float64 if is_share else np.int64), name
        assert column.shape == (3,)
        assert column[0] == column[1], name
        assert column[2] == 0, name


def test_texts_may_be_any_iterable_and_hold_lone_surrogates() -> None:
    columns = _C.measure(text for text in ["a\ud800b", "ab"])
    assert columns["characters"].tolist() == [5, 2]
    assert columns["invalid_bytes"].tolist() == [3, 0]


@pytest.mark.parametrize("call", [_C.measure, _C.minhash, _C.content_hashes])
def test_a_text_that_is_none_is_refused(call: object) -> None:
    assert callable(call)
    with pytest.raises(TypeError, match="str or bytes, but got int"):
        call([TEXT, 3])


def test_unknown_kind_and_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="kind 'text' or 'code', but got 'prose'"):
        _C.minhash([TEXT], kind="prose")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="1 to 4096 permutations, but got 0"):
        _C.minhash([TEXT], permutations=0)
    with pytest.raises(ValueError, match="threshold above 0"):
        _C.DuplicateIndex(threshold=1.5)
    with pytest.raises(ValueError, match="enough permutations"):
        _C.choose_bands(0.1, 2, 0.99)
    with pytest.raises(ValueError, match=r"hash for each of 1 texts, but got 2"):
        _C.DuplicateIndex().add([TEXT], contents=np.zeros((2, 2), np.uint64))
    with pytest.raises(ValueError, match=r"expected hashes \[n, 2\]"):
        _C.DuplicateIndex().add([TEXT], contents=np.zeros(2, np.uint64))


def test_an_index_file_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="expected a readable file"):
        _C.find_duplicates([str(tmp_path / "missing")])
    (tmp_path / "other").write_bytes(b"something else" * 100)
    with pytest.raises(DataError, match="expected an index of documents"):
        _C.find_duplicates([str(tmp_path / "other")])
