"""Small random models and corpora, made where they are needed."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from shards import write_split

from castline.corpus.shards import ShardInfo, write_manifest
from castline.files import write_json
from castline.model.checkpoint import write_checkpoint
from castline.model.config import ModelConfig, RunConfig
from castline.model.decoder import Decoder
from castline.model.layouts import to_llama

SMALL = {
    "vocab_size": 320,
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    torch.set_num_threads(1)


def random_decoder(seed: int = 1, *, fused: bool = True, **changes: object) -> Decoder:
    """A small decoder whose weights are large enough for every part to matter, norms included."""
    decoder = Decoder(ModelConfig.model_validate(SMALL | changes), fused=fused)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in decoder.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(1 + 0.2 * noise if parameter.dim() == 1 else noise / parameter.shape[-1] ** 0.5)
    return decoder


def write_decoder(decoder: Decoder, path: Path, **options: object) -> Path:
    tensors = to_llama(decoder.config, dict(decoder.named_parameters()))
    write_checkpoint(path, decoder.config, tensors, **options)  # type: ignore[arg-type]
    return path


VOCAB, END = 96, 95


def write_corpus(path: Path, *, documents: int = 60, seed: int = 0, phases: tuple[str, ...] = ("train",)) -> Path:
    """A finished corpus as the trainer sees one: shards of two sources, each with a rule that can be learnt.

    Source "up" counts upwards, "down" downwards, both from a random start, modulo the vocabulary.
    """
    generator = np.random.default_rng(seed)
    root = path / "shards"

    def document(source: str) -> npt.NDArray[np.int64]:
        start, length = generator.integers(0, END), generator.integers(5, 60)
        steps = np.arange(length) if source == "up" else -np.arange(length)
        return np.append((start + steps) % END, END)

    splits: dict[str, list[ShardInfo]] = {}
    for split, sources, count in (
        *((phase, ("up", "down"), documents) for phase in phases),
        ("held_out/up", ("up",), 8),
        ("held_out/down", ("down",), 8),
    ):
        named = ((index, sources[index % len(sources)]) for index in range(count))
        rows = [(document(source), f"{split}-{index}", source, "en") for index, source in named]
        splits[split] = write_split(root, split, np.dtype("<u2"), 700, rows)
    write_manifest(root, vocab_size=VOCAB, eos_id=END, tokenizer_sha256="0" * 64, splits=splits, sources={})
    write_json(path / "manifest.json", {"schema_version": 1})
    return path


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


def run_config(corpus: Path, **train: object) -> RunConfig:
    """A model of some 10,000 parameters, trained for a few steps on `corpus`."""
    model = {
        "hidden_size": 24,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
    }
    defaults: dict[str, object] = {
        "data": corpus,
        "steps": 12,
        "sequence_length": 32,
        "batch_size": 4,
        "micro_batch_size": 2,
        "learning_rate": 1e-2,
        "evaluate_every": 5,
        "checkpoint_every": 4,
        "threads": 1,
    }
    return RunConfig.model_validate({"seed": 7, "model": model, "train": defaults | train})
