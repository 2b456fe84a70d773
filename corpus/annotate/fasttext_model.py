"""Applying fastText classifiers: loaded once per process, each file checked before fastText sees it."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from castline.corpus.annotate.fasttext_format import check_classifier
from castline.errors import DataError, DeviceError


def load_classifier(path: Path) -> Any:
    """The classifier in `path`, loaded once per process (and again when the file changes).

    Raises:
        DataError: the file is missing, or is not a whole fastText classifier.
        DeviceError: fastText is not installed.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(f"cannot read the fastText model {path}: {error.strerror}") from None
    return _load(path, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=32)
def _load(path: Path, modified_ns: int, size: int) -> Any:
    check_classifier(path)
    return import_fasttext().load_model(str(path))


def import_fasttext() -> Any:
    """The package fastText.

    Raises:
        DeviceError: it is not installed.
    """
    try:
        import fasttext
    except ImportError:
        raise DeviceError("expected the package fasttext; install it with: pip install fasttext-community") from None
    return fasttext


def most_likely(model: Any, texts: Sequence[str]) -> tuple[list[str], list[float]]:
    """The most likely label of every text, and its probability; ("", 0) where a text has nothing to go by."""
    labels, scores = model.predict([as_line(text) for text in texts], k=1)
    return (
        [label[0].removeprefix("__label__") if len(label) else "" for label in labels],
        [min(float(score[0]), 1.0) if len(score) else 0.0 for score in scores],
    )


def as_line(text: str) -> str:
    """The text as fastText wants it: on one line."""
    return text.replace("\n", " ").replace("\r", " ").replace("\0", " ")


def label_scores(model: Any, lines: Sequence[str], label: str) -> list[float]:
    """The probability of `label` for every line; 0 where a line has nothing to go by."""
    wanted = f"__label__{label}"
    labels, scores = model.predict(list(lines), k=-1)
    return [
        next((min(float(score), 1.0) for name, score in zip(names, row, strict=True) if name == wanted), 0.0)
        for names, row in zip(labels, scores, strict=True)
    ]
