"""Evaluation data in the corpus: n-grams that a document shares with evaluation files.

Columns: `contamination_ngrams`, at how many places of the document an n-gram of evaluation data begins; the record that
shares the most with it as `contamination_source`, its file and line, and `contamination_share`, how much of that
record's n-grams the document holds (null for both where there is none). How n-grams are made is defined in
csrc/text/contamination.hpp.
"""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from castline import _C
from castline.corpus.annotate.annotator import Annotation, Annotator, Column
from castline.corpus.annotate.config import DecontaminateConfig
from castline.corpus.annotate.lists import ListFile, describe, find_lists
from castline.corpus.annotate.records import read_lines, read_objects, without_lone_surrogates
from castline.corpus.documents import Document
from castline.corpus.readers.compressed import inner_name
from castline.errors import DataError


class ContaminationAnnotator(Annotator):
    """Compares documents with the files of `[decontaminate]`."""

    name = "decontaminate"
    version = 1
    columns = (
        Column("contamination_ngrams", "int64", "places with an n-gram of evaluation data"),
        Column("contamination_share", "float64", "the share of an evaluation record that is there"),
        Column("contamination_source", "string", "the record that shares the most"),
    )

    def __init__(self, config: DecontaminateConfig, base: Path) -> None:
        """`base` is the folder that the files' paths are relative to.

        Raises:
            DataError: a file is missing, is not what its name says, or there is no text to compare with.
        """
        self._files = find_lists(config.files, base)
        self._config = config
        _open(self._files, config)

    def identity(self) -> dict[str, Any]:
        """The table and the files' hashes."""
        table = self._config.model_dump(mode="json", exclude={"files"})
        return {"table": table, "files": [[file.path.name, file.sha256] for file in self._files]}

    def annotate(self, documents: list[Document]) -> Annotation:
        """Compare; nothing is edited."""
        index, places = _open(self._files, self._config)
        ngrams, *found = index.find([document.text for document in documents])
        records, shared = (values.tolist() for values in found)
        sizes = index.record_ngrams
        most = [(record, count) if record >= 0 else None for record, count in zip(records, shared, strict=True)]
        return Annotation(
            documents,
            {
                "contamination_ngrams": ngrams,
                "contamination_share": [None if one is None else one[1] / sizes[one[0]] for one in most],
                "contamination_source": [None if one is None else places[one[0]] for one in most],
            },
        )


@functools.lru_cache(maxsize=4)
def _open(files: tuple[ListFile, ...], config: DecontaminateConfig) -> tuple[_C.ContaminationIndex, list[str]]:
    """The index of all records, and where each is: "problems.jsonl:3"."""
    places: list[str] = []
    texts: list[str] = []
    records: list[int] = []
    for path in (file.path for file in files):
        for line, found in _records(path, config.fields):
            texts += found
            records += [len(places)] * len(found)
            places.append(f"{path.name}:{line}")
    index = _C.ContaminationIndex(
        texts, np.array(records, dtype=np.int64), config.ngram, min(config.least, config.ngram)
    )
    if not any(index.record_ngrams):
        raise DataError(
            f"decontaminate.files: expected texts of at least {config.least} words in {describe(files)}, but found "
            "none; name the fields that hold them in decontaminate.fields, or lower decontaminate.least"
        )
    return index, places


def _records(path: Path, fields: tuple[str, ...]) -> Iterator[tuple[int, list[str]]]:
    """The records of a file: the line each begins in, from 1, and its texts."""
    name = inner_name(path.name.lower())
    if name.endswith((".jsonl", ".ndjson")):
        for number, record in read_objects(path):
            missing = next((field for field in fields if field not in record), None)
            if missing is not None:
                known = ", ".join(sorted(record)) or "nothing"
                raise DataError(
                    f"{path}:{number}: expected a field '{missing}' (decontaminate.fields), but found: {known}"
                )
            yield number, list(_strings([record[field] for field in fields] if fields else record))
    elif name.endswith((".txt", ".md")):
        yield from _paragraphs(read_lines(path))
    else:
        raise DataError(
            f"{path}: expected evaluation data as .jsonl, .txt or .md (also compressed), but got '{path.name}'"
        )


def _strings(value: Any) -> Iterator[str]:
    """All strings in a JSON value."""
    if isinstance(value, str):
        yield without_lone_surrogates(value)
    elif isinstance(value, list | dict):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _strings(part)


def _paragraphs(lines: list[str]) -> Iterator[tuple[int, list[str]]]:
    begin = 0
    for number in range(len(lines) + 1):
        if number == len(lines) or not lines[number].strip():
            if begin < number:
                yield begin + 1, ["\n".join(lines[begin:number])]
            begin = number + 1
