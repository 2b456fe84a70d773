"""The annotators of a recipe, and running them on the documents of a part."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from castline.corpus.annotate.annotator import Annotator
from castline.corpus.annotate.classifiers import ClassifierAnnotator
from castline.corpus.annotate.contamination import ContaminationAnnotator
from castline.corpus.annotate.language import make_language_annotator
from castline.corpus.annotate.privacy import PrivacyAnnotator
from castline.corpus.annotate.safety import SafetyAnnotator
from castline.corpus.code.annotator import make_code_annotator
from castline.corpus.config import CorpusConfig
from castline.corpus.documents import Document


def make_annotators(config: CorpusConfig, base: Path) -> list[Annotator]:
    """The annotators that a recipe asks for, in the order they run.

    Args:
        config: the recipe's corpus tables.
        base: the folder that the tables' paths are relative to: the recipe's.

    Raises:
        DataError: a file that a table names is missing or is not what it should be.
        DeviceError: a package that the recipe needs is missing.
    """
    listed = {source.name: source.languages for source in config.sources}
    made: list[Annotator | None] = [
        PrivacyAnnotator(config.privacy),  # first: what it edits is what trains
        make_language_annotator(config.language, listed, base),
        SafetyAnnotator(config.safety, base),
        ClassifierAnnotator(config.classifiers, base),
        ContaminationAnnotator(config.decontaminate, base) if config.decontaminate.files else None,
        make_code_annotator(config),
    ]
    return [annotator for annotator in made if annotator is not None and annotator.columns]


def identities(annotators: Sequence[Annotator]) -> dict[str, Any]:
    """Everything that the annotators' output depends on besides the documents, by name, as JSON values."""
    return {
        annotator.name: {
            "version": annotator.version,
            **annotator.identity(),
            "columns": {column.name: column.type for column in annotator.columns},
        }
        for annotator in annotators
    }


def annotate(annotators: Sequence[Annotator], documents: list[Document]) -> tuple[list[Document], dict[str, pa.Array]]:
    """Run the annotators on documents of one source.

    Returns:
        The documents, edited, one for each given; and the columns of all annotators, one value per document
        (null where there is nothing to measure).
    """
    columns: dict[str, pa.Array] = {}
    for annotator in annotators:
        annotation = annotator.annotate(documents)
        documents = annotation.documents
        for column in annotator.columns:
            columns[column.name] = pa.array(annotation.values[column.name], pa.type_for_alias(column.type))
    return documents, columns
