"""`castline pack` and `castline unpack`: a package folder as one file, and back."""

from pathlib import Path
from typing import Annotated

import typer

from castline.cli.output import JsonOption, note, print_fields, print_json, size

ForceOption = Annotated[bool, typer.Option("--force", help="Replace another package.")]


def pack_command(
    package: Annotated[Path, typer.Argument(help="A package folder.")],
    out: Annotated[Path, typer.Option(help="The file to write; its name ends in .castline.")],
    force: ForceOption = False,
    json_output: JsonOption = False,
) -> None:
    """Put a package folder into one file, which engines open as it is."""
    from castline.compile.pack import pack

    _say(out, pack(package, out, force=force), json_output)


def unpack_command(
    package: Annotated[Path, typer.Argument(help="A package that is one file.")],
    out: Annotated[Path, typer.Option(help="The folder to write.")],
    force: ForceOption = False,
    json_output: JsonOption = False,
) -> None:
    """Take a package that is one file apart into a folder."""
    from castline.compile.pack import unpack

    _say(out, unpack(package, out, force=force), json_output)


def _say(out: Path, reused: bool, json_output: bool) -> None:
    if reused:
        note(f"{out} is this package already: reused")
    count = out.stat().st_size if out.is_file() else sum(f.stat().st_size for f in out.rglob("*") if f.is_file())
    if json_output:
        print_json({"package": str(out), "bytes": count, "reused": reused})
    else:
        print_fields({"package": str(out), "size": size(count)})
