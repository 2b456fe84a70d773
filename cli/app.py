"""The command `castline`: one app over the commands of this folder.

castline corpus build recipe.toml --out corpus
castline train run recipe.toml --out run
castline compile run/checkpoint --out package
"""

from typing import Annotated

import typer

import castline
from castline.cli import chat, corpus, doctor, engine, export, importing, init, inspect, pack, train
from castline.cli import compile as compile_commands
from castline.cli.guard import guarded

app = typer.Typer(
    name="castline",
    help="Raw text in, a finished and verified TensorRT engine out.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(corpus.app, name="corpus")
app.add_typer(train.app, name="train")
app.command("import")(guarded(importing.import_command))
app.command("init")(guarded(init.init_command))
app.command("compile")(guarded(compile_commands.compile_command))
app.command("verify")(guarded(compile_commands.verify_command))
app.command("rebuild")(guarded(compile_commands.rebuild_command))
app.command("pack")(guarded(pack.pack_command))
app.command("unpack")(guarded(pack.unpack_command))
app.command("export")(guarded(export.export_command))
app.command("inspect")(guarded(inspect.inspect_command))
app.command("run")(guarded(engine.run_command))
app.command("chat")(guarded(chat.chat_command))
app.command("score")(guarded(engine.score_command))
app.command("bench")(guarded(engine.bench_command))
app.command("doctor")(guarded(doctor.doctor_command))


def _print_version(value: bool) -> None:
    if value:
        print(f"castline {castline.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass
