"""What each layer's stored weights cost, and which is the culprit when a backend is too far from the checkpoint.

The weights as they were written are read back and put into the reference one layer at a time; the KL divergence
that a layer alone causes is its share of the blame. All these models go through together, layer by layer: one is
the checkpoint, and each layer adds one that is the checkpoint but for its own stored weights. So two layers are
in memory at a time, the checkpoint's and the stored one.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import ConfigDict
from torch import Tensor

from castline.compile.assignment import EMBEDDINGS, HEAD
from castline.compile.fidelity import Float32, Ids, ReferenceLogits, log_softmax, pieces, rounded
from castline.compile.reference import TensorOf, final_norm, head_name, load_layer, tensor_of
from castline.model import ops
from castline.model.checkpoint import CheckpointReader
from castline.model.decoder import Layer, rotary_tables
from castline.model.layouts import layout_shapes
from castline.progress import progress
from castline.recipe import Table

TensorByName = Callable[[str], Float32]

_NORM = "model.norm.weight"
_TOKENS = 64
# Below this share of the whole divergence no single layer is the culprit.
_SHARE = 0.02


class LayerError(Table):
    """What the stored weights of one layer do when everything else is the checkpoint's."""

    model_config = ConfigDict(allow_inf_nan=True)  # what broken weights give

    layer: str
    kl: float
    """Mean, in nats per token, rounded to 1e-9."""
    worst_tensor: str
    relative_error: float
    """‖stored - checkpoint‖ / ‖checkpoint‖ of that tensor."""


def layer_errors(reader: CheckpointReader, stored: TensorByName, ids: Ids) -> list[LayerError]:
    """The error of embeddings, every layer, the last norm and the head, in the model's order.

    Args:
        reader: the checkpoint
        stored: gives the weights as they were written, under Llama names
        ids: one sequence [L], of which the first 64 tokens are used
    """
    return _Variants(reader, stored, ids[:_TOKENS]).errors()


def explain(errors: Sequence[LayerError], mean_kl: float) -> str:
    """One sentence that names the culprit of a mean divergence."""
    worst = max(errors, key=lambda error: error.kl)
    if not worst.kl > _SHARE * mean_kl:
        return (
            f"no layer's stored weights explain it (the worst, {worst.layer}, alone gives KL {worst.kl:.2g}): "
            "the backend's arithmetic is to blame"
        )
    return (
        f"the layer to blame is {worst.layer}: its stored weights alone give KL {worst.kl:.2g} "
        f"(the worst tensor is {worst.worst_tensor}, relative error {worst.relative_error:.2g})"
    )


class _Variants:
    """The checkpoint's activations [variants, tokens, hidden_size], and those of models with one layer swapped.

    Variant 0 is the checkpoint; the others follow in the order of `swapped`.
    """

    def __init__(self, reader: CheckpointReader, stored: TensorByName, ids: Ids) -> None:
        self._reader, self._ids = reader, ids
        self._original = tensor_of(reader)
        self._stored: TensorOf = lambda name: torch.from_numpy(stored(name))
        self._swapped: list[str] = []
        self._relative: dict[str, float] = {}

    @torch.no_grad()
    def errors(self) -> list[LayerError]:
        config = self._reader.config
        tokens = torch.tensor(self._ids)
        x = torch.stack([F.embedding(tokens, weight(EMBEDDINGS)) for weight in (self._original, self._compared)])
        residual: Tensor | None = None
        self._swapped.append(EMBEDDINGS.removesuffix(".weight"))
        with progress("layer errors", config.num_hidden_layers, "layers") as advance:
            for index in range(config.num_hidden_layers):
                original = load_layer(config, index, self._original)
                swapped = load_layer(config, index, self._compared)
                own = self._run(swapped, x[:1], None if residual is None else residual[:1])
                others = self._run(original, x, residual)
                x, residual = (torch.cat(pair) for pair in zip(others, own, strict=True))
                self._swapped.append(f"model.layers.{index}")
                advance(1)
        assert residual is not None  # there is a layer at least
        return self._divergences(x, residual)

    def _divergences(self, x: Tensor, residual: Tensor) -> list[LayerError]:
        config = self._reader.config
        own = final_norm(config, self._compared(_NORM), x[0], residual[0])
        normed = final_norm(config, self._original(_NORM), x.flatten(0, 1), residual.flatten(0, 1)).view(x.shape)
        hidden = [*normed, own]
        self._swapped.append("model.norm")
        head = self._original(head_name(config))
        reference = ReferenceLogits(self._ids[None], [_logits(hidden[0], head)])
        swapped_head = self._compared(head_name(config))
        found = {
            name: _mean_kl(reference, _logits(one, head)) for name, one in zip(self._swapped, hidden[1:], strict=True)
        }
        if config.tie_word_embeddings:  # the head goes with them
            found[self._swapped[0]] = _mean_kl(reference, _logits(hidden[1], swapped_head))
        else:
            found[HEAD.removesuffix(".weight")] = _mean_kl(reference, _logits(hidden[0], swapped_head))
        return [self._error(layer, kl) for layer, kl in found.items()]

    def _error(self, layer: str, kl: float) -> LayerError:
        tensors = [name for name in layout_shapes(self._reader.config, "llama") if name.startswith(f"{layer}.")]
        worst = max(tensors, key=self._relative.__getitem__)
        return LayerError(
            layer=layer, kl=round(kl, 9), worst_tensor=worst, relative_error=rounded(self._relative[worst])
        )

    def _run(self, layer: Layer, x: Tensor, residual: Tensor | None) -> tuple[Tensor, Tensor]:
        count, length, _ = x.shape
        cos, sin = rotary_tables(self._reader.config, torch.arange(length).repeat(count))
        out, stream = layer(x.flatten(0, 1), None if residual is None else residual.flatten(0, 1), cos, sin, count)
        return out.view(x.shape), stream.view(x.shape)

    def _compared(self, name: str) -> Tensor:
        """A stored tensor, its distance from the checkpoint's noted."""
        original, found = self._original(name), self._stored(name)
        norm, distance = float(torch.linalg.vector_norm(original)), float(torch.linalg.vector_norm(found - original))
        self._relative[name] = distance / norm if norm else distance
        return found


def _logits(hidden: Tensor, head: Tensor) -> Float32:
    logits: Float32 = ops.linear(hidden, head, fused=False).numpy()
    return logits


def _mean_kl(reference: ReferenceLogits, logits: Float32) -> float:
    with np.errstate(invalid="ignore"):
        parts = [reference.compare(0, rows, log_softmax(logits[rows])).divergence for rows in pieces(logits)]
    return float(np.concatenate(parts).mean())
