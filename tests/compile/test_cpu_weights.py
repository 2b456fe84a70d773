"""The CPU runtime's weight file, read by the safetensors library and by hand."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors import safe_open
from safetensors.numpy import load_file

from castline.compile.cpu_weights import cpu_weights_size, read_cpu_weights
from castline.compile.formats import WeightFormat
from castline.compile.quantize import dequantize_rows, quantize_int8
from castline.model.checkpoint import CheckpointReader

from .conftest import assigned, random_llama, write_cpu


def test_f32_holds_the_checkpoint_bit_for_bit(checkpoint: Path, tmp_path: Path) -> None:
    reader = CheckpointReader(checkpoint)
    write_cpu(checkpoint, tmp_path / "w.safetensors")
    stored = load_file(tmp_path / "w.safetensors")
    assert set(stored) == set(reader.names())
    for name in reader.names():
        assert stored[name].dtype == np.float32
        assert np.array_equal(stored[name], reader.tensor(name).numpy())


def test_int8_holds_matrices_with_a_scale_per_row_and_norms_in_full(checkpoint: Path, tmp_path: Path) -> None:
    reader = CheckpointReader(checkpoint)
    write_cpu(checkpoint, tmp_path / "w.safetensors", weights="int8")
    with safe_open(tmp_path / "w.safetensors", framework="np") as file:
        assert file.metadata() == {"castline.weights": "int8"}
    stored = load_file(tmp_path / "w.safetensors")
    for name in reader.names():
        original = reader.tensor(name).numpy()
        if original.ndim == 1:
            assert np.array_equal(stored[name], original)
            continue
        assert stored[name].dtype == np.int8
        scale = stored[f"{name}.scale"]
        assert scale.shape == original.shape[:1]
        assert (np.abs(stored[name].astype(np.float32) * scale[:, None] - original) <= scale[:, None] * 0.5001).all()


@pytest.mark.parametrize("weights", ["f32", "int8"])
@pytest.mark.parametrize("changes", [{}, {"hidden_size": 52, "head_dim": 10, "vocab_size": 319}], ids=["even", "odd"])
def test_every_tensor_starts_at_a_multiple_of_64_bytes(
    tmp_path: Path, weights: WeightFormat, changes: dict[str, int]
) -> None:
    random_llama(tmp_path, **changes)
    reader = CheckpointReader(tmp_path)
    path = tmp_path / "w.safetensors"
    write_cpu(tmp_path, path, weights=weights)
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    starts = [entry["data_offsets"][0] for name, entry in header.items() if name in reader.names()]
    assert len(starts) == len(reader.names())
    assert all((8 + length + start) % 64 == 0 for start in starts)
    assert cpu_weights_size(reader.config, assigned(tmp_path, "cpu", weights=weights)) == len(data)
    stored = read_cpu_weights(path, reader.config)
    for name in reader.names():
        np.testing.assert_allclose(stored(name), reader.tensor(name).numpy(), atol=0.0 if weights == "f32" else 0.02)


def test_tied_embeddings_are_stored_once(tmp_path: Path) -> None:
    random_llama(tmp_path, tie_word_embeddings=True)
    write_cpu(tmp_path, tmp_path / "w.safetensors")
    assert "lm_head.weight" not in load_file(tmp_path / "w.safetensors")


@given(
    arrays(
        np.float32,
        st.tuples(st.integers(1, 5), st.integers(1, 9)),
        elements=st.floats(-(2.0**100), 2.0**100, width=32)
        | st.just(0.0)
        | st.floats(-(2.0**-100), 2.0**-100, width=32),
    )
)
def test_quantisation_stays_within_half_a_step_and_keeps_zero_and_sign(matrix: np.ndarray) -> None:
    quantized, scale = quantize_int8(matrix)
    assert quantized.min() >= -127
    restored = dequantize_rows(quantized, scale)
    # A step is max / 127; below the smallest normal number the step itself is coarse.
    step = np.abs(matrix).max(axis=1, keepdims=True) / 127
    assert (np.abs(restored - matrix) <= 0.5 * step * (1 + 1e-5) + 127 * 2.0**-149).all()
    assert (restored[matrix == 0] == 0).all()
    assert (np.sign(restored) * np.sign(matrix) >= 0).all()
