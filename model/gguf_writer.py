"""Writing a model as a GGUF file that llama.cpp runs: architecture llama, one tensor in memory at a time.

The header is the `gguf` package's; its own writer of tensors does not tell a full disk.
"""

from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFWriter
from gguf.quants import quantize
from numpy.typing import NDArray
from torch import Tensor

from castline.errors import CheckpointError
from castline.files import atomic_path
from castline.model.config import ModelConfig
from castline.model.gguf_layout import ARCHITECTURE, gguf_name, to_gguf
from castline.model.gguf_rope import FREQUENCY_DIVISORS, gguf_rope
from castline.model.layouts import layout_shapes

GgufType = Literal["f32", "f16", "bf16", "q8_0", "q4_0", "q4_1"]
GGUF_TYPES: tuple[GgufType, ...] = get_args(GgufType)

_KINDS: dict[GgufType, GGMLQuantizationType] = {name: GGMLQuantizationType[name.upper()] for name in GGUF_TYPES}
_FILE_TYPES: dict[GgufType, int] = {"f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q8_0": 7, "bf16": 32}
_HALF_MAX = 65504.0  # of f16, in which every type but f32 and bf16 keeps its values or scales
_ALIGNMENT = 32


def gguf_bytes(config: ModelConfig, dtype: GgufType) -> int:
    """The bytes of a model's tensors in this type.

    Raises:
        CheckpointError: the type's blocks do not fit into the rows.
    """
    block, block_bytes = GGML_QUANT_SIZES[_KINDS[dtype]]
    size = 0
    for name, shape in layout_shapes(config, "llama").items():
        if len(shape) < 2:
            size += prod(shape) * 4
            continue
        if shape[1] % block:
            raise CheckpointError(
                f"expected rows of whole blocks of {block} for --dtype {dtype}, but those of {name} have {shape[1]} "
                "elements; --dtype bf16 takes any"
            )
        size += prod(shape) // block * block_bytes
    return size


def write_gguf(
    path: Path,
    config: ModelConfig,
    tensor: Callable[[str], Tensor],
    *,
    dtype: GgufType,
    metadata: Mapping[str, Any],
    advance: Callable[[float], None],
) -> None:
    """Write a GGUF file; it appears whole or not at all.

    Args:
        path: the file
        config: the model
        tensor: gives the tensors by Llama name, finite
        dtype: how matrices are stored; norms are float32
        metadata: keys beside those of the model, such as the tokenizer's
        advance: told the bytes of every tensor written

    Raises:
        CheckpointError: a value is too large for the type, or its blocks do not fit.
        DeviceError: the file cannot be written.
    """
    gguf_bytes(config, dtype)  # whether the blocks fit
    shapes = layout_shapes(config, "llama")
    writer = GGUFWriter(None, ARCHITECTURE)
    scaling, divisors = gguf_rope(config)
    for key, value in {**_model_metadata(config, dtype), **scaling, **metadata}.items():
        _add(writer, key, value)
    if divisors is not None:
        writer.add_tensor_info(FREQUENCY_DIVISORS, divisors.shape, np.dtype(np.float32), divisors.nbytes)
    for name, shape in shapes.items():
        kind = _kind(dtype, shape)
        block, block_bytes = GGML_QUANT_SIZES[kind]
        size = prod(shape) // block * block_bytes
        writer.add_tensor_info(gguf_name(name), shape, np.dtype(np.float32), size, raw_dtype=kind)
    with atomic_path(path) as temporary:
        writer.write_header_to_file(temporary)
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        writer.close()
        with temporary.open("ab") as file:
            file.write(bytes(-file.tell() % _ALIGNMENT))
            if divisors is not None:
                file.write(divisors.numpy().data)
            for name, shape in shapes.items():
                file.write(bytes(-file.tell() % _ALIGNMENT))
                data = _stored(name, to_gguf(name, tensor(name), config.head_dim), _kind(dtype, shape))
                file.write(data.data)
                advance(data.nbytes)
            file.write(bytes(-file.tell() % _ALIGNMENT))


def _kind(dtype: GgufType, shape: tuple[int, ...]) -> GGMLQuantizationType:
    return _KINDS[dtype] if len(shape) > 1 else GGMLQuantizationType.F32


def _stored(name: str, tensor: Tensor, kind: GGMLQuantizationType) -> NDArray[Any]:
    values = np.ascontiguousarray(tensor.float().numpy())
    if kind not in (GGMLQuantizationType.F32, GGMLQuantizationType.BF16):
        largest = float(np.abs(values).max(initial=0))
        if largest > _HALF_MAX:
            raise CheckpointError(
                f"expected values of at most {_HALF_MAX:g} in the tensor {name} to store it as "
                f"{kind.name.lower()}, but found {largest:g}; --dtype bf16 and f32 hold it"
            )
    return np.ascontiguousarray(quantize(values, kind))


def _model_metadata(config: ModelConfig, dtype: GgufType) -> dict[str, Any]:
    metadata = {
        "general.file_type": _FILE_TYPES[dtype],
        "llama.vocab_size": config.vocab_size,
        "llama.context_length": config.max_position_embeddings,
        "llama.embedding_length": config.hidden_size,
        "llama.block_count": config.num_hidden_layers,
        "llama.feed_forward_length": config.intermediate_size,
        "llama.attention.head_count": config.num_attention_heads,
        "llama.attention.head_count_kv": config.num_key_value_heads,
        "llama.attention.key_length": config.head_dim,
        "llama.attention.value_length": config.head_dim,
        "llama.attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        "llama.rope.dimension_count": config.head_dim,
        "llama.rope.freq_base": config.rope_theta,
    }
    if GGML_QUANT_SIZES[_KINDS[dtype]][0] > 1:
        metadata["general.quantization_version"] = 2
    return metadata


def _add(writer: GGUFWriter, key: str, value: Any) -> None:
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        writer.add_array(key, value)
