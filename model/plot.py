"""The loss curve of a run as an SVG: the same bytes for the same metrics."""

import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from castline.files import write_bytes

_SMOOTHING = 0.95


def plot_loss(path: Path, metrics: Iterable[Mapping[str, Any]], unigram: float | None) -> None:
    """Draw training loss (each step, and its running mean) and held-out loss (mean and per source) over the steps."""
    lines = list(metrics)
    steps = [(line["step"], line["loss"]) for line in lines if "loss" in line]
    evaluations = [line for line in lines if "held_out" in line]
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(*zip(*steps, strict=True), color="0.8", linewidth=0.7, label="training, each step")
    axes.plot([step for step, _ in steps], _running_mean([loss for _, loss in steps]), label="training, running mean")
    if any(line["held_out"] for line in evaluations):
        at = [line["step"] for line in evaluations]
        axes.plot(at, [line["held_out_mean"] for line in evaluations], "o-", markersize=3, label="held out, all")
        for source in evaluations[0]["held_out"]:
            losses = [line["held_out"][source] for line in evaluations]
            axes.plot(at, losses, "--", linewidth=1, label=f"held out, {source}")
    if unigram is not None:
        axes.axhline(unigram, color="0.5", linestyle=":", label="unigram model, held out")
    axes.set(xlabel="step", ylabel="loss in nats per token")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    content = io.BytesIO()
    with rc_context({"svg.hashsalt": "castline"}):
        figure.savefig(content, format="svg", metadata={"Date": None})
    write_bytes(path, content.getvalue())


def _running_mean(losses: list[float]) -> list[float]:
    """An exponential mean, corrected for its start."""
    means, total, weight = [], 0.0, 0.0
    for loss in losses:
        total = _SMOOTHING * total + (1 - _SMOOTHING) * loss
        weight = _SMOOTHING * weight + (1 - _SMOOTHING)
        means.append(total / weight)
    return means
