"""All annotators at once: the same bytes from any number of workers."""

from pathlib import Path

from castline.corpus.annotate.training import Hyperparameters, Labelled, train_classifier
from castline.corpus.build import build_corpus

from .conftest import PROSE, configure, write_jsonl

TABLES = {
    "language": {"detect": True},
    "privacy": {"mask": ["email", "ip", "phone", "key"]},
    "safety": {"domains": ["domains.txt"], "words": ["words.txt"]},
    "classifiers": [{"name": "even", "model": "even.bin", "label": "even"}],
    "decontaminate": {"files": ["problems.txt"]},
}


def test_workers_make_no_difference(tmp_path: Path) -> None:
    texts = [
        f"{PROSE} Number {number} is john.{number}@corp.com, a {'cheap pill' * (number % 3)}." for number in range(40)
    ]
    for name in ("first", "second"):
        write_jsonl(tmp_path / f"{name}.jsonl", [{"text": name + text, "url": "http://x.bad.org"} for text in texts])
    (tmp_path / "domains.txt").write_text("good.org\n")
    (tmp_path / "words.txt").write_text("cheap pill\n")
    (tmp_path / "problems.txt").write_text("number 7 is john.7 corp.com a cheap pill and something else\n")
    train_classifier(Labelled(texts, ["even", "odd"] * 20), tmp_path / "even.bin", Hyperparameters(buckets=100))
    sources = [{"name": name, "path": f"{name}.jsonl"} for name in ("first", "second")]
    config = configure(sources=sources, **TABLES)
    one, two = (
        build_corpus(config, tmp_path / f"out{workers}", base=tmp_path, workers=workers).manifest for workers in (1, 2)
    )
    assert one == two
    assert list(one["annotators"]) == ["privacy", "language", "safety", "classifiers", "decontaminate"]
    assert one["totals"]["dropped"]["safety.words"] > 0
