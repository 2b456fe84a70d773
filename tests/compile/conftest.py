"""Small random checkpoints, written by transformers itself: independent of castline's own writer and decoder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from pydoc_data import topics
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch
from numpy.typing import NDArray
from transformers import LlamaConfig, LlamaForCausalLM

from castline import _C
from castline.compile.assignment import Assignment, assign
from castline.compile.config import CompileConfig
from castline.compile.cpu_weights import write_cpu_weights
from castline.compile.formats import TENSORRT_TARGETS, Target, TensorFormat, compute_format
from castline.compile.graph import write_graph
from castline.compile.graph_contrib import graph_variant
from castline.compile.layer_steps import activation_ranges
from castline.compile.weights import Weights
from castline.model.checkpoint import CheckpointReader, write_checkpoint
from castline.model.config import ModelConfig
from castline.model.decoder import Decoder
from castline.model.layouts import to_llama

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
    write_cpu_weights(reader, path, assigned(checkpoint, "cpu", **options), Weights(reader, None))


def write_onnx(checkpoint: Path, path: Path, target: Target = "onnx", *, context: int = 64, **options: Any) -> None:
    """The graph of a checkpoint for a target, its weights rounded."""
    reader = CheckpointReader(checkpoint)
    assignment = assigned(checkpoint, target, **options)
    compute, ranges = compute_format(target, assignment.main), {}
    if target in TENSORRT_TARGETS and assignment.main == "fp8":
        found = activation_ranges(reader, np.array([random_ids(64, reader.config.vocab_size)]))
        ranges = {name: most for name, most in found.items() if assignment.formats.get(name) == TensorFormat("fp8")}
    variant = graph_variant(target)
    weights = Weights(reader, None)
    write_graph(reader, path, assignment, weights, compute=compute, context=context, variant=variant, ranges=ranges)


def write_tokenizer(folder: Path) -> None:
    """A byte-level tokenizer without merges: one token per byte, and one that ends a text."""
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"<|endoftext|>": 0} | {character: index + 1 for index, character in enumerate(alphabet)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|endoftext|>"])
    tokenizer.save(str(folder / "tokenizer.json"))


@dataclass(frozen=True)
class Trained:
    """A small model that has learnt a real text, and two parts of that text."""

    checkpoint: Path
    seen: NDArray[np.int64]
    """Sequences [n, 128] of what it was trained on."""
    held_out: NDArray[np.int64]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A byte-level model trained for some seconds on Python's own reference manual, which comes with Python."""
    folder = tmp_path_factory.mktemp("trained") / "checkpoint"
    config = ModelConfig(
        vocab_size=257,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        tie_word_embeddings=True,
    )
    write_tokenizer(folder.parent)
    tokenizer = _C.Tokenizer(folder.parent / "tokenizer.json")

    def sequences(texts: Sequence[str], count: int) -> NDArray[np.int64]:
        ids = tokenizer.encode("\n\n".join(texts))
        return ids[: 128 * count].reshape(count, 128).astype(np.int64)

    names = sorted(topics.topics)
    kept = sequences([topics.topics[name] for name in names[::2]], 1900)
    left = sequences([topics.topics[name] for name in names[1::2]], 32)
    decoder = Decoder(config)
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=3e-3, weight_decay=0.1)
    order = np.random.default_rng(0)
    for step in range(160):
        batch = torch.from_numpy(kept[order.integers(0, len(kept), 8)])
        loss = decoder.loss(batch[:, :-1].contiguous(), batch[:, 1:].contiguous()) / batch[:, 1:].numel()
        optimizer.param_groups[0]["lr"] = 3e-3 * (1 - step / 160)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    tensors = to_llama(config, {name: value.detach() for name, value in decoder.named_parameters()})
    write_checkpoint(folder, config, tensors)
    write_tokenizer(folder)
    return Trained(folder, kept, left)
