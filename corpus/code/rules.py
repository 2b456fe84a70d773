"""The rule set over what is measured of code. Light to import: pydantic only."""

from castline.corpus.rules.rule_set import Bounds, Documents, RuleSet, at_most


class HandwrittenCode(RuleSet):
    """Code that a program wrote or made short goes, and so does what is all data or all comment."""

    documents = Documents(kinds={"code"})
    optional = True

    generated: Bounds = at_most(0)
    minified: Bounds = at_most(0)
    literal_fraction: Bounds = at_most(0.9)
    comment_fraction: Bounds = at_most(0.98)
