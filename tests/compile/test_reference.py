"""The reference layer by layer: the whole decoder's logits, bit for bit, and layer errors as whole models give them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from castline.compile.backends import stored_weights
from castline.compile.blame import layer_errors
from castline.compile.build import build_package
from castline.compile.config import CompileConfig
from castline.compile.fidelity import ReferenceLogits, log_softmax
from castline.compile.reference import reference_logits
from castline.compile.store import MemoryStore
from castline.model.checkpoint import CheckpointReader, load_decoder, write_checkpoint
from castline.model.layouts import from_llama

from .conftest import random_ids, random_llama


@pytest.mark.parametrize(
    ("layout", "dtype", "changes"),
    [
        ("llama", torch.float32, {}),
        ("internlm2", torch.bfloat16, {}),
        ("llama", torch.float16, {"tie_word_embeddings": True, "num_hidden_layers": 1}),
        ("internlm2", torch.float32, {"hidden_size": 72, "num_attention_heads": 6, "num_key_value_heads": 3}),
    ],
)
def test_logits_are_the_whole_decoders(
    tmp_path: Path, layout: Any, dtype: torch.dtype, changes: dict[str, Any]
) -> None:
    random_llama(tmp_path / "source", **changes)
    source = CheckpointReader(tmp_path / "source")
    tensors = {name: source.tensor(name) for name in source.names()}
    write_checkpoint(tmp_path / "checkpoint", source.config, tensors, layout=layout, dtype=dtype)
    reader = CheckpointReader(tmp_path / "checkpoint")
    ids = np.array([random_ids(33, seed=seed) for seed in range(3)])
    found = reference_logits(reader, ids)
    decoder = load_decoder(reader).requires_grad_(False)
    for index, sequence in enumerate(ids):
        assert np.array_equal(found.logits[index], decoder(torch.from_numpy(sequence)[None])[0].numpy())


def test_interrupted_after_any_layer_it_goes_on_to_the_same_logits(tmp_path: Path) -> None:
    random_llama(tmp_path, num_hidden_layers=4)
    reader, ids = CheckpointReader(tmp_path), np.array([random_ids(20), random_ids(20, seed=1)])

    class Dying(MemoryStore):
        """Keeps copies, and dies after some of them."""

        lives = 0

        def save(self, name: str, arrays: Any) -> None:
            super().save(name, {key: value.copy() for key, value in arrays.items()})
            self.lives -= 1
            if self.lives == 0:
                raise KeyboardInterrupt

    expected = reference_logits(reader, ids)
    for layers in range(1, 5):
        store = Dying()
        store.lives = layers
        with pytest.raises(KeyboardInterrupt):
            reference_logits(reader, ids, store)
        found = reference_logits(reader, ids, store)
        assert store.lives == layers - 4  # no layer was done twice
        assert all(np.array_equal(found.logits[index], expected.logits[index]) for index in range(2))


@pytest.mark.parametrize("tied", [False, True])
def test_layer_errors_are_those_of_whole_models_with_one_layer_swapped(tmp_path: Path, tied: bool) -> None:
    random_llama(tmp_path / "checkpoint", tie_word_embeddings=tied)
    config = CompileConfig(weights="int8", targets=("cpu",), verify_tokens=64)
    package = build_package(tmp_path / "checkpoint", tmp_path / "package", config).package
    reader, stored = CheckpointReader(tmp_path / "checkpoint"), stored_weights(package, "cpu")
    ids = np.array(random_ids(40))
    found = {error.layer: error for error in layer_errors(reader, stored, ids)}

    decoder = load_decoder(reader).requires_grad_(False)
    original = dict(decoder.state_dict())
    written = from_llama(reader.config, lambda name: torch.from_numpy(stored(name)))
    if tied:
        written["output.weight"] = written["tok_embeddings.weight"]
    owners = {
        "model.embed_tokens": ("tok_embeddings.", "output.") if tied else ("tok_embeddings.",),
        "model.layers.0": ("layers.0.",),
        "model.layers.1": ("layers.1.",),
        "model.norm": ("norm.",),
    } | ({} if tied else {"lm_head": ("output.",)})
    assert list(found) == list(owners)
    reference = ReferenceLogits(ids[None], [decoder(torch.from_numpy(ids)[None])[0].numpy()])
    for layer, prefixes in owners.items():
        swapped = {name: value for name, value in written.items() if name.startswith(prefixes)}
        decoder.load_state_dict(original | swapped, assign=True)
        logits = decoder(torch.from_numpy(ids)[None])[0].numpy()
        divergence = reference.compare(0, slice(0, 40), log_softmax(logits)).divergence.mean()
        assert found[layer].kl == pytest.approx(float(divergence), rel=1e-2, abs=2e-9)
        tensors = [name for name in reader.names() if name.startswith(f"{layer}.")]
        distances = {name: np.linalg.norm(stored(name) - reader.tensor(name).numpy()) for name in tensors}
        relative = {name: distances[name] / np.linalg.norm(reader.tensor(name).numpy()) for name in tensors}
        assert found[layer].worst_tensor == max(relative, key=lambda name: relative[name])
        assert found[layer].relative_error == pytest.approx(max(relative.values()), rel=1e-3)
