"""The demo: fetch real text, build the corpus, train, compile, run, and show one table.

    make demo          # or: python recipes/demo/demo.py

Every stage is an ordinary `castline` command; a stage that is complete is reused, an interrupted one goes on.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from fetch import fetch
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
DEMO = ROOT / ".demo"
RECIPE = HERE / "demo.toml"
PROMPT = "The database session"


def castline(*arguments: object) -> dict[str, Any]:
    """Run one castline command; its JSON result. A command that fails ends the demo with its exit code."""
    words = [str(argument) for argument in arguments]
    print(f"\n$ castline {' '.join(words)}", file=sys.stderr, flush=True)
    command = [str(Path(sys.executable).with_name("castline")), *words, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(done.returncode)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def main() -> None:
    """Run every stage and print the summary."""
    started = time.monotonic()
    fetch(DEMO / "data")
    corpus = castline("corpus", "build", RECIPE, "--out", DEMO / "corpus")
    run = castline("train", "run", RECIPE, "--out", DEMO / "run")
    package = castline("compile", DEMO / "run" / "checkpoint", "--out", DEMO / "package", "--recipe", RECIPE)
    bench = castline("bench", DEMO / "package")
    sampling = ("--temperature", 0.7, "--top-k", 40, "--seed", 1)
    sample = castline("run", DEMO / "package", "--prompt", PROMPT, "--max-tokens", 48, *sampling)
    show(corpus, run, package, bench, sample, time.monotonic() - started)


def show(corpus: Any, run: Any, package: Any, bench: Any, sample: Any, seconds: float) -> None:
    """Print the summary table."""
    table = Table(title="castline demo", box=box.SIMPLE_HEAD, title_justify="left", show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    groups = (
        _corpus(corpus),
        _training(run),
        _package(package, bench),
        [("sample", " ".join((PROMPT + sample["text"]).split()))],
    )
    for group in groups:
        for name, value in group:
            table.add_row(name, Text(value))
        table.add_section()
    stages = (("corpus", corpus), ("training", run), ("package", package))
    reused = ", ".join(name for name, stage in stages if stage["reused"])
    table.add_row("time", f"{seconds:.0f} s" + (f"; reused: {reused}" if reused else ""))
    console = Console()
    (console if console.is_terminal else Console(width=110)).print(table)
    print(f"corpus report   {DEMO / 'corpus' / 'report.html'}")
    print(f"loss plot       {DEMO / 'run' / 'loss.svg'}")
    print(f"try it          castline run {DEMO / 'package'} --prompt '...'")


Rows = list[tuple[str, str]]


def _corpus(corpus: dict[str, Any]) -> Rows:
    totals = corpus["totals"]
    sets: dict[str, int] = {}
    for rule, count in totals["dropped"].items():
        name = rule.partition(".")[0].replace("_", " ")
        sets[name] = sets.get(name, 0) + count
    dropped = ", ".join(f"{count:,} {name}" for name, count in sorted(sets.items(), key=lambda item: -item[1]))
    rejected = ", ".join(f"{count:,} {reason}" for reason, count in totals["rejected"].items()) or "none"
    tokens = ", ".join(f"{one['tokens']['train']:,} {name}" for name, one in corpus["sources"].items())
    return [
        ("read", f"{totals['read']:,} documents, {totals['bytes'] / 1e6:.1f} MB"),
        ("rejected", rejected),
        ("dropped", dropped),
        ("kept", f"{totals['kept']['train']:,} to train on, {totals['kept']['held_out']:,} held out"),
        ("tokens", f"{totals['tokens']['train']:,}: {tokens}"),
    ]


def _training(run: dict[str, Any]) -> Rows:
    unigram = run["unigram"]
    by_source = ", ".join(
        f"{loss:.2f} (unigram {unigram['by_source'][name]:.2f}) {name}"
        for name, loss in run["held_out"]["by_source"].items()
    )
    return [
        ("model", f"{run['parameters'] / 1e6:.1f} M parameters, {run['steps']} steps, {run['tokens']:,} tokens"),
        ("training loss", f"{run['training_loss']:.3f} nats per token; {run['tokens_per_second']:,.0f} tokens/s"),
        ("held-out loss", f"{run['held_out']['mean']:.3f}; a unigram model: {unigram['mean']:.3f}"),
        ("by source", by_source),
    ]


def _package(package: dict[str, Any], bench: dict[str, Any]) -> Rows:
    rows = []
    for name, proof in package["verification"]["backends"].items():
        measured = proof["run"] or proof["graph"]
        figures = f"KL {measured['mean_kl']:.1e} (bound {proof['bound']:g}), top-1 {measured['top1_agreement']:.1%}"
        figures += f", perplexity ratio {measured['perplexity_ratio']:.4f}" if measured else ""
        owed = "" if proof["run"] else " of its graph in ONNX Runtime; the engine's own run is owed"
        size = f"{package['bytes'][name] / 1e6:.1f} MB"
        rows.append((name, f"{proof['weights']}, {proof['status']}, {size}: {figures}{owed}"))
    speed = (
        f"{bench['decode_tokens_per_second']:,.0f} tokens/s generated, {bench['prefill_tokens_per_second']:,.0f} read"
    )
    return [*rows, ("speed", f"{speed} ({bench['backend']}, {bench['weights']}, {bench['threads']} threads)")]


if __name__ == "__main__":
    main()
