"""Names the culprit when a backend is too far from the checkpoint: a layer's stored weights, or the arithmetic.

The weights as they were written are read back and put into the reference decoder one layer at a time; the KL
divergence that a layer alone causes is its share of the blame.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from castline.compile.fidelity import Float32, ReferenceLogits, log_softmax
from castline.model.checkpoint import CheckpointReader, load_decoder
from castline.model.layouts import from_llama

TensorByName = Callable[[str], Float32]

_TOKENS = 128
# Below this share of the whole divergence no single layer is the culprit.
_SHARE = 0.02


@dataclass(frozen=True)
class LayerError:
    """What the stored weights of one layer do when everything else is the checkpoint's."""

    layer: str
    kl: float
    worst_tensor: str
    relative_error: float
    """‖stored - checkpoint‖ / ‖checkpoint‖ of that tensor."""


def layer_errors(
    reader: CheckpointReader, stored: TensorByName, ids: NDArray[np.int64], logits: Float32
) -> list[LayerError]:
    """The error of every layer, the worst first.

    Args:
        reader: the checkpoint
        stored: gives the weights as they were written, under Llama names
        ids: one sequence [L]
        logits: the reference's logits of it [L, vocab]
    """
    reference = ReferenceLogits(ids[None, :_TOKENS], [logits[:_TOKENS]])
    tokens = torch.from_numpy(reference.ids)
    decoder = load_decoder(reader).requires_grad_(False)
    original = dict(decoder.state_dict())
    written = from_llama(reader.config, lambda name: torch.from_numpy(stored(name)))
    if reader.config.tie_word_embeddings:
        written["output.weight"] = written["tok_embeddings.weight"]

    errors = []
    tensors = _relative_errors(reader, stored)
    for layer, names in _by_layer(reader.names()).items():
        prefixes = _own_prefixes(layer, reader.config.tie_word_embeddings)
        swapped = {name: value for name, value in written.items() if name.startswith(prefixes)}
        decoder.load_state_dict(original | swapped, assign=True)
        divergence = reference.compare(0, log_softmax(decoder(tokens)[0].numpy())).divergence.mean()
        worst = max(names, key=tensors.__getitem__)
        errors.append(LayerError(layer, float(divergence), worst, tensors[worst]))
    return sorted(errors, key=lambda error: -error.kl)


def explain(errors: list[LayerError], mean_kl: float) -> str:
    """One sentence that names the culprit of a mean divergence."""
    worst = errors[0]
    if not worst.kl > _SHARE * mean_kl:
        return (
            f"no layer's stored weights explain it (the worst, {worst.layer}, alone gives KL {worst.kl:.2g}): "
            "the backend's arithmetic is to blame"
        )
    return (
        f"the layer to blame is {worst.layer}: its stored weights alone give KL {worst.kl:.2g} "
        f"(the worst tensor is {worst.worst_tensor}, relative error {worst.relative_error:.2g})"
    )


def _by_layer(names: list[str]) -> dict[str, list[str]]:
    """Tensor names by layer: `model.layers.N` together, all others for themselves."""
    layers: dict[str, list[str]] = {}
    for name in names:
        parts = name.split(".")
        layer = ".".join(parts[:3]) if parts[1] == "layers" else name.removesuffix(".weight")
        layers.setdefault(layer, []).append(name)
    return layers


def _own_prefixes(layer: str, tied: bool) -> tuple[str, ...]:
    """What the decoder calls a layer's parameters; a tied head follows the embeddings."""
    own = {
        "model.embed_tokens": ("tok_embeddings.", "output.") if tied else ("tok_embeddings.",),
        "model.norm": ("norm.",),
        "lm_head": ("output.",),
    }
    return own.get(layer, (layer.removeprefix("model.") + ".",))


def _relative_errors(reader: CheckpointReader, stored: TensorByName) -> dict[str, float]:
    errors = {}
    for name in reader.names():
        original = reader.tensor(name).float().numpy()
        norm = float(np.linalg.norm(original))
        distance = float(np.linalg.norm(stored(name) - original))
        errors[name] = distance / norm if norm else distance
    return errors
