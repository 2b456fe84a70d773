"""What a package will need to run, before it is built: memory, and how fast decoding can be at most.

Decoding reads every weight once per step, and the cache of every sequence once per token; nothing is faster than the
memory that they come from. Of an embedding table only one row per token is read, unless it is the head, too.
"""

from dataclasses import dataclass
from typing import NamedTuple

from castline.compile.assignment import EMBEDDINGS
from castline.compile.formats import Target
from castline.compile.plan import Plan, cache_bytes_per_token, tensor_bytes
from castline.model.config import ModelConfig
from castline.model.layouts import layout_shapes


class Gpu(NamedTuple):
    """A GPU by its data sheet."""

    name: str
    compute_capability: str
    memory: int
    """Bytes."""
    bandwidth: int
    """Bytes per second."""


# From NVIDIA's data sheets: memory in GB, bandwidth in GB/s.
GPUS = tuple(
    Gpu(name, capability, memory * 10**9, bandwidth * 10**9)
    for name, capability, memory, bandwidth in (
        ("T4", "7.5", 16, 320),
        ("A10", "8.6", 24, 600),
        ("A100 80GB SXM", "8.0", 80, 2039),
        ("L4", "8.9", 24, 300),
        ("L40S", "8.9", 48, 864),
        ("H100 SXM", "9.0", 80, 3350),
        ("H200", "9.0", 141, 4800),
        ("RTX 3090", "8.6", 24, 936),
        ("RTX 4090", "8.9", 24, 1008),
        ("RTX 5090", "12.0", 32, 1792),
    )
)


@dataclass(frozen=True)
class Needs:
    """What running a model takes on one target."""

    weights: int
    """Bytes of all weights."""
    read: int
    """Bytes of the weights that a step reads."""
    cache_per_token: int
    """Bytes of one token's keys and values."""

    def memory(self, context: int, batch: int) -> int:
        """Bytes of weights and caches for `batch` sequences of `context` tokens; activations are not counted."""
        return self.weights + batch * context * self.cache_per_token

    def tokens_per_second(self, bandwidth: int, context: int, batch: int = 1) -> float:
        """The most that a memory of `bandwidth` bytes per second allows with `context` tokens in every cache."""
        return batch * bandwidth / (self.read + batch * context * self.cache_per_token)


def needs_of(model: ModelConfig, plan: Plan, target: Target) -> Needs:
    """What the model takes on `target`, with the formats that the plan's options mean there."""
    assignment = plan.wanted.for_target(target)
    sizes = {
        name: tensor_bytes(shape, assignment[name], target) for name, shape in layout_shapes(model, "llama").items()
    }
    total = sum(sizes.values())
    return Needs(
        weights=total,
        read=total if model.tie_word_embeddings else total - sizes[EMBEDDINGS],
        cache_per_token=cache_bytes_per_token(model, target, assignment, plan.config.kv),
    )


def contexts(longest: int) -> list[int]:
    """Context lengths worth a line: powers of four from 1,024 on, and the longest."""
    lengths = []
    length = 1024
    while length < longest:
        lengths.append(length)
        length *= 4
    return [*lengths, longest]
