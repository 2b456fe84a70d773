"""What compiling a checkpoint would make: targets, formats and sizes, decided before anything is built."""

from dataclasses import dataclass
from math import prod

from castline.compile.config import CompileConfig
from castline.compile.cpu_weights import cpu_weights_size
from castline.compile.formats import (
    CAPABILITY_NEEDED,
    TARGETS,
    TENSORRT_TARGETS,
    Target,
    WeightFormat,
    format_for,
    matrix_format,
)
from castline.compile.tensorrt import check_capabilities, is_installed
from castline.errors import CompileError
from castline.model.config import ModelConfig
from castline.model.layouts import layout_shapes


@dataclass(frozen=True)
class Plan:
    """A compilation decided: what will be built, and what it takes."""

    config: CompileConfig
    """With targets, context and compute capabilities filled in."""
    formats: dict[Target, WeightFormat]
    capabilities: dict[Target, list[str]]
    """Of each TensorRT target."""
    sizes: dict[Target, int]
    """Bytes on disk, about: a TensorRT engine's kernels are not counted."""
    cache_bytes: dict[Target, int]
    """Memory of the key/value cache at the full context, of one sequence (TensorRT: of the full batch)."""

    @property
    def total_size(self) -> int:
        """Bytes on disk of all targets."""
        return sum(self.sizes.values())


def make_plan(model: ModelConfig, config: CompileConfig) -> Plan:
    """Decide what to build for a model.

    Raises:
        CompileError: a format that is not there yet, a context beyond the model's, an unknown compute capability.
        DeviceError: a target's library is not installed.
    """
    if config.kv != "f32":
        raise CompileError(f"--kv {config.kv} is not there yet: expected f32")
    context = config.context or model.max_position_embeddings
    if not 2 <= context <= model.max_position_embeddings:
        raise CompileError(
            f"--context {context}: expected 2 to {model.max_position_embeddings}, the model's max_position_embeddings"
        )
    targets = config.targets or tuple(
        target for target in TARGETS if target not in TENSORRT_TARGETS or is_installed(target)
    )
    formats = {target: format_for(config.weights, target) for target in targets}
    if config.weights == "int4":
        _check_blocks(model, config.block, targets)
    capabilities = {
        target: _able(formats[target], check_capabilities(target, config.compute_capability), config.compute_capability)
        for target in targets
        if target in TENSORRT_TARGETS
    }
    named = {capability for listed in capabilities.values() for capability in listed}
    resolved = config.model_copy(
        update={
            "targets": targets,
            "context": context,
            "compute_capability": tuple(sorted(named, key=_number)),
        }
    )
    return Plan(
        config=resolved,
        formats=formats,
        capabilities=capabilities,
        sizes={target: _size(model, target, formats[target], context, config.block) for target in targets},
        cache_bytes={target: _cache(model, target, resolved) for target in targets},
    )


def _check_blocks(model: ModelConfig, block: int, targets: tuple[Target, ...]) -> None:
    """Refuse rows that int4 blocks do not fit into: whole 32s on a CPU, whole blocks in TensorRT."""
    for name, shape in layout_shapes(model, "llama").items():
        if matrix_format(name, shape, "int4") != "int4":
            continue
        if shape[1] % 32:
            raise CompileError(
                f"--weights int4: expected rows of a multiple of 32 elements, but those of {name} have {shape[1]}; "
                "--weights int8 takes any"
            )
        if shape[1] % block and (engine := next((target for target in targets if target in TENSORRT_TARGETS), None)):
            smaller = next(size for size in (64, 32) if shape[1] % size == 0)
            raise CompileError(
                f"--block {block}: {engine} expects blocks that divide the rows, but those of {name} have {shape[1]} "
                f"elements; take --block {smaller}, or leave {engine} out of --target"
            )


def _able(weights: WeightFormat, capabilities: list[str], wanted: tuple[str, ...]) -> list[str]:
    """The capabilities that compute with a format; one that was asked for and does not is an error."""
    needed = CAPABILITY_NEEDED.get(weights)
    if needed is None:
        return capabilities
    able = [capability for capability in capabilities if _number(capability) >= _number(needed)]
    if wanted and (unable := [capability for capability in capabilities if capability not in able]):
        raise CompileError(
            f"--weights {weights} needs compute capability {needed} or newer, but --compute-capability holds "
            f"{', '.join(unable)}"
        )
    return able


def _number(capability: str) -> list[int]:
    return [int(part) for part in capability.split(".")]


def _size(model: ModelConfig, target: Target, weights: WeightFormat, context: int, block: int) -> int:
    if target == "cpu":
        return cpu_weights_size(model, weights, block)
    width = 2 if target in TENSORRT_TARGETS else 4
    graph = context * model.head_dim * width
    for name, shape in layout_shapes(model, "llama").items():
        stored = matrix_format(name, shape, weights)
        if stored == "int4":
            grids = shape[0] * -(-shape[1] // block)
            graph += prod(shape) // 2 + grids * width + (0 if target in TENSORRT_TARGETS else grids // 2)
        elif stored == "int8":
            graph += prod(shape) + shape[0] * width
        else:
            graph += prod(shape) * width
    return 2 * graph if target in TENSORRT_TARGETS else graph  # the engine holds the weights again


def _cache(model: ModelConfig, target: Target, config: CompileConfig) -> int:
    values = 2 * model.num_hidden_layers * model.num_key_value_heads * model.head_dim * config.context
    return values * 2 * config.batch if target in TENSORRT_TARGETS else values * 4
