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
    sample = castline("run", DEMO / "package", "--prompt", PROMPT, "--max-tokens", 48)
    show(corpus, run, package, bench, sample, time.monotonic() - started)


def show(*results: Any) -> None:
    """Print the summary table."""
    corpus, run, package, bench, sample, seconds = results
    table = Table(title="castline demo", box=box.SIMPLE_HEAD, title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in rows(corpus, run, package, bench, sample):
        table.add_row(name, value)
    reused = [
        name for name, stage in (("corpus", corpus), ("run", run), ("package", package)) if stage["reused"]
    ]
    table.add_row("time", f"{seconds:.0f} s" + (f" (reused: {', '.join(reused)})" if reused else ""))
    console = Console()
    if not console.is_terminal:
        console = Console(width=110)
    console.print(table, markup=False)
    print(f"The corpus report: {DEMO / 'corpus' / 'report.html'}")
    print(f"Try it:            castline run {DEMO / 'package'} --prompt '...'")


if __name__ == "__main__":
    main()
