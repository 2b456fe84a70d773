"""Writing a model in the forms that other tools load: a Hugging Face folder, or a GGUF file for llama.cpp."""

import json
from collections.abc import Callable, Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from castline import files
from castline.model.checkpoint import write_checkpoint_files
from castline.model.config import ModelConfig
from castline.model.gguf_vocabulary import vocabulary_metadata
from castline.model.gguf_writer import GgufType, write_gguf
from castline.model.hf_config import SpecialTokens
from castline.model.importer import PROVENANCE_FILE
from castline.model.layouts import LayoutName, layout_shapes

HfType = Literal["f32", "f16", "bf16"]
HF_TYPES: dict[HfType, torch.dtype] = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
PROVENANCE_KEY = "castline.export"
"""The key of a GGUF file that says, as JSON, what it was made from."""


class Model(Protocol):
    """What is exported: a `CheckpointReader`, or the weights of a package."""

    config: ModelConfig
    special_tokens: SpecialTokens

    def tensor(self, name: str, /) -> Tensor:
        """One tensor by its Llama name, finite."""


class _Tensors(Mapping[str, Tensor]):
    """A model's tensors by Llama name, each made when it is asked for."""

    def __init__(self, model: Model, advance: Callable[[float], None], width: int) -> None:
        self._model, self._advance, self._width = model, advance, width
        self._shapes = layout_shapes(model.config, "llama")

    def __getitem__(self, name: str) -> Tensor:
        tensor = self._model.tensor(name)
        self._advance(tensor.numel() * self._width)
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)


def hf_bytes(config: ModelConfig, dtype: HfType) -> int:
    """The bytes of a model's tensors in a Hugging Face folder."""
    return sum(prod(shape) for shape in layout_shapes(config, "llama").values()) * HF_TYPES[dtype].itemsize


def write_hf(
    out: Path,
    model: Model,
    tokenizer: Mapping[str, bytes],
    provenance: Mapping[str, Any],
    *,
    dtype: HfType,
    layout: LayoutName,
    advance: Callable[[float], None],
) -> None:
    """Write a Hugging Face folder; it appears whole or not at all.

    Args:
        out: the folder
        model: what to write
        tokenizer: the tokenizer's files by name
        provenance: the content of castline.json
        dtype: the type of all tensors
        layout: Llama's, which transformers loads as it is, or InternLM2's
        advance: told the bytes of every tensor read

    Raises:
        CheckpointError: a tensor does not fit the type.
        DeviceError: the folder cannot be written.
    """
    with files.atomic_folder(out) as folder:
        write_checkpoint_files(
            folder,
            model.config,
            _Tensors(model, advance, HF_TYPES[dtype].itemsize),
            layout=layout,
            dtype=HF_TYPES[dtype],
            special_tokens=model.special_tokens,
            extra_files={**tokenizer, PROVENANCE_FILE: (json.dumps(provenance, indent=2) + "\n").encode()},
        )


def write_gguf_file(
    out: Path,
    model: Model,
    tokenizer: Mapping[str, bytes],
    provenance: Mapping[str, Any],
    *,
    dtype: GgufType,
    name: str,
    advance: Callable[[float], None],
) -> None:
    """Write a GGUF file with the tokenizer in it; it appears whole or not at all.

    Args:
        out: the file
        model: what to write
        tokenizer: the tokenizer's files by name
        provenance: kept in the file under `PROVENANCE_KEY`
        dtype: the type of the matrices
        name: the model's name, for people
        advance: told the bytes of every tensor written

    Raises:
        CheckpointError: a tensor does not fit the type, or llama.cpp would tokenise otherwise.
        DeviceError: the file cannot be written.
    """
    metadata = {"general.name": name, PROVENANCE_KEY: json.dumps(provenance)}
    metadata |= vocabulary_metadata(tokenizer, model.config.vocab_size, model.special_tokens, name)
    write_gguf(out, model.config, model.tensor, dtype=dtype, metadata=metadata, advance=advance)
