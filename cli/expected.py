"""What `castline compile --dry-run` says: sizes, memory, and how fast decoding can be at most."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from castline.cli.output import note, print_json, print_table, size

if TYPE_CHECKING:
    from castline.compile.expected import Needs
    from castline.compile.plan import Plan
    from castline.model.config import ModelConfig

_BATCHES = (1, 8, 32)


def show_plan(model: "ModelConfig", plan: "Plan", out: Path, *, as_json: bool) -> None:
    """Print what would be built and what it would take to run."""
    from castline.compile.expected import GPUS, contexts, needs_of
    from castline.compile.formats import TENSORRT_TARGETS
    from castline.compile.plan import able_capabilities

    longest = plan.config.context
    targets = [target for target in plan.sizes if target == "cpu" or target in TENSORRT_TARGETS]
    needs = {str(target): needs_of(model, plan, target) for target in targets}
    engine = needs_of(model, plan, "tensorrt-rtx")
    kinds = {stored.kind for stored in plan.wanted.for_target("tensorrt-rtx").formats.values()}
    runs = {
        gpu.name: bool(able_capabilities(kinds, [gpu.compute_capability], ()))
        and engine.memory(longest, plan.config.batch) <= gpu.memory
        for gpu in GPUS
    }
    speeds = [
        (gpu, engine.tokens_per_second(gpu.bandwidth, 0), engine.tokens_per_second(gpu.bandwidth, longest))
        for gpu in GPUS
    ]
    if as_json:
        print_json(
            {
                "weights": {str(target): str(kind) for target, kind in plan.formats.items()},
                "bytes": {str(target): count for target, count in plan.sizes.items()},
                "context": longest,
                "memory": {
                    name: {"weights": need.weights, "cache_per_token": need.cache_per_token}
                    for name, need in needs.items()
                },
                "gpus": {
                    gpu.name: {
                        "compute_capability": gpu.compute_capability,
                        "runs": runs[gpu.name],
                        "most_tokens_per_second": {"0": round(empty, 1), str(longest): round(full, 1)},
                    }
                    for gpu, empty, full in speeds
                },
            }
        )
        return
    rows = [(target, plan.formats[target], size(count)) for target, count in plan.sizes.items()]
    print_table(f"would build {out}", ("backend", "weights", "size"), rows)
    for name, need in needs.items():
        _show_memory(name, need, contexts(longest))
    print_table(
        "decoding one sequence in TensorRT, at most (what the memory allows)",
        ("GPU", "compute capability", "tokens/s", f"at {longest:,} tokens", f"runs a batch of {plan.config.batch}"),
        [
            (
                gpu.name,
                gpu.compute_capability,
                f"{empty:,.0f}",
                f"{full:,.0f}",
                "yes" if runs[gpu.name] else "no",
            )
            for gpu, empty, full in speeds
        ],
    )
    note(
        "memory is weights and caches; activations and the library's own come on top. A GPU runs it where that fits, "
        "and where it is new enough for the formats"
    )


def _show_memory(name: str, need: "Needs", lengths: list[int]) -> None:
    columns: list[Any] = ["context", *(f"batch of {batch}" for batch in _BATCHES)]
    rows = [(f"{length:,}", *(size(need.memory(length, batch)) for batch in _BATCHES)) for length in lengths]
    print_table(f"memory of {name}", tuple(columns), rows)
