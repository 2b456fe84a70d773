"""A real pretrained model on the CPU engine against transformers, which reads the same GGUF itself."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from package_writer import Tensors, quantise, write_package

from castline._C import Engine
from castline.model.checkpoint import CheckpointReader

pytestmark = pytest.mark.slow

LICENSE = Path(__file__).resolve().parents[2] / "LICENSE"
PROMPTS = [
    "Once upon a time",
    "The capital of France is",
    "def fibonacci(n):",
    "<|im_start|>user\nWrite a poem about the sea.<|im_end|>\n<|im_start|>assistant\n",
    "人工智能",
]


@pytest.fixture(autouse=True, scope="module")
def one_torch_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def engines(smollm2_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Engine]:
    reader = CheckpointReader(smollm2_checkpoint)
    config = reader.config.model_dump()
    tensors: Tensors = {name: reader.tensor(name).float().numpy() for name in reader.names()}
    folder = tmp_path_factory.mktemp("packages")
    tokenizer = (smollm2_checkpoint / "tokenizer.json").read_text()
    engines = {}
    for weights, stored in (("f32", tensors), ("int8", quantise(tensors)[0])):
        package = write_package(folder / weights, config, stored, tokenizer=tokenizer, weights=weights)
        engines[weights] = Engine(package)
    return engines


def log_probabilities(model: Any, ids: list[int]) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = model(torch.tensor([ids])).logits[0]
    return logits.double().log_softmax(-1)


def text_ids(engine: Engine, text: str) -> list[int]:
    assert engine.tokenizer is not None
    return [int(token) for token in engine.tokenizer.encode(text)]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_greedy_tokens_are_those_of_transformers(
    engines: dict[str, Engine], smollm2_reference: Any, prompt: str
) -> None:
    engine = engines["f32"]
    ids = text_ids(engine, prompt)
    new = engine.generate(ids, max_tokens=64).ids
    assert len(new) == 64  # the package names no stop token
    # Greedy means: each token is the best after all before it. Equal bests may fall either way.
    expected = log_probabilities(smollm2_reference, ids + new)[len(ids) - 1 : -1]
    taken = expected[torch.arange(64), torch.tensor(new)]
    assert (expected.max(-1).values - taken).max() < 1e-4


@pytest.mark.parametrize(("weights", "bound"), [("f32", 1e-6), ("int8", 0.02)])
def test_distributions_are_close_on_real_text(
    engines: dict[str, Engine], smollm2_reference: Any, weights: str, bound: float
) -> None:
    ids = text_ids(engines[weights], LICENSE.read_text())[:500]
    expected = log_probabilities(smollm2_reference, ids)
    logits: npt.NDArray[np.float32] = engines[weights].logits(ids)
    found = torch.from_numpy(logits).double().log_softmax(-1)
    divergence = (expected.exp() * (expected - found)).sum(-1)
    assert len(ids) == 500
    assert divergence.mean() < bound
