"""A small writer of engine packages for the runtime's tests: what the runtime promises to read, spelt out."""

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Tensors = dict[str, npt.NDArray[Any]]

TINY: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "rope_theta": 10_000.0,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
}
"""A decoder with a group of 3, odd in every size a vector kernel could trip over."""


def random_tensors(config: dict[str, Any], seed: int = 0, spread: float = 0.25) -> Tensors:
    """Random weights under Llama names, in float32, large enough for the logits to differ."""
    generator = np.random.default_rng(seed)
    hidden: int = config["hidden_size"]
    inner: int = config["intermediate_size"]
    queries = config["num_attention_heads"] * config["head_dim"]
    keys = config["num_key_value_heads"] * config["head_dim"]

    def matrix(*shape: int) -> npt.NDArray[np.float32]:
        return generator.normal(0, spread, shape).astype(np.float32)

    def norm() -> npt.NDArray[np.float32]:
        return generator.normal(1, 0.1, hidden).astype(np.float32)

    tensors: Tensors = {"model.embed_tokens.weight": matrix(config["vocab_size"], hidden)}
    for i in range(config["num_hidden_layers"]):
        layer = f"model.layers.{i}."
        tensors[layer + "input_layernorm.weight"] = norm()
        tensors[layer + "post_attention_layernorm.weight"] = norm()
        for name, shape in {
            "self_attn.q_proj": (queries, hidden),
            "self_attn.k_proj": (keys, hidden),
            "self_attn.v_proj": (keys, hidden),
            "self_attn.o_proj": (hidden, queries),
            "mlp.gate_proj": (inner, hidden),
            "mlp.up_proj": (inner, hidden),
            "mlp.down_proj": (hidden, inner),
        }.items():
            tensors[f"{layer}{name}.weight"] = matrix(*shape)
    tensors["model.norm.weight"] = norm()
    if not config["tie_word_embeddings"]:
        tensors["lm_head.weight"] = matrix(config["vocab_size"], hidden)
    return tensors


def quantise(tensors: Tensors) -> tuple[Tensors, Tensors]:
    """Matrices as int8 with a scale per channel, and the float32 values that these stand for."""
    stored: Tensors = {}
    meant: Tensors = {}
    for name, tensor in tensors.items():
        if tensor.ndim != 2:
            stored[name] = meant[name] = tensor
            continue
        scale = (np.abs(tensor).max(axis=1) / 127).astype(np.float32)
        stored[name] = np.rint(tensor / scale[:, None]).astype(np.int8)
        stored[f"{name}.scale"] = scale
        meant[name] = (stored[name] * scale[:, None]).astype(np.float32)
    return stored, meant


def byte_tokenizer() -> str:
    """A tokenizer.json of the 256 bytes and one special token: text of any kind, cut anywhere."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = [byte for byte in range(256) if byte not in printable]
    letters = [chr(byte if byte in printable else 256 + others.index(byte)) for byte in range(256)]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    model: dict[str, Any] = {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": False,
        "vocab": {letter: byte for byte, letter in enumerate(letters)},
        "merges": [],
    }
    return json.dumps(
        {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [{"id": 256, "content": "<|endoftext|>"} | flags],
            "normalizer": None,
            "pre_tokenizer": level,
            "post_processor": None,
            "decoder": level,
            "model": model,
        }
    )


def safetensors_bytes(tensors: Tensors, weights: str = "f32") -> bytes:
    """A safetensors file whose every tensor starts at a multiple of 64 bytes, with `padding.N` between."""
    header: dict[str, Any] = {"__metadata__": {"castline.weights": weights}}
    pieces: list[bytes] = []
    end = 0

    def add(name: str, dtype: str, shape: list[int], raw: bytes) -> None:
        nonlocal end
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + len(raw)]}
        pieces.append(raw)
        end += len(raw)

    for name, tensor in tensors.items():
        raw = np.ascontiguousarray(tensor).tobytes()
        add(name, {"float32": "F32", "int8": "I8"}[tensor.dtype.name], list(tensor.shape), raw)
        if gap := -len(raw) % 64:
            add(f"padding.{len(header)}", "I8", [gap], bytes(gap))
    text = json.dumps(header).encode()
    text += b" " * (-(len(text) + 8) % 64)
    return b"".join([struct.pack("<Q", len(text)), text, *pieces])


def write_package(
    folder: Path,
    config: dict[str, Any],
    tensors: Tensors,
    *,
    tokenizer: str | None = None,
    generation: dict[str, Any] | None = None,
    weights: str = "f32",
) -> Path:
    """Write a package with CPU weights; `generation` overrides the defaults (no stop token, full context)."""
    files: dict[str, bytes] = {"cpu/weights.safetensors": safetensors_bytes(tensors, weights)}
    if tokenizer is not None:
        files["tokenizer.json"] = tokenizer.encode()
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    manifest = {
        "schema_version": 1,
        "castline_version": "0.0.0",
        "model": config,
        "generation": {
            "eos_ids": [],
            "bos_id": None,
            "max_context": config["max_position_embeddings"],
            **(generation or {}),
        },
        "files": {
            name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()
        },
        "backends": {"cpu": {"weights": weights, "status": "passed"}},
    }
    (folder / "package.json").write_text(json.dumps(manifest, indent=2))
    return folder
