"""What every annotator is: its columns, its identity, and its work on a batch of documents."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from castline.corpus.documents import Document


@dataclass(frozen=True)
class Column:
    """A column of the measurement table. Rules bound numbers; strings are for people (`explain`)."""

    name: str
    type: Literal["int64", "float64", "string"]
    about: str  # in a few words, for the report


@dataclass(frozen=True)
class Annotation:
    """What an annotator makes of a batch: as many documents, and a value for each in every column."""

    documents: list[Document]
    values: Mapping[str, Any]  # lists or arrays of shape [documents]; None where nothing is measured


class Annotator(ABC):
    """Made once per build from a table of the recipe, and pickled into the workers.

    So an object holds its table and the paths and hashes of its files, not a loaded model: workers load that on
    first use and keep it (`functools.cache`). The same documents must give the same values in any process.
    """

    name: ClassVar[str]  # the table's
    version: ClassVar[int]  # a new number makes every build read its sources again
    columns: tuple[Column, ...]

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """What the output depends on: the table's values, and the hash of every file it names (JSON values)."""

    @abstractmethod
    def annotate(self, documents: list[Document]) -> Annotation:
        """Look at documents of one source; those that are not edited are returned as they are."""

    def __str__(self) -> str:
        """What it will do, for a dry run."""
        return f"{self.name}: {', '.join(column.about for column in self.columns)}"
