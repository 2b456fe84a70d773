import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from castline.cli.recipe import CORPUS_TABLES, read_tables
from castline.errors import RecipeError
from castline.recipe import Table, apply_overrides, parse, read_toml


class Inner(Table):
    steps: int = 1
    rate: float = 0.5


class Item(Table):
    name: str


class Outer(Table):
    inner: Inner = Inner()
    items: tuple[Item, ...] = ()
    limit: int | None = None


def test_all_mistakes_are_told_at_once_with_their_paths() -> None:
    values = {"inner": {"stepps": 3, "rate": "fast"}, "items": [{"name": "a"}, {"nam": "b"}], "zzz": 1}
    with pytest.raises(RecipeError) as caught:
        parse(Outer, values, "r.toml")
    message = str(caught.value)
    assert message.startswith("r.toml: 5 mistakes")
    assert "inner.stepps: unknown key; did you mean 'steps'?" in message
    assert "inner.rate: " in message
    assert "'fast'" in message
    assert "items.1.name: a value is required" in message
    assert "items.1.nam: unknown key; did you mean 'name'?" in message
    assert "zzz: unknown key; known keys: inner, items, limit" in message


def test_overrides_are_toml_or_text_and_reach_into_lists() -> None:
    values = {"items": [{"name": "a"}, {"name": "b"}]}
    changed = apply_overrides(values, ["inner.steps=7", "items.1.name=c d", "limit = 3", "inner.rate=0.25"])
    outer = parse(Outer, changed, "r")
    assert outer == Outer(inner=Inner(steps=7, rate=0.25), items=(Item(name="a"), Item(name="c d")), limit=3)


@pytest.mark.parametrize(
    ("override", "part"),
    [("steps", "KEY=VALUE"), ("=3", "KEY=VALUE"), ("items.5.name=x", "an index below 2"), ("limit.x=1", "not a table")],
)
def test_overrides_that_make_no_sense(override: str, part: str) -> None:
    values = {"items": [{"name": "a"}, {"name": "b"}], "limit": 3}
    with pytest.raises(RecipeError, match=part):
        apply_overrides(values, [override])


@given(st.binary(max_size=200))
def test_any_bytes_are_a_recipe_or_a_recipe_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("recipe") / "r.toml"
    path.write_bytes(data)
    with contextlib.suppress(RecipeError):
        read_tables(path, CORPUS_TABLES, None)


def test_tables_of_other_stages_are_known_but_not_read(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text("seed = 3\n[train]\nnonsense = 1\n[dedup]\nexact = true\n")
    assert read_tables(path, CORPUS_TABLES, ["mix.tokens=5"]) == {
        "seed": 3,
        "dedup": {"exact": True},
        "mix": {"tokens": 5},
    }
    path.write_text("[tokeniser]\nvocab_size = 3\n")
    with pytest.raises(RecipeError, match="did you mean 'tokenizer'"):
        read_tables(path, CORPUS_TABLES, None)


def test_missing_recipe_and_folder(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no such file"):
        read_toml(tmp_path / "none.toml")
    with pytest.raises(RecipeError, match="a folder"):
        read_toml(tmp_path)
