"""Calibration on a model that has learnt something: closer than rounding, the same for every backend and every time."""

from pathlib import Path
from pydoc_data import topics
from typing import Any

import numpy as np
import pytest
import torch

from castline import _C
from castline.compile.assignment import Assignment
from castline.compile.awq import channel_scales
from castline.compile.config import Calibration
from castline.compile.cpu_weights import read_cpu_weights, write_cpu_weights
from castline.compile.fidelity import ReferenceLogits, measure
from castline.compile.formats import Target, TensorFormat, compute_format
from castline.compile.graph import read_graph_weights, write_graph
from castline.compile.quantize import round_int4
from castline.compile.text_tokens import TextTokens
from castline.compile.weights import Weights
from castline.model.checkpoint import CheckpointReader, load_decoder
from castline.model.decoder import Decoder
from castline.model.layouts import from_llama

from .conftest import Trained, assigned


@pytest.mark.slow
def test_a_real_model_loses_a_third_of_what_rounding_does(smollm2_checkpoint: Path) -> None:
    """SmolLM2-135M in blocks of 128, calibrated and measured on different pages of one manual."""
    reader = CheckpointReader(smollm2_checkpoint)
    tokenizer = _C.Tokenizer(smollm2_checkpoint / "tokenizer.json")
    names = sorted(topics.topics)
    seen, held_out = (
        tokenizer.encode("\n\n".join(topics.topics[name] for name in part))[: 256 * count]
        .reshape(count, 256)
        .astype(np.int64)
        for part, count in ((names[::2], 32), (names[1::2], 4))
    )
    real = Trained(smollm2_checkpoint, seen, held_out)
    made = assigned(smollm2_checkpoint, "cpu", weights="int4", block=128, embeddings="f32")
    found = {}
    methods: tuple[Calibration, ...] = ("none", "gptq")
    for method in methods:
        weights = Weights(reader, TextTokens(seen, "a manual"), method)
        found[method] = divergence(real, lambda name, weights=weights: stored(weights, name, made))
    assert 3 * found["gptq"] < found["none"], found


def calibrated(trained: Trained, method: Calibration, sequences: int = 64) -> Weights:
    text = TextTokens(trained.seen[:sequences], "what it was trained on")
    return Weights(CheckpointReader(trained.checkpoint), text, method)


def stored(weights: Weights, name: str, assignment: Assignment) -> torch.Tensor:
    if assignment[name].kind == "int4":
        return torch.from_numpy(weights.matrix(name, assignment, symmetric=False).values())
    return torch.from_numpy(weights.tensor(name, assignment, symmetric=False))


def divergence(trained: Trained, tensor: Any) -> float:
    """The mean KL of a model whose tensors `tensor` gives by name, over held-out text."""
    reader = CheckpointReader(trained.checkpoint)
    original = load_decoder(reader).requires_grad_(False)
    changed = Decoder(reader.config, fused=False).requires_grad_(False)
    own = from_llama(reader.config, tensor)
    changed.load_state_dict({**own, "output.weight": own["tok_embeddings.weight"]}, assign=True)
    logits = [original(torch.from_numpy(ids)[None])[0].numpy() for ids in trained.held_out[:16]]
    reference = ReferenceLogits(trained.held_out[:16], logits)
    return measure(lambda ids: changed(torch.tensor([ids]))[0].numpy(), reference, lambda _: None).mean_kl


@pytest.fixture(scope="module")
def assignment(trained: Trained) -> Assignment:
    return assigned(trained.checkpoint, "cpu", weights="int4", block=128, embeddings="f32")


def test_gptq_loses_a_third_of_what_rounding_does(trained: Trained, assignment: Assignment) -> None:
    methods: tuple[Calibration, ...] = ("none", "gptq", "awq+gptq")
    found = {}
    for method in methods:
        weights = calibrated(trained, method, sequences=128)
        found[method] = divergence(trained, lambda name, weights=weights: stored(weights, name, assignment))
    assert 3 * found["gptq"] < found["none"], found
    assert 3 * found["awq+gptq"] < found["none"], found


@pytest.mark.parametrize("powers_of_two", [False, True])
def test_awq_protects_the_channels_that_carry_most(powers_of_two: bool) -> None:
    generator = torch.Generator().manual_seed(5)
    inputs = torch.randn(500, 128, generator=generator)
    inputs[:, ::32] *= 40
    matrix, hessian = torch.randn(64, 128, generator=generator), inputs.T @ inputs
    scales = channel_scales(
        [(matrix, 128)], hessian, inputs.abs().mean(0), symmetric=False, powers_of_two=powers_of_two
    )
    assert scales[::32].min() > 1.5 * scales[1::32].max()
    assert not powers_of_two or torch.equal(scales, scales.log2().round().exp2())

    def error(scales: torch.Tensor) -> float:
        rounded = torch.from_numpy(round_int4((matrix * scales).numpy(), 128).values()) / scales
        return float(((rounded - matrix) @ inputs.T).square().sum())

    assert error(scales) < 0.3 * error(torch.ones(128))


def test_awq_moves_factors_without_changing_the_model(trained: Trained, assignment: Assignment) -> None:
    """Where only some matrices are int4, what AWQ did to all the others cancels out."""
    names = [f"model.layers.1.{name}_proj.weight" for name in ("self_attn.q", "self_attn.o", "mlp.gate", "mlp.down")]
    formats = {name: TensorFormat("f32") for name in assignment.formats}
    some = Assignment(formats | dict.fromkeys(names, TensorFormat("int4", 32)), "int4")
    weights = calibrated(trained, "awq")
    original = CheckpointReader(trained.checkpoint)

    def tensor(name: str) -> torch.Tensor:
        if name not in names:
            return stored(weights, name, some)
        # The int4 matrix's exact counterpart: the original times what its maker was divided by.
        norm = f"model.layers.1.{'input' if 'self_attn' in name else 'post_attention'}_layernorm.weight"
        if "q_proj" in name or "gate" in name:
            return original.tensor(name) * (original.tensor(norm) / stored(weights, norm, some))
        maker = name.replace("o_proj", "v_proj").replace("down", "up")
        first_column = stored(weights, maker, some)[:, 0] / original.tensor(maker)[:, 0]
        moved = first_column * (stored(weights, norm, some) / original.tensor(norm))[0]
        if "o_proj" in name:  # two query heads read the rows of each head of v
            moved = moved.view(2, 1, 32).expand(2, 2, 32).reshape(-1)
        return original.tensor(name) / moved

    changed = [name for name in original.names() if not torch.equal(stored(weights, name, some), original.tensor(name))]
    assert any(name.endswith("norm.weight") for name in changed)
    assert any(name.endswith("v_proj.weight") for name in changed)
    assert divergence(trained, tensor) < 1e-8


@pytest.mark.parametrize("method", ["gptq", "awq"])
def test_backends_store_the_same_model(trained: Trained, tmp_path: Path, method: Calibration) -> None:
    reader, weights = CheckpointReader(trained.checkpoint), calibrated(trained, method)
    options: dict[str, Any] = {"weights": "int4", "block": 64, "tensors": {"*.v_proj.weight": "int8"}}
    targets: tuple[Target, ...] = ("cpu", "onnx")
    for target in targets:
        made = assigned(trained.checkpoint, target, **options)
        if target == "cpu":
            write_cpu_weights(reader, tmp_path / "cpu", made, weights)
        else:
            compute = compute_format(target, made.main)
            write_graph(reader, tmp_path / "onnx", made, weights, compute=compute, context=64)
    cpu, onnx = read_cpu_weights(tmp_path / "cpu", reader.config), read_graph_weights(tmp_path / "onnx")
    for name in reader.names():
        np.testing.assert_allclose(cpu(name), onnx(name), rtol=1e-6, atol=1e-9, err_msg=name)
    assert (method == "awq") == any(
        not np.array_equal(cpu(name), reader.tensor(name).numpy()) for name in reader.names() if "norm" in name
    )


def test_the_same_bytes_for_any_number_of_threads(trained: Trained, assignment: Assignment) -> None:
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            weights = calibrated(trained, "awq+gptq")
            found.append({name: stored(weights, name, assignment) for name in assignment.formats})
    finally:
        torch.set_num_threads(before)
    for name, tensor in found[0].items():
        assert torch.equal(tensor, found[1][name]), name
