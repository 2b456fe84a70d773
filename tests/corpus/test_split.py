"""Held-out documents: whole clusters, about the share asked for, the same whatever else is in the corpus."""

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from castline.corpus import split


def held_out(clusters: list[str], sources: npt.NDArray[np.object_], share: float, seed: int) -> npt.NDArray[np.bool_]:
    names, cluster = np.unique(clusters, return_inverse=True)
    return split.held_out(names, cluster, sources, share, seed)


WEB = np.full(20_000, "web", dtype=object)
ROWS = st.lists(st.tuples(st.integers(0, 12).map("c{}".format), st.sampled_from("ab")), max_size=40)


@given(rows=ROWS, share=st.floats(0.0, 0.9), seed=st.integers(0, 5))
def test_clusters_are_whole_and_no_source_is_empty(rows: list[tuple[str, str]], share: float, seed: int) -> None:
    clusters, sources = [row[0] for row in rows], np.array([row[1] for row in rows], dtype=object)
    chosen = held_out(clusters, sources, share, seed)
    assert chosen.shape == (len(rows),)
    of_cluster: dict[str, set[bool]] = {}
    for name, flag in zip(clusters, chosen.tolist(), strict=True):
        of_cluster.setdefault(name, set()).add(flag)
    assert all(len(flags) == 1 for flags in of_cluster.values())
    if share == 0.0:
        assert not chosen.any()


@given(count=st.integers(2, 40), share=st.floats(0.001, 0.999), seed=st.integers(0, 5))
def test_a_source_has_documents_on_both_sides(count: int, share: float, seed: int) -> None:
    chosen = held_out([f"c{n}" for n in range(count)], WEB[:count], share, seed)
    assert 1 <= chosen.sum() <= count - 1


def test_the_share_is_about_what_was_asked() -> None:
    names = [f"c{n}" for n in range(20_000)]
    chosen = held_out(names, WEB[: len(names)], 0.05, seed=1)
    assert abs(chosen.mean() - 0.05) < 4 * np.sqrt(0.05 * 0.95 / len(names))
    other = held_out(names, WEB[: len(names)], 0.05, seed=2)
    assert (chosen != other).any()


def test_a_choice_does_not_change_when_documents_come() -> None:
    names = [f"c{n}" for n in range(2000)]
    few = held_out(names[:1000], WEB[:1000], 0.1, seed=0)
    many = held_out(names, WEB[:2000], 0.1, seed=0)
    assert np.array_equal(few, many[:1000])
