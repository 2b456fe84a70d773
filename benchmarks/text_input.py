"""What the text benchmarks share: real documents, a peer run in its own environment, and the table.

A peer has dependencies that do not go together with ours, so each script runs itself again under `--peer-python` for
the peer's part, on the same documents, one thread each. Times are processor seconds, which a busy machine disturbs
less than the clock.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def parser(doc: str | None, megabytes: float) -> argparse.ArgumentParser:
    """The command line of every text benchmark; `documents` is a jsonl file with a `text` per line."""
    options = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("documents", type=Path, nargs="?", help="jsonl (default: texts of the installed packages)")
    options.add_argument("--megabytes", type=float, default=megabytes, help=f"how much to read (default {megabytes})")
    options.add_argument("--peer-python", default=sys.executable, help="the interpreter that has the peer installed")
    options.add_argument("--peer", action="store_true", help=argparse.SUPPRESS)
    return options


def installed_texts() -> list[str]:
    """Descriptions, licences and sources of the installed packages."""
    import numpy

    packages = Path(numpy.__file__).parent.parent
    paths = [path for pattern in ("*/METADATA", "*/licenses/*", "*/*.py") for path in sorted(packages.glob(pattern))]
    return [path.read_text("utf-8", "replace") for path in paths if path.is_file()]


def read_documents(path: Path | None, megabytes: float) -> list[str]:
    """About `megabytes` of documents, evenly spread over the input."""
    if path is None:
        texts = installed_texts()
    else:
        with path.open(encoding="utf-8") as file:
            texts = [json.loads(line)["text"] for line in file]
    return texts[:: max(1, round(size_of(texts) / megabytes))]


def write_documents(texts: list[str], path: Path) -> None:
    """The documents as jsonl."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts)


def size_of(texts: list[str]) -> float:
    """Megabytes of UTF-8."""
    return sum(len(text.encode("utf-8", "replace")) for text in texts) / 1e6


def seconds(work: Callable[[], object], repeat: int = 3) -> float:
    """The least processor time of `repeat` runs."""
    times = []
    for _ in range(repeat):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def run_peer(options: argparse.Namespace, texts: list[str]) -> dict[str, Any]:
    """What the script prints as JSON, run with --peer under the peer's interpreter; empty, with a note, if it fails."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "documents.jsonl"
        write_documents(texts, path)
        command = [options.peer_python, sys.argv[0], str(path), "--peer", "--megabytes", "1e9"]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        error = result.stderr.strip().splitlines()[-1:]
        print(f"The peer did not run: {error}. Install it as the script's first lines say.", file=sys.stderr)
        return {}
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found


def print_table(size: float, rows: dict[str, float]) -> None:
    """Seconds by name, castline's first; peers get the ratio to it, the ceiling the share that castline reaches."""
    ours = next(iter(rows.values()))
    print(f"| {size:.1f} MB, one thread | MB/s | |")
    print("|---|---|---|")
    for name, took in rows.items():
        note = "" if took == ours else f"castline is {took / ours:.1f}×"
        if name.startswith("ceiling"):
            note = f"castline reaches {took / ours:.0%}"
        print(f"| {name} | {size / took:.2f} | {note} |")
