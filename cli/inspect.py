"""`castline inspect`: what a package, checkpoint, run, corpus or GGUF file is, and where it came from."""

from pathlib import Path
from typing import Annotated

import typer

from castline.cli.output import JsonOption, print_json


def inspect_command(
    path: Annotated[Path, typer.Argument(help="A package, checkpoint, run or corpus folder, or a GGUF file.")],
    json_output: JsonOption = False,
) -> None:
    """Say what a folder or file is, and where it came from."""
    from castline.compile.inspect import inspect_path

    found = inspect_path(path)
    print_json(found)
