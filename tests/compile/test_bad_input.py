"""What cannot be compiled, from real damaged folders: one message that names it, exit code 3, nothing half-written."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from castline.compile.build import build_package
from castline.compile.config import CompileConfig
from castline.errors import CastlineError

from .conftest import random_llama, write_tokenizer

UP = "model.layers.1.mlp.up_proj.weight"
Damage = Callable[[Path], None]


def config(**changes: Any) -> Damage:
    def damage(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return damage


def tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Damage:
    def damage(folder: Path) -> None:
        path = folder / "model.safetensors"
        found = load_file(path)
        change(found)
        save_file(found, path, metadata={"format": "pt"})

    return damage


def text(content: str) -> Damage:
    def damage(folder: Path) -> None:
        (folder / "text.txt").write_text(content)

    return damage


def nothing(folder: Path) -> None:
    del folder


INT4 = {"weights": "int4"}
CASES: dict[str, tuple[Damage, dict[str, Any], str]] = {
    "unknown architecture": (config(architectures=["MambaForCausalLM"]), {}, "architectures.*found MambaForCausalLM"),
    "activation": (config(hidden_act="gelu"), {}, "hidden_act to be 'silu', but found 'gelu'"),
    "heads": (config(num_key_value_heads=3), {}, "multiple of num_key_value_heads, but got 4 and 3"),
    "hidden size": (config(num_attention_heads=7, head_dim=None), {}, "multiple of num_attention_heads"),
    "missing": (tensors(lambda t: t.pop(UP)), {}, f"expected the tensor {UP}, but it is missing"),
    "extra": (tensors(lambda t: t.update(adapter=torch.zeros(2))), {}, "expected no tensor adapter"),
    "misshapen": (
        tensors(lambda t: t.update({UP: t[UP][:-1].clone()})),
        {},
        rf"{UP} to be \[160, 64\], but found \[159",
    ),
    "integers": (tensors(lambda t: t.update({UP: t[UP].int()})), {}, f"{UP} in one of"),
    "NaN": (tensors(lambda t: t[UP].view(-1)[7:8].fill_(torch.nan)), {}, f"{UP}, but found 1 NaN"),
    "infinity": (tensors(lambda t: t[UP].view(-1)[7:9].fill_(-torch.inf)), {}, f"{UP}, but found 2 NaN or infinite"),
    "block": (nothing, INT4 | {"block": 128, "targets": ("cpu", "tensorrt-rtx")}, "blocks that divide the rows"),
    "vocabulary": (config(vocab_size=320), {"bad_tokenizer": True}, "at most 320 tokens.*belongs to another model"),
    "short text": (text("too short"), INT4 | {"calibration_text": "text.txt"}, "tokens or more for calibration"),
    "no text": (nothing, {"verify_text": "nowhere.txt"}, "cannot read the text .*nowhere.txt"),
    "capability": (
        nothing,
        INT4 | {"targets": ("tensorrt-rtx",), "compute_capability": ("7.5",)},
        r"int4 needs compute capability 8\.0 or newer.*7\.5",
    ),
    "format": (
        nothing,
        {"weights": "fp8", "targets": ("tensorrt-rtx",), "compute_capability": ("8.0",)},
        "fp8 needs compute capability 8.9 or newer, but --compute-capability holds 8.0",
    ),
    "context": (nothing, {"context": 4096}, "--context 4096"),
}


@pytest.mark.parametrize("name", CASES)
def test_one_clear_message_and_nothing_left(tmp_path: Path, name: str) -> None:
    damage, options, message = CASES[name]
    if "tensorrt-rtx" in options.get("targets", ()):
        pytest.importorskip("tensorrt_rtx")
    source = tmp_path / "in"
    random_llama(source)
    write_tokenizer(source)
    damage(source)
    if options.get("bad_tokenizer"):
        values = json.loads((source / "tokenizer.json").read_text())
        values["added_tokens"] += [{**values["added_tokens"][0], "id": 257 + n, "content": f"<{n}>"} for n in range(99)]
        (source / "tokenizer.json").write_text(json.dumps(values))
    places = {key: source / options[key] for key in ("calibration_text", "verify_text") if key in options}
    given = {key: value for key, value in options.items() if key != "bad_tokenizer"}
    wanted = CompileConfig.model_validate({"targets": ("cpu",), "verify_tokens": 64} | given | places)
    with pytest.raises(CastlineError, match=f"(?s){message}") as raised:
        build_package(source, tmp_path / "out" / "package", wanted)
    assert raised.value.exit_code == 3
    assert "\n\n" not in str(raised.value)
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []
