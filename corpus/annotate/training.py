"""Training classifiers of documents: fastText on labelled jsonl, the same model from the same file every time."""

import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from castline.corpus.annotate.classifiers import token_lines
from castline.corpus.annotate.fasttext_model import import_fasttext
from castline.corpus.annotate.records import read_objects, without_lone_surrogates
from castline.errors import DataError
from castline.files import write_bytes


@dataclass(frozen=True)
class Hyperparameters:
    """fastText's own names in words; the defaults suit some thousand documents of a few hundred words."""

    dimensions: int = 16
    epochs: int = 10
    learning_rate: float = 0.5
    word_ngrams: int = 2
    buckets: int = 50_000
    seed: int = 0


@dataclass(frozen=True)
class Labelled:
    """Documents as classifiers see them, with the labels that people gave them."""

    lines: list[str]
    labels: list[str]


def read_labelled(path: Path, text_field: str = "text", label_field: str = "label") -> Labelled:
    """Read labelled documents: `.jsonl` (also `.gz`, `.zst`), one object per line with a text and a label.

    Raises:
        DataError: the file cannot be read, or a line is not such an object.
    """
    texts, labels = [], []
    for number, record in read_objects(path):
        for field in (text_field, label_field):
            if not isinstance(record.get(field), str):
                known = ", ".join(sorted(record)) or "nothing"
                raise DataError(f"{path}:{number}: expected a string in the field '{field}', but found: {known}")
        label = record[label_field]
        if not label or any(character.isspace() or character == "\0" for character in label):
            raise DataError(f"{path}:{number}: expected a label without white space, but found {label!r}")
        texts.append(without_lone_surrogates(record[text_field]))
        labels.append(label)
    if len(set(labels)) < 2:
        raise DataError(f"{path}: expected documents of at least two labels, but found {sorted(set(labels)) or 'none'}")
    return Labelled(token_lines(texts), labels)


def train_classifier(labelled: Labelled, out: Path, parameters: Hyperparameters) -> dict[str, int]:
    """Train a classifier and write it to `out`; returns how many documents each label has.

    One thread and a seed: the same documents in the same order give the same bytes.

    Raises:
        DataError: nothing can be learnt from the documents.
        DeviceError: fastText is not installed, or `out` cannot be written.
    """
    fasttext = import_fasttext()
    if not any(labelled.lines):
        raise DataError("expected labelled documents with words in them, but all are empty")
    with tempfile.TemporaryDirectory(prefix="castline-") as folder:
        lines = Path(folder) / "lines.txt"
        lines.write_text(
            "".join(f"__label__{label} {line}\n" for label, line in zip(labelled.labels, labelled.lines, strict=True)),
            encoding="utf-8",
        )
        model = Path(folder) / "model.bin"
        try:
            trained = fasttext.train_supervised(
                str(lines),
                dim=parameters.dimensions,
                epoch=parameters.epochs,
                lr=parameters.learning_rate,
                wordNgrams=parameters.word_ngrams,
                bucket=parameters.buckets,
                minCount=2,
                seed=parameters.seed,
                thread=1,
                verbose=0,
            )
        except (RuntimeError, ValueError) as error:
            raise DataError(
                f"fastText cannot learn from these documents: {error} Try more of them, or a smaller learning rate."
            ) from None
        trained.save_model(str(model))
        write_bytes(out, model.read_bytes())
    return dict(sorted(Counter(labelled.labels).items()))
