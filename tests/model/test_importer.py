"""`castline import`: GGUF files and Hugging Face folders, real and damaged."""

import json
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType as Kind
from gguf import GGUFWriter
from gguf.quants import dequantize, quantize
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers.pre_tokenizers import ByteLevel
from transformers import AutoTokenizer

from castline import _C
from castline.errors import CheckpointError, RecipeError
from castline.model.checkpoint import CheckpointReader, load_decoder
from castline.model.decoder import Decoder
from castline.model.hf_config import SpecialTokens
from castline.model.importer import import_checkpoint
from castline.model.layouts import to_llama

from .conftest import random_decoder, write_decoder

NAMES = {
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}  # fmt: skip
TOKENS = [*sorted(ByteLevel.alphabet()), "he", "ll", "hell", "Ġw", "<|start|>", "<|end|>"]


def gguf_decoder(tied: bool = False) -> Decoder:
    return random_decoder(
        vocab_size=len(TOKENS),
        hidden_size=64,
        num_attention_heads=8,
        num_hidden_layers=2,
        tie_word_embeddings=tied,
        rms_norm_eps=1e-5,
    )


def write_gguf(
    path: Path,
    decoder: Decoder,
    kind: Kind = Kind.F32,
    change: Callable[[dict[str, Any]], None] | None = None,
    more: Mapping[str, np.ndarray[Any, np.dtype[np.float32]]] | None = None,
) -> Path:
    """What llama.cpp's converter would write: its names, its row order of q and k, its metadata; `more` tensors."""
    config = decoder.config
    writer = GGUFWriter(path, "llama")
    metadata: dict[str, Any] = {
        "llama.block_count": config.num_hidden_layers,
        "llama.context_length": config.max_position_embeddings,
        "llama.embedding_length": config.hidden_size,
        "llama.feed_forward_length": config.intermediate_size,
        "llama.attention.head_count": config.num_attention_heads,
        "llama.attention.head_count_kv": config.num_key_value_heads,
        "llama.attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        "llama.rope.freq_base": config.rope_theta,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": TOKENS,
        "tokenizer.ggml.token_type": [1] * (len(TOKENS) - 2) + [3, 3],
        "tokenizer.ggml.merges": ["h e", "l l", "he ll", "Ġ w"],
        "tokenizer.ggml.bos_token_id": len(TOKENS) - 2,
        "tokenizer.ggml.eos_token_id": len(TOKENS) - 1,
        "tokenizer.chat_template": "{% for m in messages %}<|start|>{{ m['content'] }}<|end|>{% endfor %}",
    }
    if change:
        change(metadata)
    for key, value in metadata.items():
        if isinstance(value, str):
            writer.add_string(key, value)
        elif isinstance(value, list):
            writer.add_array(key, value)
        elif isinstance(value, float):
            writer.add_float32(key, value)
        else:
            writer.add_uint32(key, value)
    for name, tensor in to_llama(config, dict(decoder.named_parameters())).items():
        stem = name.removesuffix(".weight")
        layer, _, part = stem.removeprefix("model.layers.").partition(".")
        target = f"blk.{layer}.{NAMES[part]}" if part in NAMES else NAMES[stem]
        values = tensor.detach().numpy()
        if target.endswith(("attn_q", "attn_k")):
            heads = config.num_attention_heads if target.endswith("q") else config.num_key_value_heads
            values = values.reshape(heads, 2, config.head_dim // 2, -1).swapaxes(1, 2).reshape(values.shape)
        stored = kind if values.ndim == 2 else Kind.F32
        writer.add_tensor(f"{target}.weight", quantize(np.ascontiguousarray(values), stored), raw_dtype=stored)
    for name, values in (more or {}).items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("tied", [False, True])
def test_gguf_in_f32_gives_back_the_very_model(tmp_path: Path, tied: bool) -> None:
    decoder = gguf_decoder(tied)
    summary = import_checkpoint(write_gguf(tmp_path / "m.gguf", decoder), tmp_path / "out")
    loaded = load_decoder(tmp_path / "out")
    assert loaded.config == decoder.config == summary.config
    assert summary.parameters == sum(parameter.numel() for parameter in decoder.parameters())
    for (name, expected), found in zip(decoder.named_parameters(), loaded.parameters(), strict=True):
        assert torch.equal(expected, found), name
    reader = CheckpointReader(tmp_path / "out")
    assert reader.special_tokens == SpecialTokens((len(TOKENS) - 1,), len(TOKENS) - 2, None)


@pytest.mark.parametrize(
    ("kind", "steps"),
    [
        (Kind.F16, 2**-11),
        (Kind.BF16, 2**-8),
        (Kind.Q8_0, 1 / 127),
        (Kind.Q5_0, 1 / 15),
        (Kind.Q4_1, 1 / 7),
        (Kind.Q4_0, 1 / 7),
    ],
)
def test_quantised_types_are_dequantised(tmp_path: Path, kind: Kind, steps: float) -> None:
    decoder = gguf_decoder()
    import_checkpoint(write_gguf(tmp_path / "m.gguf", decoder, kind), tmp_path / "out")
    reader = CheckpointReader(tmp_path / "out")
    for name, original in to_llama(decoder.config, dict(decoder.named_parameters())).items():
        found = reader.tensor(name)
        if original.dim() == 1:
            assert torch.equal(found, original)
            continue
        assert (found - original).abs().max() <= steps * original.abs().max()
        if not name.endswith(("q_proj.weight", "k_proj.weight")):
            expected = dequantize(quantize(original.detach().numpy(), kind), kind)
            assert torch.equal(found, torch.from_numpy(expected))


def test_the_tokenizer_is_rebuilt(tmp_path: Path) -> None:
    import_checkpoint(write_gguf(tmp_path / "m.gguf", gguf_decoder()), tmp_path / "out")
    theirs, ours = AutoTokenizer.from_pretrained(tmp_path / "out"), _C.Tokenizer(tmp_path / "out" / "tokenizer.json")
    text = "<|start|>hello world 1234 é 你好<|end|>"
    ids = theirs.encode(text)
    assert ours.encode(text).tolist() == ids
    assert theirs.decode(ids) == text
    assert ids[:3] == [TOKENS.index("<|start|>"), TOKENS.index("hell"), TOKENS.index("o")]
    assert (theirs.bos_token, theirs.eos_token) == ("<|start|>", "<|end|>")
    assert theirs.apply_chat_template([{"role": "user", "content": "x"}], tokenize=False) == "<|start|>x<|end|>"


def test_digits_are_split_as_smollm_splits_them(tmp_path: Path) -> None:
    def with_merged_digits(metadata: dict[str, Any]) -> None:
        metadata["tokenizer.ggml.tokens"] = [*TOKENS[:-3], "12", *TOKENS[-2:]]
        metadata["tokenizer.ggml.merges"] = ["1 2"]

    for pre, expected in (("smollm", ["1", "2"]), ("gpt-2", ["12"])):

        def change(metadata: dict[str, Any], pre: str = pre) -> None:
            with_merged_digits(metadata)
            metadata["tokenizer.ggml.pre"] = pre

        import_checkpoint(write_gguf(tmp_path / f"{pre}.gguf", gguf_decoder(), change=change), tmp_path / pre)
        tokenizer = AutoTokenizer.from_pretrained(tmp_path / pre)
        assert tokenizer.convert_ids_to_tokens(tokenizer.encode("12")) == expected
        assert _C.Tokenizer(tmp_path / pre / "tokenizer.json").encode("12").tolist() == tokenizer.encode("12")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("llama.rope.scaling.type", "yarn", "RoPE scaling none or linear.* but found 'yarn'"),
        ("llama.rope.dimension_count", 4, "found 4 dimensions"),
        ("llama.block_count", 3, r"blk\.2\.attn_norm\.weight, but it is missing"),
        ("llama.block_count", 2**31, "layers, but found"),
        ("llama.attention.head_count", 5, "multiple of num_key_value_heads"),
        ("llama.feed_forward_length", 64, r"to be \[64, 64\], but found \[96, 64\]"),
        ("llama.context_length", "long", "llama.context_length to be int, but found str"),
        ("llama.embedding_length", None, "expected the metadata key llama.embedding_length"),
        ("tokenizer.ggml.model", "llama", "byte-level BPE"),
        ("tokenizer.ggml.pre", "chameleon", "'gpt2' with 'chameleon'"),
        ("tokenizer.ggml.merges", ["h x"], "merge of two tokens into a third, but found 'h x'"),
        ("tokenizer.ggml.token_type", [1, 1], "a type for each"),
        ("tokenizer.ggml.eos_token_id", 5000, "eos_token_id to be below"),
    ],
)
def test_what_gguf_cannot_give_is_named(tmp_path: Path, key: str, value: Any, message: str) -> None:
    def change(metadata: dict[str, Any]) -> None:
        metadata[key] = value
        if value is None:
            del metadata[key]

    path = write_gguf(tmp_path / "m.gguf", gguf_decoder(), change=change)
    with pytest.raises(CheckpointError, match=message):
        import_checkpoint(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def gguf_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_gguf(tmp_path_factory.mktemp("gguf") / "m.gguf", gguf_decoder(), Kind.Q4_1).read_bytes()


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_damaged_gguf_is_refused_or_read_never_a_crash(
    gguf_bytes: bytes, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Flipped bytes, mostly in the header; what still reads must give a whole checkpoint."""
    folder = tmp_path_factory.mktemp("damaged")
    content = bytearray(gguf_bytes)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.one_of(st.integers(0, 700), st.integers(0, len(content) - 1)))
        content[at] = data.draw(st.integers(0, 255))
    (folder / "m.gguf").write_bytes(content)
    try:
        import_checkpoint(folder / "m.gguf", folder / "out")
    except CheckpointError:
        assert [path.name for path in folder.iterdir()] == ["m.gguf"]
    else:
        load_decoder(folder / "out")


def test_a_cut_off_gguf_is_refused(gguf_bytes: bytes, tmp_path: Path) -> None:
    generator = random.Random(0)
    for length in [
        0,
        1,
        4,
        8,
        23,
        24,
        *(generator.randrange(len(gguf_bytes)) for _ in range(60)),
        len(gguf_bytes) - 33,
    ]:
        (tmp_path / "m.gguf").write_bytes(gguf_bytes[:length])
        with pytest.raises(CheckpointError):
            import_checkpoint(tmp_path / "m.gguf", tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_an_internlm2_folder_becomes_llama(tmp_path: Path) -> None:
    decoder = random_decoder()
    tokenizer = {"tokenizer.json": b"{}"}
    source = write_decoder(decoder, tmp_path / "in", layout="internlm2", dtype=torch.bfloat16, extra_files=tokenizer)
    summary = import_checkpoint(source, tmp_path / "out")
    assert summary.format == "folder"
    assert summary.tokenizer
    reader = CheckpointReader(tmp_path / "out")
    assert reader.layout == "llama"
    for name, original in to_llama(decoder.config, dict(decoder.named_parameters())).items():
        assert torch.equal(reader.tensor(name), original.to(torch.bfloat16)), name
    assert json.loads((tmp_path / "out" / "castline.json").read_text())["import"]["source"] == "in"


def test_an_existing_import_is_reused_and_nothing_else_is_overwritten(tmp_path: Path) -> None:
    source = write_decoder(random_decoder(seed=1), tmp_path / "in")
    assert not import_checkpoint(source, tmp_path / "out").reused
    assert import_checkpoint(source, tmp_path / "out").reused
    write_decoder(random_decoder(seed=2), tmp_path / "in")
    with pytest.raises(RecipeError, match="--force"):
        import_checkpoint(source, tmp_path / "out")
    import_checkpoint(source, tmp_path / "out", force=True)
    expected = random_decoder(seed=2).norm.weight
    assert torch.equal(load_decoder(tmp_path / "out").norm.weight, expected)


def test_a_missing_source_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is nothing"):
        import_checkpoint(tmp_path / "none", tmp_path / "out")


TEXT = (
    "The parish register is the oldest book in the building. It was begun in 1583, when the vicar bought 40 leaves of "
    "vellum from a Norwich stationer, and the first entry is a baptism. def area(r): return 3.14159 * r ** 2  # circles"
)


def test_smollm2_computes_what_transformers_computes(smollm2_checkpoint: Path, smollm2_reference: Any) -> None:
    tokenizer = AutoTokenizer.from_pretrained(smollm2_checkpoint)
    ids = tokenizer.encode(TEXT)
    assert _C.Tokenizer(smollm2_checkpoint / "tokenizer.json").encode(TEXT).tolist() == ids
    tokens = torch.tensor([ids])
    with torch.no_grad():
        ours, theirs = load_decoder(smollm2_checkpoint)(tokens), smollm2_reference(tokens).logits
    p, q = (logits.double().log_softmax(-1) for logits in (theirs, ours))
    assert float((p.exp() * (p - q)).sum(-1).mean()) < 1e-6
    assert torch.equal(ours.argmax(-1), theirs.argmax(-1))
    # English it knows: far better than chance, so the comparison is between two working models.
    assert float(-q[0, :-1].gather(1, tokens[0, 1:, None]).mean()) < 4.5


@pytest.mark.slow
def test_smollm2_greedy_tokens_equal_those_of_transformers(smollm2_checkpoint: Path, smollm2_reference: Any) -> None:
    tokenizer = AutoTokenizer.from_pretrained(smollm2_checkpoint)
    decoder = load_decoder(smollm2_checkpoint)
    for prompt in ("The capital of France is", "def fibonacci(n):", "Once upon a time", "1 + 1 =", "Water boils"):
        start = torch.tensor([tokenizer.encode(prompt)])
        made = smollm2_reference.generate(start, max_new_tokens=64, do_sample=False)
        with torch.no_grad():
            logits = decoder(made)[0, start.shape[1] - 1 : -1]
        for position, (row, token) in enumerate(zip(logits, made[0, start.shape[1] :], strict=True)):
            best = row.topk(2).values
            if int(row.argmax()) != int(token):
                assert best[0] - best[1] < 1e-4, (prompt, position)
                break
