"""What the checkpoint itself says, computed by PyTorch in float32 with one layer's weights in memory at a time.

All sequences go through a layer before the next one is read; what is kept are their activations. Logits are made
for one sequence when they are asked for. The figures are those of `model.checkpoint.load_decoder`, bit for bit.
"""

from collections.abc import Callable
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from castline.compile.assignment import EMBEDDINGS, HEAD
from castline.compile.fidelity import Float32, Ids, ReferenceLogits
from castline.compile.store import Store
from castline.model import ops
from castline.model.checkpoint import CheckpointReader
from castline.model.config import ModelConfig
from castline.model.decoder import Layer, rotary_tables
from castline.model.layouts import from_llama
from castline.progress import progress

TensorOf = Callable[[str], Tensor]
"""A float32 tensor by its Llama name."""

_STATE = "reference"


def reference_logits(reader: CheckpointReader, ids: Ids, store: Store | None = None) -> ReferenceLogits:
    """The checkpoint's logits of token ids [sequences, length].

    Args:
        reader: the checkpoint
        ids: the tokens
        store: keeps the activations at every layer's end; work that was interrupted goes on from there
    """
    return ReferenceLogits(ids, _Logits(reader, final_hidden(reader, ids, store)))


@torch.no_grad()
def final_hidden(reader: CheckpointReader, ids: Ids, store: Store | None) -> Float32:
    """The normalised hidden states that the head gets: [sequences, length, hidden_size]."""
    config = reader.config
    cos, sin = rotary_tables(config, torch.arange(ids.shape[1]))
    done, x, residual = 0, None, None
    if store is not None and (state := store.load(_STATE)) is not None:
        done, x, residual = int(state["layers"]), torch.tensor(state["x"]), torch.tensor(state["residual"])
    if x is None or residual is None:
        x = F.embedding(torch.tensor(ids), reader.tensor(EMBEDDINGS)).float()
        residual = torch.zeros_like(x)  # nothing yet: the first layer is given none
    with progress("reference", config.num_hidden_layers, "layers") as advance:
        advance(done)
        for index in range(done, config.num_hidden_layers):
            layer = load_layer(config, index, tensor_of(reader))
            for sequence in range(len(ids)):  # one at a time: a product's last bits depend on its number of rows
                stream = residual[sequence] if index else None
                x[sequence], residual[sequence] = layer(x[sequence], stream, cos, sin, 1)
            if store is not None:
                store.save(_STATE, {"layers": np.array(index + 1), "x": x.numpy(), "residual": residual.numpy()})
            advance(1)
    weight = reader.tensor("model.norm.weight").float()
    normed = [final_norm(config, weight, x[i], residual[i]) for i in range(len(ids))]
    return torch.stack(normed).numpy()


def tensor_of(reader: CheckpointReader) -> TensorOf:
    """The checkpoint's tensors as the reference computes with them."""
    return lambda name: reader.tensor(name).to(torch.float32, copy=True)  # not in the mapped file


def load_layer(config: ModelConfig, index: int, tensor: TensorOf) -> Layer:
    """One layer that computes with plain PyTorch."""
    prefix = f"layers.{index}."
    with torch.device("meta"):
        layer = Layer(config, fused=False)
    own = from_llama(config, tensor, prefix)
    layer.load_state_dict({name.removeprefix(prefix): value for name, value in own.items()}, assign=True)
    return layer.requires_grad_(False)


def final_norm(config: ModelConfig, weight: Tensor, x: Tensor, residual: Tensor) -> Tensor:
    """The norm before the head: [tokens, hidden_size] to the same."""
    return ops.add_rms_norm(x, residual, weight, config.rms_norm_eps, fused=False)[0]


def head_name(config: ModelConfig) -> str:
    """The tensor that makes logits."""
    return EMBEDDINGS if config.tie_word_embeddings else HEAD


class _Logits:
    """[length, vocab] of every sequence, made when asked for; the last one is kept."""

    def __init__(self, reader: CheckpointReader, hidden: Float32) -> None:
        self._reader = reader
        self._hidden = hidden
        self._last: tuple[int, Float32] | None = None

    def __getitem__(self, sequence: int) -> Float32:
        if self._last is None or self._last[0] != sequence:
            self._last = None  # before the next one takes memory
            logits = ops.linear(torch.from_numpy(self._hidden[sequence]), self._head, fused=False)
            self._last = sequence, logits.numpy()
        return self._last[1]

    @cached_property
    def _head(self) -> Tensor:
        return tensor_of(self._reader)(head_name(self._reader.config))
