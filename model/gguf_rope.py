"""RoPE scaling in GGUF files: metadata for the linear kind, a tensor of divisors for llama3's.

llama.cpp has no dynamic scaling. `rope_freqs.weight` [head_dim / 2] divides the frequencies; the parameters that it
was made from are not in the file, but they can be told from it.
"""

import math
from typing import Any

import torch
from torch import Tensor

from castline.errors import CheckpointError
from castline.model.config import ModelConfig
from castline.model.gguf import GgufFile

FREQUENCY_DIVISORS = "rope_freqs.weight"
# llama.cpp's converter knows no others, and neither do Meta's checkpoints.
_LOW, _HIGH = 1.0, 4.0


def gguf_rope_scaling(gguf: GgufFile, theta: float, head_dim: int) -> dict[str, Any] | None:
    """The values of a `RopeScaling`, or None where nothing is scaled.

    Raises:
        CheckpointError: a type of scaling, or divisors, that castline does not compute.
    """
    kind = gguf.value("llama.rope.scaling.type", str, "linear")  # as in llama.cpp, where only a factor is given
    if kind not in ("none", "linear"):
        raise CheckpointError(
            f"{gguf.path}: expected the RoPE scaling none or linear, or llama3's {FREQUENCY_DIVISORS}, but found "
            f"'{kind}'; castline does not support it"
        )
    old = gguf.value("llama.rope.scale_linear", float, 1.0)
    factor = 1.0 if kind == "none" else gguf.value("llama.rope.scaling.factor", float, old)
    if FREQUENCY_DIVISORS not in gguf.tensors:
        # llama.cpp takes a factor of 0 for none.
        return {"rope_type": "linear", "factor": factor} if factor not in (0.0, 1.0) else None
    divisors = gguf.tensor(FREQUENCY_DIVISORS)
    if divisors.shape != (head_dim // 2,) or factor not in (0.0, 1.0):
        raise CheckpointError(
            f"{gguf.path}: expected {FREQUENCY_DIVISORS} to be [{head_dim // 2}] and the only scaling, but found "
            f"{list(divisors.shape)} and a factor of {factor:g}"
        )
    if bool((divisors == 1).all()):
        return None
    return _llama3(gguf, divisors.double(), theta, head_dim)


def gguf_rope(config: ModelConfig) -> tuple[dict[str, Any], Tensor | None]:
    """How a model's scaling is written: metadata, and llama3's divisors as a tensor. Dynamic scaling is left out.

    Raises:
        CheckpointError: llama3's parameters are not those that llama.cpp knows.
    """
    scaling = config.rope_scaling
    if scaling is None or scaling.rope_type == "dynamic":
        return {}, None
    if scaling.rope_type == "linear":
        return {"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": scaling.factor}, None
    low, high, original = scaling.llama3
    if (low, high) != (_LOW, _HIGH):
        raise CheckpointError(
            f"expected llama3's RoPE scaling with low_freq_factor {_LOW:g} and high_freq_factor {_HIGH:g}, as "
            f"llama.cpp has it, but found {low:g} and {high:g}"
        )
    return {}, frequency_divisors(config.rope_theta, config.head_dim, scaling.factor, original).float()


def frequency_divisors(theta: float, head_dim: int, factor: float, original: float) -> Tensor:
    """What llama.cpp divides the frequencies of a llama3 model by: [head_dim / 2], float64."""
    frequencies = theta ** -(torch.arange(0, head_dim, 2).double() / head_dim)
    kept = ((original * frequencies / (2 * math.pi) - _LOW) / (_HIGH - _LOW)).clamp(0, 1)
    return 1 / ((1 - kept) / factor + kept)


def _llama3(gguf: GgufFile, divisors: Tensor, theta: float, head_dim: int) -> dict[str, Any]:
    """The parameters whose divisors these are: the largest is the factor, one between tells the context."""
    factor = float(divisors.max())
    between = ((divisors > 1.001) & (divisors < factor * 0.999)).nonzero().flatten()
    if len(between):
        index = int(between[0])
        kept = (1 / float(divisors[index]) - 1 / factor) / (1 - 1 / factor)
        frequency = theta ** -(2 * index / head_dim)
        original = round(2 * math.pi / frequency * (_LOW + kept * (_HIGH - _LOW)))
        if torch.allclose(frequency_divisors(theta, head_dim, factor, original), divisors, rtol=1e-3):
            return {
                "rope_type": "llama3",
                "factor": factor,
                "low_freq_factor": _LOW,
                "high_freq_factor": _HIGH,
                "original_max_position_embeddings": original,
            }
    raise CheckpointError(
        f"{gguf.path}: expected {FREQUENCY_DIVISORS} as llama3's scaling gives it, but found others; castline does "
        "not support them"
    )
