"""How llama.cpp names and arranges a Llama model's tensors, for reading and writing GGUF files."""

from torch import Tensor

ARCHITECTURE = "llama"

_OUTER = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
_IN_LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def gguf_name(llama_name: str) -> str:
    """The name of a Llama tensor in a GGUF file."""
    if llama_name in _OUTER:
        return _OUTER[llama_name]
    _, _, layer, rest = llama_name.split(".", 3)
    return f"blk.{layer}.{_IN_LAYER[rest.removesuffix('.weight')]}.weight"


def to_gguf(llama_name: str, weight: Tensor, head_dim: int) -> Tensor:
    """A tensor as llama.cpp has it: rows of q and k in pairs (2i, 2i+1), not halves (i, i + head_dim/2)."""
    if not _is_rotated(llama_name):
        return weight
    return weight.reshape(-1, 2, head_dim // 2, weight.shape[1]).transpose(1, 2).reshape(weight.shape)


def from_gguf(llama_name: str, weight: Tensor, head_dim: int) -> Tensor:
    """The inverse of `to_gguf`."""
    if not _is_rotated(llama_name):
        return weight
    return weight.reshape(-1, head_dim // 2, 2, weight.shape[1]).transpose(1, 2).reshape(weight.shape)


def _is_rotated(llama_name: str) -> bool:
    return llama_name.endswith(("q_proj.weight", "k_proj.weight"))
