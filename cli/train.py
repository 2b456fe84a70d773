"""`castline train run | plan`."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from castline.cli.guard import guarded
from castline.cli.output import JsonOption, note, print_fields, print_json, print_table, size
from castline.cli.recipe import TRAIN_TABLES, SetOption, read_tables, required_out

if TYPE_CHECKING:
    from castline.model.config import RunConfig
    from castline.model.plan import TrainPlan

app = typer.Typer(help="Train a model, or plan a training.", no_args_is_help=True, rich_markup_mode=None)

RecipeArgument = Annotated[Path, typer.Argument(help="The recipe.")]


def run_command(
    recipe: RecipeArgument,
    out: Annotated[Path | None, typer.Option(help="The run directory to write.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Discard a run of another recipe.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done and what it takes.")] = False,
    overrides: SetOption = None,
    json_output: JsonOption = False,
) -> None:
    """Train a model; an interrupted run goes on where it stopped."""
    config = _config(recipe, overrides)
    if dry_run:
        _show_plan(config, json_output)
        return
    out = required_out(out)
    from castline.model.train import train

    summary = train(config, out, force=force, say=note)
    if json_output:
        print_json(_plain(asdict(summary)))
        return
    rows: list[tuple[object, ...]] = [
        (source, loss, summary.unigram.by_source.get(source)) for source, loss in summary.held_out.by_source.items()
    ]
    rows.append(("all", summary.held_out.mean, summary.unigram.mean))
    print_fields(
        {
            "checkpoint": summary.checkpoint,
            "parameters": summary.parameters,
            "steps": summary.steps,
            "tokens": summary.tokens,
            "training loss": summary.training_loss,
            "parameter hash": summary.parameters_sha256,
        }
    )
    print()
    print_table("held-out loss, nats per token", ("source", "model", "unigram"), rows)
    note(f"next: castline compile {summary.checkpoint} --out package")


def plan_command(recipe: RecipeArgument, overrides: SetOption = None, json_output: JsonOption = False) -> None:
    """Say how large a training is: parameters, operations, tokens, memory."""
    _show_plan(_config(recipe, overrides), json_output)


app.command("run")(guarded(run_command))
app.command("plan")(guarded(plan_command))


def _config(recipe: Path, overrides: list[str] | None) -> "RunConfig":
    from castline.model.config import RunConfig
    from castline.recipe import parse

    config = parse(RunConfig, read_tables(recipe, TRAIN_TABLES, overrides), str(recipe))
    folder = recipe.resolve().parent
    paths = {"data": config.train.data, "init": config.train.init}
    resolved = {name: folder / path for name, path in paths.items() if isinstance(path, Path)}
    return config.model_copy(update={"train": config.train.model_copy(update=resolved)})


def _show_plan(config: "RunConfig", json_output: bool) -> None:
    from castline.model.plan import plan

    found = plan(config)
    if json_output:
        print_json(_plan_values(found))
        return
    parameters = {f"parameters: {name}": count for name, count in found.parameters.items()}
    memory = {f"memory: {name}": size(count) for name, count in found.memory.items()}
    print_fields(
        {
            **parameters,
            "parameters": sum(found.parameters.values()),
            "steps": found.steps,
            "tokens per step": found.tokens_per_step,
            "tokens": found.tokens,
            "passes over the corpus": found.epochs,
            "operations per token": found.flops_per_token,
            "operations": f"{found.flops:.3g}",
            **memory,
            "memory": size(sum(found.memory.values())),
        }
    )


def _plan_values(found: "TrainPlan") -> dict[str, Any]:
    values = asdict(found) | {"tokens": found.tokens, "epochs": found.epochs, "flops": found.flops}
    return _plain(values | {"model": found.model.model_dump(mode="json")})


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}
