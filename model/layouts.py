"""How checkpoints name and arrange tensors: Llama's layout, InternLM2's, and the decoder's own.

The decoder's names are InternLM2's without the `model.` prefix. Between the two layouts only q, k and v are
arranged differently (three matrices against one packed `wqkv`); all else is a change of name. Both rotate
halves (Hugging Face's RoPE), so no rows are permuted within a head.
"""

from collections.abc import Callable, Mapping
from typing import Literal, get_args

import torch
from torch import Tensor

from castline.model.config import ModelConfig

LayoutName = Literal["llama", "internlm2"]
LAYOUTS: tuple[LayoutName, ...] = get_args(LayoutName)

ARCHITECTURES: dict[LayoutName, str] = {"llama": "LlamaForCausalLM", "internlm2": "InternLM2ForCausalLM"}

_LLAMA_OUTER = {
    "tok_embeddings.weight": "model.embed_tokens.weight",
    "norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_LLAMA_IN_LAYER = {
    "attention_norm.weight": "input_layernorm.weight",
    "attention.wo.weight": "self_attn.o_proj.weight",
    "ffn_norm.weight": "post_attention_layernorm.weight",
    "feed_forward.w1.weight": "mlp.gate_proj.weight",
    "feed_forward.w3.weight": "mlp.up_proj.weight",
    "feed_forward.w2.weight": "mlp.down_proj.weight",
}
_PACKED = "attention.wqkv.weight"
_QKV = ("self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight")

Shapes = dict[str, tuple[int, ...]]


def decoder_shapes(config: ModelConfig) -> Shapes:
    """The decoder's parameters in order, by its own names: {name: shape}. Tied: no `output.weight`."""
    hidden, inner = config.hidden_size, config.intermediate_size
    width = config.num_attention_heads * config.head_dim
    packed = width + 2 * config.num_key_value_heads * config.head_dim
    shapes: Shapes = {"tok_embeddings.weight": (config.vocab_size, hidden)}
    for layer in range(config.num_hidden_layers):
        shapes |= {
            f"layers.{layer}.attention_norm.weight": (hidden,),
            f"layers.{layer}.{_PACKED}": (packed, hidden),
            f"layers.{layer}.attention.wo.weight": (hidden, width),
            f"layers.{layer}.ffn_norm.weight": (hidden,),
            f"layers.{layer}.feed_forward.w1.weight": (inner, hidden),
            f"layers.{layer}.feed_forward.w3.weight": (inner, hidden),
            f"layers.{layer}.feed_forward.w2.weight": (hidden, inner),
        }
    shapes["norm.weight"] = (hidden,)
    if not config.tie_word_embeddings:
        shapes["output.weight"] = (config.vocab_size, hidden)
    return shapes


def layout_shapes(config: ModelConfig, layout: LayoutName) -> Shapes:
    """The tensors of a checkpoint in this layout, in the decoder's order: {name: shape}."""
    shapes: Shapes = {}
    for name, shape in decoder_shapes(config).items():
        if layout == "internlm2":
            shapes[_internlm2_name(name)] = shape
        elif name.endswith(_PACKED):
            query, kv = (heads * config.head_dim for heads in (config.num_attention_heads, config.num_key_value_heads))
            for part, rows in zip(_qkv_names(name), (query, kv, kv), strict=True):
                shapes[part] = (rows, config.hidden_size)
        else:
            shapes[_llama_name(name)] = shape
    return shapes


def to_llama(config: ModelConfig, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The decoder's parameters under Llama's names, q, k and v apart."""
    result: dict[str, Tensor] = {}
    for name in decoder_shapes(config):
        if name.endswith(_PACKED):
            result |= dict(zip(_qkv_names(name), unpack_qkv(config, tensors[name]), strict=True))
        else:
            result[_llama_name(name)] = tensors[name]
    return result


def from_llama(config: ModelConfig, tensor: Callable[[str], Tensor], prefix: str = "") -> dict[str, Tensor]:
    """The decoder's parameters that begin with `prefix`, by its own names, out of a function that gives Llama's."""
    result: dict[str, Tensor] = {}
    for name in decoder_shapes(config):
        if not name.startswith(prefix):
            continue
        if name.endswith(_PACKED):
            q, k, v = (tensor(part) for part in _qkv_names(name))
            result[name] = pack_qkv(config, q, k, v)
        else:
            result[name] = tensor(_llama_name(name))
    return result


def internlm2_source(llama_name: str) -> tuple[str, int | None]:
    """Where InternLM2's layout holds a Llama tensor: (name there, part of wqkv: 0 q, 1 k, 2 v, or None)."""
    prefix, _, rest = llama_name.partition(".self_attn.")
    for part, suffix in enumerate(_QKV):
        if f"self_attn.{rest}" == suffix:
            return f"{prefix}.{_PACKED}", part
    for own, llama in _LLAMA_OUTER.items():
        if llama == llama_name:
            return _internlm2_name(own), None
    for own, llama in _LLAMA_IN_LAYER.items():
        if llama_name.endswith(llama):
            return llama_name.removesuffix(llama) + own, None
    raise KeyError(llama_name)


def stored_tensor(config: ModelConfig, layout: LayoutName, name: str, tensor: Callable[[str], Tensor]) -> Tensor:
    """The tensor that a layout holds under `name`, out of a function that gives Llama's tensors."""
    if layout == "llama":
        return tensor(name)
    if name.endswith(_PACKED):
        q, k, v = (tensor(part) for part in _qkv_names(name.removeprefix("model.")))
        return pack_qkv(config, q, k, v)
    return tensor(_llama_name(name.removeprefix("model.")))


def pack_qkv(config: ModelConfig, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """One matrix whose rows, per kv head, are its query heads, then its key, then its value.

    Args:
        config: gives the heads
        q: [heads · head_dim, hidden]
        k: [kv_heads · head_dim, hidden]
        v: like k

    Returns:
        [(heads + 2 · kv_heads) · head_dim, hidden].
    """
    shape = (config.num_key_value_heads, -1, config.head_dim, q.shape[-1])
    return torch.cat([t.reshape(shape) for t in (q, k, v)], dim=1).flatten(0, 2)


def unpack_qkv(config: ModelConfig, wqkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The inverse of `pack_qkv`."""
    group = config.group_size
    packed = wqkv.view(config.num_key_value_heads, group + 2, config.head_dim, wqkv.shape[-1])
    return (
        packed[:, :group].flatten(0, 2),
        packed[:, group].flatten(0, 1),
        packed[:, group + 1].flatten(0, 1),
    )


def _internlm2_name(name: str) -> str:
    return name if name == "output.weight" else f"model.{name}"


def _llama_name(name: str) -> str:
    if name in _LLAMA_OUTER:
        return _LLAMA_OUTER[name]
    _, layer, rest = name.split(".", 2)
    return f"model.layers.{layer}.{_LLAMA_IN_LAYER[rest]}"


def _qkv_names(packed_name: str) -> tuple[str, str, str]:
    prefix = "model." + packed_name.removesuffix(_PACKED)
    q, k, v = (prefix + part for part in _QKV)
    return q, k, v
