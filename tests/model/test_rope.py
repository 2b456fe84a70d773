"""RoPE scaling: transformers' own modules are the oracle, at positions beyond those that the model was trained on."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM
from transformers.models.llama.configuration_llama import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from castline.errors import CheckpointError, RecipeError
from castline.model.checkpoint import CheckpointReader, load_decoder
from castline.model.config import ModelConfig
from castline.model.decoder import Decoder, rotary_frequencies
from castline.model.layouts import LAYOUTS, LayoutName
from castline.recipe import parse

from .conftest import SMALL, random_decoder, write_decoder

LINEAR = {"rope_type": "linear", "factor": 2.5}
DYNAMIC = {"rope_type": "dynamic", "factor": 2.0}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
SCALINGS = {"linear": LINEAR, "dynamic": DYNAMIC, "llama3": LLAMA3}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("scaling", SCALINGS.values(), ids=SCALINGS)
def test_logits_beyond_the_trained_length_equal_those_of_transformers(
    tmp_path: Path, scaling: dict[str, Any], layout: LayoutName
) -> None:
    length = 320  # of a model trained on 128 positions
    write_decoder(random_decoder(rope_scaling=scaling), tmp_path / "model", layout=layout)
    reader = CheckpointReader(tmp_path / "model").at_context(length)
    assert reader.config.max_position_embeddings == (length if scaling is DYNAMIC else 128)
    # transformers has no InternLM2: the same tensors in Llama's layout.
    write_decoder(random_decoder(rope_scaling=scaling), tmp_path / "llama")
    reference = AutoModelForCausalLM.from_pretrained(tmp_path / "llama", dtype=torch.float32)
    tokens = torch.randint(0, 320, (1, length), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = reference(tokens).logits
        found = load_decoder(reader)(tokens)
        unscaled = load_decoder(reader, config=random_decoder().config)(tokens)
    # Rounded alike, and summed in another order: in the units of logits, whose spread is 1.
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()
    assert (unscaled - expected).abs().max() > 0.1


@given(
    kind=st.sampled_from(sorted(SCALINGS)),
    factor=st.floats(1, 32),
    theta=st.sampled_from([10_000.0, 50_000.0, 500_000.0, 1_000_000.0]),
    head_dim=st.sampled_from([4, 10, 64, 128]),
    length=st.integers(1, 4096),
)
def test_frequencies_are_those_of_transformers(
    kind: str, factor: float, theta: float, head_dim: int, length: int
) -> None:
    scaling = SCALINGS[kind] | {"factor": factor}
    values = SMALL | {"head_dim": head_dim, "rope_theta": theta}
    module = LlamaRotaryEmbedding(LlamaConfig(**values, rope_parameters=scaling | {"rope_theta": theta}))
    module(torch.zeros(1), torch.arange(length)[None])
    config = ModelConfig.model_validate(values | {"rope_scaling": scaling}).at_context(length)
    torch.testing.assert_close(rotary_frequencies(config), module.inv_freq, rtol=2e-6, atol=0)


def test_what_a_dynamic_model_says_does_not_depend_on_what_it_read_before() -> None:
    decoder = Decoder(random_decoder(rope_scaling=DYNAMIC).config.at_context(300), fused=False)
    short, long = torch.arange(20)[None], torch.arange(300)[None] % 320
    before = decoder(short)
    decoder(long)
    assert torch.equal(decoder(short), before)
    # Up to the trained length, the base is the trained one to the bit.
    assert decoder.config.at_context(128).rope_theta == decoder.config.rope_theta
    assert random_decoder(rope_scaling=DYNAMIC).config.at_context(128).rope_theta == 50_000.0


@pytest.mark.parametrize("scaling", SCALINGS.values(), ids=SCALINGS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_written_is_read(tmp_path: Path, scaling: dict[str, Any], layout: LayoutName) -> None:
    decoder = random_decoder(rope_scaling=scaling)
    folder = write_decoder(decoder, tmp_path / "ours", layout=layout)
    assert CheckpointReader(folder).config == decoder.config
    if layout == "llama":
        theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        theirs.save_pretrained(tmp_path / "theirs")
        assert CheckpointReader(tmp_path / "theirs").config == decoder.config
    else:  # InternLM2's own code takes these two keys alone
        stored = json.loads((folder / "config.json").read_text())["rope_scaling"]
        assert stored.keys() >= {"type", "factor"}
        assert "rope_type" not in stored


BASE: dict[str, Any] = {"rope_theta": 10_000.0}


@pytest.mark.parametrize(
    ("keys", "theta", "scaling"),
    [
        ({}, 10_000.0, None),
        ({"rope_scaling": None} | BASE, 10_000.0, None),
        ({"rope_scaling": {"type": "linear", "factor": 4}, "rope_theta": 7.0}, 7.0, ("linear", 4.0)),
        ({"rope_scaling": {"rope_type": "dynamic", "type": "dynamic", "factor": 2.0}} | BASE, 10_000.0, ("dynamic", 2)),
        ({"rope_parameters": {"rope_type": "linear", "factor": 3.0, "rope_theta": 5.0}} | BASE, 5.0, ("linear", 3.0)),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 5.0, "factor": None}}, 5.0, None),
        (
            {"rope_scaling": {"type": "dynamic", "factor": 2, "original_max_position_embeddings": 128}},
            10_000.0,
            ("dynamic", 2),
        ),
    ],
)
def test_hugging_faces_forms(
    tmp_path: Path, keys: dict[str, Any], theta: float, scaling: tuple[str, float] | None
) -> None:
    config = read(tmp_path, keys)
    found = config.rope_scaling
    assert config.rope_theta == theta
    assert (None if found is None else (found.rope_type, found.factor)) == scaling


def test_llama3s_original_length_may_stand_beside_the_table(tmp_path: Path) -> None:
    inside = read(tmp_path, {"rope_scaling": LLAMA3}).rope_scaling
    without = {key: value for key, value in LLAMA3.items() if key != "original_max_position_embeddings"}
    beside = read(tmp_path, {"rope_scaling": without, "original_max_position_embeddings": 64}).rope_scaling
    assert inside == beside


def read(folder: Path, keys: dict[str, Any]) -> ModelConfig:
    """The configuration of a checkpoint whose config.json says these things of RoPE."""
    path = write_decoder(random_decoder(), folder / "model") / "config.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in values.items() if not k.startswith("rope_")} | keys))
    return CheckpointReader(folder / "model").config


@pytest.mark.parametrize(
    ("scaling", "message"),
    [
        ({"rope_type": "yarn", "factor": 4.0}, "one of the RoPE types default, linear, dynamic, llama3, .*'yarn'"),
        ({"type": "su"}, "'su'"),
        ({"rope_type": ["linear"]}, "linear, dynamic, llama3, but found"),
        ({"rope_type": "linear"}, r"rope_scaling\.factor: a value is required"),
        ({"rope_type": "linear", "factor": 0.5}, r"rope_scaling\.factor: .*greater than or equal to 1"),
        ({"rope_type": "linear", "factor": "4x"}, r"rope_scaling\.factor: .*number"),
        ({"rope_type": "linear", "factor": 2.0, "beta_fast": 32}, r"rope_scaling\.beta_fast: unknown key"),
        ({"rope_type": "llama3", "factor": 8.0}, "expected low_freq_factor, high_freq_factor"),
        (LLAMA3 | {"high_freq_factor": 1.0}, "high_freq_factor above low_freq_factor, but got 1 and 1"),
        ({"rope_type": "linear", "factor": 2.0, "low_freq_factor": 1.0}, "belongs to llama3"),
        ({"rope_type": "dynamic", "factor": 2.0, "original_max_position_embeddings": 64}, "= 128, but found .*= 64"),
        ({"rope_type": "default", "partial_rotary_factor": 0.5}, "over the whole head"),
        ("linear", "expected a table"),
    ],
)
def test_what_castline_does_not_compute_is_refused_by_name(tmp_path: Path, scaling: Any, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        read(tmp_path, {"rope_scaling": scaling})


def test_how_long_a_context_may_be() -> None:
    def limit(**scaling: Any) -> int:
        return ModelConfig.model_validate(SMALL | {"rope_scaling": scaling or None}).context_limit

    assert limit() == 128
    assert limit(**LINEAR) == 320
    assert limit(**LLAMA3) == 128
    assert limit(**DYNAMIC) == 2**24


def test_a_recipe_may_scale() -> None:
    scaling = parse(ModelConfig, SMALL | {"rope_scaling": LINEAR}, "recipe").rope_scaling
    assert scaling is not None
    assert scaling.factor == 2.5
    with pytest.raises(RecipeError, match="did you mean 'factor'"):
        parse(ModelConfig, SMALL | {"rope_scaling": {"rope_type": "linear", "factors": 4}}, "recipe")
