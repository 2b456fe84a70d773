"""Checkpoints: Hugging Face folders of safetensors, read and written, every tensor checked.

Whatever the layout on disk, tensors are spoken of under Llama's names here
(`model.layers.0.self_attn.q_proj.weight`).
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from copy import copy
from math import prod
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from castline import files
from castline.errors import CheckpointError, DataError
from castline.model.config import ModelConfig
from castline.model.decoder import Decoder
from castline.model.hf_config import (
    NO_SPECIAL_TOKENS,
    SpecialTokens,
    config_json,
    generation_config_json,
    read_config,
)
from castline.model.layouts import (
    LayoutName,
    Shapes,
    from_llama,
    internlm2_source,
    layout_shapes,
    stored_tensor,
    unpack_qkv,
)
from castline.model.safetensors_file import write_safetensors

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
MAX_SHARD_BYTES = 4 << 30
_FLOATS = {"F64", "F32", "F16", "BF16"}


class CheckpointReader:
    """A checkpoint folder, opened: its configuration, and its tensors one by one, straight from the file.

    Opening reads the headers only and checks that every tensor is there, of the right shape and type, and
    that there is none too many; the values are checked as they are read.
    """

    def __init__(self, path: Path) -> None:
        """Open and check.

        Raises:
            CheckpointError: what is wrong with which file or tensor.
        """
        self.path = path
        self.config, self.layout, self.special_tokens = read_config(path)
        self._files = {name: path / file for name, file in _tensor_files(path).items()}
        if self.config.num_hidden_layers > len(self._files):
            raise CheckpointError(
                f"{path}: expected tensors for {self.config.num_hidden_layers} layers, but found {len(self._files)} "
                "tensors in all"
            )
        self.types: set[str] = set()
        """The tensors' types in the file: F32, BF16, …"""
        self._check(layout_shapes(self.config, self.layout))

    def names(self) -> list[str]:
        """The tensors' Llama names, in the model's order. Tied embeddings: no `lm_head.weight`."""
        return list(layout_shapes(self.config, "llama"))

    def tensor(self, name: str) -> Tensor:
        """One tensor under its Llama name, in Llama's arrangement and the type it has on disk.

        Raises:
            CheckpointError: it holds a value that is not finite.
            KeyError: no tensor of the model has this name.
        """
        if self.layout == "llama":
            stored, part = name, None
        else:
            stored, part = internlm2_source(name)
        try:
            with safe_open(self._files[stored], framework="pt") as file:
                tensor: Tensor = file.get_tensor(stored)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"cannot read the tensor {stored} in {self._files[stored]}: {error}") from error
        if part is not None:
            tensor = unpack_qkv(self.config, tensor)[part]
        _check_finite(name, tensor, self._files[stored])
        return tensor

    def at_context(self, length: int) -> Self:
        """The same checkpoint as it reads sequences of up to `length` tokens (`ModelConfig.at_context`)."""
        resolved = copy(self)
        resolved.config = self.config.at_context(length)
        return resolved

    def _check(self, expected: Mapping[str, tuple[int, ...]]) -> None:
        missing = [name for name in expected if name not in self._files]
        if missing:
            raise CheckpointError(
                f"{self.path}: expected the tensor {missing[0]}{_and_more(missing)}, but it is missing"
            )
        extra = sorted(self._files.keys() - expected.keys())
        extra = [name for name in extra if not self._may_be_left(name)]
        if extra:
            raise CheckpointError(
                f"{self.path}: expected no tensor {extra[0]}{_and_more(extra)}, but found it; the "
                "configuration describes another model"
            )
        with ExitStack() as stack:
            opened = {file: stack.enter_context(_open(file)) for file in sorted(set(self._files.values()))}
            for name, shape in expected.items():
                part = opened[self._files[name]].get_slice(name)
                found, kind = tuple(part.get_shape()), part.get_dtype()
                if found != shape:
                    raise CheckpointError(
                        f"{self._files[name]}: expected the tensor {name} to be {list(shape)}, but found {list(found)}"
                    )
                if kind not in _FLOATS:
                    raise CheckpointError(
                        f"{self._files[name]}: expected the tensor {name} in one of "
                        f"{', '.join(sorted(_FLOATS))}, but found {kind}"
                    )
                self.types.add(kind)

    def _may_be_left(self, name: str) -> bool:
        # Old Llama files carry RoPE's frequencies; some files with tied embeddings carry the copy.
        tied = self.config.tie_word_embeddings and name in ("lm_head.weight", "output.weight")
        return tied or name.endswith("rotary_emb.inv_freq")


def load_decoder(
    source: Path | CheckpointReader,
    dtype: torch.dtype = torch.float32,
    *,
    config: ModelConfig | None = None,
    fused: bool = False,
) -> Decoder:
    """Read a checkpoint into a decoder on the CPU.

    By default it computes with plain PyTorch: it is what engines and fused ops are judged by.

    Args:
        source: the folder, or its reader
        dtype: the parameters' type
        config: instead of the checkpoint's own: the same shapes with another context or RoPE base
        fused: compute with the fused ops

    Raises:
        CheckpointError: as `CheckpointReader`.
    """
    reader = source if isinstance(source, CheckpointReader) else CheckpointReader(source)
    with torch.device("meta"):
        decoder = Decoder(config or reader.config, fused=fused)
    own = from_llama(reader.config, lambda name: reader.tensor(name).to(dtype))
    if reader.config.tie_word_embeddings:
        own["output.weight"] = own["tok_embeddings.weight"]
    # A copy: tensors of safetensors may share the mapped file's memory.
    decoder.load_state_dict({name: tensor.clone() for name, tensor in own.items()}, assign=True)
    return decoder.requires_grad_(True)


def write_checkpoint(
    path: Path,
    config: ModelConfig,
    tensors: Mapping[str, Tensor],
    *,
    layout: LayoutName = "llama",
    dtype: torch.dtype = torch.float32,
    special_tokens: SpecialTokens = NO_SPECIAL_TOKENS,
    extra_files: Mapping[str, bytes] | None = None,
) -> None:
    """Write a Hugging Face folder; it appears whole or not at all, replacing what was at `path`.

    Args:
        path: the folder
        config: the model
        tensors: {Llama name: tensor}, all of the model's, asked for one after the other
        layout: how to name and arrange them in the file
        dtype: the type to store
        special_tokens: for `config.json` and `generation_config.json`
        extra_files: {file name: content}, such as the tokenizer's

    Raises:
        CheckpointError: a tensor is missing, too many, misshapen, or not finite.
        DeviceError: the folder cannot be written.
    """
    with files.atomic_folder(path) as folder:
        write_checkpoint_files(
            folder,
            config,
            tensors,
            layout=layout,
            dtype=dtype,
            special_tokens=special_tokens,
            extra_files=extra_files,
        )


def write_checkpoint_files(
    folder: Path,
    config: ModelConfig,
    tensors: Mapping[str, Tensor],
    *,
    layout: LayoutName = "llama",
    dtype: torch.dtype = torch.float32,
    special_tokens: SpecialTokens = NO_SPECIAL_TOKENS,
    extra_files: Mapping[str, bytes] | None = None,
) -> None:
    """The files of `write_checkpoint`, into a folder that the caller makes appear whole."""
    shapes = layout_shapes(config, "llama")
    _check_names(shapes, tensors)

    def converted(name: str) -> Tensor:
        return _checked(name, tensors[name].detach(), shapes[name], dtype)

    def stored(name: str) -> Tensor:
        return stored_tensor(config, layout, name, converted)

    kind = str(dtype).removeprefix("torch.")
    _write_tensors(folder, layout_shapes(config, layout), stored, dtype)
    files.write_json(folder / "generation_config.json", generation_config_json(special_tokens))
    for name, content in (extra_files or {}).items():
        files.write_bytes(folder / name, content)
    files.write_json(folder / "config.json", config_json(config, layout, special_tokens, kind))


def _write_tensors(folder: Path, shapes: Shapes, tensor: Callable[[str], Tensor], dtype: torch.dtype) -> None:
    """Write the tensors one by one, into one file or several of at most `MAX_SHARD_BYTES`."""
    shards: list[Shapes] = [{}]
    size = 0
    for name, shape in shapes.items():
        bytes_ = prod(shape) * dtype.itemsize
        if shards[-1] and size + bytes_ > MAX_SHARD_BYTES:
            shards.append({})
            size = 0
        shards[-1][name] = shape
        size += bytes_
    weight_map: dict[str, str] = {}
    for index, shard in enumerate(shards, 1):
        file = SINGLE_FILE if len(shards) == 1 else f"model-{index:05}-of-{len(shards):05}.safetensors"
        write_safetensors(folder / file, shard, tensor, dtype)
        weight_map |= dict.fromkeys(shard, file)
    if len(shards) > 1:
        total = sum(prod(shape) for shape in shapes.values()) * dtype.itemsize
        index_json = {"metadata": {"total_size": total}, "weight_map": weight_map}
        files.write_json(folder / INDEX_FILE, index_json)


def _check_names(shapes: Shapes, tensors: Mapping[str, Tensor]) -> None:
    missing = [name for name in shapes if name not in tensors]
    if missing:
        raise CheckpointError(f"expected the tensor {missing[0]} to write, but it is missing")
    extra = sorted(tensors.keys() - shapes.keys())
    if extra:
        raise CheckpointError(f"expected no tensor {extra[0]}{_and_more(extra)} in this model, but found it")


def _checked(name: str, tensor: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """A tensor of the shape that the model has, finite, and converted to a type that holds its values."""
    if tuple(tensor.shape) != shape:
        raise CheckpointError(f"expected the tensor {name} to be {list(shape)}, but found {list(tensor.shape)}")
    converted = tensor.to("cpu", dtype)
    if not _is_finite(converted):
        _check_finite(name, tensor, None)
        raise CheckpointError(
            f"expected values of at most {torch.finfo(dtype).max:g} in the tensor {name} to store it in this type, but "
            f"found {float(tensor.abs().max()):g}; bf16 and f32 hold it"
        )
    return converted


def _check_finite(name: str, tensor: Tensor, file: Path | None) -> None:
    if _is_finite(tensor):
        return
    count = int((~tensor.isfinite()).sum())
    where = f"{file}: " if file else ""
    raise CheckpointError(
        f"{where}expected finite values in the tensor {name}, but found {count} NaN or infinite of {tensor.numel()}"
    )


def _is_finite(tensor: Tensor) -> bool:
    # A NaN or infinity anywhere makes the sum one, and one pass over the memory is several times faster.
    return bool(tensor.sum(dtype=torch.float32).isfinite()) or bool(tensor.isfinite().all())


def _tensor_files(folder: Path) -> dict[str, str]:
    """{stored name: file name} of a single file or a sharded index."""
    index = folder / INDEX_FILE
    if (folder / SINGLE_FILE).is_file():
        with _open(folder / SINGLE_FILE) as file:
            return dict.fromkeys(file.keys(), SINGLE_FILE)
    if not index.is_file():
        raise CheckpointError(
            f"{folder}: expected {SINGLE_FILE} or {INDEX_FILE}, but found neither; other formats than "
            "safetensors are not read"
        )
    try:
        values = files.read_json(index)
    except DataError as error:
        raise CheckpointError(str(error)) from None
    weight_map = values.get("weight_map") if isinstance(values, dict) else None
    if not isinstance(weight_map, dict) or not all(isinstance(file, str) for file in weight_map.values()):
        raise CheckpointError(f'expected {{"weight_map": {{tensor: file}}}} in {index}, but found none')
    for file in sorted(set(weight_map.values())):
        if Path(file).name != file or not (folder / file).is_file():
            raise CheckpointError(f"{index}: expected the file {file} beside it, but it is missing")
        with _open(folder / file) as opened:
            stored = set(opened.keys())
        for name, where in weight_map.items():
            if where == file and name not in stored:
                raise CheckpointError(f"{folder / file}: expected the tensor {name}, but it is missing")
    return weight_map


def _open(file: Path) -> Any:
    try:
        return safe_open(file, framework="pt")
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"cannot read {file} as safetensors (damaged or cut off?): {error}") from error


def _and_more(names: list[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""
