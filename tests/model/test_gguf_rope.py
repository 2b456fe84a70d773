"""RoPE scaling in GGUF files, as llama.cpp's converter writes it."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from castline.errors import CheckpointError
from castline.model.config import ModelConfig
from castline.model.gguf_rope import FREQUENCY_DIVISORS
from castline.model.importer import import_checkpoint
from castline.model.rope import RopeScaling

from .conftest import random_decoder
from .test_importer import TOKENS, write_gguf


def imported(folder: Path, metadata: dict[str, Any], divisors: NDArray[np.float32] | None = None) -> ModelConfig:
    """The configuration of a model with heads of 64 that a GGUF file with these values gives."""
    shape = {"hidden_size": 128, "num_attention_heads": 2, "num_key_value_heads": 1}
    decoder = random_decoder(vocab_size=len(TOKENS), num_hidden_layers=1, rope_theta=500_000.0, **shape)
    more = {} if divisors is None else {FREQUENCY_DIVISORS: divisors}
    source = write_gguf(folder / "m.gguf", decoder, change=lambda m: m.update(metadata), more=more)
    return import_checkpoint(source, folder / "out").config


def llama3_divisors(factor: float, original: float, theta: float = 500_000.0, dim: int = 64) -> NDArray[np.float32]:
    """Llama 3.1's scheme pair by pair, as it was published."""
    divisors = []
    for i in range(dim // 2):
        wavelength = 2 * math.pi * theta ** (2 * i / dim)
        if wavelength < original / 4:
            divisors.append(1.0)
        elif wavelength > original / 1:
            divisors.append(factor)
        else:
            smooth = (original / wavelength - 1) / (4 - 1)
            divisors.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(divisors, np.float32)


@pytest.mark.parametrize(
    ("metadata", "factor"),
    [
        ({}, None),
        ({"llama.rope.scaling.type": "none", "llama.rope.scaling.factor": 4.0}, None),
        ({"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 4.0}, 4.0),
        ({"llama.rope.scaling.factor": 4.0}, 4.0),
        ({"llama.rope.scale_linear": 2.0}, 2.0),
        ({"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 0.0}, None),
    ],
)
def test_linear_scaling_is_read_as_llama_cpp_reads_it(
    tmp_path: Path, metadata: dict[str, Any], factor: float | None
) -> None:
    found = imported(tmp_path, metadata).rope_scaling
    assert found == (None if factor is None else RopeScaling(rope_type="linear", factor=factor))


@pytest.mark.parametrize(("factor", "original"), [(8.0, 8192), (32.0, 8192), (4.0, 2000)])
def test_llama3s_parameters_are_told_from_its_divisors(tmp_path: Path, factor: float, original: int) -> None:
    found = imported(tmp_path, {}, llama3_divisors(factor, original)).rope_scaling
    assert found == RopeScaling(
        rope_type="llama3",
        factor=factor,
        low_freq_factor=1.0,
        high_freq_factor=4.0,
        original_max_position_embeddings=original,
    )


def test_divisors_of_one_scale_nothing(tmp_path: Path) -> None:
    assert imported(tmp_path, {}, np.ones(32, np.float32)).rope_scaling is None


@pytest.mark.parametrize(
    ("metadata", "divisors", "message"),
    [
        ({"llama.rope.scaling.type": "yarn"}, None, "none or linear, or llama3's .* 'yarn'"),
        ({}, llama3_divisors(8.0, 8192)[::-1].copy(), "as llama3's scaling gives it"),
        ({}, np.linspace(1, 8, 32, dtype=np.float32), "as llama3's scaling gives it"),
        ({}, np.full(32, np.nan, np.float32), "as llama3's scaling gives it"),
        ({}, np.full(32, -1, np.float32), "as llama3's scaling gives it"),
        ({}, np.ones(16, np.float32), r"to be \[32\] .* found \[16\]"),
        ({"llama.rope.scaling.factor": 2.0}, llama3_divisors(8.0, 8192), "the only scaling.* factor of 2"),
        ({"llama.rope.scaling.factor": -2.0}, None, "greater than or equal to 1"),
    ],
)
def test_what_castline_does_not_compute_is_refused(
    tmp_path: Path, metadata: dict[str, Any], divisors: NDArray[np.float32] | None, message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        imported(tmp_path, metadata, divisors)
