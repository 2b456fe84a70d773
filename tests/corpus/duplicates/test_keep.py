"""The document that stays of a cluster, against a plain reading of the policy."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from castline.corpus.duplicates.config import DedupConfig
from castline.corpus.duplicates.keep import preferences, representatives
from castline.errors import RecipeError
from castline.recipe import parse

ROWS = st.fixed_dictionaries(
    {
        "cluster": st.integers(0, 3),
        "passed": st.booleans(),
        "bytes": st.integers(0, 3),
        "date": st.sampled_from([None, "2023-05-01T00:00:00Z", "2024-01-31T12:00:00Z"]),
        "score": st.sampled_from([None, -1.0, 0.25, 3.0]),
    }
)


def plainly_best(rows: list[dict[str, Any]], keep: str) -> dict[int, int]:
    """Per cluster with a document that passed, the number of the one that stays."""
    value = {
        "first": lambda row: (),
        "longest": lambda row: (row["bytes"],),
        "newest": lambda row: (row["date"] or "", row["bytes"]),
        "best": lambda row: (-np.inf if row["score"] is None else row["score"], row["bytes"]),
    }[keep]
    best: dict[int, int] = {}
    for number, row in enumerate(rows):
        stays = best.get(row["cluster"])
        if row["passed"] and (stays is None or value(row) > value(rows[stays])):
            best[row["cluster"]] = number
    return best


@given(st.lists(ROWS, min_size=1, max_size=12), st.sampled_from(["first", "longest", "newest", "best"]))
def test_the_policy(rows: list[dict[str, Any]], keep: str) -> None:
    config = DedupConfig(keep=keep, best_by="score" if keep == "best" else "")  # type: ignore[arg-type]
    schema = pa.schema({"bytes": pa.int64(), "date": pa.string(), "score": pa.float64()})
    middle = len(rows) // 2
    tables = [pa.Table.from_pylist(part, schema) for part in (rows[:middle], rows[middle:])]
    first_of = {row["cluster"]: number for number, row in reversed(list(enumerate(rows)))}
    cluster = np.array([first_of[row["cluster"]] for row in rows])
    passed = np.array([row["passed"] for row in rows])
    stays = representatives(cluster, passed, preferences(tables, config))
    for number, best in ((number, plainly_best(rows, keep).get(row["cluster"])) for number, row in enumerate(rows)):
        assert best is None or stays[number] == best


def test_a_column_that_only_some_parts_have() -> None:
    tables = [pa.table({"bytes": [9, 9]}), pa.table({"bytes": [1], "score": pa.array([1], pa.int8())})]
    ranks = preferences(tables, DedupConfig(keep="best", best_by="score"))[0]
    assert ranks[2] > ranks[0] == ranks[1]


def test_a_column_that_is_not_there() -> None:
    with pytest.raises(RecipeError, match="expected a measurement 'score', but this corpus has none"):
        preferences([pa.table({"bytes": [1]})], DedupConfig(keep="best", best_by="score"))
    with pytest.raises(RecipeError, match="a measurement of numbers, but 'id' holds string"):
        preferences([pa.table({"bytes": [1], "id": ["a"]})], DedupConfig(keep="best", best_by="id"))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"keep": "best"}, "expected best_by"),
        ({"best_by": "words"}, 'best_by holds for keep = "best" only'),
        ({"keep": "newset"}, "newest"),
    ],
)
def test_mistakes_in_the_recipe(table: dict[str, str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        parse(DedupConfig, table, "recipe.toml")
