"""Code is measured file by file, and its language told by the text where the name leaves it open."""

from collections.abc import Collection
from dataclasses import asdict, replace
from typing import Any

from castline.corpus.annotate.annotator import Annotation, Annotator, Column
from castline.corpus.code.language import detect_language
from castline.corpus.code.measurements import measure_code
from castline.corpus.config import CorpusConfig
from castline.corpus.documents import Document


class CodeAnnotator(Annotator):
    """Measures documents of kind code; the others have no values."""

    name = "code"
    version = 1
    columns = (
        Column("generated", "int64", "whether a program wrote the code"),
        Column("minified", "int64", "whether the code was made short, not legible"),
        Column("comment_fraction", "float64", "characters of code in comments and docstrings"),
        Column("literal_fraction", "float64", "characters in strings and numbers, of those and the words of code"),
        Column("one_letter_fraction", "float64", "words of code that are one letter"),
        Column("repeated_line_fraction", "float64", "characters of code in lines that came before"),
        Column("code_score", "float64", "the quality of code, from 0 to 1"),
    )

    def __init__(self, detect: Collection[str]) -> None:
        """`detect` names the sources whose language is not given."""
        self._detect = frozenset(detect)

    def identity(self) -> dict[str, Any]:
        """Nothing but the version: a source's language is part of the source."""
        return {}

    def annotate(self, documents: list[Document]) -> Annotation:
        """Tell languages, and measure."""
        resolved = [self._resolve(document) for document in documents]
        rows = [
            asdict(measure_code(document.path, document.language, document.text)) if document.kind == "code" else {}
            for document in resolved
        ]
        return Annotation(resolved, {column.name: [row.get(column.name) for row in rows] for column in self.columns})

    def _resolve(self, document: Document) -> Document:
        if document.kind != "code" or document.source not in self._detect:
            return document
        language = detect_language(document.path, document.language, document.text)
        return document if language == document.language else replace(document, language=language)


def make_code_annotator(config: CorpusConfig) -> CodeAnnotator | None:
    """The annotator of a recipe; None where no source is code."""
    if not any(source.kind == "code" for source in config.sources):
        return None
    return CodeAnnotator([source.name for source in config.sources if source.language == "auto"])
