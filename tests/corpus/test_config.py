"""The corpus tables: defaults, partial changes to a rule, and mistakes."""

from typing import Any

import pytest

from castline.corpus.config import CorpusConfig
from castline.errors import RecipeError
from castline.recipe import parse


def recipe(**tables: Any) -> CorpusConfig:
    return parse(CorpusConfig, {"sources": [{"name": "notes", "path": "notes"}], **tables}, "recipe.toml")


def test_sources_are_enough() -> None:
    config = recipe()
    assert config.sources[0].weight == 1.0
    assert config.sources[0].field == "text"


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"rules": {"gopher_quality": {"wrods": {"min": 1}}}}, r"did you mean 'words'\?"),
        ({"rules": {"gopher_quality": {"words": {"mn": 1}}}}, r"words.mn: unknown key; did you mean 'min'\?"),
        ({"rules": {"gopher_quality": {"words": {"min": 200_000}}}}, "min ≤ max"),
        ({"dedup": {"treshold": 0.5}}, r"did you mean 'threshold'\?"),
        ({"sources": []}, "sources"),
        ({"sources": [{"name": "a", "path": "x"}, {"name": "a", "path": "y"}]}, "a name of its own"),
        ({"sources": [{"name": "../a", "path": "x"}]}, "names a folder"),
    ],
)
def test_mistakes_are_explained(tables: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        recipe(**tables)
