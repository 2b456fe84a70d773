"""A model's layers computed one product at a time, for those who look at what goes into a matrix or replace it.

A layer is four steps: q, k and v share their inputs, then come o, gate and up together, and down. Whoever runs
the steps says what each matrix is, so a quantised model can run beside the checkpoint. Products are made by
castline's own ops, which give the same bits for any number of threads.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from copy import copy
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from castline.compile.assignment import EMBEDDINGS, HEAD
from castline.compile.store import Arrays
from castline.compile.text_tokens import Ids
from castline.model import ops
from castline.model.checkpoint import CheckpointReader
from castline.model.decoder import Layer, rotary_tables
from castline.model.layouts import pack_qkv
from castline.progress import progress

_ROWS = 4096  # of tokens, whose intermediate products are in memory at a time


class Step(NamedTuple):
    """The matrices that share their inputs, by Llama names, and what reaches them."""

    names: tuple[str, ...]
    inputs: Tensor
    """[tokens, in]."""
    stream: Tensor
    """The residual stream [tokens, hidden_size] before this part of the layer adds to it."""


LayerSteps = Generator[Step, list[Tensor], None]
"""Yields a step, is sent its matrices [out, in] in the order of its names."""


class Activations:
    """What a text has become on its way through a model."""

    def __init__(self, reader: CheckpointReader, ids: Ids, embeddings: Tensor | None = None) -> None:
        """At the model's entrance.

        Args:
            reader: the checkpoint: its configuration and its norms
            ids: token ids [sequences, length]
            embeddings: [vocab, hidden_size], if they are not the checkpoint's
        """
        self.reader = reader
        self.sequences = len(ids)
        if embeddings is None:
            embeddings = reader.tensor(EMBEDDINGS).float()
        self._x = F.embedding(torch.from_numpy(ids).flatten(), embeddings)
        self._residual: Tensor | None = None
        positions = torch.arange(ids.shape[1]).repeat(len(ids))
        self._cos, self._sin = rotary_tables(reader.config, positions)

    def copy(self) -> "Activations":
        """The same activations, to go another way."""
        return copy(self)

    @staticmethod
    def joined(parts: Sequence["Activations"]) -> "Activations":
        """Activations at the same place of several runs, as one run over all their sequences."""
        whole = copy(parts[0])
        whole.sequences = sum(part.sequences for part in parts)
        whole._x = torch.cat([part._x for part in parts])
        whole._cos, whole._sin = (torch.cat(tables) for tables in zip(*((p._cos, p._sin) for p in parts), strict=True))
        residuals = [part._residual for part in parts if part._residual is not None]
        whole._residual = torch.cat(residuals) if residuals else None
        return whole

    def layer(self, index: int) -> LayerSteps:
        """Go through one layer, which has to be the next one."""
        config, prefix = self.reader.config, f"model.layers.{index}."
        with torch.device("meta"):
            layer = Layer(config, fused=True)
        attention, heads = f"{prefix}self_attn.", ("q_proj", "k_proj", "v_proj")

        _assign(layer, "attention_norm.weight", self._tensor(f"{prefix}input_layernorm.weight"))
        normed, stream = layer.attention_norm(self._x, self._residual)
        q, k, v = yield Step(tuple(f"{attention}{part}.weight" for part in heads), normed, stream)
        _assign(layer, "attention.wqkv.weight", pack_qkv(config, q, k, v))
        attended = layer.attention.attend(normed, self._cos, self._sin, self.sequences)
        (output,) = yield Step((f"{attention}o_proj.weight",), attended, stream)

        _assign(layer, "ffn_norm.weight", self._tensor(f"{prefix}post_attention_layernorm.weight"))
        normed, stream = layer.ffn_norm(ops.linear(attended, output), stream)
        gate, up = yield Step((f"{prefix}mlp.gate_proj.weight", f"{prefix}mlp.up_proj.weight"), normed, stream)
        inner = torch.cat([ops.swiglu(ops.linear(x, gate), ops.linear(x, up)) for x in normed.split(_ROWS)])
        (down,) = yield Step((f"{prefix}mlp.down_proj.weight",), inner, stream)
        self._x, self._residual = ops.linear(inner, down), stream

    def state(self) -> Arrays:
        """What `resume` goes on from, after a layer."""
        assert self._residual is not None  # a layer has been gone through
        return {"x": self._x.numpy(), "residual": self._residual.numpy()}

    def resume(self, state: Arrays) -> None:
        """Go on where other activations of the same text were."""
        self._x, self._residual = torch.tensor(state["x"]), torch.tensor(state["residual"])

    def final(self) -> Tensor:
        """What the head gets after the last layer: [tokens, hidden_size]."""
        weight = self._tensor("model.norm.weight")
        if self._residual is None:
            return ops.rms_norm(self._x, weight, self.reader.config.rms_norm_eps)
        return ops.add_rms_norm(self._x, self._residual, weight, self.reader.config.rms_norm_eps)[0]

    def _tensor(self, name: str) -> Tensor:
        return self.reader.tensor(name).float()


def run_layer(steps: LayerSteps, matrices: Callable[[Step], list[Tensor]]) -> None:
    """Take activations through a layer whose matrices `matrices` gives."""
    step: Step | None = next(steps)
    while step is not None:
        step = _after(steps, matrices(step))


def run_both(
    first: LayerSteps, second: LayerSteps, matrices: Callable[[Step, Step], tuple[list[Tensor], list[Tensor]]]
) -> None:
    """Take two models' activations through a layer side by side; `matrices` gives those of both."""
    one: Step | None = next(first)
    other: Step | None = next(second)
    while one is not None and other is not None:
        of_first, of_second = matrices(one, other)
        one, other = _after(first, of_first), _after(second, of_second)


def _after(steps: LayerSteps, matrices: list[Tensor]) -> Step | None:
    try:
        return steps.send(matrices)
    except StopIteration:
        return None


@torch.no_grad()
def activation_ranges(reader: CheckpointReader, ids: Ids) -> dict[str, float]:
    """The largest magnitude that reaches every matrix product of a model on a text, in float32.

    The largest, not a percentile of them: fp8 numbers keep their relative precision over 2^15, so a wide range
    costs next to nothing, while cutting off the few huge activations that these models have costs a lot.

    Args:
        reader: the checkpoint
        ids: token ids [sequences, length] of the kind of text the model is for

    Returns:
        {Llama name of a matrix: max |input|}; the head's under `lm_head.weight`, tied or not.
    """
    ranges: dict[str, float] = {}

    def record(step: Step) -> list[Tensor]:
        ranges.update(dict.fromkeys(step.names, float(step.inputs.abs().max())))
        return [reader.tensor(name).float() for name in step.names]

    activations = Activations(reader, ids)
    for index in _layers(reader, "activation ranges"):
        run_layer(activations.layer(index), record)
    ranges[HEAD] = float(activations.final().abs().max())
    return ranges


def _layers(reader: CheckpointReader, purpose: str) -> Iterator[int]:
    count = reader.config.num_hidden_layers
    with progress(purpose, count, "layers") as advance:
        for index in range(count):
            yield index
            advance(1)


def _assign(layer: Layer, name: str, value: Tensor) -> None:
    layer.load_state_dict({name: value}, strict=False, assign=True)
