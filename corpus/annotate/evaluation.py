"""How good a classifier is on labelled documents: precision and recall at every threshold, to choose one by.

Of the documents that score at least the threshold, precision is the share that have the label; recall is the share of
those with the label that score that much. Average precision is the area under the curve of the two (Davis and
Goadrich 2006: a sum over the steps of recall).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from castline.corpus.annotate.fasttext_format import check_classifier
from castline.corpus.annotate.fasttext_model import label_scores, load_classifier
from castline.corpus.annotate.training import Labelled
from castline.errors import DataError, RecipeError
from castline.files import atomic_write

THRESHOLDS = tuple(step / 20 for step in range(1, 20))
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Point:
    """What keeping the documents that score at least `threshold` would give."""

    threshold: float
    documents: int  # that score so much
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class Evaluation:
    """A classifier on labelled documents."""

    label: str
    documents: int
    positives: int  # documents that have the label
    average_precision: float
    best: Point  # the threshold with the highest F1; of several the lowest
    table: list[Point]
    curve: tuple[list[float], list[float]]  # recall, precision, by falling threshold


def evaluate_classifier(model: Path, labelled: Labelled, label: str) -> Evaluation:
    """Score labelled documents and compare.

    Raises:
        DataError: the model is not one, or no document has the label.
        RecipeError: the model does not know the label.
    """
    labels = check_classifier(model)
    if label not in labels:
        raise RecipeError(f"expected a label that {model} knows ({', '.join(sorted(labels)[:10])}), but got '{label}'")
    truth = np.array([one == label for one in labelled.labels])
    if not truth.any() or truth.all():
        raise DataError(f"expected documents with the label '{label}' and without it, but found only one kind")
    scores = np.array(label_scores(load_classifier(model), labelled.lines, label))
    order = np.argsort(-scores, kind="stable")
    right = np.cumsum(truth[order])
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))  # where a score comes for the last time
    precision, recall = right[ends] / (ends + 1), right[ends] / right[-1]
    f1 = 2 * right[ends] / (ends + 1 + right[-1])
    best = scores[order][ends[np.flatnonzero(f1 == f1.max())[-1]]]
    return Evaluation(
        label,
        documents=len(truth),
        positives=int(truth.sum()),
        average_precision=float(np.diff(recall, prepend=0.0) @ precision),
        best=_point(scores, truth, float(best)),
        table=[_point(scores, truth, threshold) for threshold in THRESHOLDS],
        curve=(recall.tolist(), precision.tolist()),
    )


def draw_curve(evaluation: Evaluation, path: Path) -> None:
    """Draw precision against recall as `.svg` or `.png`, the same bytes every time.

    Raises:
        RecipeError: `path` names another kind of picture.
    """
    form = path.suffix.lower().removeprefix(".")
    if form not in ("svg", "png"):
        raise RecipeError(f"expected a picture named .svg or .png, but got {path}")
    import matplotlib as mpl
    from matplotlib.figure import Figure

    recall, precision = evaluation.curve
    with mpl.rc_context({"svg.hashsalt": "castline", "font.size": 9}), atomic_write(path) as file:
        figure = Figure(figsize=(4.6, 3.8), layout="constrained")
        axes = figure.add_subplot(xlabel="recall", ylabel="precision", xlim=(0, 1.01), ylim=(0, 1.02))
        axes.step([0.0, *recall], [precision[0], *precision], where="pre", color="#2f7d6b")
        best = evaluation.best
        axes.plot(best.recall, best.precision, "o", color="#d1603d")
        axes.annotate(
            f"threshold {best.threshold:.2f}, F1 {best.f1:.3f}",
            (best.recall, best.precision),
            xytext=(-8, -14),
            textcoords="offset points",
            ha="right",
        )
        axes.set_title(f"{evaluation.label}: average precision {evaluation.average_precision:.3f}")
        axes.grid(alpha=0.3)
        figure.savefig(file, format=form, metadata={"Date": None} if form == "svg" else {"Software": None}, dpi=150)


def _point(scores: Floats, truth: npt.NDArray[np.bool_], threshold: float) -> Point:
    chosen = scores >= threshold
    right = int((chosen & truth).sum())
    precision = right / max(int(chosen.sum()), 1)
    recall = right / int(truth.sum())
    f1 = 2 * precision * recall / (precision + recall) if right else 0.0
    return Point(threshold, int(chosen.sum()), precision, recall, f1)
