"""How much each group of a model's matrices suffers from each format: the divergence that it alone causes.

A group is what is quantised together: q, k and v of a layer, its o, gate and up, its down; the embeddings; the head.
The checkpoint runs once over a few tokens, and its activations at every layer's entrance are kept. For each group and
format the model then runs from that layer on, with that group rounded and all else the checkpoint's; the formats of a
layer's groups go through the layers behind as one batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from castline.compile.assignment import EMBEDDINGS, HEAD
from castline.compile.formats import TensorFormat
from castline.compile.layer_steps import Activations, Step, run_layer
from castline.compile.quantize import rounded_values
from castline.compile.text_tokens import Ids
from castline.model import ops
from castline.model.checkpoint import CheckpointReader
from castline.model.config import ModelConfig
from castline.progress import progress

_PARTS = (
    ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    ("self_attn.o_proj",),
    ("mlp.gate_proj", "mlp.up_proj"),
    ("mlp.down_proj",),
)


@dataclass(frozen=True)
class Group:
    """Matrices that get the same format."""

    label: str
    names: tuple[str, ...]
    layer: int | None
    """None for embeddings and head."""


def groups(config: ModelConfig) -> list[Group]:
    """The groups of a model, in its order; a tied head belongs to the embeddings."""
    found = [Group("embeddings", (EMBEDDINGS,), None)]
    for layer in range(config.num_hidden_layers):
        prefix = f"model.layers.{layer}."
        for part in _PARTS:
            label = f"layers.{layer}.{', '.join(name.split('.')[1].removesuffix('_proj') for name in part)}"
            found.append(Group(label, tuple(f"{prefix}{name}.weight" for name in part), layer))
    if not config.tie_word_embeddings:
        found.append(Group("head", (HEAD,), None))
    return found


@torch.no_grad()
def sensitivities(
    reader: CheckpointReader, ids: Ids, formats: dict[str, Sequence[TensorFormat]]
) -> dict[str, dict[TensorFormat, float]]:
    """The mean KL (nats per token) that each group causes alone, its weights rounded to each format.

    Args:
        reader: the checkpoint
        ids: token ids [sequences, length]
        formats: {group's label: the formats to try}
    """
    layers = reader.config.num_hidden_layers
    embeddings = reader.tensor(EMBEDDINGS).float()
    head = embeddings if reader.config.tie_word_embeddings else reader.tensor(HEAD).float()
    entrances = [Activations(reader, ids, embeddings)]

    def original(step: Step) -> list[Tensor]:
        return [reader.tensor(name).float() for name in step.names]

    found: dict[str, dict[TensorFormat, float]] = {}
    with progress("sensitivities", 2 * layers + 1, "layers") as advance:
        for layer in range(layers):
            now = entrances[-1].copy()
            run_layer(now.layer(layer), original)
            entrances.append(now)
            advance(1)
        exits = entrances[-1].final()
        logits = ops.linear(exits, head).double().log_softmax(-1)

        def divergences(runs: Activations, first: int, heads: Sequence[Tensor]) -> list[float]:
            for layer in range(first, layers):
                run_layer(runs.layer(layer), original)
            parts = runs.final().chunk(len(heads))
            return [_divergence(logits, ops.linear(x, matrix)) for x, matrix in zip(parts, heads, strict=True)]

        for group in groups(reader.config):
            tried = list(formats[group.label])
            if group.layer is not None:
                runs = [_run(reader, entrances[group.layer], group, stored) for stored in tried]
                kls = divergences(Activations.joined(runs), group.layer + 1, [head] * len(tried))
                advance(1 / len(_PARTS))
            else:
                rounded = [torch.from_numpy(rounded_values(_matrix(reader, group).numpy(), stored)) for stored in tried]
                if group.label == "head":
                    kls = [_divergence(logits, ops.linear(exits, matrix)) for matrix in rounded]
                else:
                    entering = Activations.joined([Activations(reader, ids, matrix) for matrix in rounded])
                    heads = rounded if reader.config.tie_word_embeddings else [head] * len(tried)
                    kls = divergences(entering, 0, heads)
            found[group.label] = dict(zip(tried, kls, strict=True))
    return found


def _run(reader: CheckpointReader, entrance: Activations, group: Group, stored: TensorFormat) -> Activations:
    """The activations after the layer of a group that is rounded to a format."""
    run = entrance.copy()

    def matrices(step: Step) -> list[Tensor]:
        originals = [reader.tensor(name).float() for name in step.names]
        if step.names != group.names:
            return originals
        return [torch.from_numpy(rounded_values(matrix.numpy(), stored)) for matrix in originals]

    assert group.layer is not None
    run_layer(run.layer(group.layer), matrices)
    return run


def _matrix(reader: CheckpointReader, group: Group) -> Tensor:
    (name,) = group.names
    return reader.tensor(name).float()


def _divergence(reference: Tensor, logits: Tensor) -> float:
    """Mean KL between log-probabilities [tokens, vocab] and those of logits."""
    return float((reference.exp() * (reference - logits.double().log_softmax(-1))).sum(-1).mean().clamp_min(0))
