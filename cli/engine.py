"""`castline run`, `score` and `bench`: a package at work."""

import json
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from castline.cli.output import JsonOption, note, print_json, print_table
from castline.errors import DataError, RecipeError

if TYPE_CHECKING:
    from castline._C import Engine

Backend = Literal["auto", "cpu", "tensorrt"]
PackageArgument = Annotated[
    Path, typer.Argument(help="A package, as `castline compile` writes it: a folder or one file.")
]
TemperatureOption = Annotated[float, typer.Option(min=0, help="0: greedy.")]
TopKOption = Annotated[int, typer.Option(min=0, help="Sample among the k likeliest; 0: all.")]
TopPOption = Annotated[float, typer.Option(min=0, max=1, help="Sample within this probability mass.")]
SeedOption = Annotated[int, typer.Option(min=0, help="The same seed gives the same text.")]
ThreadsOption = Annotated[int, typer.Option(min=0, help="Threads; 0: one per core.")]
BackendOption = Annotated[Backend, typer.Option(help="auto: the best that this machine has.")]


def run_command(
    package: PackageArgument,
    prompt: Annotated[str | None, typer.Option(help="The text to continue.")] = None,
    ids: Annotated[Path | None, typer.Option(help="A file with a JSON list of token ids to continue.")] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="Stop after this many new tokens.")] = 128,
    temperature: TemperatureOption = 0.0,
    top_k: TopKOption = 0,
    top_p: TopPOption = 1.0,
    seed: SeedOption = 0,
    backend: BackendOption = "auto",
    threads: ThreadsOption = 0,
    json_output: JsonOption = False,
) -> None:
    """Continue a prompt; greedy unless a temperature is given."""
    if (prompt is None) == (ids is None):
        raise RecipeError("expected one of --prompt TEXT and --ids FILE")
    engine = open_engine(package, backend, threads)
    prompt_ids = _prompt_ids(engine, prompt, ids, package)
    context = engine.info()["max_context"]
    if len(prompt_ids) >= context:
        raise DataError(f"expected a prompt shorter than the context of {context} tokens, but got {len(prompt_ids)}")

    def show(_: int, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    stream = None if json_output or engine.tokenizer is None else show
    if stream and prompt:
        show(0, prompt)
    result = engine.generate(
        prompt_ids,
        max_tokens=max_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
        callback=stream,
    )
    prefill = len(prompt_ids) / max(result.prefill_seconds, 1e-9)
    decode = max(len(result.ids) - 1, 0) / max(result.decode_seconds, 1e-9)
    if json_output:
        print_json(
            {
                "text": result.text,
                "prompt_ids": prompt_ids,
                "ids": result.ids,
                "finish_reason": result.finish_reason,
                "backend": engine.info()["backend"],
                "prefill_seconds": result.prefill_seconds,
                "decode_seconds": result.decode_seconds,
                "prefill_tokens_per_second": prefill,
                "decode_tokens_per_second": decode,
            }
        )
        return
    print() if stream else print(json.dumps(result.ids))
    note(
        f"{len(result.ids)} tokens ({result.finish_reason}); prompt {len(prompt_ids)} tokens at {prefill:.0f}/s, "
        f"generation at {decode:.1f}/s on {engine.info()['backend']}"
    )


def score_command(
    model: Annotated[Path, typer.Argument(metavar="PACKAGE|CHECKPOINT", help="A package or checkpoint folder.")],
    text: Annotated[Path | None, typer.Option(help="A UTF-8 text file; default: standard input.")] = None,
    ids: Annotated[Path | None, typer.Option(help="A JSON list of token ids, or a list of such lists.")] = None,
    backend: BackendOption = "auto",
    threads: ThreadsOption = 0,
    json_output: JsonOption = False,
) -> None:
    """Log-probability of every token, and the perplexity."""
    if text is not None and ids is not None:
        raise RecipeError("expected one of --text FILE and --ids FILE, but got both")
    from castline.compile.score import read_ids, read_text, score

    source = read_ids(ids) if ids is not None else read_text(text)
    scored = score(model, source, backend=backend, threads=threads)
    _say_fallback(scored.note)
    if json_output:
        print_json({"logprobs": scored.logprobs, "tokens": scored.tokens, "perplexity": scored.perplexity})
        return
    print(f"tokens      {scored.tokens:,}")
    print(f"perplexity  {scored.perplexity:.4f}")


def bench_command(
    package: PackageArgument,
    prompt_tokens: Annotated[int, typer.Option(min=1, help="Length of the prompt.")] = 128,
    max_tokens: Annotated[int, typer.Option(min=2, help="Tokens generated per run.")] = 64,
    runs: Annotated[int, typer.Option(min=1, help="Counted runs, after one to warm up.")] = 5,
    backend: BackendOption = "auto",
    threads: ThreadsOption = 0,
    json_output: JsonOption = False,
) -> None:
    """Time opening, prefill and decoding of a package on this machine."""
    started = time.perf_counter()
    engine = open_engine(package, backend, threads)
    opened = time.perf_counter() - started
    info = engine.info()
    room = info["max_context"] - max_tokens
    if room < 1:
        raise RecipeError(f"expected --max-tokens below the context of {info['max_context']}, but got {max_tokens}")
    prompt_tokens = min(prompt_tokens, room)
    # Any ids cost the same; the stop token is avoided by generating from a fixed prompt and counting what came.
    prompt = [i % info["vocab_size"] for i in range(prompt_tokens)]
    prefill, decode = [], []
    for run in range(runs + 1):
        result = engine.generate(prompt, max_tokens=max_tokens)
        if run > 0:
            prefill.append(prompt_tokens / max(result.prefill_seconds, 1e-9))
            if len(result.ids) > 1:
                decode.append((len(result.ids) - 1) / max(result.decode_seconds, 1e-9))
    figures = {
        "backend": info["backend"],
        "weights": info["weights"],
        "threads": info["threads"],
        "open_seconds": opened,
        "prompt_tokens": prompt_tokens,
        "prefill_tokens_per_second": statistics.median(prefill),
        "decode_tokens_per_second": statistics.median(decode) if decode else None,
        "runs": runs,
    }
    if json_output:
        print_json(figures)
        return
    print_table(f"{package}, median of {runs} runs", ("figure", "value"), list(figures.items()))


def open_engine(package: Path, backend: Backend, threads: int) -> "Engine":
    """Open a package, every hash checked: the command line trusts nothing that it has not read."""
    from castline._C import Engine
    from castline.compile.package import check_files, read_manifest

    manifest = read_manifest(package)
    check_files(package, manifest)
    warn_unverified(manifest.unverified)
    engine = Engine(package, backend=backend, threads=threads)
    _say_fallback(engine.info()["note"])
    return engine


def warn_unverified(backends: tuple[str, ...]) -> None:
    """Say on stderr which backends of a package failed their proof."""
    if backends:
        note(f"warning: this package is further from its checkpoint than its bound allows: {', '.join(backends)}")


def _say_fallback(reason: str) -> None:
    """Say on stderr why not the package's TensorRT engine runs, if there is a reason."""
    if reason:
        note(f"running on the CPU, not on the package's TensorRT engine: {reason}")


def _prompt_ids(engine: "Engine", prompt: str | None, ids: Path | None, package: Path) -> list[int]:
    from castline.compile.score import read_ids

    if ids is not None:
        sequences = read_ids(ids).sequences
        if len(sequences) != 1:
            raise DataError(f"expected one list of token ids in {ids}, but found {len(sequences)}")
        return sequences[0]
    if engine.tokenizer is None:
        raise DataError(f"{package} has no tokenizer, so it takes token ids: --ids FILE")
    encoded = [int(i) for i in engine.tokenizer.encode(prompt or "", add_special=True)]
    if not encoded:
        raise DataError("expected a prompt with at least one token, but it is empty")
    return encoded
