"""A package as the judge of long documents: its engine's scores against transformers' logits."""

from pathlib import Path
from typing import Any

import pytest
import torch

from castline import _C
from castline.compile.build import build_package
from castline.compile.config import CompileConfig
from castline.corpus.long_context.predictability import LongDocument, PackageScorer, segment_pairs

from .conftest import random_llama, write_tokenizer


def test_a_package_scores_as_transformers_does(tmp_path: Path) -> None:
    model = random_llama(tmp_path / "checkpoint")
    write_tokenizer(tmp_path / "checkpoint")
    config = CompileConfig(weights="f32", targets=("cpu",), verify_tokens=128)
    package = build_package(tmp_path / "checkpoint", tmp_path / "package", config).package
    scorer = PackageScorer(package, (24, 3), threads=1)
    text = "The harbour lay quiet, and the boats lay quiet too, because nobody had told them of the storm to come. " * 2
    ids = _C.Tokenizer(package / "tokenizer.json").encode(text).tolist()

    def logprobs(tokens: list[int]) -> Any:
        logits = model(torch.tensor([tokens])).logits[0].double()
        return torch.log_softmax(logits, -1)[range(len(tokens) - 1), tokens[1:]]

    expected = []
    for start, middle, end in segment_pairs(len(ids), 24, 3).tolist():
        after, alone = logprobs(ids[start:end])[-(end - middle) + 1 :], logprobs(ids[middle:end])
        expected.append(float((after - alone).mean()))
    (found,) = scorer.gains(None, [LongDocument("0", 0, text)])  # type: ignore[arg-type]
    assert found == pytest.approx(sum(expected) / len(expected), abs=1e-4)
    assert found != 0.0
