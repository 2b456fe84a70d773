"""Rule sets: which documents they hold on, changes by a recipe, measurements that are not there."""

from typing import Annotated, Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ConfigDict

from castline import _C
from castline.corpus.rules.apply import apply_rules
from castline.corpus.rules.config import RulesConfig
from castline.corpus.rules.rule_set import Bounds, Documents, Rule, RuleSet, at_most
from castline.errors import DataError, RecipeError
from castline.recipe import parse


class Safety(RuleSet):
    """A set as a feature adds it: optional, with a rule for one language and rules that the recipe names."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Bounds]
    documents = Documents(kinds={"text"})
    optional: ClassVar[bool] = True
    column_prefix: ClassVar[str] = "safety_"
    blocked_words: Bounds = at_most(2)
    chinese_words: Annotated[Bounds, Documents(languages={"zh"})] = at_most(1)
    unused: Bounds = Bounds()


class WithSafety(RulesConfig):
    safety: Safety = Safety()


def rules(values: dict[str, Any], kind: str, language: str) -> dict[str, Bounds]:
    found = parse(RulesConfig, values, "recipe.toml").for_documents(kind, language, _C.MEASUREMENTS)
    return {rule.name: rule.bounds for rule in found}


def test_rules_follow_kind_and_language() -> None:
    assert "gopher_quality.english_stop_words" in rules({}, "text", "en")
    assert "gopher_quality.english_stop_words" not in rules({}, "text", "fr")
    assert "gopher_quality.mean_word_length" not in rules({}, "text", "zh")
    assert "chinese_quality.words" in rules({}, "text", "zh")
    assert all(name.startswith(("code_quality.", "handwritten_code.")) for name in rules({}, "code", "python"))
    assert "code_quality.max_line_length" not in rules({}, "code", "markdown")
    assert rules({}, "chat", "en") == {}


def test_a_recipe_changes_one_bound_and_keeps_the_rest() -> None:
    found = rules(
        {
            "gopher_quality": {"words": {"min": 10}, "english_stop_words": False},
            "gopher_repetition": {"enabled": False},
        },
        "text",
        "en",
    )
    assert next(iter(found.items())) == ("gopher_quality.words", Bounds(min=10, max=100_000))
    assert "gopher_quality.english_stop_words" not in found
    assert not any(name.startswith("gopher_repetition") for name in found)


def test_the_resolved_rules_say_the_same_again() -> None:
    config = parse(RulesConfig, {"gopher_quality": {"words": {"min": 10}, "mean_word_length": False}}, "recipe.toml")
    assert parse(RulesConfig, config.model_dump(mode="json"), "manifest.json") == config


@pytest.mark.parametrize(
    ("value", "allowed"),
    [(49, False), (50, True), (100_000, True), (100_001, False), (float("nan"), True), (None, True)],
)
def test_bounds_are_inclusive(value: float | None, allowed: bool) -> None:
    assert Bounds(min=50, max=100_000).allow(value) is allowed


def test_a_set_of_a_feature() -> None:
    config = parse(WithSafety, {"safety": {"domain": {"max": 0.5}, "blocked_words": {"max": 3}}}, "recipe.toml")
    columns = {*_C.MEASUREMENTS, "safety_blocked_words", "safety_chinese_words", "safety_domain"}
    assert [rule for rule in config.for_documents("text", "en", columns) if rule.name.startswith("safety")] == [
        Rule("safety.blocked_words", "safety_blocked_words", at_most(3)),
        Rule("safety.domain", "safety_domain", at_most(0.5)),
    ]
    chinese = [rule.name for rule in config.for_documents("text", "zh", columns)]
    assert "safety.chinese_words" in chinese
    assert config.for_documents("code", "en", columns) == RulesConfig().for_documents("code", "en", columns)
    assert config.for_documents("text", "en", _C.MEASUREMENTS) == RulesConfig().for_documents(
        "text", "en", _C.MEASUREMENTS
    ), "an optional set does not hold where nothing was measured"
    with pytest.raises(RecipeError, match="domain"):
        parse(WithSafety, {"safety": {"domain": 7}}, "recipe.toml")


def test_a_table_in_the_recipe_turns_a_set_on() -> None:
    web = {"c4": {}, "fineweb": {"short_line_fraction": {"max": 0.5}}, "chinese_web": {"enabled": False}}
    assert not any(name.startswith(("c4", "fineweb", "chinese_web")) for name in rules({}, "text", "en"))
    assert rules(web, "text", "en")["c4.curly_braces"] == at_most(0)
    assert rules(web, "text", "fr")["fineweb.short_line_fraction"] == at_most(0.5)
    assert not any(name.startswith(("c4", "fineweb", "chinese_web")) for name in rules(web, "text", "zh"))
    assert rules({"chinese_web": {}}, "text", "zh")["chinese_web.sentences"] == Bounds(min=5)


def test_what_was_not_measured_breaks_no_rule() -> None:
    count = 3
    columns = {name: np.zeros(count) for name in _C.MEASUREMENTS}
    table = pa.table(
        {"kind": ["text"] * count, "language": ["en"] * count, **columns}
        | {"words": pa.array([60, None, 10]), "mean_word_length": pa.array([np.nan, 1.0, 1.0])}
    )
    only = {
        "gopher_quality": dict.fromkeys(("alphabetic_word_fraction", "english_stop_words"), False),
        "text_form": {"enabled": False},
    }
    broken, value, threshold = apply_rules(table, parse(RulesConfig, only, "recipe.toml"))
    assert broken.tolist() == ["", "gopher_quality.mean_word_length", "gopher_quality.words"]
    np.testing.assert_array_equal(value, [np.nan, 1, 10])
    np.testing.assert_array_equal(threshold, [np.nan, 3, 50])


def test_a_missing_measurement_is_named() -> None:
    with pytest.raises(DataError, match=r"gopher_quality.words: expected a measurement 'words'"):
        RulesConfig().for_documents("text", "en", {"characters"})


def test_defaults_are_bounds_on_measurements() -> None:
    for name, rule_set in RulesConfig():
        for rule in type(rule_set).model_fields:
            assert rule == "enabled" or rule_set.optional or rule in _C.MEASUREMENTS, f"{name}.{rule}"
