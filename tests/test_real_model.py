"""A real pretrained model goes the whole way: SmolLM2-135M from GGUF to packages, against transformers.

transformers reads the same GGUF file by itself, weights and tokenizer: nothing of castline is in the reference.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from castline import _C
from castline.compile.build import build_package
from castline.compile.config import CompileConfig
from castline.model.importer import import_checkpoint

PROMPTS = (
    "The capital of France is",
    "Once upon a time, in a small village by the sea, there lived",
    "def fibonacci(n):\n",
    "<|im_start|>user\nWhy is the sky blue?<|im_end|>\n<|im_start|>assistant\n",
    "1, 2, 3, 5, 8, 13,",
)
NEW_TOKENS = 64
CLOSE = 1e-4
"""Two best logits nearer than this may change places between two correct float32 computations."""


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass(frozen=True)
class Reference:
    """SmolLM2 as transformers reads it."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase

    def logits(self, ids: list[int]) -> NDArray[np.float32]:
        with torch.no_grad():
            logits: NDArray[np.float32] = self.model(torch.tensor([ids])).logits[0].numpy()
        return logits


@pytest.fixture(scope="module")
def reference(smollm2_gguf: Path) -> Reference:
    model = AutoModelForCausalLM.from_pretrained(smollm2_gguf.parent, gguf_file=smollm2_gguf.name, dtype=torch.float32)
    return Reference(model.eval(), AutoTokenizer.from_pretrained(smollm2_gguf.parent, gguf_file=smollm2_gguf.name))


@pytest.fixture(scope="module")
def checkpoint(smollm2_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return import_checkpoint(smollm2_gguf, tmp_path_factory.mktemp("smollm2") / "checkpoint").checkpoint


@pytest.fixture(scope="module")
def f32(checkpoint: Path) -> _C.Engine:
    config = CompileConfig(targets=("cpu", "onnx"), context=1024, verify_tokens=64)
    summary = build_package(checkpoint, checkpoint.parent / "f32", config)
    assert {proof.status for proof in summary.verification.backends.values()} == {"passed"}
    return _C.Engine(summary.package)


@pytest.fixture(scope="module")
def text_ids(reference: Reference) -> list[list[int]]:
    """500 tokens of English, Chinese and code, in two sequences."""
    text = Path(__file__).parent.parent.joinpath("compile", "sample.txt").read_text()
    ids = reference.tokenizer(text)["input_ids"]
    middle = len(ids) // 2
    return [ids[:250], ids[middle : middle + 250]]


def mean_kl(reference: Reference, engine: _C.Engine, sequences: list[list[int]]) -> float:
    """KL(transformers ‖ engine) in nats, over all positions."""
    divergences = []
    for ids in sequences:
        p, q = (
            torch.from_numpy(logits).double().log_softmax(-1) for logits in (reference.logits(ids), engine.logits(ids))
        )
        divergences.append(torch.nn.functional.kl_div(q, p, log_target=True, reduction="none").sum(-1))
    return float(torch.cat(divergences).mean())


@pytest.mark.parametrize("prompt", PROMPTS)
def test_greedy_tokens_equal_those_of_transformers(reference: Reference, f32: _C.Engine, prompt: str) -> None:
    """transformers, shown what the engine generated, would have chosen every token of it itself."""
    assert f32.tokenizer is not None
    ids = f32.tokenizer.encode(prompt).tolist()
    assert ids == reference.tokenizer(prompt, add_special_tokens=False)["input_ids"]
    generated = f32.generate(ids, max_tokens=NEW_TOKENS)
    logits = reference.logits(ids + generated.ids)[len(ids) - 1 :]
    for chosen, step in zip(generated.ids, logits, strict=False):
        assert step[chosen] > step.max() - CLOSE
        if chosen != step.argmax():
            return  # from here on both are right, and different
    if generated.finish_reason == "stop":
        assert logits[-1].argmax() in f32.info()["eos_ids"]
    else:
        assert len(generated.ids) == NEW_TOKENS


def test_f32_is_transformers_but_for_rounding(reference: Reference, f32: _C.Engine, text_ids: list[list[int]]) -> None:
    assert mean_kl(reference, f32, text_ids) < 1e-6


def test_int8_is_close(reference: Reference, checkpoint: Path, text_ids: list[list[int]]) -> None:
    config = CompileConfig(weights="int8", targets=("cpu",), context=1024, verify_tokens=64)
    summary = build_package(checkpoint, checkpoint.parent / "int8", config)
    assert summary.sizes["cpu"] < 0.26 * sum(file.stat().st_size for file in checkpoint.glob("*.safetensors"))
    assert mean_kl(reference, _C.Engine(summary.package), text_ids) < 0.02


def test_its_tensorrt_engine_builds_and_the_graph_of_it_is_proven(checkpoint: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    config = CompileConfig(targets=("tensorrt-rtx",), context=1024, compute_capability=("8.9",), verify_tokens=64)
    summary = build_package(checkpoint, checkpoint.parent / "f16", config)
    backend, proof = summary.manifest.backends["tensorrt-rtx"], summary.verification.backends["tensorrt-rtx"]
    assert (backend.status, proof.weights) == ("built_not_run", "f16")
    assert backend.engine is not None
    assert backend.engine["fused_attention"]
    assert backend.engine["layers"]["KV_CACHE_UPDATE"] == 60
    assert proof.graph is not None
    assert proof.graph.mean_kl < 1e-3
