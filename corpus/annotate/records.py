"""Files that people prepare for annotators (labelled documents, evaluation data), read whole."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from castline.corpus.documents import UnreadableError
from castline.corpus.readers.compressed import Budget
from castline.corpus.readers.content import Content
from castline.errors import DataError

MOST_BYTES = 8 * 1024**3


def read_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 file (also .gz, .zst, .bz2, .xz) without their ends.

    Raises:
        DataError: it cannot be read, is damaged or is not UTF-8.
    """
    content = Content(path.name, lambda: path.open("rb"), Budget(math.inf), MOST_BYTES)
    try:
        return content.whole().decode("utf-8-sig").replace("\r\n", "\n").split("\n")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None
    except (UnreadableError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected UTF-8 text, but found: {error}") from None


def read_objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The JSON objects of a jsonl file, each with its line, from 1; blank lines are none.

    Raises:
        DataError: as `read_lines`, or a line is not a JSON object.
    """
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}:{number}: expected a JSON object, but found: {error}") from None
        if not isinstance(record, dict):
            raise DataError(f"{path}:{number}: expected a JSON object, but found {line[:40]}")
        yield number, record


def without_lone_surrogates(text: str) -> str:
    """JSON can escape halves of characters; each becomes a question mark, as no UTF-8 can hold it."""
    return text.encode("utf-8", "replace").decode()
