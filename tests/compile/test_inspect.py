"""What `inspect_path` says of packages, checkpoints, runs, corpora and GGUF files."""

import json
from pathlib import Path

import gguf
import numpy as np
import pytest

from castline.compile.build import build_package
from castline.compile.config import CompileConfig
from castline.compile.inspect import inspect_path
from castline.corpus.manifest import KIND, SCHEMA_VERSION
from castline.errors import DataError
from castline.files import sha256_file

from .conftest import random_llama


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A checkpoint with a history: a run over a corpus that is still there."""
    folder = tmp_path / "run" / "checkpoint"
    random_llama(folder)
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    totals = {"files": 2, "bytes": 100, "read": 10, "rejected": {}, "dropped": {}, "kept": {"train": 10}, "tokens": {}}
    manifest = {
        "kind": KIND,
        "schema_version": SCHEMA_VERSION,
        "castline_version": "0.1.0",
        "totals": totals,
        "sources": {"prose": {}},
    }
    (corpus / "manifest.json").write_text(json.dumps(manifest))
    origin = {
        "corpus": {"path": "../../corpus", "manifest_sha256": sha256_file(corpus / "manifest.json")},
        "run": {"seed": 7, "steps": 100},
        "tokens": 51200,
    }
    (folder / "castline.json").write_text(json.dumps(origin))
    return folder


def test_a_package_leads_back_to_its_corpus(checkpoint: Path, tmp_path: Path) -> None:
    config = CompileConfig(targets=("cpu", "onnx"), verify_tokens=128)
    summary = build_package(checkpoint, tmp_path / "package", config)
    found = inspect_path(tmp_path / "package")
    assert found.kind == "package"
    assert found.facts["parameters"] == 20480 * 2 + 2 * (4096 + 2048 + 2048 + 4096 + 3 * 10240 + 128) + 64
    assert found.facts["context"] == 128
    assert found.facts["backends"]["cpu"]["status"] == "passed"
    assert found.facts["backends"]["cpu"]["mean_kl"] <= 1e-5
    assert found.facts["backends"]["cpu"]["bytes"] == summary.sizes["cpu"]
    assert [origin.kind for origin in found.origins] == ["checkpoint", "run", "corpus"]
    assert found.origins[0].facts["sha256"] == summary.manifest.provenance.checkpoint_sha256
    assert found.origins[1].facts == {"seed": 7, "steps": 100, "tokens": 51200}
    assert found.origins[2].facts == {"manifest_sha256": sha256_file(tmp_path / "corpus" / "manifest.json")}


def test_a_checkpoint_finds_its_corpus(checkpoint: Path, tmp_path: Path) -> None:
    found = inspect_path(checkpoint)
    assert (found.kind, found.facts["layout"], found.facts["tokenizer"]) == ("checkpoint", "llama", False)
    corpus = found.origins[-1]
    assert corpus.kind == "corpus"
    assert corpus.facts["found"]
    assert corpus.facts["totals"]["read"] == 10
    assert corpus.facts["path"] == str(tmp_path / "corpus")


def test_a_corpus_that_changed_or_went_is_not_taken_for_the_one(checkpoint: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "corpus" / "manifest.json"
    manifest.write_text(manifest.read_text() + " ")
    facts = inspect_path(checkpoint).origins[-1].facts
    assert not facts["found"]
    assert "another one" in facts["note"]
    manifest.unlink()
    assert inspect_path(checkpoint).origins[-1].facts["found"] is False


def test_a_run_and_a_corpus(checkpoint: Path, tmp_path: Path) -> None:
    run = checkpoint.parent
    identity = json.loads((checkpoint / "castline.json").read_text())["corpus"] | {"path": "../corpus"}
    (run / "run.json").write_text(json.dumps({"corpus": identity}))
    found = inspect_path(run)
    assert (found.kind, found.facts) == ("run", {"complete": False})
    assert found.origins[0].facts["found"]
    (run / "summary.json").write_text(json.dumps({"steps": 100}))
    assert inspect_path(run).facts == {"complete": True, "steps": 100}
    found = inspect_path(tmp_path / "corpus")
    assert (found.kind, found.facts["sources"], found.facts["read"]) == ("corpus", ["prose"], 10)


def test_a_gguf_file(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "model.gguf", "llama")
    writer.add_name("tiny")
    writer.add_tensor("token_embd.weight", np.zeros((8, 32), np.float32))
    writer.add_tensor("output_norm.weight", np.zeros(32, np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    found = inspect_path(tmp_path / "model.gguf")
    assert found.kind == "gguf"
    assert (found.facts["architecture"], found.facts["name"], found.facts["parameters"]) == ("llama", "tiny", 288)
    assert found.facts["tensor_types"] == ["F16", "F32"]


def test_nothing_and_nothing_known(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="but found nothing"):
        inspect_path(tmp_path / "nowhere")
    with pytest.raises(DataError, match="without any of their manifests"):
        inspect_path(tmp_path)
