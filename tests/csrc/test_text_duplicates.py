"""MinHash and near-duplicates against brute force over the shingle sets themselves."""

import random
import signal
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasketch import MinHash, MinHashLSH
from hypothesis import given, settings
from hypothesis import strategies as st
from shingles import Kind, jaccard, shingles, similar_pairs

from castline import _C


@dataclass(frozen=True)
class Found:
    """What a search gave; pairs are (first, second, similarity)."""

    pairs: list[tuple[int, int, float]]
    clusters: list[int]


def index_of(texts: Sequence[str], kind: Kind = "text", threads: int = 1, threshold: float = 0.7) -> bytes:
    index = _C.DuplicateIndex(threshold)
    index.add(texts, kind, threads=threads)
    return bytes(index)


def search(indexes: Sequence[bytes], **options: Any) -> Found:
    """Search the documents of index files."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / str(number) for number in range(len(indexes))]
        for path, index in zip(paths, indexes, strict=True):
            path.write_bytes(index)
        first, second, similarity, clusters = _C.find_duplicates([str(path) for path in paths], **options)
    return Found(list(zip(first.tolist(), second.tolist(), similarity.tolist(), strict=True)), clusters.tolist())


def find(texts: Sequence[str], kind: Kind = "text", threshold: float = 0.7) -> list[tuple[int, int, float]]:
    return search([index_of(texts, kind, threshold=threshold)], threshold=threshold).pairs


def prose(rng: random.Random, words: int) -> list[str]:
    return [f"w{rng.randrange(5000)}" for _ in range(words)]


def edited(rng: random.Random, words: list[str], share: float) -> list[str]:
    return [f"x{rng.randrange(10**6)}" if rng.random() < share else word for word in words]


@pytest.fixture(scope="module")
def real_documents() -> list[str]:
    """Licences (many nearly the same), package descriptions and sources."""
    packages = Path(np.__file__).parent.parent
    paths = [
        *sorted(packages.glob("*/licenses/*")),
        *sorted(packages.glob("*/METADATA"))[::2],
        *sorted(packages.glob("numpy/**/*.py"))[::6],
    ]
    paths = [path for path in paths if path.is_file() and path.stat().st_size < 20_000]
    return [path.read_text("utf-8", "replace") for path in paths[:400]]


def test_brute_force_on_real_documents(real_documents: list[str]) -> None:
    sets = [shingles(text) for text in real_documents]
    true_pairs = similar_pairs(sets, 0.7)
    assert len(true_pairs) > 50
    found = search([index_of(real_documents)])
    assert {(i, j): similarity for i, j, similarity in found.pairs}.items() <= true_pairs.items()
    assert found.pairs == sorted(found.pairs)
    assert len(found.pairs) == len(sets) - len(set(found.clusters)), "a forest: no pair too many, none too few"
    together = sum(found.clusters[i] == found.clusters[j] for i, j in true_pairs)
    assert together >= 0.95 * len(true_pairs)


@pytest.mark.slow
def test_brute_force_on_five_thousand_real_documents() -> None:
    """Descriptions, licences and sources of the installed packages and of Python itself."""
    packages, library = Path(np.__file__).parent.parent, Path(random.__file__).parent
    prose = [path for pattern in ("*/METADATA", "*/licenses/*") for path in sorted(packages.glob(pattern))]
    code = [*sorted(library.glob("[a-r]*/*.py")), *sorted(packages.glob("*/**/*.py"))]
    kinds: dict[Kind, list[str]] = {
        kind: [path.read_text("utf-8", "replace") for path in paths if path.is_file() and path.stat().st_size < 50_000]
        for kind, paths in (("text", prose), ("code", code[: 6500 - len(prose)]))
    }
    index = _C.DuplicateIndex()
    sets = []
    for kind, texts in kinds.items():
        index.add(texts, kind)
        sets += [shingles(text, kind) for text in texts]
    assert len(sets) >= 5000
    first_code = len(kinds["text"])
    true_pairs = {
        pair: similarity
        for pair, similarity in similar_pairs(sets, 0.7).items()
        if (pair[0] < first_code) == (pair[1] < first_code)
    }
    found = search([bytes(index)], memory=10_000_000)
    assert {(i, j): similarity for i, j, similarity in found.pairs}.items() <= true_pairs.items(), "false pairs"
    together = sum(found.clusters[i] == found.clusters[j] for i, j in true_pairs)
    print(f"{len(sets)} documents: {together} of {len(true_pairs)} true pairs in one cluster")
    assert len(true_pairs) > 200
    assert together >= 0.95 * len(true_pairs)


def test_recall_at_the_threshold_and_precision_below_it() -> None:
    rng = random.Random(7)
    texts = []
    for _ in range(400):
        words = prose(rng, 120)
        texts += [" ".join(words), " ".join(edited(rng, words, 0.034))]  # near 0.7: 5-grams double an edit's effect
    sets = [shingles(text) for text in texts]
    similar = [jaccard(sets[i], sets[i + 1]) for i in range(0, len(sets), 2)]
    true = sum(s >= 0.7 for s in similar)
    assert 120 < true < 320, "the sample should lie on both sides of the threshold"
    found = {(i, j) for i, j, _ in find(texts)}
    assert found <= {(2 * k, 2 * k + 1) for k, s in enumerate(similar) if s >= 0.7}
    assert len(found) >= 0.97 * true


@pytest.mark.parametrize("share", [0.01, 0.05, 0.1])
def test_signatures_estimate_jaccard_without_bias_and_as_precisely_as_independent_hashes(share: float) -> None:
    rng = random.Random(11)
    texts, true = [], []
    for _ in range(300):
        words = prose(rng, rng.randrange(20, 400))
        texts += [" ".join(words), " ".join(edited(rng, words, share))]
        true.append(jaccard(shingles(texts[-2]), shingles(texts[-1])))
    signatures = _C.minhash(texts)
    estimate = (signatures[0::2] == signatures[1::2]).mean(axis=1)
    exact = np.array(true)
    sigma = np.sqrt(exact * (1 - exact) / 128)
    varied = sigma > 0
    z = (estimate[varied] - exact[varied]) / sigma[varied]
    assert abs(z.mean()) < 4 / np.sqrt(len(z))
    assert 0.8 < z.std() < 1.2
    assert (estimate[~varied] == exact[~varied]).all()


def test_estimates_agree_with_datasketch(real_documents: list[str]) -> None:
    texts = real_documents[:60]
    ours = _C.minhash(texts)
    theirs = []
    sets = [shingles(text) for text in texts]
    for one in sets:
        theirs.append(MinHash(num_perm=128))
        theirs[-1].update_batch([" ".join(shingle).encode() for shingle in one])
    differences = []
    for i, j in combinations(range(len(texts)), 2):
        exact = jaccard(sets[i], sets[j])
        bound = 5 * np.sqrt(max(exact * (1 - exact), 0.01) / 128)
        assert abs((ours[i] == ours[j]).mean() - exact) <= bound
        assert abs(theirs[i].jaccard(theirs[j]) - exact) <= bound
        differences.append((ours[i] == ours[j]).mean() - theirs[i].jaccard(theirs[j]))
    assert abs(np.mean(differences)) < 0.005


def test_every_instruction_set_gives_the_same_signatures(
    real_documents: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    best = _C.minhash(real_documents[:80], permutations=100)
    monkeypatch.setenv("CASTLINE_CPU", "scalar")
    np.testing.assert_array_equal(_C.minhash(real_documents[:80], permutations=100), best)
    np.testing.assert_array_equal(_C.minhash(real_documents[:80], permutations=7), best[:, :7])


@pytest.mark.parametrize("memory", [10_000, 1_000_000])
def test_neither_threads_nor_files_nor_memory_change_the_result(real_documents: list[str], memory: int) -> None:
    texts = real_documents * 2
    whole = search([index_of(texts)])
    assert len(whole.pairs) > len(real_documents)
    assert index_of(texts, threads=3) == index_of(texts)
    parts = [index_of(part) for part in (texts[:1], texts[1:300], [], texts[300:])]
    assert search(parts, threads=2, memory=memory) == whole


def test_signatures_and_content_hashes_do_not_depend_on_threads(real_documents: list[str]) -> None:
    np.testing.assert_array_equal(_C.minhash(real_documents, threads=3), _C.minhash(real_documents))
    np.testing.assert_array_equal(_C.content_hashes(real_documents, threads=3), _C.content_hashes(real_documents))


def test_later_documents_against_those_searched_before(real_documents: list[str]) -> None:
    texts = real_documents[::2] + real_documents[1:100] + real_documents[51:80:2]  # copies on both sides, and later
    middle = len(real_documents[::2])
    parts = [index_of(texts[:middle]), index_of(texts[middle:])]
    before = search(parts[:1])
    later = search(parts, known=np.array(before.clusters))
    assert later.clusters == search(parts).clusters
    assert {second >= middle for _, second, _ in later.pairs} == {True}
    assert {first >= middle for first, _, _ in later.pairs} == {True, False}


def test_signals_are_seen_during_a_search(tmp_path: Path) -> None:
    (tmp_path / "index").write_bytes(index_of([f"document {i} {i} {i} {i}" for i in range(30_000)]))
    seen = []
    old = signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        _C.find_duplicates([str(tmp_path / "index")])
        during = len(seen)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert during > 1, "signals that wait for the end of the call are seen once"


LONG = "A near duplicate is a document that shares most of its word sequences with another document, says who? "


def test_case_punctuation_and_white_space_hide_no_duplicate() -> None:
    shouted = LONG.upper().replace(",", " --").replace(" ", "\n\t")
    assert find([LONG, shouted]) == [(0, 1, 1.0)]
    assert find([LONG, shouted], kind="code") == []


def test_short_and_empty_documents() -> None:
    texts = ["", "  ", "...", "one two", "One, two!", "one two three", "one", "one", "a b c d e", "a b c d e f", ""]
    assert find(texts) == [(3, 4, 1.0), (6, 7, 1.0)]
    assert (_C.minhash(["", "...", "  "]) == 2**32 - 1).all()


def test_chinese_characters_are_words() -> None:
    text = "大语言模型的预训练数据来自网页、书籍和代码，这些数据在训练之前需要经过清洗和去重。" * 3
    other = "今天天气很好，我们一起去公园散步，看见了许多美丽的花朵和高大的树木。" * 3
    changed = text.replace("，", "。").replace("代码", "代碼", 1)
    pairs = find([text, other, changed])
    assert [(i, j) for i, j, _ in pairs] == [(0, 2)]
    assert pairs[0][2] == jaccard(shingles(text), shingles(changed)) < 1


def test_text_and_code_do_not_meet() -> None:
    texts = ["alpha beta gamma delta epsilon zeta"]
    index = _C.DuplicateIndex()
    index.add(texts, "text")
    index.add(texts, "code")
    assert search([bytes(index)]).pairs == []
    index = _C.DuplicateIndex()
    for kind in ("text", "code"):
        index.add(texts, kind, _C.content_hashes(texts))  # type: ignore[arg-type]
    assert search([bytes(index)]).pairs == [(0, 1, 1.0)]
    assert search([bytes(index)], exact=False).pairs == []


def test_an_index_without_near_duplicates() -> None:
    texts = ["one two three", "one  two three", "one two three!", ""]
    index = _C.DuplicateIndex(near=False)
    index.add(texts, contents=_C.content_hashes(texts))
    assert (index.bands, len(index)) == (0, 4)
    assert search([bytes(index)]) == Found([(0, 1, 1.0)], [0, 0, 2, 3])


def test_code_tokens_are_identifiers_numbers_and_single_symbols() -> None:
    code = "def area(r):\n    return 3.14 * r ** 2\n"
    spaced = "def area( r ) :\n  return 3 . 14*r**2"
    assert find([code, spaced, code.replace("area", "Area")], kind="code", threshold=0.99) == [(0, 1, 1.0)]


def test_a_thousand_copies_give_a_star() -> None:
    pairs = find([LONG] * 1000 + [LONG + "more words at its end"])
    assert [(i, j) for i, j, _ in pairs] == [(0, j) for j in range(1, 1001)]


def test_content_hashes_see_everything_but_white_space() -> None:
    texts = ["a b", " a\t\n b\u3000", "a  b", "ab", "a b.", "A b", "", " \n", b"a b", b"a\xff", b"a\xfe", "a\ufffd"]
    hashes = [tuple(row) for row in _C.content_hashes(texts).tolist()]
    classes = [hashes.index(h) for h in hashes]
    assert classes == [0, 0, 0, 3, 4, 5, 6, 6, 0, 9, 9, 9]


@pytest.mark.parametrize(("threshold", "recall"), [(0.7, 0.98), (0.5, 0.9), (0.9, 0.999)])
def test_bands_have_the_recall_they_promise(threshold: float, recall: float) -> None:
    bands, rows = _C.choose_bands(threshold, 128, recall)
    index = _C.DuplicateIndex(threshold, 128, recall)
    assert (index.bands, index.rows) == (bands, rows)
    assert bands * rows <= 128
    assert 1 - (1 - threshold**rows) ** bands >= recall
    assert 1 - (1 - threshold ** (rows + 1)) ** (128 // (rows + 1)) < recall, "more rows would do"


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.9])
def test_bands_find_no_less_than_those_that_datasketch_chooses(threshold: float) -> None:
    theirs = MinHashLSH(threshold=threshold, num_perm=128)
    bands, rows = _C.choose_bands(threshold, 128, 0.98)
    for similarity in (threshold, (1 + threshold) / 2):
        assert 1 - (1 - similarity**rows) ** bands >= 1 - (1 - similarity**theirs.r) ** theirs.b


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from("abcd"), max_size=9).map(" ".join), max_size=12))
def test_clusters_are_connected_components(texts: list[str]) -> None:
    found = search([index_of(texts, threshold=0.5)], threshold=0.5)
    expected = list(range(len(texts)))
    for _ in texts:  # as many rounds as documents are enough to carry the smallest number along any path
        for i, j, _similarity in found.pairs:
            expected[i] = expected[j] = min(expected[i], expected[j])
    assert found.clusters == expected


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from("abc"), max_size=8).map(" ".join), max_size=12))
def test_exact_jaccard_of_any_pair(texts: list[str]) -> None:
    sets = [shingles(text) for text in texts]
    for i, j, similarity in find(texts, threshold=0.5):
        assert similarity == jaccard(sets[i], sets[j]) >= 0.5
