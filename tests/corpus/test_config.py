"""The corpus tables: defaults, partial changes to a rule, and mistakes."""

from typing import Any

import pytest

from castline.corpus.config import Bounds, CorpusConfig, Rule
from castline.errors import RecipeError
from castline.recipe import parse


def recipe(**tables: Any) -> CorpusConfig:
    return parse(CorpusConfig, {"sources": [{"name": "notes", "path": "notes"}], **tables}, "recipe.toml")


def rules(config: CorpusConfig, kind: str, language: str) -> dict[str, Bounds]:
    return {rule.name: rule.bounds for rule in config.rules.for_documents(kind, language)}


def test_sources_are_enough() -> None:
    config = recipe()
    assert config.sources[0].weight == 1.0
    assert config.sources[0].field == "text"


def test_rules_follow_kind_and_language() -> None:
    config = recipe()
    assert "gopher_quality.english_stop_words" in rules(config, "text", "en")
    assert "gopher_quality.english_stop_words" not in rules(config, "text", "fr")
    assert "gopher_quality.mean_word_length" not in rules(config, "text", "zh")
    assert "chinese_quality.words" in rules(config, "text", "zh")
    assert all(name.startswith("code_quality.") for name in rules(config, "code", "python"))
    assert "code_quality.max_line_length" not in rules(config, "code", "markdown")
    assert rules(config, "chat", "en") == {}


def test_a_recipe_changes_one_bound_and_keeps_the_rest() -> None:
    config = recipe(
        rules={
            "gopher_quality": {"words": {"min": 10}, "english_stop_words": False},
            "gopher_repetition": {"enabled": False},
        }
    )
    english = config.rules.for_documents("text", "en")
    assert english[0] == Rule("gopher_quality.words", "words", Bounds(min=10, max=100_000))
    names = [rule.name for rule in english]
    assert "gopher_quality.english_stop_words" not in names
    assert not any(name.startswith("gopher_repetition") for name in names)


@pytest.mark.parametrize(
    ("value", "allowed"), [(49, False), (50, True), (100_000, True), (100_001, False), (float("nan"), False)]
)
def test_bounds_are_inclusive(value: float, allowed: bool) -> None:
    assert Bounds(min=50, max=100_000).allow(value) is allowed


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
