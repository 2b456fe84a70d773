"""`castline import`: other people's models as castline checkpoints (Hugging Face folders in Llama's layout)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from castline import __version__, files
from castline.errors import CheckpointError, DataError, RecipeError
from castline.model.checkpoint import CheckpointReader, write_checkpoint
from castline.model.config import ModelConfig
from castline.model.gguf import GgufFile
from castline.model.gguf_layout import ARCHITECTURE, from_gguf, gguf_name
from castline.model.gguf_rope import FREQUENCY_DIVISORS, gguf_rope_scaling
from castline.model.gguf_tokenizer import special_id, tokenizer_files
from castline.model.hf_config import SpecialTokens
from castline.model.layouts import layout_shapes
from castline.recipe import parse

PROVENANCE_FILE = "castline.json"
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
)


@dataclass(frozen=True)
class ImportSummary:
    """What an import did; `reused` means that the checkpoint was there already, made from the same source."""

    checkpoint: Path
    format: str
    config: ModelConfig
    parameters: int
    tokenizer: bool
    reused: bool


def import_checkpoint(source: Path, out: Path, *, force: bool = False) -> ImportSummary:
    """Turn a Hugging Face folder (Llama, InternLM2) or a GGUF file (Llama) into a checkpoint in Llama's layout.

    Folders keep their tensors' type (several become float32); GGUF becomes float32, which holds every dequantised
    value.

    Args:
        source: the folder or file
        out: the checkpoint to write; made from the same source before, it is reused
        force: replace what is at `out`

    Raises:
        CheckpointError: the source is damaged or not supported.
        RecipeError: `out` holds something else.
        DeviceError: `out` cannot be written.
    """
    if not source.exists():
        raise CheckpointError(f"expected a Hugging Face folder or a GGUF file at {source}, but there is nothing")
    kind = "folder" if source.is_dir() else "gguf"
    provenance = {"castline_version": __version__, "import": {"source": source.name, "sha256": _sha256(source)}}
    if out.exists() and not force:
        _check_same(out, provenance)
        return _summary(out, kind, reused=True)
    if kind == "folder":
        _import_folder(source, out, provenance)
    else:
        _import_gguf(source, out, provenance)
    return _summary(out, kind, reused=False)


def _import_folder(source: Path, out: Path, provenance: dict[str, Any]) -> None:
    reader = CheckpointReader(source)
    tensors = {name: reader.tensor(name) for name in reader.names()}
    kinds = {tensor.dtype for tensor in tensors.values()}
    dtype = kinds.pop() if len(kinds) == 1 else torch.float32
    names = [name for name in TOKENIZER_FILES if (source / name).is_file()]
    extra = {name: (source / name).read_bytes() for name in names} | _provenance_file(provenance)
    write_checkpoint(out, reader.config, tensors, dtype=dtype, special_tokens=reader.special_tokens, extra_files=extra)


def _import_gguf(source: Path, out: Path, provenance: dict[str, Any]) -> None:
    gguf = GgufFile(source)
    config = _gguf_config(gguf)
    stop = [special_id(gguf, name, config.vocab_size) for name in ("eos", "eot", "eom")]
    special_tokens = SpecialTokens(
        eos_ids=tuple(dict.fromkeys(found for found in stop if found is not None)),
        bos_id=special_id(gguf, "bos", config.vocab_size),
        pad_id=special_id(gguf, "padding", config.vocab_size),
    )
    extra = tokenizer_files(gguf, config.max_position_embeddings) | _provenance_file(provenance)
    tensors = _gguf_tensors(gguf, config)
    write_checkpoint(out, config, tensors, special_tokens=special_tokens, extra_files=extra)


def _gguf_config(gguf: GgufFile) -> ModelConfig:
    architecture = gguf.value("general.architecture", str)
    if architecture != ARCHITECTURE:
        raise CheckpointError(
            f"{gguf.path}: expected the architecture '{ARCHITECTURE}', but found '{architecture}'; castline does not "
            "support it"
        )
    layers, heads = gguf.value("llama.block_count", int), gguf.value("llama.attention.head_count", int)
    hidden = gguf.value("llama.embedding_length", int)
    if layers > len(gguf.tensors):
        raise CheckpointError(
            f"{gguf.path}: expected tensors for {layers} layers, but found {len(gguf.tensors)} tensors in all"
        )
    if "token_embd.weight" not in gguf.tensors:
        raise CheckpointError(f"{gguf.path}: expected the tensor token_embd.weight, but it is missing")
    theta = _shortest(gguf.value("llama.rope.freq_base", float, 10_000.0))
    head_dim = gguf.value("llama.attention.key_length", int, hidden // max(heads, 1))
    values = {
        "vocab_size": gguf.tensors["token_embd.weight"].shape[0],
        "hidden_size": hidden,
        "intermediate_size": gguf.value("llama.feed_forward_length", int),
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": gguf.value("llama.attention.head_count_kv", int, heads),
        "head_dim": head_dim,
        "max_position_embeddings": gguf.value("llama.context_length", int),
        "rope_theta": theta,
        "rope_scaling": gguf_rope_scaling(gguf, theta, head_dim),
        "rms_norm_eps": _shortest(gguf.value("llama.attention.layer_norm_rms_epsilon", float)),
        "tie_word_embeddings": "output.weight" not in gguf.tensors,
    }
    try:
        config = parse(ModelConfig, values, str(gguf.path))
    except RecipeError as error:
        raise CheckpointError(str(error)) from None
    turned = gguf.value("llama.rope.dimension_count", int, config.head_dim)
    if turned != config.head_dim:
        raise CheckpointError(
            f"{gguf.path}: expected RoPE over the whole head of {config.head_dim}, but found {turned} dimensions"
        )
    return config


def _gguf_tensors(gguf: GgufFile, config: ModelConfig) -> dict[str, Tensor]:
    names = {name: gguf_name(name) for name in layout_shapes(config, "llama")}
    extra = sorted(gguf.tensors.keys() - {FREQUENCY_DIVISORS, *names.values()})
    if extra:
        raise CheckpointError(f"{gguf.path}: expected no tensor {extra[0]}, but found it; castline does not support it")
    for name, shape in layout_shapes(config, "llama").items():
        found = gguf.tensors[names[name]].shape if names[name] in gguf.tensors else None
        if found is not None and found != shape:
            raise CheckpointError(
                f"{gguf.path}: expected the tensor {names[name]} to be {list(shape)}, but found {list(found)}"
            )
    return {name: from_gguf(name, gguf.tensor(stored), config.head_dim) for name, stored in names.items()}


def _shortest(value: float) -> float:
    """The shortest decimal that is the same float32: GGUF stores 1e-05 as 9.999999747378752e-06."""
    return float(str(np.float32(value)))


def _sha256(source: Path) -> str:
    """Of the file, or of the names and hashes of what is read of a folder."""
    if not source.is_dir():
        return files.sha256_file(source)
    wanted = sorted(path for path in source.iterdir() if path.suffix in (".json", ".safetensors", ".jinja"))
    return files.sha256_json({path.name: files.sha256_file(path) for path in wanted})


def _provenance_file(provenance: Mapping[str, Any]) -> dict[str, bytes]:
    return {PROVENANCE_FILE: (json.dumps(provenance, indent=2) + "\n").encode()}


def _check_same(out: Path, provenance: Mapping[str, Any]) -> None:
    try:
        found = files.read_json(out / PROVENANCE_FILE)
    except DataError:
        found = None
    if not isinstance(found, dict) or found.get("import") != provenance["import"]:
        raise RecipeError(
            f"expected nothing, or an import of the same source, at {out}, but found something else; choose another "
            "folder or use --force to replace it"
        )


def _summary(out: Path, kind: str, *, reused: bool) -> ImportSummary:
    reader = CheckpointReader(out)
    parameters = sum(torch.Size(shape).numel() for shape in layout_shapes(reader.config, "llama").values())
    return ImportSummary(out, kind, reader.config, parameters, (out / "tokenizer.json").is_file(), reused)
