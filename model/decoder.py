"""The GQA decoder of InternLM2 and Llama, over packed batches of documents.

Its parameters carry InternLM2's names without the `model.` prefix (`layers.0.attention.wqkv.weight`, …);
`layouts.py` translates to and from checkpoints. One packed matrix `wqkv` makes q, k and v: viewed as
(kv_heads, group + 2, head_dim, hidden), q is [:, :group], k [:, group], v [:, group + 1], so splitting the
model over devices is a plain split of its rows.
"""

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from castline.model import ops
from castline.model.config import ModelConfig


class Decoder(nn.Module):
    """Token ids to logits.

    Inside, a batch [B, T] is one list of B·T tokens cut into segments: attention stays within a segment and
    positions restart with it. Without `document_ids` a segment is a row; with them, it is a document's part
    of a row.
    """

    def __init__(self, config: ModelConfig, seed: int = 0, *, fused: bool = True) -> None:
        """A decoder initialised from the seed; empty where `torch.device("meta")` is in force.

        Args:
            config: the model, its vocabulary known
            seed: of the initial weights
            fused: use the fused ops; otherwise their plain PyTorch twins

        Raises:
            ValueError: the vocabulary's size is still open.
        """
        super().__init__()
        if config.vocab_size == 0:
            raise ValueError("[decoder] vocab_size must be known, but got 0 (a recipe's default)")
        self.config = config
        self.fused = fused
        self.tok_embeddings = Linear(config.hidden_size, config.vocab_size, fused)
        self.layers = nn.ModuleList(Layer(config, fused) for _ in range(config.num_hidden_layers))
        self.norm = RMSNorm(config, fused)
        self.output = (
            self.tok_embeddings if config.tie_word_embeddings else Linear(config.hidden_size, config.vocab_size, fused)
        )
        if not self.norm.weight.is_meta:
            initialize(self, seed)

    def forward(self, tokens: Tensor, positions: Tensor | None = None, document_ids: Tensor | None = None) -> Tensor:
        """The logits of every position.

        Args:
            tokens: [B, T], integers
            positions: [B, T], integers; default: counted from the segment's start
            document_ids: [B, T], integers; equal neighbours in a row belong to one document

        Returns:
            [B, T, vocab], in the parameters' type.
        """
        hidden = self.hidden(tokens, positions, document_ids)
        return cast("Tensor", self.output(hidden)).view(*tokens.shape, -1)

    def loss(self, tokens: Tensor, targets: Tensor, document_ids: Tensor | None = None) -> Tensor:
        """The summed cross-entropy in nats, never holding the logits of the whole batch.

        Args:
            tokens: [B, T], integers
            targets: [B, T], int64: the token to predict, or `reference_ops.IGNORED`
            document_ids: as in `forward`
        """
        hidden = self.hidden(tokens, None, document_ids)
        return ops.linear_cross_entropy(hidden, self.output.weight, targets.flatten(), fused=self.fused)

    def token_losses(self, tokens: Tensor, targets: Tensor, document_ids: Tensor | None = None) -> Tensor:
        """Like `loss`, but each position's own: [B, T], float32, without gradients."""
        with torch.no_grad():
            hidden = self.hidden(tokens, None, document_ids)
            losses = ops.token_losses(hidden, self.output.weight, targets.flatten(), fused=self.fused)
        return losses.view(tokens.shape)

    def hidden(self, tokens: Tensor, positions: Tensor | None, document_ids: Tensor | None) -> Tensor:
        """The final normalised hidden states [B·T, hidden_size]; arguments as in `forward`."""
        lengths = None if document_ids is None else segment_lengths(document_ids)
        if positions is None:
            positions = _segment_positions(tokens, lengths)
        cos, sin = rotary_tables(self.config, positions.flatten())
        rows = tokens.shape[0] if lengths is None else lengths
        x = F.embedding(tokens.flatten(), self.tok_embeddings.weight)
        residual: Tensor | None = None
        for layer in self.layers:
            x, residual = layer(x, residual, cos, sin, rows)
        normed, _ = self.norm(x, residual)
        return cast("Tensor", normed)


class Linear(nn.Module):
    """A matrix [out, in] without a bias."""

    def __init__(self, size_in: int, size_out: int, fused: bool) -> None:
        super().__init__()
        self.fused = fused
        self.weight = nn.Parameter(torch.empty(size_out, size_in))

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] to [..., out]."""
        return ops.linear(x, self.weight, fused=self.fused)


class Layer(nn.Module):
    """One block: attention and feed-forward, each normalised before and added to the residual stream.

    The sum after a part is left to the norm that follows it, so that one operation does both.
    """

    def __init__(self, config: ModelConfig, fused: bool) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config, fused)
        self.attention = Attention(config, fused)
        self.ffn_norm = RMSNorm(config, fused)
        self.feed_forward = FeedForward(config, fused)

    def forward(
        self, x: Tensor, residual: Tensor | None, cos: Tensor, sin: Tensor, rows: int | list[int]
    ) -> tuple[Tensor, Tensor]:
        """(last output, stream) to the same, [tokens, hidden] each; `rows` as in `Attention`."""
        normed, residual = self.attention_norm(x, residual)
        normed, residual = self.ffn_norm(self.attention(normed, cos, sin, rows), residual)
        return self.feed_forward(normed), residual


class RMSNorm(nn.Module):
    """Root-mean-square norm with a learned scale, after adding to the residual stream."""

    def __init__(self, config: ModelConfig, fused: bool) -> None:
        super().__init__()
        self.eps, self.fused = config.rms_norm_eps, fused
        self.weight = nn.Parameter(torch.empty(config.hidden_size))

    def forward(self, x: Tensor, residual: Tensor | None) -> tuple[Tensor, Tensor]:
        """(norm(x + residual), x + residual); without a residual, x starts the stream."""
        if residual is None:
            return ops.rms_norm(x, self.weight, self.eps, fused=self.fused), x
        return ops.add_rms_norm(x, residual, self.weight, self.eps, fused=self.fused)


class Attention(nn.Module):
    """Causal grouped-query attention within each segment."""

    def __init__(self, config: ModelConfig, fused: bool) -> None:
        super().__init__()
        self.kv_heads, self.group, self.head_dim = (
            config.num_key_value_heads,
            config.group_size,
            config.head_dim,
        )
        self.fused = fused
        rows = self.kv_heads * (self.group + 2) * self.head_dim
        width = config.num_attention_heads * self.head_dim
        self.wqkv = Linear(config.hidden_size, rows, fused)
        self.wo = Linear(width, config.hidden_size, fused)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, rows: int | list[int]) -> Tensor:
        """[tokens, hidden] to the same; `rows` is the number of equally long segments, or their lengths."""
        return cast("Tensor", self.wo(self.attend(x, cos, sin, rows)))

    def attend(self, x: Tensor, cos: Tensor, sin: Tensor, rows: int | list[int]) -> Tensor:
        """`forward` without its last product: the heads' outputs [tokens, heads · head_dim]."""
        tokens = x.shape[0]
        qkv = self.wqkv(x).view(tokens, self.kv_heads, self.group + 2, self.head_dim)
        q, k, v = ops.rope_qkv(qkv, cos, sin, fused=self.fused)
        if isinstance(rows, int):
            shape = (rows, tokens // rows, -1, self.head_dim)
            out = _causal_attention(q.view(shape), k.view(shape), v.view(shape)).reshape(tokens, -1)
        else:
            parts = zip(*(torch.split(t, rows) for t in (q, k, v)), strict=True)
            out = torch.cat([_causal_attention(*(t.unsqueeze(0) for t in part))[0] for part in parts])
        return out.reshape(tokens, -1)


class FeedForward(nn.Module):
    """SwiGLU: w2(silu(w1 x) · w3 x)."""

    def __init__(self, config: ModelConfig, fused: bool) -> None:
        super().__init__()
        self.fused = fused
        hidden, inner = config.hidden_size, config.intermediate_size
        self.w1 = Linear(hidden, inner, fused)
        self.w3 = Linear(hidden, inner, fused)
        self.w2 = Linear(inner, hidden, fused)

    def forward(self, x: Tensor) -> Tensor:
        """[tokens, hidden] to the same."""
        return ops.feed_forward(x, self.w1.weight, self.w3.weight, self.w2.weight, fused=self.fused)


def initialize(decoder: Decoder, seed: int) -> None:
    """Fill the parameters for training from scratch: the same seed gives the same bits.

    Matrices are normal with a standard deviation of sqrt(2 / (5 · hidden_size)) (Nguyen and Salazar, arXiv
    1910.05895), which suits narrow and wide models alike. Those that write into the residual stream (wo, w2) are
    smaller by sqrt(2 · layers), so that the stream's variance at the start does not grow with depth (GPT-2's rule).
    Norm weights are one.
    """
    generator = torch.Generator().manual_seed(seed)
    matrix_std = math.sqrt(2 / (5 * decoder.config.hidden_size))
    residual_std = matrix_std / math.sqrt(2 * decoder.config.num_hidden_layers)
    for name, parameter in decoder.named_parameters():
        if parameter.dim() == 1:
            nn.init.ones_(parameter)
        else:
            std = residual_std if name.endswith(("wo.weight", "w2.weight")) else matrix_std
            nn.init.normal_(parameter, std=std, generator=generator)


def rotary_tables(config: ModelConfig, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine of position · frequency for each pair of a head.

    Args:
        config: gives the frequencies
        positions: [tokens], integers

    Returns:
        Two float32 tensors [tokens, head_dim / 2], rounded as transformers rounds them.
    """
    angles = positions.float()[:, None] * rotary_frequencies(config).to(positions.device)
    return angles.cos(), angles.sin()


def rotary_frequencies(config: ModelConfig) -> Tensor:
    """The angle per position of each pair i of a head: theta^(-2i/head_dim), scaled as the model says.

    Dynamic scaling changes nothing here: it begins beyond max_position_embeddings, and there the model is another
    one (`ModelConfig.at_context`).

    Returns:
        [head_dim / 2], float32, rounded as transformers rounds them.
    """
    frequencies = 1.0 / config.rope_theta ** (torch.arange(0, config.head_dim, 2).float() / config.head_dim)
    scaling = config.rope_scaling
    if scaling is None or scaling.rope_type == "dynamic":
        return frequencies
    if scaling.rope_type == "linear":
        return frequencies / scaling.factor
    # Llama 3.1: pairs that turn less than `low` times over the original context are slowed, those that turn more
    # than `high` times kept, and those between blended.
    low, high, original = scaling.llama3
    kept = ((original * frequencies / (2 * math.pi) - low) / (high - low)).clamp(0, 1)
    return (1 - kept) * frequencies / scaling.factor + kept * frequencies


def segment_lengths(document_ids: Tensor) -> list[int]:
    """The lengths of the runs of equal ids in the rows of [B, T], in order; no run crosses a row's end."""
    starts = torch.ones_like(document_ids, dtype=torch.bool)
    starts[:, 1:] = document_ids[:, 1:] != document_ids[:, :-1]
    at = starts.flatten().nonzero().flatten()
    end = at.new_tensor([document_ids.numel()])
    lengths: list[int] = torch.cat((at, end)).diff().tolist()
    return lengths


def _segment_positions(tokens: Tensor, lengths: list[int] | None) -> Tensor:
    if lengths is None:
        return torch.arange(tokens.shape[1], device=tokens.device).repeat(tokens.shape[0])
    return torch.cat([torch.arange(length, device=tokens.device) for length in lengths])


def _causal_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(head_dim)) v, each query seeing itself and what came before.

    Args:
        q: [B, T, heads, head_dim]
        k: [B, T, kv_heads, head_dim]
        v: like k

    Returns:
        [B, T, heads, head_dim].
    """
    q, k, v = (t.transpose(1, 2) for t in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True).transpose(1, 2)
