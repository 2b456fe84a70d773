"""`castline inspect`: what a package, checkpoint, run, corpus or GGUF file is, and where it came from."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from castline.cli.output import JsonOption, print_fields, print_json

if TYPE_CHECKING:
    from rich.tree import Tree

    from castline.compile.trace import Link


def inspect_command(
    path: Annotated[Path, typer.Argument(help="A package, checkpoint, run or corpus, or a GGUF file.")],
    json_output: JsonOption = False,
) -> None:
    """Say what a folder or file is, and where it came from."""
    from castline.compile.inspect import inspect_path

    found = inspect_path(path)
    history = None
    if found.kind == "package":
        from castline.compile.trace import trace

        history = trace(path)
    if json_output:
        provenance = {"provenance": _plain(history)} if history else {}
        print_json(asdict(found) | {"path": str(found.path)} | provenance)
        return
    print(f"{found.kind} {found.path}")
    print_fields({f"  {name}": value for name, value in _flat(found.facts)})
    if history is not None:
        _print_tree(history)
        return
    for origin in found.origins:
        print(f"from {origin.kind}")
        print_fields({f"  {name}": value for name, value in _flat(origin.facts)})


def _plain(link: "Link") -> dict[str, Any]:
    return {
        "kind": link.kind,
        "name": link.name,
        "state": link.state,
        "sha256": link.sha256,
        "path": str(link.path) if link.path else None,
        "facts": dict(link.facts),
        "made_from": [_plain(part) for part in link.made_from],
    }


def _print_tree(history: "Link") -> None:
    from rich.console import Console
    from rich.tree import Tree

    tree = Tree("provenance")
    _grow(tree, history)
    console = Console(markup=False, highlight=False)
    if not console.is_terminal:
        console = Console(markup=False, highlight=False, width=160)
    console.print(tree)


def _grow(tree: "Tree", link: "Link") -> None:
    facts = ", ".join(f"{name} {value}" for name, value in _flat(link.facts))
    hash_ = f"  sha256 {link.sha256[:12]}" if link.sha256 else ""
    where = f"  {link.path}" if link.path else ""
    branch = tree.add(f"{link.kind} {link.name}{hash_}: {link.state}{where}" + (f" ({facts})" if facts else ""))
    for part in link.made_from:
        _grow(branch, part)


def _flat(facts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield (
                f"{prefix}{name}",
                ", ".join(str(item) for item in value) if isinstance(value, list | tuple) else value,
            )
