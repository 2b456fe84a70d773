"""Small random models, made where they are needed."""

from pathlib import Path

import pytest
import torch

from castline.model.checkpoint import write_checkpoint
from castline.model.config import ModelConfig
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


def random_decoder(seed: int = 1, **changes: object) -> Decoder:
    """A small decoder whose weights are large enough for every part to matter, norms included."""
    decoder = Decoder(ModelConfig.model_validate(SMALL | changes))
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
