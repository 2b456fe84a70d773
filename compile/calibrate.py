"""Int4 weights from data: layer after layer, each fitted to the inputs that the quantised ones before it give.

One layer is in memory at a time, and the calibration's activations: [tokens, hidden_size].
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from castline.compile.assignment import EMBEDDINGS, Assignment
from castline.compile.gptq import gptq
from castline.compile.quantize import Int4Matrix, rounded_values
from castline.compile.text_tokens import Ids
from castline.model.checkpoint import CheckpointReader
from castline.model.decoder import Layer, rotary_tables
from castline.model.layouts import pack_qkv
from castline.progress import progress


def calibrated_int4(
    reader: CheckpointReader, ids: Ids, assignment: Assignment, *, symmetric: bool
) -> Iterator[tuple[str, Int4Matrix]]:
    """The int4 matrices of all layers, quantised by GPTQ, under Llama names.

    Args:
        reader: the checkpoint
        ids: token ids [sequences, length] of the kind of text the model is for
        assignment: the format of every tensor; what is not int4 is rounded to its format on the way
        symmetric: grids with their zero in the middle
    """
    config = reader.config
    embeddings = rounded_values(reader.tensor(EMBEDDINGS).float().numpy(), assignment[EMBEDDINGS], symmetric=symmetric)
    x = F.embedding(torch.from_numpy(ids).flatten(), torch.from_numpy(embeddings))
    del embeddings
    positions = torch.arange(ids.shape[1]).repeat(len(ids))
    cos, sin = rotary_tables(config, positions)
    residual: Tensor | None = None
    with torch.no_grad(), progress("calibrating", config.num_hidden_layers, "layers") as advance:
        for index in range(config.num_hidden_layers):
            pass_through = _LayerPass(reader, index, assignment, symmetric)
            x, residual = pass_through.run(x, residual, cos, sin, len(ids))
            yield from pass_through.found.items()
            advance(1)


class _LayerPass:
    """Takes the calibration's activations through one layer, quantising each matrix as they reach it."""

    def __init__(self, reader: CheckpointReader, index: int, assignment: Assignment, symmetric: bool) -> None:
        self.reader, self.assignment, self.symmetric = reader, assignment, symmetric
        self.prefix = f"model.layers.{index}."
        self.found: dict[str, Int4Matrix] = {}
        with torch.device("meta"):
            self.layer = Layer(reader.config, fused=True)

    def run(self, x: Tensor, residual: Tensor | None, cos: Tensor, sin: Tensor, rows: int) -> tuple[Tensor, Tensor]:
        """As `Layer.forward`."""
        layer = self.layer
        self._assign("attention_norm.weight", self._tensor("input_layernorm.weight"))
        normed, residual = layer.attention_norm(x, residual)
        q, k, v = self._quantize(normed, "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
        self._assign("attention.wqkv.weight", pack_qkv(self.reader.config, q, k, v))
        attended = layer.attention.attend(normed, cos, sin, rows)
        (output,) = self._quantize(attended * _inverse_rms(residual), "self_attn.o_proj")

        self._assign("ffn_norm.weight", self._tensor("post_attention_layernorm.weight"))
        normed, residual = layer.ffn_norm(attended @ output.T, residual)
        gate, up = self._quantize(normed, "mlp.gate_proj", "mlp.up_proj")
        inner = F.silu(normed @ gate.T) * (normed @ up.T)
        (down,) = self._quantize(inner * _inverse_rms(residual), "mlp.down_proj")
        return inner @ down.T, residual

    def _quantize(self, inputs: Tensor, *names: str) -> list[Tensor]:
        """Quantise the matrices that share these inputs [tokens, in]; what they then stand for."""
        hessian = inputs.T @ inputs
        values = []
        for name in names:
            full_name = f"{self.prefix}{name}.weight"
            matrix, stored = self._tensor(f"{name}.weight"), self.assignment[full_name]
            if stored.kind == "int4":
                found = gptq(matrix, hessian, stored.block, symmetric=self.symmetric)
                self.found[full_name] = found
                values.append(torch.from_numpy(found.values()))
            else:
                values.append(torch.from_numpy(rounded_values(matrix.numpy(), stored)))
        return values

    def _tensor(self, name: str) -> Tensor:
        return self.reader.tensor(self.prefix + name).float()

    def _assign(self, name: str, value: Tensor) -> None:
        self.layer.load_state_dict({name: value}, strict=False, assign=True)


def _inverse_rms(stream: Tensor) -> Tensor:
    """[tokens, 1]: what a norm multiplies the stream [tokens, hidden_size] with.

    What is added to the stream counts as much as the norms behind it let through: a few tokens with a huge
    stream (a sequence's first one, mostly) would otherwise drown all others.
    """
    return stream.square().mean(dim=1, keepdim=True).rsqrt()
