"""RoPE scaling through a whole package: every backend against transformers, beyond the trained length."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaForCausalLM

from castline import _C
from castline.compile.backends import graph_path
from castline.compile.build import PackageSummary, build_package, dry_run
from castline.compile.config import CompileConfig
from castline.compile.formats import Target
from castline.compile.onnx_runtime import OnnxModel
from castline.errors import CompileError

from .conftest import random_ids, random_llama, reference

CONTEXT = 300  # of models trained on 128 positions
TARGETS: tuple[Target, ...] = ("cpu", "onnx")
SCALINGS: dict[str, dict[str, Any]] = {
    "linear": {"rope_type": "linear", "factor": 2.5},
    "dynamic": {"rope_type": "dynamic", "factor": 2.0},
}


def compiled(folder: Path, context: int, **changes: Any) -> tuple[LlamaForCausalLM, PackageSummary]:
    model = random_llama(folder / "checkpoint", **changes)
    config = CompileConfig(targets=TARGETS, context=context, verify_tokens=256)
    return model, build_package(folder / "checkpoint", folder / "package", config)


@pytest.mark.parametrize("name", SCALINGS)
def test_every_backend_equals_transformers_beyond_the_trained_length(tmp_path: Path, name: str) -> None:
    model, summary = compiled(tmp_path, CONTEXT, rope_scaling=SCALINGS[name])
    assert summary.manifest.generation.max_context == CONTEXT
    # The checkpoint's own model stays what it is; the base for this context stands beside it.
    scaling = summary.manifest.model.rope_scaling
    assert scaling is not None
    assert scaling.rope_type == name
    base = 10_000.0 * (2 * CONTEXT / 128 - 1) ** (16 / 14)
    assert summary.manifest.generation.rope_theta == (pytest.approx(base) if name == "dynamic" else None)
    ids = random_ids(CONTEXT)
    expected = reference(model, ids)
    np.testing.assert_allclose(_C.Engine(summary.package).logits(ids), expected, atol=1e-4, rtol=0)
    graph = OnnxModel(graph_path(summary.package, "onnx"), threads=1)
    np.testing.assert_allclose(graph.logits(ids, decode=20), expected, atol=1e-4, rtol=0)


def test_a_short_text_reads_the_same_however_it_arrives(tmp_path: Path) -> None:
    _, summary = compiled(tmp_path, CONTEXT, rope_scaling=SCALINGS["dynamic"])
    engine = _C.Engine(summary.package)
    ids = random_ids(CONTEXT)
    alone = engine.logits(ids[:40])
    np.testing.assert_array_equal(engine.logits(ids)[:40], alone)


def test_llama3_scaling_in_every_backend(tmp_path: Path) -> None:
    scaling = {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    }
    model, summary = compiled(tmp_path, 256, rope_scaling=scaling, max_position_embeddings=512)
    ids = random_ids(256)
    expected = reference(model, ids)
    np.testing.assert_allclose(_C.Engine(summary.package).logits(ids), expected, atol=1e-4, rtol=0)
    graph = OnnxModel(graph_path(summary.package, "onnx"), threads=1)
    np.testing.assert_allclose(graph.logits(ids), expected, atol=1e-4, rtol=0)


def test_at_positions_of_many_thousands_the_cpu_turns_by_the_same_angles(tmp_path: Path) -> None:
    length = 6000
    model, summary = compiled(tmp_path, length, rope_scaling={"rope_type": "linear", "factor": 64}, num_hidden_layers=1)
    ids = random_ids(length)
    with torch.no_grad():
        expected = model(torch.tensor([ids]), logits_to_keep=50).logits[0].numpy()
    found = _C.Engine(summary.package).logits(ids)[-50:]
    np.testing.assert_allclose(found, expected, atol=2e-4, rtol=0)


@pytest.mark.parametrize(
    ("scaling", "context", "message"),
    [
        (None, 129, "expected 2 to 128, the model's max_position_embeddings"),
        (SCALINGS["linear"], 321, "expected 2 to 320, the most under its linear RoPE scaling"),
        (SCALINGS["dynamic"], 2**24 + 1, "expected 2 to 16777216, .* dynamic"),
    ],
)
def test_a_context_beyond_what_the_scaling_allows(
    tmp_path: Path, scaling: dict[str, Any] | None, context: int, message: str
) -> None:
    random_llama(tmp_path, rope_scaling=scaling)
    with pytest.raises(CompileError, match=message):
        dry_run(tmp_path, CompileConfig(targets=TARGETS, context=context))


@pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx") is None, reason="the package tensorrt-rtx is missing")
def test_an_engine_is_built_for_the_longer_context(tmp_path: Path) -> None:
    random_llama(tmp_path / "checkpoint", rope_scaling=SCALINGS["dynamic"])
    config = CompileConfig(targets=("tensorrt-rtx",), context=CONTEXT, compute_capability=("8.9",), verify_tokens=256)
    summary = build_package(tmp_path / "checkpoint", tmp_path / "package", config)
    proof = summary.verification.backends["tensorrt-rtx"].graph
    assert proof is not None
    assert proof.mean_kl < 1e-3
