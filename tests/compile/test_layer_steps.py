"""The stepwise layers are the model, and the ranges are those of its products."""

from pathlib import Path

import numpy as np
import torch

from castline.compile.layer_steps import Activations, Step, activation_ranges, run_layer
from castline.model.checkpoint import CheckpointReader

from .conftest import random_ids, random_llama


def test_the_steps_are_the_model(tmp_path: Path) -> None:
    model = random_llama(tmp_path)
    reader = CheckpointReader(tmp_path)
    ids = np.array(random_ids(96), np.int64).reshape(3, 32)

    def original(step: Step) -> list[torch.Tensor]:
        return [reader.tensor(name) for name in step.names]

    activations = Activations(reader, ids)
    with torch.no_grad():
        for index in range(reader.config.num_hidden_layers):
            run_layer(activations.layer(index), original)
        logits = activations.final() @ reader.tensor("lm_head.weight").T
    torch.testing.assert_close(logits.view(3, 32, -1), model(torch.from_numpy(ids)).logits, rtol=1e-4, atol=1e-4)


def test_ranges_are_what_reaches_each_product(tmp_path: Path) -> None:
    model = random_llama(tmp_path)
    ids = np.array(random_ids(64), np.int64).reshape(2, 32)
    seen = {}
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_pre_hook(
                lambda _, args, name=name: seen.update({f"{name}.weight": float(args[0].abs().max())})
            )
    model(torch.from_numpy(ids))
    found = activation_ranges(CheckpointReader(tmp_path), ids)
    assert found.keys() == seen.keys()
    for name, value in seen.items():
        assert abs(found[name] - value) < 1e-4 * value, name
