"""`castline export`: a checkpoint or a package for transformers, vLLM and llama.cpp."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from castline.cli.output import JsonOption, note, print_fields, print_json, size


def export_command(
    source: Annotated[Path, typer.Argument(help="A checkpoint folder, or a package with the cpu backend.")],
    out: Annotated[Path, typer.Option(help="The folder (hf) or file (gguf) to write.")],
    format: Annotated[str, typer.Option(metavar="hf|gguf", help="A Hugging Face folder, or a file for llama.cpp.")],
    dtype: Annotated[
        str | None, typer.Option(metavar="f32|f16|bf16|q8_0|q4_0|q4_1", help="Of the weights; default: as they are.")
    ] = None,
    layout: Annotated[str, typer.Option(metavar="llama|internlm2", help="Of a Hugging Face folder.")] = "llama",
    force: Annotated[bool, typer.Option("--force", help="Replace another checkpoint or GGUF file.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be written, and its size.")] = False,
    json_output: JsonOption = False,
) -> None:
    """Write a model in the form that other tools load."""
    from castline.compile.export import export, parse_request, plan_export

    request = parse_request(format, dtype, layout)
    summary = plan_export(source, out, request) if dry_run else export(source, out, request, force=force)
    if summary.reused:
        note(f"{out} was made from the same source and options: reused")
    for remark in summary.notes:
        note(remark)
    fields = asdict(summary) | {"out": str(summary.out)}
    if json_output:
        print_json(fields)
        return
    del fields["notes"]
    print_fields(fields | {"bytes": size(summary.bytes)})
