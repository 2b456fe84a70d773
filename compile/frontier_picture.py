"""What an automatic choice of formats was made from, as data in the package, and as a picture."""

import io
from collections.abc import Sequence
from html import escape
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from castline.files import write_bytes, write_json
from castline.recipe import Table

CHOICE = "choice.json"
CHOICE_PAGE = "choice.html"


class Trial(Table):
    """A choice that was built and measured."""

    size: int
    estimated: float
    measured: float


class ChosenPoint(Trial):
    """The one that was taken."""

    formats: dict[str, str]
    """{group: format}."""


class Choice(Table):
    """choice.json. Sizes in bytes, divergences in nats per token."""

    target: str
    """The backend whose size and divergence count."""
    max_kl: float | None
    max_size: int | None
    tokens: int
    """That divergences were measured on."""
    sensitivity_tokens: int
    left_of_rounding: float
    """What remains of the divergence that rounding to int4 causes, by measurement."""
    trials: list[Trial]
    chosen: ChosenPoint
    frontier: list[tuple[int, float]]
    """(size, estimated KL) of all best choices, from the most precise to the smallest."""
    uniform: dict[str, tuple[int, float]]
    """{format: (size, estimated KL)} with one format for all layers, embeddings and head in int8 at least."""
    sensitivities: dict[str, dict[str, float]]
    """{group: {format: mean KL that it alone causes, rounded to nearest}}."""


def write_choice(package: Path, choice: Choice) -> None:
    """Write choice.json and choice.html into a package folder."""
    write_json(package / CHOICE, choice.model_dump(mode="json"))
    write_bytes(package / CHOICE_PAGE, choice_page(choice).encode())


def frontier_svg(choice: Choice) -> str:
    """Size against divergence: all best choices, those that were measured, and one format for all layers."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    floor = 1e-7
    axes.plot(
        [size / 1e6 for size, _ in choice.frontier],
        [max(kl, floor) for _, kl in choice.frontier],
        ".-",
        color="tab:blue",
        markersize=3,
        linewidth=0.8,
        label="best choices, estimated",
    )
    for index, (name, (size, kl)) in enumerate(choice.uniform.items()):
        label = "one format for all layers, estimated" if index == 0 else None
        axes.plot(size / 1e6, max(kl, floor), "s", color="tab:gray", markersize=5, label=label)
        axes.annotate(name, (size / 1e6, max(kl, floor)), textcoords="offset points", xytext=(6, 4), fontsize="small")
    others = [trial for trial in choice.trials if trial.size != choice.chosen.size]
    if others:
        axes.plot([t.size / 1e6 for t in others], [t.measured for t in others], "x", color="k", label="measured")
    axes.plot(
        choice.chosen.size / 1e6,
        max(choice.chosen.measured, floor),
        "*",
        color="tab:red",
        markersize=14,
        label="chosen, measured",
    )
    if choice.max_kl is not None:
        axes.axhline(choice.max_kl, color="tab:red", linestyle=":", label="--max-kl")
    if choice.max_size is not None:
        axes.axvline(choice.max_size / 1e6, color="tab:red", linestyle=":", label="--max-size")
    axes.set(xlabel=f"{choice.target}: MB", ylabel="mean KL in nats per token", yscale="log")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    content = io.StringIO()
    with rc_context({"svg.hashsalt": "castline"}):
        figure.savefig(content, format="svg", metadata={"Date": None})
    svg = content.getvalue()
    return svg[svg.index("<svg") :]


def choice_page(choice: Choice) -> str:
    """An HTML page that needs no network: the picture, the measured choices, and the format of every group."""
    limit = f"--max-kl {choice.max_kl:g}" if choice.max_kl is not None else f"--max-size {choice.max_size:,} bytes"
    trials = [(f"{t.size / 1e6:,.2f} MB", f"{t.estimated:.4g}", f"{t.measured:.4g}") for t in choice.trials]
    columns = list(dict.fromkeys(name for own in choice.sensitivities.values() for name in own))
    rows = [
        (
            label,
            stored,
            *(f"{choice.sensitivities[label][c]:.3g}" if c in choice.sensitivities[label] else "" for c in columns),
        )
        for label, stored in choice.chosen.formats.items()
    ]
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>The choice of formats</title>'
        "<style>body{font:15px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}svg{max-width:100%;"
        "height:auto}table{border-collapse:collapse}td,th{padding:.15rem .8rem;text-align:right;border-bottom:1px solid"
        " #ddd}td:first-child,th:first-child{text-align:left}</style>"
        f"<h1>The choice of formats: {escape(limit)}</h1>"
        f"<p>{choice.chosen.size / 1e6:,.2f} MB for {escape(choice.target)}, mean KL {choice.chosen.measured:.4g}, "
        f"measured on {choice.tokens:,} tokens after {len(choice.trials)} measured "
        f"{'choice' if len(choice.trials) == 1 else 'choices'}; fitted int4 weights keep {choice.left_of_rounding:.0%} "
        f"of the divergence that rounding causes.</p>{frontier_svg(choice)}"
        f"<h2>Measured choices</h2>{_table(('size', 'estimated KL', 'measured KL'), trials)}"
        f"<h2>Groups</h2><p>The KL that each group causes alone, rounded to each format, on "
        f"{choice.sensitivity_tokens} tokens.</p>{_table(('group', 'chosen', *columns), rows)}</html>\n"
    )


def _table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"
