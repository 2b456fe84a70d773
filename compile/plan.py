"""What compiling a checkpoint would make: targets, formats and sizes, decided before anything is built."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

from castline.compile.assignment import Assignment, assign
from castline.compile.config import CompileConfig
from castline.compile.cpu_weights import cpu_weights_size
from castline.compile.formats import (
    CAPABILITY_NEEDED,
    ON_REQUEST,
    TARGETS,
    TENSORRT_TARGETS,
    CacheFormat,
    Target,
    TensorFormat,
    WeightFormat,
    cache_format,
)
from castline.compile.nbits_layout import fitting_block
from castline.compile.tensorrt import check_capabilities, is_installed
from castline.errors import CompileError
from castline.model.config import ModelConfig
from castline.model.layouts import layout_shapes

_FLOAT_BYTES: dict[WeightFormat, int] = {"f32": 4, "f16": 2, "bf16": 2}

# Elements of an int8 key or value that share a scale, and its bytes (kCacheBlock in csrc/kernels/decoder_kernels.hpp).
_INT8_CACHE_BLOCK = 32
_INT8_CACHE_SCALE = 2


@dataclass(frozen=True)
class Plan:
    """A compilation decided: what will be built, and what it takes."""

    config: CompileConfig
    """With targets, context and compute capabilities filled in."""
    wanted: Assignment
    """The format of every tensor, as asked for."""
    assignments: dict[Target, Assignment]
    """What each target makes of that."""
    capabilities: dict[Target, list[str]]
    """Of each TensorRT target."""
    sizes: dict[Target, int]
    """Bytes on disk, about: a TensorRT engine's kernels are not counted."""
    cache_bytes: dict[Target, int]
    """Memory of the key/value cache at the full context, of one sequence (TensorRT: of the full batch)."""

    @property
    def formats(self) -> dict[Target, WeightFormat]:
        """The format each target's layers have."""
        return {target: assignment.main for target, assignment in self.assignments.items()}

    @property
    def total_size(self) -> int:
        """Bytes on disk of all targets."""
        return sum(self.sizes.values())


def make_plan(model: ModelConfig, config: CompileConfig, chosen: Assignment | None = None) -> Plan:
    """Decide what to build for a model.

    Args:
        model: the model
        config: what is asked for
        chosen: the formats, instead of those that `config` names

    Raises:
        CompileError: a format that is not there yet, a context beyond the model's, an unknown compute capability.
        DeviceError: a target's library is not installed.
    """
    context = config.context or model.max_position_embeddings
    if not 2 <= context <= model.context_limit:
        scaling = model.rope_scaling
        what = (
            f"the most under its {scaling.rope_type} RoPE scaling" if scaling else "the model's max_position_embeddings"
        )
        raise CompileError(f"--context {context}: expected 2 to {model.context_limit}, {what}")
    targets = config.targets or tuple(
        target
        for target in TARGETS
        if target not in ON_REQUEST and (target not in TENSORRT_TARGETS or is_installed(target))
    )
    if config.kv != "f32" and "cpu" not in targets:
        raise CompileError(
            f"--kv {config.kv} is the CPU runtime's cache: expected cpu among the targets, but got "
            f"{', '.join(targets)}; other targets cache keys and values as their graphs compute"
        )
    wanted = chosen or assign(model, config)
    assignments = {target: wanted.for_target(target) for target in targets}
    capabilities = {}
    for target, assignment in assignments.items():
        _check_blocks(model, target, assignment)
        if target == "onnxruntime":
            _check_contrib_sizes(model)
        if target in TENSORRT_TARGETS:
            offered = check_capabilities(target, config.compute_capability)
            kinds = {stored.kind for stored in assignment.formats.values()}
            capabilities[target] = able_capabilities(kinds, offered, config.compute_capability)
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
        wanted=wanted,
        assignments=assignments,
        capabilities=capabilities,
        sizes={target: target_size(model, target, assignments[target], context) for target in targets},
        cache_bytes={target: _cache(model, target, assignments[target], resolved) for target in targets},
    )


def _check_blocks(model: ModelConfig, target: Target, assignment: Assignment) -> None:
    """Refuse rows that int4 blocks do not fit into: whole 32s on a CPU, whole blocks in TensorRT."""
    shapes = layout_shapes(model, "llama")
    for name, block in assignment.int4_blocks.items():
        size = shapes[name][1]
        if size % 32:
            raise CompileError(
                f"--weights int4: expected rows of a multiple of 32 elements, but those of {name} have {size}; "
                "--weights int8 takes any"
            )
        if target in TENSORRT_TARGETS and size % block:
            smaller = next(fitting for fitting in (64, 32) if size % fitting == 0)
            raise CompileError(
                f"--block {block}: {target} expects blocks that divide the rows, but those of {name} have {size} "
                f"elements; take --block {smaller}, or leave {target} out of --target"
            )


def _check_contrib_sizes(model: ModelConfig) -> None:
    """Refuse what ONNX Runtime's own operators do not take."""
    for name, size in (("head_dim", model.head_dim), ("hidden_size", model.hidden_size)):
        if size % 16:
            raise CompileError(
                f"target onnxruntime: expected a {name} that is a multiple of 16, as ONNX Runtime's own operators "
                f"want it, but this model's is {size}; target onnx takes any"
            )


def able_capabilities(kinds: Iterable[WeightFormat], capabilities: list[str], wanted: tuple[str, ...]) -> list[str]:
    """Those of `capabilities` that compute with all formats.

    Raises:
        CompileError: one that was asked for (`wanted`) does not.
    """
    for kind in sorted(CAPABILITY_NEEDED.keys() & set(kinds)):
        needed = CAPABILITY_NEEDED[kind]
        unable = [capability for capability in capabilities if _number(capability) < _number(needed)]
        if wanted and unable:
            raise CompileError(
                f"{kind} needs compute capability {needed} or newer, but --compute-capability holds {', '.join(unable)}"
            )
        capabilities = [capability for capability in capabilities if capability not in unable]
    return capabilities


def _number(capability: str) -> list[int]:
    return [int(part) for part in capability.split(".")]


def target_size(model: ModelConfig, target: Target, assignment: Assignment, context: int) -> int:
    """Bytes that a target's files take, about; the CPU runtime's exactly."""
    if target == "cpu":
        return cpu_weights_size(model, assignment)
    for_tensorrt = target in TENSORRT_TARGETS
    graph = context * model.head_dim * (2 if for_tensorrt else 4)
    for name, shape in layout_shapes(model, "llama").items():
        graph += tensor_bytes(shape, assignment[name], target)
    return 2 * graph if for_tensorrt else graph  # the engine holds the weights again


def tensor_bytes(shape: tuple[int, ...], stored: TensorFormat, target: Target) -> int:
    """Bytes of one tensor as a target stores it, its scales and zeros included."""
    width = 2 if target in TENSORRT_TARGETS else 4
    if len(shape) < 2:
        return prod(shape) * width
    if stored.kind == "int4":
        grids = shape[0] * -(-shape[1] // stored.block)
        if target == "cpu":
            return prod(shape) // 2 + grids * 3
        return prod(shape) // 2 + grids * width + (0 if target in TENSORRT_TARGETS else grids // 2)
    if stored.kind in ("int8", "fp8"):
        blocks = -(-shape[1] // fitting_block(shape[1])) if (target, stored.kind) == ("onnxruntime", "int8") else 1
        return prod(shape) + shape[0] * blocks * width
    return prod(shape) * _FLOAT_BYTES[stored.kind]


def cache_bytes_per_token(model: ModelConfig, target: Target, assignment: Assignment, kv: CacheFormat) -> int:
    """Bytes of the keys and values of one token."""
    heads = 2 * model.num_hidden_layers * model.num_key_value_heads
    stored = cache_format(target, kv, assignment.main)
    if stored == "int8":
        return heads * (model.head_dim + _INT8_CACHE_SCALE * -(-model.head_dim // _INT8_CACHE_BLOCK))
    return heads * model.head_dim * _FLOAT_BYTES[stored]


def _cache(model: ModelConfig, target: Target, assignment: Assignment, config: CompileConfig) -> int:
    batch = config.batch if target in TENSORRT_TARGETS else 1
    return cache_bytes_per_token(model, target, assignment, config.kv) * config.context * batch
