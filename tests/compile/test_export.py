"""`castline export`: what it writes is loaded by transformers, by llama.cpp, and by `castline import` again."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch
from gguf import GGMLQuantizationType
from gguf.quants import dequantize, quantize
from tokenizers.pre_tokenizers import ByteLevel
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from castline import _C
from castline.compile.build import build_package
from castline.compile.config import CompileConfig
from castline.compile.export import ExportSummary, export, parse_request, plan_export
from castline.errors import CheckpointError, PackageError, RecipeError
from castline.model.checkpoint import CheckpointReader
from castline.model.gguf import GgufFile
from castline.model.gguf_tokenizer import IGNORE_MERGES, PRE_TOKENIZERS
from castline.model.importer import import_checkpoint

from .conftest import random_ids, random_llama, reference

TOKENS = [*sorted(ByteLevel.alphabet()), "he", "ll", "hell", "Ġw", "12", "<|endoftext|>", "<|im_end|>"]
MERGES = ["h e", "l l", "he ll", "Ġ w", "1 2"]
TEMPLATE = "{% for m in messages %}{{ m['content'] }}<|im_end|>{% endfor %}"
TEXT = "<|endoftext|>hello  world 1234, é你好\n\n\tshell's <|im_end|>"
VOCABULARY = len(TOKENS) + 9  # rows of the embeddings that no token has


def write_tokenizer(folder: Path, pre: str = "gpt-2", **changes: Any) -> None:
    values = {
        "version": "1.0",
        "added_tokens": [added(index) for index in (len(TOKENS) - 2, len(TOKENS) - 1)],
        "normalizer": None,
        "pre_tokenizer": PRE_TOKENIZERS[pre],
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "vocab": {token: index for index, token in enumerate(TOKENS[:-2])},
            "merges": MERGES,
            "ignore_merges": pre in IGNORE_MERGES,
        },
    }
    (folder / "tokenizer.json").write_text(json.dumps(values | changes))
    (folder / "chat_template.jinja").write_text(TEMPLATE)


def added(index: int, **changes: Any) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": index, "content": TOKENS[index], **flags, "special": True} | changes


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[LlamaForCausalLM, Path]:
    """A model of transformers' making and its folder, with a tokenizer that has fewer tokens than the model."""
    folder = tmp_path_factory.mktemp("model") / "tiny"
    llama = random_llama(folder, vocab_size=VOCABULARY, bos_token_id=len(TOKENS) - 2, eos_token_id=len(TOKENS) - 1)
    write_tokenizer(folder)
    return llama, folder


def write(source: Path, out: Path, form: str, dtype: str | None = None, layout: str = "llama") -> ExportSummary:
    return export(source, out, parse_request(form, dtype, layout))


def greedy(logits: Callable[[list[int]], Any], prompt: list[int], count: int = 24) -> list[int]:
    ids = list(prompt)
    for _ in range(count):
        ids.append(int(logits(ids)[-1].argmax()))
    return ids[len(prompt) :]


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_transformers_loads_the_hf_folder(model: tuple[LlamaForCausalLM, Path], tmp_path: Path) -> None:
    llama, source = model
    summary = write(source, tmp_path / "hf", "hf")
    assert (summary.dtype, summary.reused, summary.tokenizer) == ("f32", False, True)
    found = AutoModelForCausalLM.from_pretrained(tmp_path / "hf").eval().requires_grad_(False)
    ids = random_ids(40, VOCABULARY)
    np.testing.assert_array_equal(reference(found, ids), reference(llama, ids))
    engine = _C.Engine(build_package(source, tmp_path / "package", CompileConfig(targets=("cpu",))).package)
    assert greedy(lambda ids: reference(found, ids), ids[:5]) == greedy(engine.logits, ids[:5])
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "hf")
    assert tokenizer.encode(TEXT) == _C.Tokenizer(source / "tokenizer.json").encode(TEXT).tolist()
    assert tokenizer.chat_template == TEMPLATE
    assert found.generation_config.eos_token_id == len(TOKENS) - 1


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_smaller_types_of_an_hf_folder(model: tuple[LlamaForCausalLM, Path], tmp_path: Path, dtype: str) -> None:
    llama, source = model
    summary = write(source, tmp_path / "hf", "hf", dtype)
    kind = {"f16": torch.float16, "bf16": torch.bfloat16}[dtype]
    found = AutoModelForCausalLM.from_pretrained(tmp_path / "hf")
    assert found.dtype == kind
    assert summary.bytes == sum(parameter.numel() * 2 for parameter in llama.parameters())
    for (name, expected), parameter in zip(llama.named_parameters(), found.parameters(), strict=True):
        assert torch.equal(expected.to(kind), parameter), name
    assert plan_export(tmp_path / "hf", tmp_path / "again", parse_request("hf", None, "llama")).dtype == dtype


def test_internlm2s_layout_holds_the_same_model(model: tuple[LlamaForCausalLM, Path], tmp_path: Path) -> None:
    source = model[1]
    write(source, tmp_path / "hf", "hf", layout="internlm2")
    reader, original = CheckpointReader(tmp_path / "hf"), CheckpointReader(source)
    assert (reader.layout, reader.config) == ("internlm2", original.config)
    for name in original.names():
        assert torch.equal(reader.tensor(name), original.tensor(name)), name


def test_transformers_reads_the_gguf_file(model: tuple[LlamaForCausalLM, Path], tmp_path: Path) -> None:
    llama, source = model
    write(source, tmp_path / "m.gguf", "gguf")
    found = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="m.gguf", dtype=torch.float32)
    found = found.eval().requires_grad_(False)
    ids = random_ids(40, VOCABULARY)
    np.testing.assert_allclose(reference(found, ids), reference(llama, ids), atol=1e-5)
    assert greedy(lambda ids: reference(found, ids), ids[:5]) == greedy(lambda ids: reference(llama, ids), ids[:5])


@pytest.mark.parametrize("tied", [False, True])
def test_gguf_comes_back_as_the_very_checkpoint(tmp_path: Path, tied: bool) -> None:
    changes = {"num_attention_heads": 6, "num_key_value_heads": 3, "head_dim": 10, "hidden_size": 72}
    random_llama(tmp_path / "in", vocab_size=VOCABULARY, tie_word_embeddings=tied, rope_theta=5e5, **changes)
    write_tokenizer(tmp_path / "in")
    write(tmp_path / "in", tmp_path / "m.gguf", "gguf", "f32")
    import_checkpoint(tmp_path / "m.gguf", tmp_path / "out")
    before, after = CheckpointReader(tmp_path / "in"), CheckpointReader(tmp_path / "out")
    assert (after.config, after.special_tokens) == (before.config, before.special_tokens)
    for name in before.names():
        assert torch.equal(after.tensor(name), before.tensor(name)), name
    theirs, ours = (_C.Tokenizer(tmp_path / name / "tokenizer.json") for name in ("in", "out"))
    assert ours.vocab_size == theirs.vocab_size == len(TOKENS)
    assert ours.encode(TEXT).tolist() == theirs.encode(TEXT).tolist()
    assert json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())["chat_template"] == TEMPLATE


LINEAR = {"rope_type": "linear", "factor": 4.0}
DYNAMIC = {"rope_type": "dynamic", "factor": 2.0}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


@pytest.mark.parametrize("scaling", [LINEAR, LLAMA3, DYNAMIC])
def test_rope_scaling_goes_into_a_gguf_file(tmp_path: Path, scaling: dict[str, Any]) -> None:
    parameters = scaling | {"rope_theta": 10_000.0}
    random_llama(tmp_path / "in", head_dim=32, rope_parameters=parameters)
    summary = write(tmp_path / "in", tmp_path / "m.gguf", "gguf")
    import_checkpoint(tmp_path / "m.gguf", tmp_path / "out")
    before, after = CheckpointReader(tmp_path / "in").config, CheckpointReader(tmp_path / "out").config
    assert before.rope_scaling is not None
    if scaling is DYNAMIC:  # up to the trained length it changes nothing
        assert after == before.model_copy(update={"rope_scaling": None})
        assert "no dynamic RoPE scaling" in summary.notes[0]
    else:
        assert after == before
        assert summary.notes == ()


@pytest.mark.parametrize("dtype", ["f16", "bf16", "q8_0", "q4_0", "q4_1"])
def test_types_of_a_gguf_file(model: tuple[LlamaForCausalLM, Path], tmp_path: Path, dtype: str) -> None:
    llama, source = model
    summary = write(source, tmp_path / "m.gguf", "gguf", dtype)
    kind = GGMLQuantizationType[dtype.upper()]
    gguf = GgufFile(tmp_path / "m.gguf")
    assert {tensor.kind.name for tensor in gguf.tensors.values()} == {dtype.upper(), "F32"}
    assert summary.bytes == sum(tensor.size for tensor in gguf.tensors.values())
    matrix = llama.model.layers[1].mlp.up_proj.weight.numpy()
    expected = dequantize(quantize(matrix, kind), kind)
    np.testing.assert_array_equal(gguf.tensor("blk.1.ffn_up.weight").numpy(), expected)


@pytest.mark.parametrize("pre", sorted(PRE_TOKENIZERS))
def test_ways_of_cutting_text_are_told_to_llama_cpp(tmp_path: Path, pre: str) -> None:
    random_llama(tmp_path / "in", vocab_size=len(TOKENS))
    bos = {"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}}
    special = {"id": "<|endoftext|>", "ids": [len(TOKENS) - 2], "tokens": ["<|endoftext|>"]}
    single = [bos, {"Sequence": {"id": "A", "type_id": 0}}]
    processor = {
        "type": "TemplateProcessing",
        "single": single,
        "pair": [*single, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {"<|endoftext|>": special},
    }
    write_tokenizer(tmp_path / "in", pre, post_processor=processor)
    config = json.loads((tmp_path / "in" / "generation_config.json").read_text())
    config |= {"bos_token_id": len(TOKENS) - 2, "eos_token_id": [len(TOKENS) - 1, len(TOKENS) - 2]}
    (tmp_path / "in" / "generation_config.json").write_text(json.dumps(config))
    write(tmp_path / "in", tmp_path / "m.gguf", "gguf", "f32")
    metadata = GgufFile(tmp_path / "m.gguf").metadata
    assert metadata["tokenizer.ggml.pre"] == pre
    assert (metadata["tokenizer.ggml.add_bos_token"], metadata["tokenizer.ggml.add_eos_token"]) == (True, False)
    import_checkpoint(tmp_path / "m.gguf", tmp_path / "out")
    assert CheckpointReader(tmp_path / "out").special_tokens.eos_ids == (len(TOKENS) - 1, len(TOKENS) - 2)
    library = tokenizers.Tokenizer.from_file(str(tmp_path / "in" / "tokenizer.json"))
    again = tokenizers.Tokenizer.from_file(str(tmp_path / "out" / "tokenizer.json"))
    assert again.encode(TEXT).ids == library.encode(TEXT).ids


def test_a_model_without_a_tokenizer(tmp_path: Path) -> None:
    random_llama(tmp_path / "in")
    summary = write(tmp_path / "in", tmp_path / "m.gguf", "gguf")
    assert not summary.tokenizer
    import_checkpoint(tmp_path / "m.gguf", tmp_path / "out")
    assert not (tmp_path / "out" / "tokenizer.json").exists()


NFC = {"type": "NFC"}
SPACED = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
RUNS = {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": False}, PRE_TOKENIZERS["gpt-2"]]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"normalizer": NFC}, "takes text as it is, as llama.cpp does, but found the normalizer NFC"),
        ({"pre_tokenizer": SPACED}, "a pre-tokenizer that llama.cpp knows"),
        ({"pre_tokenizer": RUNS}, "a pre-tokenizer that llama.cpp knows"),
        ({"added_tokens": [added(len(TOKENS) - 1, lstrip=True)]}, "added tokens without 'lstrip'"),
        ({"added_tokens": [added(len(TOKENS) - 1, id=999)]}, "'<|im_end|>' at 999; it belongs to another"),
        ({"model": {"type": "BPE", "vocab": {}}}, "tokenizer.json is damaged"),
    ],
)
def test_what_llama_cpp_would_tokenise_otherwise_is_refused(
    model: tuple[LlamaForCausalLM, Path], tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    source = shutil.copytree(model[1], tmp_path / "in")
    write_tokenizer(source, **changes)
    with pytest.raises(CheckpointError, match=message.replace("|", r"\|")):
        write(source, tmp_path / "m.gguf", "gguf")
    assert leftovers(tmp_path) == ["in"]


def test_merges_ignored_where_llama_cpp_follows_them(model: tuple[LlamaForCausalLM, Path], tmp_path: Path) -> None:
    source = shutil.copytree(model[1], tmp_path / "in")
    values = json.loads((source / "tokenizer.json").read_text())
    values["model"]["ignore_merges"] = True
    (source / "tokenizer.json").write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match="ignore_merges"):
        write(source, tmp_path / "m.gguf", "gguf")


def test_what_does_not_fit_is_refused_by_name(tmp_path: Path) -> None:
    llama = random_llama(tmp_path / "in", hidden_size=40, num_attention_heads=4, num_key_value_heads=2)
    with pytest.raises(CheckpointError, match=r"whole blocks of 32 for --dtype q8_0.*embed_tokens\.weight have 40"):
        write(tmp_path / "in", tmp_path / "m.gguf", "gguf", "q8_0")
    llama.model.layers[0].mlp.gate_proj.weight[1, 2] = 1e6
    llama.save_pretrained(tmp_path / "in")
    for form in ("gguf", "hf"):
        with pytest.raises(CheckpointError, match=r"at most 65504 in the tensor .*gate_proj\.weight.*found 1e\+06"):
            write(tmp_path / "in", tmp_path / "out", form, "f16")
    write(tmp_path / "in", tmp_path / "out.gguf", "gguf", "bf16")
    config = json.loads((tmp_path / "in" / "generation_config.json").read_text()) | {"eos_token_id": [1, 2, 3, 4]}
    (tmp_path / "in" / "generation_config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="at most 3 stop tokens"):
        write(tmp_path / "in", tmp_path / "m.gguf", "gguf")
    assert leftovers(tmp_path) == ["in", "out.gguf"]


@pytest.mark.parametrize(
    ("form", "dtype", "layout"),
    [("onnx", None, "llama"), ("hf", "q8_0", "llama"), ("gguf", "int4", "llama"), ("gguf", None, "internlm2")],
)
def test_requests_that_do_not_go_together(form: str, dtype: str | None, layout: str) -> None:
    with pytest.raises(RecipeError, match=r"expected one of|goes with --format hf"):
        parse_request(form, dtype, layout)


def test_a_packages_weights_are_dequantised(model: tuple[LlamaForCausalLM, Path], tmp_path: Path) -> None:
    config = CompileConfig(targets=("cpu",), weights="int8", verify_tokens=64)
    package = build_package(model[1], tmp_path / "package", config).package
    summary = write(package, tmp_path / "hf", "hf")
    assert "int8, dequantised" in summary.weights
    found = AutoModelForCausalLM.from_pretrained(tmp_path / "hf").eval().requires_grad_(False)
    ids = random_ids(20, VOCABULARY)
    # The package's engine rounds activations, too; its weights are these.
    scale = np.abs(reference(found, ids)).max()
    np.testing.assert_allclose(_C.Engine(package).logits(ids), reference(found, ids), atol=0.02 * scale)
    weight = model[0].model.layers[1].mlp.up_proj.weight
    step = weight.abs().amax(1, keepdim=True) / 127
    assert ((found.model.layers[1].mlp.up_proj.weight - weight).abs() <= step * 0.5001).all()
    assert AutoTokenizer.from_pretrained(tmp_path / "hf").chat_template == TEMPLATE
    onnx = build_package(model[1], tmp_path / "onnx", CompileConfig(targets=("onnx",), verify_tokens=64)).package
    with pytest.raises(PackageError, match="with the cpu backend"):
        write(onnx, tmp_path / "m.gguf", "gguf")


def test_an_export_of_the_same_is_reused_and_another_replaced_by_force_only(
    model: tuple[LlamaForCausalLM, Path], tmp_path: Path
) -> None:
    source = model[1]
    for form, out in (("gguf", tmp_path / "m.gguf"), ("hf", tmp_path / "hf")):
        assert not write(source, out, form).reused
        before = out.stat().st_mtime_ns
        assert write(source, out, form).reused
        assert out.stat().st_mtime_ns == before
        with pytest.raises(RecipeError, match=r"dtype \(was 'f32', now 'f16'\)"):
            write(source, out, form, "f16")
        assert not export(source, out, parse_request(form, "f16", "llama"), force=True).reused
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.txt").write_text("precious")
    for form, out in (("hf", tmp_path / "thesis"), ("gguf", tmp_path / "thesis" / "chapter1.txt"), ("gguf", tmp_path)):
        with pytest.raises(RecipeError, match="found something else"):
            export(source, out, parse_request(form, None, "llama"), force=True)
    assert (tmp_path / "thesis" / "chapter1.txt").read_text() == "precious"
    assert leftovers(tmp_path) == ["hf", "m.gguf", "thesis"]


def test_where_a_checkpoint_comes_from_is_carried_along(tmp_path: Path) -> None:
    random_llama(tmp_path / "run" / "checkpoint")
    origin = {"corpus": {"path": "../../corpus", "manifest_sha256": "0" * 64}, "run": {"seed": 7}, "tokens": 100}
    (tmp_path / "run" / "checkpoint" / "castline.json").write_text(json.dumps(origin))
    write(tmp_path / "run" / "checkpoint", tmp_path / "hf", "hf")
    found = json.loads((tmp_path / "hf" / "castline.json").read_text())
    assert found["corpus"] == origin["corpus"] | {"path": "../corpus"}
    assert (found["run"], found["export"]["dtype"]) == ({"seed": 7}, "f32")


def test_the_same_bytes_twice(model: tuple[LlamaForCausalLM, Path], tmp_path: Path) -> None:
    for form, name in (("gguf", "m.gguf"), ("hf", "hf/model.safetensors")):
        for folder in ("a", "b"):
            write(model[1], tmp_path / folder / Path(name).parts[0], form)
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


COMMAND = "from castline.cli.main import main; main()"


def test_the_command_line(model: tuple[LlamaForCausalLM, Path], tmp_path: Path) -> None:
    def run(*options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", COMMAND, "export", str(model[1]), "--out", str(tmp_path / "m.gguf"), *options]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    planned = json.loads(run("--format", "gguf", "--dtype", "q8_0", "--dry-run", "--json").stdout)
    assert leftovers(tmp_path) == []
    done = json.loads(run("--format", "gguf", "--dtype", "q8_0", "--json").stdout)
    assert planned == done
    other = run("--format", "gguf")
    assert (other.returncode, other.stdout) == (2, "")
    assert "error: " in other.stderr


@pytest.mark.parametrize("form", ["gguf", "hf"])
def test_a_full_disk_leaves_nothing(model: tuple[LlamaForCausalLM, Path], tmp_path: Path, form: str) -> None:
    limited = subprocess.run(
        [sys.executable, "-c", COMMAND, "export", str(model[1]), "--out", str(tmp_path / "out"), "--format", form],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000)),
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert limited.returncode == 4, limited.stderr
    assert "no space left" in limited.stderr
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("form", ["gguf", "hf"])
def test_ctrl_c_leaves_nothing(tmp_path: Path, form: str) -> None:
    random_llama(tmp_path / "in", vocab_size=60_000, hidden_size=256)
    command = ["export", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--format", form]
    process = subprocess.Popen([sys.executable, "-c", COMMAND, *command], stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not list(tmp_path.glob(".out.*")):
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate()
    assert process.returncode == 130, stderr
    assert leftovers(tmp_path) == ["in"]


LLAMA_CPP = """
import json, sys
import llama_cpp, numpy as np
path, texts, prompts, count = json.loads(sys.stdin.read())
llama = llama_cpp.Llama(path, n_ctx=256, n_threads=1, verbose=False)
greedy = []
for ids in prompts:
    llama.reset()
    llama.eval(ids)
    for _ in range(count):
        logits = llama_cpp.llama_get_logits_ith(llama.ctx, -1)
        ids.append(int(np.ctypeslib.as_array(logits, shape=(llama.n_vocab(),)).argmax()))
        llama.eval(ids[-1:])
    greedy.append(ids[-count:])
tokens = [llama.tokenize(text.encode(), add_bos=False, special=True) for text in texts]
print(json.dumps({"greedy": greedy, "tokens": tokens}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["f32", "q8_0"])
def test_llama_cpp_reads_a_real_model(smollm2_checkpoint: Path, tmp_path: Path, dtype: str) -> None:
    """Tokens of many texts, and greedy tokens, as castline's; CASTLINE_LLAMA_PYTHON may name the Python that has it."""
    python = os.environ.get("CASTLINE_LLAMA_PYTHON", sys.executable)
    if subprocess.run([python, "-c", "import llama_cpp"], capture_output=True, check=False).returncode:
        pytest.skip("llama-cpp-python is not installed (pip install llama-cpp-python; CASTLINE_LLAMA_PYTHON names it)")
    write(smollm2_checkpoint, tmp_path / "m.gguf", "gguf", dtype)
    import_checkpoint(tmp_path / "m.gguf", tmp_path / "again")  # the very weights that llama.cpp has
    engine = _C.Engine(build_package(tmp_path / "again", tmp_path / "package", CompileConfig(targets=("cpu",))).package)
    tokenizer = _C.Tokenizer(smollm2_checkpoint / "tokenizer.json")
    texts = [TEXT, "<|im_start|>user\nhi<|im_end|>\n", *Path(__file__).read_text().split("\n\n")]
    prompts = [tokenizer.encode(text).tolist() for text in ("The capital of France is", "def fibonacci(n):\n")]
    request = json.dumps([str(tmp_path / "m.gguf"), texts, prompts, 32])
    done = subprocess.run([python, "-c", LLAMA_CPP], input=request, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["tokens"] == [tokenizer.encode(text).tolist() for text in texts]
    # With q8_0 llama.cpp rounds activations to int8, too: long texts may part where two tokens are nearly as likely.
    count = 32 if dtype == "f32" else 8
    for prompt, greedy in zip(prompts, found["greedy"], strict=True):
        made = engine.generate(prompt, max_tokens=count)
        stop = [2] if made.finish_reason == "stop" else []  # llama.cpp's loop above does not stop there
        wanted = [*made.ids, *stop]
        assert greedy[: len(wanted)] == wanted
        assert len(made.ids) >= min(count, 20)
