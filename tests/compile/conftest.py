"""Small random checkpoints, written by transformers itself: independent of castline's own writer and decoder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch
from numpy.typing import NDArray
from transformers import LlamaConfig, LlamaForCausalLM

from castline.compile.assignment import Assignment, assign
from castline.compile.config import CompileConfig
from castline.compile.cpu_weights import write_cpu_weights
from castline.compile.formats import Target, compute_format
from castline.compile.graph import write_graph
from castline.compile.int4_weights import Int4Weights
from castline.model.checkpoint import CheckpointReader

VOCABULARY = 320
SMALL = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "rope_theta": 10_000.0,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    torch.set_num_threads(1)


def random_llama(folder: Path, seed: int = 1, **changes: Any) -> LlamaForCausalLM:
    """A Llama of transformers' making with weights large enough for every part to matter; saved to `folder`."""
    model = LlamaForCausalLM(LlamaConfig(**SMALL | changes)).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.copy_(1 + 0.2 * noise if parameter.dim() == 1 else noise / parameter.shape[-1] ** 0.5)
    model.save_pretrained(folder)
    return model


def reference(model: LlamaForCausalLM, ids: Sequence[int]) -> NDArray[np.float32]:
    """transformers' logits [len(ids), vocab]."""
    logits: NDArray[np.float32] = model(torch.tensor([list(ids)])).logits[0].numpy()
    return logits


def random_ids(count: int, vocab: int = VOCABULARY, seed: int = 0) -> list[int]:
    ids: list[int] = np.random.default_rng(seed).integers(0, vocab, count).tolist()
    return ids


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small checkpoint without a tokenizer."""
    folder = tmp_path_factory.mktemp("checkpoint")
    random_llama(folder)
    return folder


def assigned(checkpoint: Path, target: Target, **options: Any) -> Assignment:
    """The formats of a checkpoint's tensors on a target; `options` are of `[compile]`."""
    config = CompileConfig.model_validate(options)
    return assign(CheckpointReader(checkpoint).config, config).for_target(target)


def write_cpu(checkpoint: Path, path: Path, **options: Any) -> None:
    """The CPU runtime's weights of a checkpoint, rounded."""
    reader = CheckpointReader(checkpoint)
    write_cpu_weights(reader, path, assigned(checkpoint, "cpu", **options), Int4Weights(reader, None))


def write_onnx(checkpoint: Path, path: Path, target: Target = "onnx", *, context: int = 64, **options: Any) -> None:
    """The graph of a checkpoint for a target, its weights rounded."""
    reader = CheckpointReader(checkpoint)
    assignment = assigned(checkpoint, target, **options)
    compute = compute_format(target, assignment.main)
    write_graph(reader, path, assignment, Int4Weights(reader, None), compute=compute, context=context)


def write_tokenizer(folder: Path) -> None:
    """A byte-level tokenizer without merges: one token per byte, and one that ends a text."""
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"<|endoftext|>": 0} | {character: index + 1 for index, character in enumerate(alphabet)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|endoftext|>"])
    tokenizer.save(str(folder / "tokenizer.json"))
