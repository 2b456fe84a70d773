"""Writing the safetensors format tensor by tensor: a file of any size with one tensor in memory.

The format: 8 bytes little-endian header length, a JSON header, then the data without gaps
(github.com/huggingface/safetensors#format). The library writes files only whole.
"""

import json
from collections.abc import Callable
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from castline.files import atomic_write
from castline.model.layouts import Shapes

_NAMES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.float64: "F64"}
_ALIGNMENT = 8


def write_safetensors(path: Path, shapes: Shapes, tensor: Callable[[str], Tensor], dtype: torch.dtype) -> None:
    """Write the tensors of `shapes` ({name: shape}), which `tensor` gives in `dtype` on the CPU, in order.

    Raises:
        DeviceError: the disk is full or the folder cannot be written.
    """
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        begin, end = end, end + prod(shape) * dtype.itemsize
        header[name] = {"dtype": _NAMES[dtype], "shape": shape, "data_offsets": (begin, end)}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    with atomic_write(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in shapes:
            file.write(tensor(name).contiguous().flatten().view(torch.uint8).numpy().data)
