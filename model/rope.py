"""RoPE scaling: how a model reads positions beyond those it was first trained on. Imports no torch.

The types and the names of their parameters are those of Hugging Face's `rope_scaling` and `rope_parameters`.
"""

from typing import Literal, Self, get_args

from pydantic import Field, model_validator

from castline.recipe import Table

RopeType = Literal["linear", "dynamic", "llama3"]
ROPE_TYPES: tuple[RopeType, ...] = get_args(RopeType)

# Positions become float32 before they turn anything: up to here, each is a number of its own.
MOST_POSITIONS = 2**24


class RopeScaling(Table):
    """How frequencies are slowed, so that more positions fit into the angles that the model has seen."""

    rope_type: RopeType = Field(description="linear: all frequencies; dynamic: the base (NTK); llama3: the slow ones")
    factor: float = Field(ge=1, description="how many times longer; dynamic: how steeply the base grows")
    low_freq_factor: float | None = Field(None, gt=0, description="llama3: slower turns are slowed by the whole factor")
    high_freq_factor: float | None = Field(None, gt=0, description="llama3: faster turns are kept")
    original_max_position_embeddings: int | None = Field(None, ge=1, description="llama3: where turns are counted")

    @model_validator(mode="after")
    def _check(self) -> Self:
        own = ("low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
        given = [name for name in own if getattr(self, name) is not None]
        if self.rope_type != "llama3" and given:
            raise ValueError(f"expected no {given[0]} with rope_type '{self.rope_type}': it belongs to llama3")
        if self.rope_type == "llama3":
            if missing := [name for name in own if name not in given]:
                raise ValueError(f"expected {', '.join(missing)} with rope_type 'llama3'")
            low, high, _ = self.llama3
            if not high > low:
                raise ValueError(f"expected high_freq_factor above low_freq_factor, but got {high:g} and {low:g}")
        return self

    @property
    def llama3(self) -> tuple[float, float, int]:
        """low_freq_factor, high_freq_factor and original_max_position_embeddings of the type llama3."""
        low, high, original = self.low_freq_factor, self.high_freq_factor, self.original_max_position_embeddings
        if low is None or high is None or original is None:
            raise ValueError(f"[rope] expected rope_type llama3, but got {self.rope_type}")
        return low, high, original


def dynamic_base(theta: float, factor: float, head_dim: int, length: int, trained: int) -> float:
    """RoPE's base for sequences of up to `length` tokens under dynamic NTK scaling.

    theta · (factor · length / trained − (factor − 1)) ^ (head_dim / (head_dim − 2)) beyond the trained length
    (transformers' `_compute_dynamic_ntk_parameters`). Hugging Face takes the longest sequence so far for `length`, so
    that a result depends on the calls before it; castline takes the context that a package is compiled for.

    Args:
        theta: the base of the trained model
        factor: of the scaling
        head_dim: at least 4
        length: tokens of the longest sequence
        trained: the model's max_position_embeddings
    """
    stretch = factor * max(length, trained) / trained - (factor - 1)
    return theta * float(stretch ** (head_dim / (head_dim - 2)))
