"""The recipe as the commands read it: each takes the tables of its stage and checks the others' names."""

import difflib
from pathlib import Path
from typing import Annotated, Any

import typer

from castline.errors import RecipeError
from castline.recipe import apply_overrides, read_toml

SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override one value of the recipe; may be repeated."),
]

CORPUS_TABLES = (
    "seed",
    "sources",
    "language",
    "privacy",
    "safety",
    "classifiers",
    "decontaminate",
    "rules",
    "dedup",
    "code",
    "repositories",
    "tokenizer",
    "split",
    "long_context",
    "mix",
)
TRAIN_TABLES = ("seed", "model", "train")
COMPILE_TABLES = ("compile",)
TABLES = tuple(dict.fromkeys(CORPUS_TABLES + TRAIN_TABLES + COMPILE_TABLES))


def read_tables(path: Path, tables: tuple[str, ...], overrides: list[str] | None) -> dict[str, Any]:
    """The named tables of the recipe at `path`, after `--set`, as plain values.

    Raises:
        RecipeError: the file cannot be read, or has a table that no command knows.
    """
    values = apply_overrides(read_toml(path), overrides or [])
    unknown = [name for name in values if name not in TABLES]
    if unknown:
        lines = [_unknown_table(name) for name in unknown]
        raise RecipeError(f"{path}: {len(lines)} mistake(s)\n" + "\n".join(lines))
    return {name: values[name] for name in tables if name in values}


def _unknown_table(name: str) -> str:
    near = difflib.get_close_matches(name, TABLES, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"known tables: {', '.join(TABLES)}"
    return f"  {name}: unknown table; {hint}"


def required_out(out: Path | None) -> Path:
    """The --out of a command that can do without it only in a dry run."""
    if out is None:
        raise RecipeError("expected --out DIR; only a --dry-run does without it")
    return out
