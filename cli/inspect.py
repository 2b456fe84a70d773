"""`castline inspect`: what a package, checkpoint, run, corpus or GGUF file is, and where it came from."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from castline.cli.output import JsonOption, print_fields, print_json


def inspect_command(
    path: Annotated[Path, typer.Argument(help="A package, checkpoint, run or corpus folder, or a GGUF file.")],
    json_output: JsonOption = False,
) -> None:
    """Say what a folder or file is, and where it came from."""
    from castline.compile.inspect import inspect_path

    found = inspect_path(path)
    if json_output:
        print_json(asdict(found) | {"path": str(found.path)})
        return
    print(f"{found.kind} {found.path}")
    print_fields({f"  {name}": value for name, value in _flat(found.facts)})
    for origin in found.origins:
        print(f"from {origin.kind}")
        print_fields({f"  {name}": value for name, value in _flat(origin.facts)})


def _flat(facts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield (
                f"{prefix}{name}",
                ", ".join(str(item) for item in value) if isinstance(value, list | tuple) else value,
            )
