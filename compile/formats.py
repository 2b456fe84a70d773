"""Weight formats: what they are called, and which target takes which for which kind of tensor. Imports no numpy."""

from typing import Literal, NamedTuple, get_args

WeightFormat = Literal["f32", "f16", "bf16", "int8", "int4", "fp8"]
Target = Literal["cpu", "onnx", "onnxruntime", "tensorrt-rtx", "tensorrt"]
CacheFormat = Literal["f32", "int8"]
Role = Literal["layer", "embeddings", "head"]
"""What a matrix is to a model. A tied head is the embeddings."""

TARGETS: tuple[Target, ...] = ("cpu", "onnx", "onnxruntime", "tensorrt-rtx", "tensorrt")
ON_REQUEST: tuple[Target, ...] = ("onnxruntime",)
"""Built only if asked for: what it is for, `onnx` does too, if slower."""
TENSORRT_TARGETS: tuple[Target, ...] = ("tensorrt-rtx", "tensorrt")
INT4_BLOCKS = (32, 64, 128)
FLOATS: tuple[WeightFormat, ...] = ("f32", "f16", "bf16")

# The format a target stores a layer's matrix in when the one on the left is asked for. TensorRT computes in
# 16 bits (its fp32 attention builds only decomposed), so f32 becomes f16 there, and the package records it.
# Processors have no fp8: int8 is as small.
_STORED: dict[WeightFormat, dict[Target, WeightFormat]] = {
    "f32": {"cpu": "f32", "onnx": "f32", "tensorrt-rtx": "f16", "tensorrt": "f16"},
    "f16": {"cpu": "f16", "onnx": "f16", "tensorrt-rtx": "f16", "tensorrt": "f16"},
    "bf16": {"cpu": "bf16", "onnx": "bf16", "tensorrt-rtx": "bf16", "tensorrt": "bf16"},
    "int8": {"cpu": "int8", "onnx": "int8", "tensorrt-rtx": "int8", "tensorrt": "int8"},
    "int4": {"cpu": "int4", "onnx": "int4", "tensorrt-rtx": "int4", "tensorrt": "int4"},
    "fp8": {"cpu": "int8", "onnx": "fp8", "tensorrt-rtx": "fp8", "tensorrt": "fp8"},
}

# Rows are looked up in embeddings, which graphs cannot do in every format: the next wider one then.
_EMBEDDINGS: dict[WeightFormat, WeightFormat] = {"int4": "int8", "fp8": "f16"}

# The oldest GPUs that compute with a format in TensorRT.
CAPABILITY_NEEDED: dict[WeightFormat, str] = {"int4": "8.0", "bf16": "8.0", "fp8": "8.9"}


class TensorFormat(NamedTuple):
    """How one tensor is stored."""

    kind: WeightFormat
    block: int = 0
    """int4: elements of a row that share a grid."""

    def __str__(self) -> str:
        """As recipes write it: `int8`, `int4/64`."""
        return f"{self.kind}/{self.block}" if self.block else self.kind


def parse_format(text: str) -> TensorFormat:
    """Read `int8`, `f16`, `int4` (blocks of 32) or `int4/64`.

    Raises:
        ValueError: it is none of them.
    """
    kind, slash, block = text.partition("/")
    formats: dict[str, WeightFormat] = {name: name for name in get_args(WeightFormat)}
    if kind not in formats or (slash and (kind != "int4" or block not in map(str, INT4_BLOCKS))):
        raise ValueError(f"expected one of {', '.join(formats)}, or int4/32, int4/64, int4/128, but got '{text}'")
    return TensorFormat(formats[kind], (int(block) if slash else INT4_BLOCKS[0]) if kind == "int4" else 0)


def stored_format(wanted: TensorFormat, role: Role, target: Target) -> TensorFormat:
    """How `target` stores a matrix that is wanted in a format: like that, or in the nearest format it takes."""
    kind = _STORED[wanted.kind]["onnx" if target == "onnxruntime" else target]  # its own operators, the same weights
    if role == "embeddings" and target != "cpu":
        kind = _EMBEDDINGS.get(kind, kind)
    return TensorFormat(kind, wanted.block if kind == "int4" else 0)


def cache_format(target: Target, kv: CacheFormat, weights: WeightFormat) -> WeightFormat:
    """How `target` caches keys and values: as asked for on the CPU, elsewhere as the graph computes."""
    return kv if target == "cpu" else compute_format(target, weights)


def compute_format(target: Target, weights: WeightFormat) -> WeightFormat:
    """What a graph for `target` computes with when its layers are stored as `weights`."""
    if target not in TENSORRT_TARGETS:
        return "f32"
    return "bf16" if weights == "bf16" else "f16"
