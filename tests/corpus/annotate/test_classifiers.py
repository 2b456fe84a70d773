"""Classifiers: the example data, training, the report of an evaluation against plain counting, and a whole build."""

import importlib.util
import json
import pydoc_data.topics
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import fasttext
import numpy as np
import pyarrow as pa
import pytest

from castline import _C
from castline.cli.app import app
from castline.corpus.annotate.annotators import make_annotators
from castline.corpus.annotate.classifiers import TOKENS, token_lines
from castline.corpus.annotate.evaluation import evaluate_classifier
from castline.corpus.annotate.fasttext_model import label_scores, load_classifier
from castline.corpus.annotate.training import Hyperparameters, Labelled, read_labelled, train_classifier
from castline.errors import DataError, RecipeError

from .conftest import PROSE, configure, write_jsonl

EXAMPLES = Path(__file__).parents[3] / "recipes" / "classifiers" / "examples.py"
SMALL = Hyperparameters(dimensions=8, epochs=5, buckets=2000)
TEXTS = [f"{word} {text}" for word in ("good", "bad") for text in ("one two three", "four five six", "seven")] * 20
LABELS = [text.split()[0] for text in TEXTS]


@pytest.fixture(scope="module")
def examples() -> ModuleType:
    spec = importlib.util.spec_from_file_location("classifier_examples", EXAMPLES)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "good.bin"
    assert train_classifier(Labelled(token_lines(TEXTS), LABELS), path, SMALL) == {"bad": 60, "good": 60}
    return path


def test_lines_are_the_first_tokens() -> None:
    texts = ["Don't STOP,\n中文 here!", "", "a " * 3000]
    assert token_lines(texts)[0] == " ".join(token.lower() for token in _C.tokens(texts[0]))
    assert token_lines(texts)[1:] == ["", " ".join(["a"] * TOKENS)]


def test_the_same_data_give_the_same_model(model: Path, tmp_path: Path) -> None:
    train_classifier(Labelled(token_lines(TEXTS), LABELS), tmp_path / "again.bin", SMALL)
    assert (tmp_path / "again.bin").read_bytes() == model.read_bytes()


def test_scores_are_fasttext_s_own(model: Path) -> None:
    lines = token_lines(["good one", "bad", "seven eight", ""])
    scores = label_scores(load_classifier(model), lines, "good")
    theirs = fasttext.load_model(str(model))
    for line, score in zip(lines, scores, strict=True):
        labels, values = theirs.predict(line, k=2)
        expected = dict(zip(labels, values, strict=True)).get("__label__good", 0.0)
        assert score == pytest.approx(min(expected, 1.0), abs=1e-6)
    assert scores[0] > 0.5 > scores[1]


def test_an_evaluation_counts_as_plain_python_does(model: Path) -> None:
    rng = np.random.default_rng(5)
    texts = [" ".join(rng.choice(["good", "bad", "one", "four", "seven"], 3)) for _ in range(200)]
    labels = ["good" if rng.random() < 0.2 + 0.6 * ("good" in text) else "bad" for text in texts]
    labelled = Labelled(token_lines(texts), labels)
    evaluation = evaluate_classifier(model, labelled, "good")
    scores = label_scores(load_classifier(model), labelled.lines, "good")

    def counted(threshold: float) -> tuple[int, float, float]:
        chosen = [label for label, score in zip(labels, scores, strict=True) if score >= threshold]
        right = chosen.count("good")
        return len(chosen), right / max(len(chosen), 1), right / labels.count("good")

    assert (evaluation.documents, evaluation.positives) == (200, labels.count("good"))
    for point in evaluation.table:
        assert (point.documents, point.precision, point.recall) == counted(point.threshold)
    area, reached, best = 0.0, 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        _, precision, recall = counted(threshold)
        area += (recall - reached) * precision
        reached = recall
        best = max(best, 2 * precision * recall / (precision + recall) if precision else 0.0)
    assert evaluation.average_precision == pytest.approx(area)
    assert evaluation.best.f1 == pytest.approx(best)


def test_the_examples_can_be_learnt(
    examples: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    topics = list(pydoc_data.topics.topics.values())
    write_jsonl(tmp_path / "topics.jsonl", [{"text": text} for text in topics])
    monkeypatch.setattr("sys.argv", ["examples.py", str(tmp_path / "topics.jsonl"), "--out", str(tmp_path / "out")])
    examples.main()
    out = tmp_path / "out"
    for task, label in (("fluency", "broken"), ("advertisement", "advertisement")):
        training, evaluation = (out / f"{task}-{side}.jsonl" for side in ("train", "evaluate"))
        assert not set(read_labelled(training).lines) & set(read_labelled(evaluation).lines)
        model = str(out / f"{task}.bin")
        app(["corpus", "classifier", "train", str(training), "--out", model], standalone_mode=False)
        capsys.readouterr()
        command = ["corpus", "classifier", "evaluate", model, str(evaluation), "--label", label]
        app([*command, "--json", "--picture", str(out / f"{task}.svg")], standalone_mode=False)
        found = json.loads(capsys.readouterr().out)
        share = found["positives"] / found["documents"]
        assert share == pytest.approx(0.5, abs=0.05)
        better = {"fluency": 0.03, "advertisement": 0.2}  # fluency takes far more text than there is here
        assert found["average_precision"] > share + better[task], task
        assert "average precision" in (out / f"{task}.svg").read_text()


def test_a_build_scores_and_decides(model: Path, build: Callable[..., pa.Table], tmp_path: Path) -> None:
    records = [{"text": PROSE + "good one"}, {"text": PROSE + "bad four"}, {"text": ("bad " * 9 + "good\n") * 9}]
    classifiers = [
        {"name": "good", "model": str(model), "label": "good"},
        {"name": "raw", "model": str(model), "label": "bad", "input": "raw"},
        {"name": "unused", "model": str(model), "label": "good", "kinds": ["code"]},
    ]
    bounds = {"classifiers": {"good": {"min": 0.4}}, "text_form": {"enabled": False}}
    table = build(records, classifiers=classifiers, rules=bounds)
    loaded = load_classifier(model)
    texts = [record["text"] for record in records]
    expected = label_scores(loaded, token_lines(texts), "good")
    assert table["classifier.good"].to_pylist() == expected
    raw = label_scores(loaded, [text.replace("\n", " ") for text in texts], "bad")
    assert table["classifier.raw"].to_pylist() == raw
    assert table["classifier.unused"].null_count == 3
    assert min(expected) < 0.4 <= max(expected)
    assert table["rule"].to_pylist() == ["" if score >= 0.4 else "classifiers.good" for score in expected]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "scores without a threshold" in page
    assert page.index("classifier.good") < page.index("scores without a threshold") < page.index("classifier.raw")
    assert "classifier.unused" not in page


@pytest.mark.parametrize(
    ("tables", "error", "message"),
    [
        ({"classifiers": [{"label": "best"}]}, RecipeError, r"'c0' to have a label that .* knows \(bad, good\), but"),
        ({"classifiers": [{"model": "none.bin"}]}, DataError, r"cannot read the fastText model .*none\.bin"),
        ({"classifiers": [{"model": "text.bin"}]}, DataError, r"text\.bin: expected a fastText classifier"),
        ({"classifiers": [{"name": "a"}, {"name": "a"}]}, RecipeError, r"a name of its own, but got 'a' twice"),
        (
            {"classifiers": [{}], "rules": {"classifiers": {"c1": {"min": 0.5}}}},
            RecipeError,
            r"rules\.classifiers\.c1: expected the name of a classifier \(c0\)",
        ),
    ],
)
def test_what_a_recipe_gets_wrong(
    model: Path, tmp_path: Path, tables: dict[str, Any], error: type[Exception], message: str
) -> None:
    (tmp_path / "text.bin").write_text("not a model")
    whole = {"name": "c0", "model": str(model), "label": "good"}
    classifiers = [whole | given for given in tables["classifiers"]]
    with pytest.raises(error, match=message):
        make_annotators(configure(**{**tables, "classifiers": classifiers}), tmp_path)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('{"text": "a", "label": "x"}\n{"text": 1, "label": "y"}', r":2: expected a string in the field 'text', but"),
        ('{"text": "a"}', r":1: expected a string in the field 'label', but found: text"),
        ('{"text": "a", "label": "x y"}', r":1: expected a label without white space, but found 'x y'"),
        ('{"text": "a", "label": "x"}', r"expected documents of at least two labels, but found \['x'\]"),
        ("", r"expected documents of at least two labels, but found none"),
        ("[1]", r":1: expected a JSON object, but found \[1\]"),
        ("{", r":1: expected a JSON object, but found"),
    ],
)
def test_files_that_are_not_labelled_documents(tmp_path: Path, lines: str, message: str) -> None:
    (tmp_path / "labelled.jsonl").write_text(lines)
    with pytest.raises(DataError, match=message):
        read_labelled(tmp_path / "labelled.jsonl")


def test_too_little_to_learn_from(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected labelled documents with words in them, but all are empty"):
        train_classifier(Labelled(["", ""], ["x", "y"]), tmp_path / "model.bin", SMALL)
    with pytest.raises(DataError, match=r"fastText cannot learn from these documents: .*NaN"):
        train_classifier(Labelled(TEXTS, LABELS), tmp_path / "model.bin", Hyperparameters(learning_rate=1e9))
    assert not (tmp_path / "model.bin").exists()
