"""`castline import`: another tool's model as a castline checkpoint."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from castline.cli.output import JsonOption, note, print_fields, print_json


def import_command(
    source: Annotated[Path, typer.Argument(help="A Hugging Face folder (Llama, InternLM2) or a GGUF file.")],
    out: Annotated[Path, typer.Option(help="The checkpoint folder to write.")],
    force: Annotated[bool, typer.Option("--force", help="Replace what is at --out.")] = False,
    json_output: JsonOption = False,
) -> None:
    """Turn another tool's model into a checkpoint."""
    from castline.model.importer import import_checkpoint

    summary = import_checkpoint(source, out, force=force)
    if summary.reused:
        note(f"{out} was made from the same source: reused")
    fields = asdict(summary) | {"checkpoint": str(summary.checkpoint)}
    if json_output:
        print_json(fields | {"config": summary.config.model_dump(mode="json")})
    else:
        print_fields(fields)
