"""Which tensor gets which format: by kind, by name, and by what a target can store."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from castline.compile.assignment import assign
from castline.compile.build import build_package
from castline.compile.config import Bounds, CompileConfig
from castline.compile.cpu_weights import read_cpu_weights
from castline.compile.graph import read_graph_weights
from castline.compile.quantize import round_int4
from castline.errors import CompileError
from castline.model.checkpoint import CheckpointReader

from .conftest import assigned, random_llama, write_onnx

EMBEDDINGS = "model.embed_tokens.weight"
DOWN = "model.layers.1.mlp.down_proj.weight"


def test_layers_embeddings_and_head_are_chosen_apart(checkpoint: Path) -> None:
    formats = assigned(checkpoint, "onnx", weights="int4", block=64, embeddings="f32", head="f16").formats
    assert str(formats[EMBEDDINGS]) == "f32"
    assert str(formats["lm_head.weight"]) == "f16"
    assert str(formats["model.norm.weight"]) == "f32"
    layers = {
        str(stored) for name, stored in formats.items() if ".layers." in name and not name.endswith("norm.weight")
    }
    assert layers == {"int4/64"}


def test_outside_the_layers_int4_means_int8(checkpoint: Path) -> None:
    assignment = assigned(checkpoint, "cpu", weights="int4")
    assert assignment.counts == {"int8": 2, "int4/32": 14}
    assert str(assigned(checkpoint, "onnx", weights="int4", embeddings="int4")[EMBEDDINGS]) == "int8"


def test_a_pattern_changes_what_it_fits_and_the_last_one_holds(checkpoint: Path) -> None:
    tensors = {"*.down_proj.weight": "int8", "model.layers.1.*": "int4/128"}
    formats = assigned(checkpoint, "onnx", weights="f32", tensors=tensors).formats
    assert str(formats["model.layers.0.mlp.down_proj.weight"]) == "int8"
    assert str(formats[DOWN]) == "int4/128"
    assert str(formats["model.layers.0.mlp.up_proj.weight"]) == "f32"
    assert str(formats["model.layers.1.input_layernorm.weight"]) == "f32"


@pytest.mark.parametrize(
    ("tied", "options", "message"),
    [
        (True, {"head": "int8"}, r"--head: this model's head is its embeddings"),
        (
            False,
            {"tensors": {"*.down_projection.*": "int8"}},
            r"'\*\.down_projection\.\*' fits no matrix",
        ),
    ],
)
def test_what_does_not_fit_the_model(tmp_path: Path, tied: bool, options: dict[str, Any], message: str) -> None:
    random_llama(tmp_path, tie_word_embeddings=tied)
    with pytest.raises(CompileError, match=message):
        assign(CheckpointReader(tmp_path).config, CompileConfig(**options))


@pytest.mark.parametrize("text", ["int5", "int4/48", "int8/32", "int4/"])
def test_an_unknown_format_is_refused_with_those_there_are(text: str) -> None:
    with pytest.raises(ValidationError, match=r"expected one of f32, .*int4/128, but got"):
        CompileConfig(tensors={"*": text})


def test_every_matrix_is_stored_as_assigned(tmp_path: Path) -> None:
    random_llama(tmp_path / "checkpoint")
    config = CompileConfig(
        weights="int8",
        head="f32",
        tensors={DOWN: "int4/64"},
        targets=("cpu", "onnx"),
        bounds=Bounds(int8=0.5),
        verify_tokens=128,
    )
    package = build_package(tmp_path / "checkpoint", tmp_path / "package", config)
    counts = {"f32": 1, "int4/64": 1, "int8": 14}
    reader = CheckpointReader(tmp_path / "checkpoint")
    stored = {
        "cpu": read_cpu_weights(tmp_path / "package/cpu/weights.safetensors", reader.config),
        "onnx": read_graph_weights(tmp_path / "package/onnx/model.onnx"),
    }
    for name, weights in stored.items():
        assert package.manifest.backends[name].tensors == counts
        assert package.manifest.backends[name].weights == "int8"
        assert np.array_equal(weights("lm_head.weight"), reader.tensor("lm_head.weight").numpy())
        assert np.array_equal(weights(DOWN), round_int4(reader.tensor(DOWN).numpy(), 64).values())


def test_tied_embeddings_have_the_format_asked_for(tmp_path: Path) -> None:
    random_llama(tmp_path / "checkpoint", tie_word_embeddings=True)
    write_onnx(tmp_path / "checkpoint", tmp_path / "model.onnx", weights="int4", embeddings="f16")
    stored = read_graph_weights(tmp_path / "model.onnx")(EMBEDDINGS)
    original = CheckpointReader(tmp_path / "checkpoint").tensor(EMBEDDINGS)
    assert np.array_equal(stored, original.half().float().numpy())
