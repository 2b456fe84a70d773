"""A thin adapter over TensorRT's builder: the `tensorrt_rtx` package and the data-centre `tensorrt` alike.

`tensorrt_rtx` builds ahead of time for a list of GPUs and needs none itself; `tensorrt` builds for the GPU it
runs on. An engine has two optimisation profiles, prefill (0) and decode (1), and strongly typed layers; its
key/value caches are inputs and outputs at one address.
"""

import importlib
import importlib.util
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import onnx

from castline.compile.formats import Target
from castline.compile.tensorrt_layers import built_layers, write_layers
from castline.errors import CompileError, DeviceError
from castline.files import write_bytes

_MODULES: dict[Target, str] = {"tensorrt-rtx": "tensorrt_rtx", "tensorrt": "tensorrt"}
_LOG_LINES = 12
_NOISE = ("Make sure input", "does not have a `__version__`")

# Longer prompts go through in pieces: activation memory follows the largest shapes of a profile.
PREFILL_TOKENS = 1024
PREFILL_LOGITS = 256

_loggers: dict[Any, Any] = {}


@dataclass(frozen=True)
class EngineInfo:
    """What was built."""

    library: str
    version: str
    compute_capabilities: list[str]
    context: int
    batch: int
    prefill_tokens: int
    prefill_logits: int
    fused_attention: bool
    """False where TensorRT has no fused kernel for the attention's shape and runs it as primitive layers."""
    layers: dict[str, int]
    """How many layers of each of TensorRT's own types the graph became, before the builder fused them."""
    kernels: dict[str, int]
    """What it fused them into, for both phases: attention, products and others (in full: `layers_path`)."""


def is_installed(target: Target) -> bool:
    """Whether the Python package behind a TensorRT target can be imported."""
    return importlib.util.find_spec(_MODULES[target]) is not None


def offered_capabilities(target: Target) -> list[str]:
    """The compute capabilities the library builds for ahead of time; none: only for the GPU at hand."""
    members = getattr(getattr(_load(target), "ComputeCapability", None), "__members__", {})
    digits = [name.removeprefix("SM") for name in members if name.startswith("SM")]
    return [f"{number[:-1]}.{number[-1]}" for number in digits]


def check_capabilities(target: Target, wanted: tuple[str, ...]) -> list[str]:
    """The capabilities to build for: those wanted, or all that are offered.

    Raises:
        CompileError: one of them is not offered.
    """
    offered = offered_capabilities(target)
    if unknown := [capability for capability in wanted if capability not in offered]:
        choice = f"one of {', '.join(offered)}" if offered else "none: this library builds for the GPU it runs on"
        raise CompileError(f"--compute-capability {','.join(unknown)}: {target} expects {choice}")
    return list(wanted) or offered


def build_engine(
    graph: Path, engine: Path, *, target: Target, context: int, batch: int, capabilities: list[str]
) -> EngineInfo:
    """Build an engine file from a graph of `castline.compile.graph` that computes in half precision.

    Args:
        graph: the ONNX file
        engine: the file to write
        target: which library builds it
        context: length of the key/value cache, in tokens
        batch: most sequences at once
        capabilities: compute capabilities such as "8.9"; empty for the GPU at hand

    Raises:
        CompileError: the library refuses the graph; its own messages are attached.
        DeviceError: the library is not installed, or needs a GPU that is not there.
    """
    trt = _load(target)
    logger = _logger(trt)
    builder = _builder(trt, logger, target)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(_pinned(graph, context), str(graph)):
        errors = [parser.get_error(i).desc() for i in range(parser.num_errors)]
        raise CompileError(_with_log(f"{target} cannot read the graph {graph.name}", errors + logger.lines))

    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if capabilities:
        config.num_compute_capabilities = len(capabilities)
        for index, capability in enumerate(capabilities):
            member = getattr(trt.ComputeCapability, f"SM{capability.replace('.', '')}")
            config.set_compute_capability(member, index)
    prefill, logits = min(context, PREFILL_TOKENS), min(context, PREFILL_LOGITS)
    for tokens, chosen in ((prefill, logits), (1, 1)):
        profile = builder.create_optimization_profile()
        for index in range(network.num_inputs):
            tensor = network.get_input(index)
            profile.set_shape(tensor.name, *_shapes(tensor, batch, tokens, chosen))
        config.add_optimization_profile(profile)

    # The fused attention kernels do not take every shape (fewer than 4 heads, say); then it is decomposed.
    serialized = builder.build_serialized_network(network, config)
    fused = serialized is not None
    if not fused:
        _allow_decomposition(trt, network)
        logger.lines.clear()
        serialized = builder.build_serialized_network(network, config)
    if serialized is None:
        served = f"compute capabilities {', '.join(capabilities)}" if capabilities else "this GPU"
        message = f"{target} cannot build an engine for {served}"
        raise CompileError(_with_log(message, logger.lines))
    write_bytes(engine, serialized)
    built = built_layers(logger.details)
    write_layers(layers_path(engine), built)
    layers = Counter(network.get_layer(index).type.name for index in range(network.num_layers))
    return EngineInfo(
        library=_MODULES[target],
        version=trt.__version__,
        compute_capabilities=capabilities,
        context=context,
        batch=batch,
        prefill_tokens=prefill,
        prefill_logits=logits,
        fused_attention=fused,
        layers=dict(sorted(layers.items())),
        kernels=dict(sorted(Counter(layer.role for layer in built).items())),
    )


def layers_path(engine: Path) -> Path:
    """Where the layers of an engine are listed: `….layers.json`, beside it."""
    return engine.with_suffix(".layers.json")


class EngineState(NamedTuple):
    """Whether an engine loads on this machine, and the library's words where it does not."""

    valid: bool
    words: str


def engine_state(engine: Path, target: Target) -> EngineState:
    """What the library says of an engine file and the GPU at hand; "suboptimal" ones count as not valid.

    Raises:
        DeviceError: the library is not installed.
    """
    trt = _load(target)
    logger = _logger(trt)
    runtime = trt.Runtime(logger)
    if hasattr(runtime, "get_engine_validity"):
        validity, _ = runtime.get_engine_validity(engine.read_bytes())
        valid = validity == trt.EngineValidity.VALID
    else:
        validity, valid = None, runtime.deserialize_cuda_engine(engine.read_bytes()) is not None
    words = [line.strip() for line in dict.fromkeys(logger.lines)]
    return EngineState(valid, "; ".join(words) or (validity.name.lower() if validity is not None else "not loaded"))


def inspect_engine(engine: Path, target: Target) -> str:
    """What TensorRT's engine inspector says of the built layers, as JSON text.

    Raises:
        DeviceError: the engine cannot be loaded here (there is no GPU, or not one that it was built for).
    """
    trt = _load(target)
    logger = _logger(trt)
    loaded = trt.Runtime(logger).deserialize_cuda_engine(engine.read_bytes())
    if loaded is None:
        raise DeviceError(_with_log(f"cannot load {engine.name} on this machine", logger.lines))
    text: str = loaded.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
    return text


def _allow_decomposition(trt: Any, network: Any) -> None:
    """Let attention be built from primitive layers."""
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        if layer.type == trt.LayerType.ATTENTION_INPUT:
            layer.__class__ = trt.IAttentionInputLayer  # the binding's way to cast down
            layer.attention.decomposable = True


def _load(target: Target) -> Any:
    if not is_installed(target):
        raise DeviceError(
            f"target {target} needs the Python package {_MODULES[target]}, which is not installed; "
            f"run: pip install 'castline[{target}]'"
        )
    return importlib.import_module(_MODULES[target])


def _builder(trt: Any, logger: Any, target: Target) -> Any:
    try:
        return trt.Builder(logger)
    except TypeError:  # what its binding raises when the library gives no builder
        raise DeviceError(_with_log(f"{target} gives no builder on this machine", logger.lines)) from None


def _logger(trt: Any) -> Any:
    """The logger of a library, emptied: it keeps warnings and errors in `lines`, listings of layers in `details`.

    One for the whole process, since TensorRT goes on using the first it was given.
    """
    if trt in _loggers:
        _loggers[trt].lines.clear()
        _loggers[trt].details.clear()
        return _loggers[trt]

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.lines: list[str] = []
            self.details: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity <= trt.ILogger.Severity.WARNING:
                self.lines.append(message)
            elif message.startswith("Layers:"):
                self.details.append(message)

    _loggers[trt] = Logger()
    return _loggers[trt]


def _with_log(message: str, lines: list[str]) -> str:
    """A message with the builder's own lines below it: each once, without the known noise, the last ones."""
    kept = [line.strip() for line in dict.fromkeys(lines) if not any(noise in line for noise in _NOISE)]
    return "\n  ".join([f"{message}; it said:", *kept[-_LOG_LINES:]]) if kept else message


def _pinned(graph: Path, context: int) -> bytes:
    """The graph with the cache's length fixed, as TensorRT's cache layer demands; weights stay outside."""
    model = onnx.load(graph, load_external_data=False)
    for value in [*model.graph.input, *model.graph.output]:
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param == "cache_length":
                dimension.dim_value = context
    serialized: bytes = model.SerializeToString(deterministic=True)
    return serialized


def _shapes(tensor: Any, batch: int, tokens: int, logits: int) -> list[tuple[int, ...]]:
    """The smallest, the usual and the largest shape of a graph input in one profile."""
    shapes: list[tuple[int, ...]] = []
    for sequences, length, chosen in ((1, 1, 1), (batch, tokens, 1), (batch, tokens, logits)):
        if tensor.name == "logits_indices":
            shapes.append((chosen,))
        elif tensor.name == "write_indices":
            shapes.append((sequences,))
        elif tensor.name in ("input_ids", "position_ids"):
            shapes.append((sequences, length))
        else:
            shapes.append((sequences, *tuple(tensor.shape)[1:]))
    return shapes
