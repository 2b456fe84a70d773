"""Our graph beside the one that PyTorch's own exporter makes of transformers' model: two routes, one function."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from transformers import LlamaForCausalLM

from castline.compile.onnx_runtime import OnnxModel

from .conftest import random_ids, random_llama, write_onnx

pytest.importorskip("onnxscript", reason="torch.onnx.export(dynamo=True) needs onnxscript")


class Logits(torch.nn.Module):
    """transformers' model as a function of token ids alone."""

    def __init__(self, model: LlamaForCausalLM) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model(ids, use_cache=False).logits
        return logits


@pytest.mark.filterwarnings("ignore")  # the exporter's and its libraries'
@pytest.mark.parametrize(
    "shape",
    [{}, {"num_attention_heads": 6, "num_key_value_heads": 3, "hidden_size": 96, "tie_word_embeddings": True}],
    ids=["gqa", "three kv heads, tied"],
)
def test_logits_equal_those_of_pytorchs_export(tmp_path: Path, shape: dict[str, Any]) -> None:
    model = random_llama(tmp_path / "checkpoint", **shape)
    ids = random_ids(24)
    exported = tmp_path / "torch.onnx"
    torch.onnx.export(Logits(model), (torch.tensor([ids]),), exported, dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {session.get_inputs()[0].name: np.array([ids])})
    write_onnx(tmp_path / "checkpoint", tmp_path / "model.onnx")
    logits = OnnxModel(tmp_path / "model.onnx", threads=1).logits(ids, decode=8)
    np.testing.assert_allclose(logits, expected[0], atol=1e-4, rtol=0)
