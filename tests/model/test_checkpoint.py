"""Checkpoints: both layouts, against transformers, and what is refused."""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from castline.errors import CheckpointError
from castline.model import checkpoint
from castline.model.checkpoint import CheckpointReader, load_decoder
from castline.model.hf_config import SpecialTokens
from castline.model.layouts import LAYOUTS, LayoutName, pack_qkv, unpack_qkv

from .conftest import random_decoder, write_decoder


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize(("heads", "kv_heads", "head_dim"), [(6, 2, 8), (4, 4, 16), (4, 1, 12)])
def test_logits_equal_those_of_transformers(
    tmp_path: Path, heads: int, kv_heads: int, head_dim: int, tied: bool
) -> None:
    decoder = random_decoder(
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=head_dim,
        tie_word_embeddings=tied,
        rope_theta=12_345.0,
        rms_norm_eps=1e-3,
    )
    write_decoder(decoder, tmp_path / "model")
    reference = AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype=torch.float32)
    tokens = torch.randint(0, 320, (2, 100), generator=torch.Generator().manual_seed(0))
    expected = reference(tokens).logits
    assert expected.std() > 0.5
    assert (decoder(tokens) - expected).abs().max() < 1e-4
    assert (load_decoder(tmp_path / "model")(tokens) - expected).abs().max() < 1e-4


def test_a_checkpoint_that_transformers_wrote_is_read(tmp_path: Path) -> None:
    write_decoder(random_decoder(), tmp_path / "ours", special_tokens=SpecialTokens((3, 4), 1, 2))
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "ours", dtype=torch.float32)
    theirs.save_pretrained(tmp_path / "theirs", max_shard_size="60KB")
    assert not (tmp_path / "theirs" / "model.safetensors").exists()
    ours, read = CheckpointReader(tmp_path / "ours"), CheckpointReader(tmp_path / "theirs")
    assert read.config == ours.config
    assert read.special_tokens == ours.special_tokens == SpecialTokens((3, 4), 1, 2)
    assert all(torch.equal(read.tensor(name), ours.tensor(name)) for name in ours.names())


def test_internlm2_names_and_packing_are_those_of_its_public_files(tmp_path: Path) -> None:
    decoder = random_decoder()
    folder = write_decoder(decoder, tmp_path / "model", layout="internlm2")
    stored = load_file(folder / "model.safetensors")
    in_layer = {
        "attention.wqkv", "attention.wo", "attention_norm",
        "feed_forward.w1", "feed_forward.w2", "feed_forward.w3", "ffn_norm",
    }  # fmt: skip
    layers = {f"model.layers.{layer}.{name}.weight" for layer in range(3) for name in in_layer}
    outer = {"model.tok_embeddings.weight", "model.norm.weight", "output.weight"}
    assert stored.keys() == layers | outer
    config = decoder.config
    packed = stored["model.layers.1.attention.wqkv.weight"].view(2, 3 + 2, 8, 48)
    reader = CheckpointReader(folder)
    parts = {"q": packed[:, :3], "k": packed[:, 3], "v": packed[:, 4]}
    for part, expected in parts.items():
        found = reader.tensor(f"model.layers.1.self_attn.{part}_proj.weight")
        assert torch.equal(found, expected.reshape(-1, 48))
    assert reader.config == config


def test_both_layouts_load_to_the_same_decoder(tmp_path: Path) -> None:
    decoder = random_decoder(tie_word_embeddings=True)
    for layout in LAYOUTS:
        loaded = load_decoder(write_decoder(decoder, tmp_path / layout, layout=layout))
        for (name, expected), (found_name, found) in zip(
            decoder.named_parameters(), loaded.named_parameters(), strict=True
        ):
            assert name == found_name
            assert torch.equal(expected, found)
        assert loaded.output.weight is loaded.tok_embeddings.weight


def test_packing_and_unpacking_are_inverse() -> None:
    config = random_decoder().config
    q, k, v = torch.randn(48, 48), torch.randn(16, 48), torch.randn(16, 48)
    for before, after in zip((q, k, v), unpack_qkv(config, pack_qkv(config, q, k, v)), strict=True):
        assert torch.equal(before, after)


def test_shards_hold_what_one_file_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = random_decoder()
    whole = CheckpointReader(write_decoder(decoder, tmp_path / "whole"))
    monkeypatch.setattr(checkpoint, "MAX_SHARD_BYTES", 50_000)
    parts = CheckpointReader(write_decoder(decoder, tmp_path / "parts"))
    assert len(list((tmp_path / "parts").glob("*.safetensors"))) > 2
    assert all(torch.equal(whole.tensor(name), parts.tensor(name)) for name in whole.names())


def test_writing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = (write_decoder(random_decoder(), tmp_path / name) for name in ("a", "b"))
    for file in first.iterdir():
        assert file.read_bytes() == (second / file.name).read_bytes(), file.name


def test_writing_replaces_a_checkpoint_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    write_decoder(random_decoder(seed=1), tmp_path / "model")
    write_decoder(random_decoder(seed=2), tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    expected = random_decoder(seed=2).norm.weight
    assert torch.equal(load_decoder(tmp_path / "model").norm.weight, expected)


Q = "model.layers.1.self_attn.q_proj.weight"


def drop(tensors: dict[str, Tensor]) -> None:
    del tensors[Q]


def add(tensors: dict[str, Tensor]) -> None:
    tensors["model.layers.3.mlp.up_proj.weight"] = torch.ones(96, 48)


def bend(tensors: dict[str, Tensor]) -> None:
    tensors[Q] = tensors[Q][:40].clone()


def spoil(tensors: dict[str, Tensor]) -> None:
    tensors[Q][7, 7] = torch.nan


def quantise(tensors: dict[str, Tensor]) -> None:
    tensors[Q] = tensors[Q].to(torch.int8)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (drop, rf"expected the tensor {Q}, but it is missing"),
        (add, r"expected no tensor model\.layers\.3\.mlp\.up_proj\.weight"),
        (bend, rf"expected the tensor {Q} to be \[48, 48\], but found \[40, 48\]"),
        (spoil, rf"expected finite values in the tensor {Q}, but found 1 NaN"),
        (quantise, rf"expected the tensor {Q} in one of .*, but found I8"),
    ],
)
def test_a_wrong_tensor_is_named(tmp_path: Path, damage: Callable[[dict[str, Tensor]], None], message: str) -> None:
    folder = write_decoder(random_decoder(), tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    damage(tensors)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=message):
        load_decoder(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architectures": ["MambaForCausalLM"]}, "LlamaForCausalLM, InternLM2ForCausalLM, but found Mamba"),
        ({"hidden_act": "gelu"}, "expected hidden_act to be 'silu', but found 'gelu'"),
        ({"attention_bias": True}, "expected attention_bias to be False"),
        ({"rope_scaling": {"type": "yarn", "factor": 4.0}}, "linear, dynamic, llama3, but found 'yarn'"),
        ({"hidden_size": None}, "hidden_size"),
        ({"num_key_value_heads": 5}, "num_attention_heads to be a multiple of num_key_value_heads"),
        ({"num_hidden_layers": "three"}, "num_hidden_layers"),
        ({"eos_token_id": "x"}, "token ids to be integers"),
    ],
)
def test_a_wrong_configuration_is_named(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    folder = write_decoder(random_decoder(), tmp_path / "model")
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(values | changes))
    with pytest.raises(CheckpointError, match=message):
        CheckpointReader(folder)


def test_a_cut_off_file_is_refused(tmp_path: Path) -> None:
    folder = write_decoder(random_decoder(), tmp_path / "model")
    content = (folder / "model.safetensors").read_bytes()
    for length in (0, 5, 100, len(content) // 2, len(content) - 1):
        (folder / "model.safetensors").write_bytes(content[:length])
        with pytest.raises(CheckpointError, match="damaged or cut off"):
            load_decoder(folder)


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        CheckpointReader(tmp_path)
    write_decoder(random_decoder(), tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="found neither"):
        CheckpointReader(tmp_path / "model")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_model_with_nan_is_not_written(tmp_path: Path, layout: LayoutName) -> None:
    decoder = random_decoder()
    with torch.no_grad():
        decoder.norm.weight[3] = torch.inf
    with pytest.raises(CheckpointError, match=r"finite values in the tensor model\.norm\.weight"):
        write_decoder(decoder, tmp_path / "model", layout=layout)
    assert not list(tmp_path.iterdir())


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_damaged_checkpoint_is_refused_or_read_never_a_crash(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = write_decoder(
        random_decoder(), tmp_path_factory.mktemp("damaged") / "m", special_tokens=SpecialTokens((3,), 1)
    )
    name = data.draw(st.sampled_from(["config.json", "generation_config.json", "model.safetensors"]))
    content = bytearray((folder / name).read_bytes())
    at = data.draw(st.integers(0, min(len(content), 6000) - 1))
    removed = data.draw(st.integers(0, 4))
    content[at : at + removed] = data.draw(
        st.sampled_from([b"", b"9", b"-", b"null", b'"', b"\xff", b"1e9", b"9" * 12])
    )
    (folder / name).write_bytes(content)
    with contextlib.suppress(CheckpointError):
        load_decoder(folder)
