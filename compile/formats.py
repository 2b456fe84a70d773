"""Weight formats: what is known, what can be built today, and which target takes which. Imports no numpy."""

from typing import Literal

from castline.errors import CompileError

WeightFormat = Literal["f32", "f16", "bf16", "int8", "int4", "fp8"]
Target = Literal["cpu", "onnx", "tensorrt-rtx", "tensorrt"]

TARGETS: tuple[Target, ...] = ("cpu", "onnx", "tensorrt-rtx", "tensorrt")
TENSORRT_TARGETS: tuple[Target, ...] = ("tensorrt-rtx", "tensorrt")

# The weight format a target is given when the package asks for the one on the left. TensorRT computes in
# fp16 (its fp32 attention builds only decomposed), so f32 becomes f16 there, and the package records it.
_AVAILABLE: dict[WeightFormat, dict[Target, WeightFormat]] = {
    "f32": {"cpu": "f32", "onnx": "f32", "tensorrt-rtx": "f16", "tensorrt": "f16"},
    "int8": {"cpu": "int8", "onnx": "int8", "tensorrt-rtx": "int8", "tensorrt": "int8"},
    "int4": {"cpu": "int4", "onnx": "int4", "tensorrt-rtx": "int4", "tensorrt": "int4"},
}

# The oldest GPUs that compute with a format in TensorRT.
CAPABILITY_NEEDED: dict[WeightFormat, str] = {"int4": "8.0", "bf16": "8.0", "fp8": "8.9"}


def format_for(weights: WeightFormat, target: Target) -> WeightFormat:
    """The format `target` stores its weights in when a package of `weights` is asked for.

    Raises:
        CompileError: castline cannot write that format yet.
    """
    if weights not in _AVAILABLE:
        raise CompileError(
            f"--weights {weights} is not there yet: expected one of {', '.join(_AVAILABLE)}; "
            "int4 is the smallest format this version writes"
        )
    return _AVAILABLE[weights][target]


def matrix_format(name: str, shape: tuple[int, ...], weights: WeightFormat) -> WeightFormat:
    """The format of one tensor in a package of `weights`: int4 is for the layers' matrices, norms stay as they are."""
    if len(shape) < 2 or weights not in ("int8", "int4"):
        return "f32"
    return "int4" if weights == "int4" and ".layers." in name else "int8"
