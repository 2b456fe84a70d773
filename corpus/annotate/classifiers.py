"""Classifiers of a recipe's `[[classifiers]]`: fastText models that score every document for a label.

Columns: `classifier.NAME`, the probability of the classifier's label.
"""

from pathlib import Path
from typing import Any

from castline import _C
from castline.corpus.annotate.annotator import Annotation, Annotator, Column
from castline.corpus.annotate.config import ClassifierConfig
from castline.corpus.annotate.fasttext_format import check_classifier
from castline.corpus.annotate.fasttext_model import as_line, label_scores, load_classifier
from castline.corpus.documents import Document
from castline.errors import RecipeError
from castline.files import sha256_file

TOKENS = 2000  # at most so many tokens from the beginning of a text are looked at


class ClassifierAnnotator(Annotator):
    """Scores texts and chats with every classifier of the recipe; code only with those that ask for it."""

    name = "classifiers"
    version = 1

    def __init__(self, configs: tuple[ClassifierConfig, ...], base: Path) -> None:
        """`base` is the folder that the models' paths are relative to.

        Raises:
            DataError: a model is missing or is not a fastText classifier.
            RecipeError: a model does not know its label.
        """
        self._configs = configs
        self._models = [base / config.model for config in configs]
        for config, model in zip(configs, self._models, strict=True):
            labels = check_classifier(model)
            if config.label not in labels:
                raise RecipeError(
                    f"classifiers: expected '{config.name}' to have a label that {model} knows "
                    f"({', '.join(sorted(labels)[:10])}), but got '{config.label}'"
                )
        self._hashes = [sha256_file(model) for model in self._models]
        self.columns = tuple(
            Column(f"classifier.{config.name}", "float64", f"probability of '{config.label}'") for config in configs
        )

    def identity(self) -> dict[str, Any]:
        """The tables, with the models' hashes for their paths."""
        tables = [config.model_dump(mode="json", exclude={"model"}) for config in self._configs]
        return {"tables": tables, "models": self._hashes}

    def annotate(self, documents: list[Document]) -> Annotation:
        """Score; nothing is edited."""
        lines: dict[str, list[str]] = {}
        values: dict[str, Any] = {}
        for config, path, column in zip(self._configs, self._models, self.columns, strict=True):
            if not documents or documents[0].kind not in config.kinds:
                values[column.name] = [None] * len(documents)
                continue
            if config.input not in lines:
                texts = [document.text for document in documents]
                lines[config.input] = (
                    token_lines(texts) if config.input == "tokens" else [as_line(text) for text in texts]
                )
            values[column.name] = label_scores(load_classifier(path), lines[config.input], config.label)
        return Annotation(documents, values)


def token_lines(texts: list[str]) -> list[str]:
    """Each text as castline's classifiers see it: its first `TOKENS` tokens in lower case, spaces between them.

    So fastText finds words in Chinese, and no punctuation on others' words.
    """
    return _C.token_lines(texts, TOKENS)
