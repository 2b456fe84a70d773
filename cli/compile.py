"""`castline compile` and `castline verify`."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from castline.cli.engine import warn_unverified
from castline.cli.expected import show_plan
from castline.cli.output import JsonOption, note, print_json, print_table, size
from castline.cli.recipe import COMPILE_TABLES, SetOption, read_tables
from castline.errors import RecipeError

if TYPE_CHECKING:
    from castline.compile.config import CompileConfig
    from castline.compile.verify import Verification


def compile_command(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint: a Hugging Face folder.")],
    out: Annotated[Path, typer.Option(help="The package to write: a folder, or one file named NAME.castline.")],
    weights: Annotated[str | None, typer.Option(metavar="f32|f16|bf16|int8|int4|fp8", help="Default: f32.")] = None,
    block: Annotated[int | None, typer.Option(metavar="32|64|128", help="Block size of int4.")] = None,
    embeddings: Annotated[str | None, typer.Option(metavar="FORMAT", help="Of the embedding table.")] = None,
    head: Annotated[str | None, typer.Option(metavar="FORMAT", help="Of an untied head.")] = None,
    max_kl: Annotated[
        float | None, typer.Option("--max-kl", help="Choose formats: the smallest package within this mean KL.")
    ] = None,
    max_size: Annotated[
        str | None, typer.Option("--max-size", metavar="90MB", help="Choose formats: the closest of at most this size.")
    ] = None,
    kv: Annotated[str | None, typer.Option(metavar="f32|int8", help="Format of the key/value cache.")] = None,
    target: Annotated[
        str | None,
        typer.Option(metavar="cpu,onnx,tensorrt-rtx,tensorrt", help="Default: all that are installed."),
    ] = None,
    context: Annotated[int | None, typer.Option(min=1, help="Longest sequence; default: the model's.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Most sequences a TensorRT engine decodes at once.")] = None,
    compute_capability: Annotated[
        str | None, typer.Option(metavar="8.0,8.9,…", help="GPUs a TensorRT engine is for; default: all offered.")
    ] = None,
    recipe: Annotated[Path | None, typer.Option(help="A recipe with a [compile] table.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a package made from other inputs.")] = False,
    allow_unverified: Annotated[
        bool, typer.Option("--allow-unverified", help="Make the package also where it is too far from the checkpoint.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be built, and its size.")] = False,
    overrides: SetOption = None,
    json_output: JsonOption = False,
) -> None:
    """Compile a checkpoint into a package that is proven against it."""
    options: dict[str, Any] = {
        "weights": weights,
        "block": block,
        "embeddings": embeddings,
        "head": head,
        "max_kl": max_kl,
        "max_size": max_size,
        "kv": kv,
        "targets": target.split(",") if target is not None else None,
        "context": context,
        "batch": batch,
        "compute_capability": compute_capability.split(",") if compute_capability is not None else None,
    }
    config = _config(recipe, overrides, {name: value for name, value in options.items() if value is not None})
    if block is not None and config.weights != "int4":
        raise RecipeError("--block goes with --weights int4: the other formats have no blocks")
    from castline.compile.build import build_package
    from castline.compile.build import dry_run as plan_package

    if dry_run:
        model, plan = plan_package(checkpoint, config)
        if config.is_automatic and not json_output:
            from castline.compile.automatic import sensitivity_flops

            work = sensitivity_flops(model, plan.config.targets)
            note(
                f"formats are chosen by measurement: {work / 1e12:,.1f} TFLOP for sensitivities, then choices are "
                "built and measured until one fits (2 or 3, mostly). The sizes are the largest there can be"
            )
        show_plan(model, plan, out, as_json=json_output)
        return
    summary = build_package(checkpoint, out, config, force=force, allow_unverified=allow_unverified, say=note)
    if summary.reused:
        note(f"{out} was made from the same checkpoint and options: reused")
    warn_unverified(summary.manifest.unverified)
    if json_output:
        print_json(
            {
                "package": str(out),
                "reused": summary.reused,
                "bytes": summary.sizes,
                "verification": summary.verification.model_dump(mode="json"),
            }
        )
        return
    _show(f"{out}", summary.verification, summary.sizes)
    note(f"next: castline run {out} --prompt '...'")


def verify_command(
    package: Annotated[Path, typer.Argument(help="A package: a folder or one file.")],
    html: Annotated[Path | None, typer.Option(help="Write the proof made here as a page.")] = None,
    json_output: JsonOption = False,
) -> None:
    """Prove a package again on this machine: its files and every backend that can run here."""
    from castline.compile.one_file import as_folder
    from castline.compile.verify import verify_package

    with as_folder(package) as folder:
        verification = verify_package(folder)
        if html is not None:
            from castline.compile.package import read_manifest
            from castline.compile.page import write_page

            write_page(html, folder, read_manifest(folder), verification)
    if json_output:
        print_json({"package": str(package), "verification": verification.model_dump(mode="json")})
        return
    _show(f"{package}: every file is as the manifest says", verification, {})


def rebuild_command(
    package: Annotated[Path, typer.Argument(help="A package folder with TensorRT engines.")],
    out: Annotated[Path | None, typer.Option(help="Where the result goes; default: in the package's place.")] = None,
    compute_capability: Annotated[
        str | None, typer.Option(metavar="8.0,8.9,…", help="GPUs the engines are for; default: the one here.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Rebuild engines that are valid here, too.")] = False,
    json_output: JsonOption = False,
) -> None:
    """Build a package's TensorRT engines again, from the graphs it carries, for this machine's GPU or others."""
    from castline.compile.rebuild import rebuild_engines

    wanted = tuple(compute_capability.split(",")) if compute_capability is not None else ()
    results = rebuild_engines(package, out=out, capabilities=wanted, force=force)
    where = out or package
    if json_output:
        print_json({"package": str(where), "engines": [asdict(result) for result in results]})
        return
    rows = [
        (result.target, "rebuilt" if result.rebuilt else "kept", ", ".join(result.compute_capabilities), result.reason)
        for result in results
    ]
    print_table(f"{where}", ("engine", "", "for", "why"), rows)
    if any(result.rebuilt for result in results):
        note(f"next, where the GPU is: castline verify {where}")


def _config(recipe: Path | None, overrides: list[str] | None, options: dict[str, Any]) -> "CompileConfig":
    from castline.compile.config import CompileConfig
    from castline.recipe import Table, apply_overrides, parse

    class Tables(Table):
        """The recipe's tables that compiling reads."""

        compile: CompileConfig = CompileConfig()

    if recipe is not None:
        values = read_tables(recipe, COMPILE_TABLES, overrides)
    else:
        values = apply_overrides({}, overrides or [])
    values = {**values, "compile": {**values.get("compile", {}), **options}}
    config = parse(Tables, values, str(recipe) if recipe is not None else "the command line").compile
    if recipe is not None and config.verify_text is not None:
        text = recipe.resolve().parent / config.verify_text
        config = config.model_copy(update={"verify_text": text})
    return config


def _show(title: str, verification: "Verification", sizes: dict[str, int]) -> None:
    rows = []
    for name, proof in verification.backends.items():
        # What a TensorRT engine's graph gave in ONNX Runtime stands in while the engine's own run is owed.
        measured = proof.run or proof.graph
        figures: tuple[float | None, ...] = (None, None, None, None)
        if measured is not None:
            figures = (measured.mean_kl, measured.max_kl, measured.top1_agreement, measured.perplexity)
        stored = size(sizes[name]) if name in sizes else None
        rows.append((name, proof.weights, proof.status, *figures, proof.bound, stored))
    columns = ("backend", "weights", "status", "mean KL", "max KL", "top-1", "perplexity", "bound", "size")
    print_table(title, columns, rows)
