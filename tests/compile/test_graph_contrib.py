"""The graph in ONNX Runtime's own operators: against transformers, the standard graph, and in onnxruntime-genai."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from castline import _C
from castline.compile.build import build_package
from castline.compile.config import Bounds, CompileConfig
from castline.compile.formats import WeightFormat
from castline.compile.graph import read_graph_weights
from castline.compile.graph_contrib import read_contrib_weights
from castline.compile.nbits_layout import fitting_block, pack_nbits, unpack_nbits
from castline.compile.onnx_runtime import OnnxModel
from castline.compile.plan import make_plan
from castline.compile.verify import verify_package
from castline.errors import CompileError, PackageError
from castline.model.checkpoint import CheckpointReader

from .conftest import random_ids, random_llama, reference, write_onnx, write_tokenizer

SHAPES = {
    "gqa": {"num_attention_heads": 4, "num_key_value_heads": 2},
    "three kv heads, tied": {
        "hidden_size": 96,
        "num_attention_heads": 6,
        "num_key_value_heads": 3,
        "head_dim": 16,
        "tie_word_embeddings": True,
    },
    "one kv head of 64": {"hidden_size": 48, "num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 64},
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
@pytest.mark.parametrize("decode", [0, 7])
def test_logits_equal_those_of_transformers(tmp_path: Path, shape: dict[str, float], decode: int) -> None:
    model = random_llama(tmp_path / "checkpoint", **shape)
    graph = tmp_path / "model.onnx"
    write_onnx(tmp_path / "checkpoint", graph, "onnxruntime")
    onnx.checker.check_model(str(graph), full_check=True)
    ids = random_ids(40)
    logits = OnnxModel(graph, threads=1).logits(ids, decode=decode)
    np.testing.assert_allclose(logits, reference(model, ids), atol=1e-4, rtol=0)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("weights", ["int8", "int4"])
def test_it_computes_with_the_weights_of_the_standard_graph(tmp_path: Path, weights: WeightFormat, tied: bool) -> None:
    model = random_llama(tmp_path / "checkpoint", tie_word_embeddings=tied, intermediate_size=224)
    graph = tmp_path / "contrib" / "model.onnx"
    write_onnx(tmp_path / "checkpoint", graph, "onnxruntime", weights=weights, block=64)
    write_onnx(tmp_path / "checkpoint", tmp_path / "model.onnx", "onnx", weights=weights, block=64)
    stored, standard = read_contrib_weights(graph), read_graph_weights(tmp_path / "model.onnx")
    for name, parameter in model.named_parameters():
        np.testing.assert_array_equal(stored(name), standard(name), err_msg=name)
        parameter.copy_(torch.from_numpy(stored(name)))
    onnx.checker.check_model(str(graph), full_check=True)
    operators = {node.op_type for node in onnx.load(graph, load_external_data=False).graph.node}
    contributed = {"GroupQueryAttention", "MatMulNBits", "SkipSimplifiedLayerNormalization", "GatherBlockQuantized"}
    assert contributed <= operators
    assert not operators & {"Attention", "TensorScatter", "DequantizeLinear", "MatMul"}
    ids = random_ids(30)
    expected = reference(model, ids)
    # Activations are rounded to int8 in blocks: about half a percent at each of a dozen products.
    error = np.linalg.norm(OnnxModel(graph, threads=1).logits(ids, decode=5) - expected)
    assert error < 0.03 * np.linalg.norm(expected)


def test_the_logits_of_the_last_position_come_by_default(checkpoint: Path, tmp_path: Path) -> None:
    graph = tmp_path / "model.onnx"
    write_onnx(checkpoint, graph, "onnxruntime")
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    ids = random_ids(9)
    caches = {
        value.name: np.zeros((1, value.shape[1], 0, value.shape[3]), np.float32)
        for value in session.get_inputs()
        if value.name.startswith("past_")
    }
    inputs = {"input_ids": np.array([ids]), "attention_mask": np.ones((1, 9), np.int64)}
    logits = session.run(["logits"], inputs | caches)[0]
    np.testing.assert_allclose(logits, OnnxModel(graph, threads=1).logits(ids)[None, -1:], atol=1e-5)


@given(rows=st.integers(1, 4), size=st.integers(1, 300), bits=st.sampled_from([4, 8]), data=st.data())
def test_what_was_packed_is_unpacked(rows: int, size: int, bits: int, data: st.DataObject) -> None:
    block = data.draw(st.sampled_from([32, 64, 128, fitting_block(size)]))
    numbers = np.random.default_rng(size).integers(0, 2**bits, (rows, size)).astype(np.uint8)
    packed = pack_nbits(numbers, bits, block)
    assert packed.shape == (rows, -(-size // block), block * bits // 8)
    np.testing.assert_array_equal(unpack_nbits(packed, bits, size), numbers)


def test_heads_that_the_operators_do_not_take_are_refused_before_anything_is_built(tmp_path: Path) -> None:
    random_llama(tmp_path, hidden_size=64, num_attention_heads=8, num_key_value_heads=4)
    model = CheckpointReader(tmp_path).config
    with pytest.raises(
        CompileError, match=r"onnxruntime: expected a head_dim that is a multiple of 16.* is 8; target onnx"
    ):
        make_plan(model, CompileConfig(targets=("onnxruntime",)))
    assert "onnxruntime" not in make_plan(model, CompileConfig()).assignments


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package with int8 weights and a tokenizer, for the CPU runtime and for ONNX Runtime."""
    folder = tmp_path_factory.mktemp("contrib")
    random_llama(folder / "checkpoint", tie_word_embeddings=True)
    write_tokenizer(folder / "checkpoint")
    config = CompileConfig(
        targets=("cpu", "onnxruntime"), weights="int8", verify_tokens=128, bounds=Bounds(int8=0.1), context=96
    )
    build_package(folder / "checkpoint", folder / "package", config)
    return folder / "package"


def test_a_package_holds_its_proof_and_all_that_genai_needs(package: Path) -> None:
    proof = json.loads((package / "verification.json").read_text())["backends"]["onnxruntime"]
    assert (proof["status"], proof["weights"]) == ("passed", "int8")
    assert 0 < proof["run"]["mean_kl"] <= 0.1
    manifest = json.loads((package / "package.json").read_text())
    config = CompileConfig.model_validate(manifest["provenance"]["compile"])
    sizes = make_plan(CheckpointReader(package.parent / "checkpoint").config, config).sizes
    assert sizes["onnxruntime"] == pytest.approx((package / "onnxruntime/model.onnx.data").stat().st_size, rel=0.3)
    genai = json.loads((package / "onnxruntime/genai_config.json").read_text())["model"]
    assert (genai["context_length"], genai["bos_token_id"], genai["eos_token_id"]) == (96, 1, [2])
    assert verify_package(package).backends["onnxruntime"].status == "passed"


_GENERATE = """
import json, sys
import numpy as np
import onnxruntime_genai as genai
folder, prompt, length, text = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
model = genai.Model(folder)
parameters = genai.GeneratorParams(model)
parameters.set_search_options(max_length=length)
generator = genai.Generator(model, parameters)
generator.append_tokens(np.array([prompt], np.int32))
while not generator.is_done():
    generator.generate_next_token()
print(json.dumps([generator.get_sequence(0).tolist(), genai.Tokenizer(model).encode(text).tolist()]))
"""


@pytest.mark.skipif(
    importlib.util.find_spec("onnxruntime_genai") is None,
    reason="needs onnxruntime-genai: pip install 'castline[genai]'",
)
def test_onnxruntime_genai_generates_the_same_tokens(package: Path) -> None:
    prompt, text = random_ids(12), "Ein naïver Satz, 中文, 12 def f(x):\n\treturn x"
    command = [sys.executable, "-c", _GENERATE, str(package / "onnxruntime"), json.dumps(prompt), "60", text]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    sequence, encoded = json.loads(result.stdout.splitlines()[-1])
    engine = _C.Engine(package, backend="cpu")
    ids = engine.generate(prompt, max_tokens=48).ids
    generated = sequence[len(prompt) :]
    assert [*ids, 2][: len(generated)] == generated  # genai keeps the token that ends a text
    assert len(generated) == min(len(ids) + 1, 48)
    assert encoded == Tokenizer.from_file(str(package / "tokenizer.json")).encode(text).ids


@pytest.mark.parametrize("name", ["model.onnx", "model.onnx.data", "genai_config.json"])
def test_a_changed_file_is_named(package: Path, name: str) -> None:
    file = package / "onnxruntime" / name
    original = file.read_bytes()
    try:
        for changed in (original[:-100], original[:100] + b"?" + original[101:]):
            file.write_bytes(changed)
            with pytest.raises(PackageError, match=f"onnxruntime/{name}: .*changed"):
                verify_package(package)
    finally:
        file.write_bytes(original)


def test_a_cut_graph_or_weight_file_is_refused_by_name(checkpoint: Path, tmp_path: Path) -> None:
    graph = tmp_path / "model.onnx"
    write_onnx(checkpoint, graph, "onnxruntime")
    for name in ("model.onnx.data", "model.onnx"):
        file = tmp_path / name
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        with pytest.raises(CompileError, match=r"to load .*model\.onnx, but it said: "):
            OnnxModel(graph)
