"""The `[rules.…]` tables of a recipe. Light to import: pydantic only."""

from collections.abc import Collection

from castline.corpus.annotate.rules import ClassifierRules, ContaminationRules, LanguageRules, PrivacyRules, SafetyRules
from castline.corpus.code.rules import HandwrittenCode
from castline.corpus.rules.chinese import ChineseQuality, ChineseWeb
from castline.corpus.rules.code import CodeQuality
from castline.corpus.rules.gopher import GopherQuality, GopherRepetition
from castline.corpus.rules.rule_set import Rule, RuleSet
from castline.corpus.rules.text_form import TextForm
from castline.corpus.rules.web import C4, FineWeb
from castline.errors import DataError
from castline.recipe import Table


class RulesConfig(Table):
    """`[rules.…]`: which documents are good enough. Sets are tried in this order, and their rules in theirs.

    A set that is off here is on in a recipe that has its table, such as `[rules.c4]`.
    """

    language: LanguageRules = LanguageRules()
    safety: SafetyRules = SafetyRules()
    privacy: PrivacyRules = PrivacyRules()
    classifiers: ClassifierRules = ClassifierRules()
    decontaminate: ContaminationRules = ContaminationRules()
    gopher_quality: GopherQuality = GopherQuality()
    chinese_quality: ChineseQuality = ChineseQuality()
    gopher_repetition: GopherRepetition = GopherRepetition()
    text_form: TextForm = TextForm()
    c4: C4 = C4(enabled=False)
    fineweb: FineWeb = FineWeb(enabled=False)
    chinese_web: ChineseWeb = ChineseWeb(enabled=False)
    code_quality: CodeQuality = CodeQuality()
    handwritten_code: HandwrittenCode = HandwrittenCode()

    def for_documents(self, kind: str, language: str, columns: Collection[str]) -> list[Rule]:
        """The rules that hold for documents of this kind and language, in the order they are tried.

        Args:
            kind: of the documents.
            language: of the documents.
            columns: what was measured.

        Raises:
            DataError: a set that is not optional looks at something that was not measured.
        """
        found: list[Rule] = []
        for set_name, rule_set in self:
            if not isinstance(rule_set, RuleSet):
                continue
            for name, column, bounds in rule_set.rules(kind, language):
                if column in columns:
                    found.append(Rule(f"{set_name}.{name}", column, bounds))
                elif not rule_set.optional:
                    raise DataError(
                        f"rules.{set_name}.{name}: expected a measurement '{column}', but this corpus has none; "
                        "measure it again with `castline corpus build --force`, or turn the rule off (= false)"
                    )
        return found

    def columns(self) -> set[str]:
        """Every measurement that a rule looks at, whatever the documents."""
        sets = (rule_set for _, rule_set in self if isinstance(rule_set, RuleSet) and rule_set.enabled)
        return {column for rule_set in sets for column in rule_set.columns()}
