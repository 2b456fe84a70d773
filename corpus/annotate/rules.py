"""The rule sets over what annotators measure. Light to import: pydantic only."""

from pydantic import ConfigDict

from castline.corpus.rules.rule_set import Bounds, Documents, RuleSet, at_least, at_most


class LanguageRules(RuleSet):
    """The languages that a source is there for, and how certain the detection has to be.

    `allowed` holds for sources that list their `languages`; `score` has no bound unless the recipe gives one.
    """

    documents = Documents(kinds={"text", "chat"})
    optional = True
    column_prefix = "language_"

    allowed: Bounds = at_least(1)
    score: Bounds = Bounds()


class SafetyRules(RuleSet):
    """What block lists find: by default a single blocked word drops a document (as in C4), and so does its address."""

    optional = True
    column_prefix = "blocked_"

    url: Bounds = at_most(0)
    words: Bounds = at_most(0)


class PrivacyRules(RuleSet):
    """How much private data a document may have held before it was masked; any amount unless the recipe says so."""

    optional = True
    column_prefix = "private_"

    emails: Bounds = Bounds()
    ips: Bounds = Bounds()
    phones: Bounds = Bounds()
    keys: Bounds = Bounds()


class ContaminationRules(RuleSet):
    """How many n-grams of evaluation data a document may hold, none by default; or what share of a record's."""

    optional = True
    column_prefix = "contamination_"

    ngrams: Bounds = at_most(0)
    share: Bounds = Bounds()


class ClassifierRules(RuleSet):
    """Bounds on the scores of `[[classifiers]]`, by their names: `fluency = { min = 0.5 }`."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Bounds]

    optional = True
    column_prefix = "classifier."
