"""What a dry run says that a model needs: against sizes counted by hand, and against real files."""

import json
from pathlib import Path

import pytest

from castline.compile.build import build_package, dry_run
from castline.compile.config import CompileConfig
from castline.compile.expected import GPUS, contexts, needs_of
from castline.model.checkpoint import CheckpointReader

from .conftest import random_llama

# InternLM2's (arXiv 2403.17297, table 3): layers, hidden, heads, key/value heads, intermediate; and its parameters.
MODELS = {
    "1.8B": ((24, 2048, 16, 8, 8192), 1_889_110_016),
    "7B": ((32, 4096, 32, 8, 14336), 7_737_708_544),
    "20B": ((48, 6144, 48, 8, 16384), 19_861_149_696),
}
VOCABULARY = 92_544


def write_config(folder: Path, sizes: tuple[int, ...]) -> None:
    layers, hidden, heads, kv_heads, inner = sizes
    values = {
        "architectures": ["InternLM2ForCausalLM"],
        "model_type": "internlm2",
        "vocab_size": VOCABULARY,
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "max_position_embeddings": 32_768,
        "rms_norm_eps": 1e-5,
        "rope_theta": 1_000_000,
        "bias": False,
        "tie_word_embeddings": False,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(values))


@pytest.mark.parametrize("name", MODELS)
def test_models_of_real_size_are_planned_from_their_configuration_alone(tmp_path: Path, name: str) -> None:
    sizes, parameters = MODELS[name]
    layers, hidden, heads, kv_heads, inner = sizes
    write_config(tmp_path, sizes)
    model, plan = dry_run(tmp_path, CompileConfig(weights="f16", targets=("cpu", "onnx")))
    norms = (2 * layers + 1) * hidden
    table = VOCABULARY * hidden
    need = needs_of(model, plan, "cpu")
    assert need.weights == 2 * (parameters - norms) + 4 * norms
    assert need.read == need.weights - 2 * table
    assert need.cache_per_token == 4 * 2 * layers * kv_heads * hidden // heads
    assert 0 <= plan.sizes["cpu"] - need.weights < 100_000  # the header
    assert need.memory(4096, 2) == need.weights + 2 * 4096 * need.cache_per_token

    model, plan = dry_run(tmp_path, CompileConfig(weights="int4", block=128, targets=("cpu",)))
    layer = 2 * hidden * hidden + 2 * hidden * kv_heads * hidden // heads + 3 * hidden * inner
    engine = needs_of(model, plan, "tensorrt-rtx")
    # In TensorRT: half a byte per weight and a float16 per block; embeddings and head in int8; norms in float16.
    blocks = layers * layer * 0.5 + layers * layer / 128 * 2
    assert engine.weights == blocks + 2 * (table + 2 * VOCABULARY) + 2 * norms
    assert engine.cache_per_token == 2 * 2 * layers * kv_heads * hidden // heads
    by_name = {gpu.name: gpu for gpu in GPUS}
    a100 = by_name["A100 80GB SXM"]
    assert engine.tokens_per_second(a100.bandwidth, 0) == a100.bandwidth / engine.read
    slower = engine.tokens_per_second(a100.bandwidth, 32_768)
    assert slower == a100.bandwidth / (engine.read + 32_768 * engine.cache_per_token)
    assert engine.tokens_per_second(a100.bandwidth, 0, batch=8) == pytest.approx(8 * a100.bandwidth / engine.read)


@pytest.mark.parametrize("weights", ["f32", "bf16", "int8", "int4"])
@pytest.mark.parametrize("tied", [False, True])
def test_weights_are_counted_as_the_file_has_them(tmp_path: Path, weights: str, tied: bool) -> None:
    random_llama(tmp_path / "checkpoint", tie_word_embeddings=tied, hidden_size=256, vocab_size=1024)
    config = CompileConfig.model_validate(
        {"weights": weights, "targets": ("cpu",), "verify_tokens": 64, "bounds": {"int8": 1, "int4": 9}}
    )
    model, plan = dry_run(tmp_path / "checkpoint", config)
    made = build_package(tmp_path / "checkpoint", tmp_path / "package", config)
    need = needs_of(model, plan, "cpu")
    stored = made.manifest.files["cpu/weights.safetensors"].size
    assert abs(stored - need.weights) < 0.03 * stored
    assert (need.read == need.weights) is tied
    assert model == CheckpointReader(tmp_path / "checkpoint").config


def test_contexts_end_with_the_longest() -> None:
    assert contexts(300) == [300]
    assert contexts(4096) == [1024, 4096]
    assert contexts(32_768) == [1024, 4096, 16_384, 32_768]
