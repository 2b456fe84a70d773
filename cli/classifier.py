"""`castline corpus classifier train | evaluate`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from castline.cli.guard import guarded
from castline.cli.output import JsonOption, note, print_fields, print_json, print_table

app = typer.Typer(help="Train and evaluate classifiers of documents.", no_args_is_help=True, rich_markup_mode=None)

LabelledArgument = Annotated[
    Path, typer.Argument(metavar="LABELLED", help="Labelled documents: jsonl, a text and a label per line.")
]
TextField = Annotated[str, typer.Option(help="The field that holds the text.")]
LabelField = Annotated[str, typer.Option(help="The field that holds the label.")]


def train_command(
    labelled: LabelledArgument,
    out: Annotated[Path, typer.Option(help="The model file to write.")],
    text_field: TextField = "text",
    label_field: LabelField = "label",
    dimensions: Annotated[int, typer.Option(min=1, max=1024, help="Length of a word's vector.")] = 16,
    epochs: Annotated[int, typer.Option(min=1, help="How often every document is looked at.")] = 10,
    learning_rate: Annotated[float, typer.Option(min=0, help="Size of a step at the beginning.")] = 0.5,
    word_ngrams: Annotated[int, typer.Option(min=1, max=5, help="Longest run of words taken together.")] = 2,
    buckets: Annotated[int, typer.Option(min=1, help="Vectors that all runs of words share.")] = 50_000,
    seed: Annotated[int, typer.Option(min=0, help="Another seed begins elsewhere.")] = 0,
    json_output: JsonOption = False,
) -> None:
    """Train a fastText classifier; the same documents give the same file."""
    from castline.corpus.annotate.training import Hyperparameters, read_labelled, train_classifier

    parameters = Hyperparameters(dimensions, epochs, learning_rate, word_ngrams, buckets, seed)
    documents = train_classifier(read_labelled(labelled, text_field, label_field), out, parameters)
    if json_output:
        print_json({"out": str(out), "documents": documents})
        return
    note(f"next: castline corpus classifier evaluate {out} OTHER_LABELLED --label {next(iter(documents))}")
    print_table("trained on", ("label", "documents"), list(documents.items()))
    print(out)


def evaluate_command(
    model: Annotated[Path, typer.Argument(help="The model file.")],
    labelled: LabelledArgument,
    label: Annotated[str, typer.Option(help="The label whose probability is the score.")],
    picture: Annotated[Path | None, typer.Option(help="Draw the precision-recall curve here (.svg or .png).")] = None,
    text_field: TextField = "text",
    label_field: LabelField = "label",
    json_output: JsonOption = False,
) -> None:
    """Say how precise and how complete a classifier is at every threshold; use documents it was not trained on."""
    from castline.corpus.annotate.evaluation import draw_curve, evaluate_classifier
    from castline.corpus.annotate.training import read_labelled

    evaluation = evaluate_classifier(model, read_labelled(labelled, text_field, label_field), label)
    if picture is not None:
        draw_curve(evaluation, picture)
        note(f"drew {picture}")
    if json_output:
        print_json({name: value for name, value in asdict(evaluation).items() if name != "curve"})
        return
    best = evaluation.best
    print_fields(
        {
            "label": evaluation.label,
            "documents": f"{evaluation.documents}, {evaluation.positives} with the label",
            "average precision": f"{evaluation.average_precision:.4f}",
            "best threshold": f"{best.threshold:.4f}: precision {best.precision:.4f}, recall {best.recall:.4f}",
        }
    )
    rows = [
        (f"{p.threshold:.2f}", p.documents, f"{p.precision:.4f}", f"{p.recall:.4f}", f"{p.f1:.4f}")
        for p in evaluation.table
    ]
    print_table("documents that score at least", ("threshold", "documents", "precision", "recall", "F1"), rows)


app.command("train")(guarded(train_command))
app.command("evaluate")(guarded(evaluate_command))
