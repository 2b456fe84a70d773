"""What compiling a checkpoint would make: targets, formats and sizes, decided before anything is built."""

from dataclasses import dataclass
from math import prod

from castline.compile.config import CompileConfig
from castline.compile.cpu_weights import cpu_weights_size
from castline.compile.formats import BYTES, TARGETS, TENSORRT_TARGETS, Target, WeightFormat, format_for
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
    capabilities = {
        target: check_capabilities(target, config.compute_capability)
        for target in targets
        if target in TENSORRT_TARGETS
    }
    named = {capability for listed in capabilities.values() for capability in listed}
    resolved = config.model_copy(
        update={
            "targets": targets,
            "context": context,
            "compute_capability": tuple(sorted(named, key=lambda value: [int(part) for part in value.split(".")])),
        }
    )
    return Plan(
        config=resolved,
        formats=formats,
        capabilities=capabilities,
        sizes={target: _size(model, target, formats[target], context) for target in targets},
        cache_bytes={target: _cache(model, target, resolved) for target in targets},
    )


def _size(model: ModelConfig, target: Target, weights: WeightFormat, context: int) -> int:
    if target == "cpu":
        return cpu_weights_size(model, weights)
    width = 2 if target in TENSORRT_TARGETS else 4
    graph = context * model.head_dim * width
    for shape in layout_shapes(model, "llama").values():
        quantized = weights == "int8" and len(shape) == 2
        graph += int(prod(shape) * BYTES[weights]) + shape[0] * width if quantized else prod(shape) * width
    return 2 * graph if target in TENSORRT_TARGETS else graph  # the engine holds the weights again


def _cache(model: ModelConfig, target: Target, config: CompileConfig) -> int:
    values = 2 * model.num_hidden_layers * model.num_key_value_heads * model.head_dim * config.context
    return values * 2 * config.batch if target in TENSORRT_TARGETS else values * 4
