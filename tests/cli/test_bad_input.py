"""Every mistake ends in its exit code and one clear message, and leaves nothing half-written."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import zstandard
from command_line import CHINESE, RECIPE, Castline


def test_recipe_mistakes_are_told_before_anything_is_read(data: Path, tmp_path: Path, castline: Castline) -> None:
    out = tmp_path / "corpus"
    recipe = data / "recipe.toml"
    misspelt = castline("corpus", "build", recipe, "--out", out, "--set", "dedup.treshold=0.5")
    assert misspelt.code == 2
    assert "dedup.treshold" in misspelt.err
    assert "did you mean 'threshold'?" in misspelt.err
    heads = castline("train", "run", recipe, "--out", out, "--set", "model.num_key_value_heads=3")
    assert heads.code == 2
    assert "num_attention_heads" in heads.err
    assert castline("corpus", "build", tmp_path / "none.toml", "--out", out).code == 2
    assert not out.exists()


def test_a_source_that_is_not_there_or_empty(data: Path, tmp_path: Path, castline: Castline) -> None:
    out = tmp_path / "corpus"
    missing = castline("corpus", "build", data / "recipe.toml", "--out", out, "--set", 'sources.0.path="none/*.txt"')
    assert missing.code == 3
    assert "docs" in missing.err
    (tmp_path / "empty.txt").write_text("")
    path = f'sources.0.path="{tmp_path}/empty.txt"'
    empty = castline("corpus", "build", data / "recipe.toml", "--out", out, "--set", path)
    assert empty.code == 3
    assert "docs" in empty.err
    assert not (out / "manifest.json").exists()


def test_damaged_records_are_counted_and_the_rest_goes_on(tmp_path: Path, castline: Castline) -> None:
    lines = [json.dumps({"text": CHINESE.format(i) * 2}, ensure_ascii=False) for i in range(40)]
    lines[7] = '{"text": "no end'
    (tmp_path / "chinese.jsonl").write_text("\n".join(lines))
    # Two frames, the second cut: what the first holds is read, the rest is one reject.
    packed = zstandard.compress(("\n".join(lines[8:]) + "\n").encode())
    (tmp_path / "cut.jsonl.zst").write_bytes(packed + packed[: len(packed) // 2])
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "picture.txt").write_bytes(bytes(range(256)) * 50)
    for i in range(3):
        (tmp_path / "docs" / f"{i}.txt").write_text((CHINESE.format(i) + "\n") * 3)
    recipe = tmp_path / "recipe.toml"
    source = '[[sources]]\nname = "{}"\npath = "{}"\nlanguage = "zh"\n'
    recipe.write_text(
        source.format("lines", "chinese.jsonl")
        + source.format("cut", "cut.jsonl.zst")
        + source.format("docs", "docs/*")
        + "[rules]\nchinese_quality.enabled = false\ngopher_repetition.enabled = false\n"
        + "[dedup]\nnear = false\nexact = false\n[tokenizer]\nvocab_size = 384\n"
    )
    strict = castline("corpus", "build", recipe, "--out", tmp_path / "strict")
    assert strict.code == 3
    assert "chinese.jsonl" in strict.err
    assert "8" in strict.err  # the line
    lenient = castline("corpus", "build", recipe, "--out", tmp_path / "corpus", "--max-bad", 0.6, "--json").json
    assert sum(lenient["sources"]["lines"]["rejected"].values()) == 1
    assert lenient["sources"]["lines"]["read"] == 40
    assert sum(lenient["sources"]["cut"]["rejected"].values()) == 1
    assert lenient["sources"]["cut"]["read"] == 33  # 32 whole records
    assert sum(lenient["sources"]["docs"]["rejected"].values()) == 1
    assert lenient["sources"]["docs"]["kept"]["train"] >= 1


def test_vocabulary_and_sequence_beyond_the_text(data: Path, corpus: Path, tmp_path: Path, castline: Castline) -> None:
    recipe = data / "recipe.toml"
    large = castline("corpus", "build", recipe, "--out", tmp_path / "corpus", "--set", "tokenizer.vocab_size=900000")
    assert large.code == 3
    assert "vocab" in large.err
    longer = ("--set", "train.sequence_length=100000000", "--set", "model.max_position_embeddings=100000000")
    short = castline("train", "run", recipe, "--out", tmp_path / "run", *longer)
    assert short.code == 3
    assert "100000000" in short.err


@pytest.mark.parametrize("damage", ["missing", "misshapen", "nan", "cut"])
def test_damaged_checkpoints_are_not_compiled(run: Path, tmp_path: Path, castline: Castline, damage: str) -> None:
    from safetensors.numpy import load_file, save_file

    checkpoint = shutil.copytree(run / "checkpoint", tmp_path / "checkpoint")
    file = checkpoint / "model.safetensors"
    tensors = load_file(file)
    name = "model.layers.1.mlp.up_proj.weight"
    if damage == "missing":
        del tensors[name]
    elif damage == "misshapen":
        tensors[name] = tensors[name][:-1].copy()
    elif damage == "nan":
        tensors[name] = tensors[name].copy()
        tensors[name][3, 4] = float("nan")
    save_file(tensors, file)
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-100])
    result = castline("compile", checkpoint, "--out", tmp_path / "package", "--target", "cpu")
    assert result.code == 3
    assert (name if damage != "cut" else "model.safetensors") in result.err
    assert not (tmp_path / "package").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


@pytest.mark.parametrize("damage", ["byte", "file", "schema"])
def test_damaged_packages_are_not_run(package: Path, tmp_path: Path, castline: Castline, damage: str) -> None:
    copy = shutil.copytree(package, tmp_path / "package")
    weights = copy / "cpu" / "weights.safetensors"
    if damage == "byte":
        content = bytearray(weights.read_bytes())
        content[-5] ^= 1
        weights.write_bytes(content)
    elif damage == "file":
        weights.unlink()
    else:
        manifest = json.loads((copy / "package.json").read_text())
        (copy / "package.json").write_text(json.dumps(manifest | {"schema_version": 99}))
    for command in (("run", copy, "--prompt", "x"), ("verify", copy), ("bench", copy)):
        result = castline(*command)
        assert result.code == 3, result.err
        assert ("weights.safetensors" if damage != "schema" else "99") in result.err


def test_prompts_that_do_not_fit(package: Path, tmp_path: Path, castline: Castline) -> None:
    result = castline("run", package, "--prompt", "word " * 400)
    assert result.code == 3
    assert "128" in result.err
    assert castline("run", package, "--prompt", "").code == 3
    assert castline("run", package).code == 2
    ids = tmp_path / "ids.json"
    for content, part in (("[1, 2, 99999]", "99999"), ("{}", "list"), ("[", "JSON"), ("[3]", "two tokens")):
        ids.write_text(content)
        result = castline("score", package, "--ids", ids)
        assert result.code == 3, (content, result.err)
        assert part in result.err
    tensorrt = castline("run", package, "--prompt", "x", "--backend", "tensorrt")
    assert tensorrt.code in (3, 4)


def test_a_proof_over_its_bound_ships_nothing(run: Path, tmp_path: Path, castline: Castline) -> None:
    bound = ("--set", "compile.bounds.int8=1e-12")
    out = tmp_path / "package"
    result = castline("compile", run / "checkpoint", "--out", out, "--target", "cpu", "--weights", "int8", *bound)
    assert result.code == 5
    assert "layer" in result.err
    assert list(tmp_path.iterdir()) == []
    arguments = ("--target", "cpu", "--weights", "int8", "--allow-unverified", *bound)
    result = castline("compile", run / "checkpoint", "--out", out, *arguments)
    assert result.code == 0
    assert "warning" in result.err
    running = castline("run", out, "--prompt", "x", "--max-tokens", "2", "--json")
    assert running.code == 0
    assert "warning: this package is further from its checkpoint than its bound allows: cpu" in running.err
    assert castline("verify", out).code == 5


LIMITED = (
    "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
    "resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0})); from castline.cli.main import main; main()"
)


@pytest.mark.parametrize("stage", ["corpus", "train", "compile"])
def test_a_full_disk_is_said_and_leaves_nothing_whole(data: Path, run: Path, tmp_path: Path, stage: str) -> None:
    out = tmp_path / "out"
    commands = {
        "corpus": (["corpus", "build", data / "recipe.toml"], 2000, "manifest.json"),
        "train": (["train", "run", data / "recipe.toml"], 20_000, "summary.json"),
        "compile": (["compile", run / "checkpoint", "--target", "cpu"], 20_000, "package.json"),
    }
    arguments, limit, last = commands[stage]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED.format(limit), *map(str, arguments), "--out", str(out)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 4, done.stderr
    assert "no space left" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (out / last).exists()


@pytest.mark.parametrize("seconds", [0.0, 0.1, 0.2])
def test_ctrl_c_while_the_program_loads(seconds: float) -> None:
    program = "from castline.cli.main import main; print('loaded', flush=True); main()"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "doctor"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "loaded\n"
    time.sleep(0.02 + seconds)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode in (0, 130), err  # 0: it was done already
    assert "Traceback" not in err


@pytest.mark.parametrize("stage", ["corpus", "train", "compile"])
def test_ctrl_c_keeps_what_is_done(data: Path, run: Path, tmp_path: Path, stage: str) -> None:
    out = tmp_path / "out"
    commands = {
        "corpus": ["corpus", "build", data / "recipe.toml"],
        "train": ["train", "run", data / "recipe.toml", "--set", "train.steps=100000"],
        "compile": ["compile", run / "checkpoint", "--target", "cpu,onnx"],
    }
    program = "from castline.cli.main import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, commands[stage]), "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    # Interrupt once the stage has begun to write.
    deadline = time.monotonic() + 120
    while process.poll() is None and not list(tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert "Traceback" not in err
    if process.returncode == 0:
        pytest.skip("the stage was done before the interrupt came")
    assert process.returncode == 130, err
    assert "interrupted" in err
    if stage == "compile":
        assert list(tmp_path.iterdir()) == [tmp_path / "out.partial"]
    assert (data / "recipe.toml").read_text() == RECIPE
