"""The history of a package: each link is told by its hash, found or not, the same or changed."""

import json
import shutil
from pathlib import Path

import pytest

from castline.compile.build import build_package
from castline.compile.config import CompileConfig
from castline.compile.pack import pack
from castline.compile.trace import Link, trace
from castline.corpus.manifest import KIND, SCHEMA_VERSION
from castline.files import sha256_file

from .conftest import random_llama


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus, a run, its checkpoint, and a package of it."""
    root = tmp_path_factory.mktemp("project")
    random_llama(root / "run" / "checkpoint")
    (root / "corpus").mkdir()
    source = {"kind": "text", "files": 2, "bytes": 100, "read": 10, "content_sha256": "1" * 64}
    manifest = {
        "kind": KIND,
        "schema_version": SCHEMA_VERSION,
        "castline_version": "0.1.0",
        "totals": {"read": 10, "kept": {"train": 9, "held_out": 1}},
        "sources": {"prose": source, "code": source | {"kind": "code"}},
    }
    (root / "corpus" / "manifest.json").write_text(json.dumps(manifest))
    recipe = {"seed": 7, "model": {"hidden_size": 64}, "train": {"steps": 100, "data": "../corpus"}}
    (root / "run" / "run.json").write_text(json.dumps({"recipe": recipe}))
    recipe = recipe | {"train": {"steps": 100, "data": "../../corpus"}}  # seen from the checkpoint
    sha256 = sha256_file(root / "corpus" / "manifest.json")
    origin = {
        "corpus": {"path": "../../corpus", "manifest_sha256": sha256},
        "run": {"recipe": recipe, "steps": 100},
        "tokens": 51200,
    }
    (root / "run" / "checkpoint" / "castline.json").write_text(json.dumps(origin))
    config = CompileConfig(targets=("cpu", "onnx"), verify_tokens=64)
    build_package(root / "run" / "checkpoint", root / "package", config)
    return root


@pytest.fixture
def project(original: Path, tmp_path: Path) -> Path:
    return shutil.copytree(original, tmp_path / "project")


def links(link: Link) -> dict[str, Link]:
    """Every link of a tree by its kind, or by kind and name where there are several."""
    found = {f"{link.kind} {link.name}": link, link.kind: link}
    for part in link.made_from:
        found |= links(part)
    return found


def test_every_link_is_found_and_matches(project: Path) -> None:
    found = links(trace(project / "package"))
    assert found["package"].state == "matches"
    assert {part.kind for part in found["package"].made_from} == {"weights", "graph", "checkpoint"}
    graph = found["graph onnx/model.onnx"]
    assert graph.state == graph.made_from[0].state == "matches"
    assert graph.sha256 == sha256_file(project / "package" / "onnx" / "model.onnx")
    assert (found["checkpoint"].state, found["checkpoint"].path) == ("matches", project / "run" / "checkpoint")
    assert (found["run"].state, found["run"].path) == ("matches", project / "run")
    assert found["run"].facts == {"steps": 100, "tokens": 51200, "seed": 7}
    assert (found["corpus"].state, found["corpus"].path) == ("matches", project / "corpus")
    assert [source.name for source in found["corpus"].made_from] == ["prose", "code"]
    assert found["source prose"].facts["read"] == 10
    assert [part.kind for part in found["checkpoint"].made_from] == ["run"]
    assert [part.kind for part in found["run"].made_from] == ["corpus"]


def test_one_file_has_the_same_history(project: Path) -> None:
    pack(project / "package", project / "model.castline")
    folder, one_file = trace(project / "package"), trace(project / "model.castline")
    assert one_file.made_from == folder.made_from
    assert one_file.state == "matches"


def test_what_changed_is_named_and_what_is_gone_is_said(project: Path) -> None:
    weights = project / "package" / "cpu" / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    (project / "package" / "onnx" / "model.onnx.data").unlink()
    recipe = json.loads((project / "run" / "run.json").read_text())
    recipe["recipe"]["seed"] = 8
    (project / "run" / "run.json").write_text(json.dumps(recipe))
    (project / "corpus" / "manifest.json").write_text("{}")
    found = links(trace(project / "package"))
    assert found["weights cpu/weights.safetensors"].state == "differs"
    assert found["weights onnx/model.onnx.data"].state == "not found"
    assert found["package"].state == "differs"
    assert found["checkpoint"].state == "matches"
    assert found["run"].state == "differs"
    assert (found["corpus"].state, found["corpus"].path) == ("differs", project / "corpus")
    generation = project / "run" / "checkpoint" / "generation_config.json"
    generation.write_text(generation.read_text() + " ")
    found = links(trace(project / "package"))
    assert (found["checkpoint"].state, found["checkpoint"].path) == ("differs", project / "run" / "checkpoint")
    shutil.rmtree(project / "run")
    shutil.rmtree(project / "corpus")
    found = links(trace(project / "package"))
    assert [found[kind].state for kind in ("checkpoint", "run", "corpus")] == ["not found"] * 3
    assert found["corpus"].sha256 is not None


def test_a_corpus_elsewhere_is_found_by_its_hash(project: Path) -> None:
    shutil.rmtree(project / "run")
    (project / "data").mkdir()
    shutil.move(project / "corpus", project / "data" / "moved")
    found = links(trace(project / "package"))
    assert found["checkpoint"].state == "not found"
    assert (found["corpus"].state, found["corpus"].path) == ("matches", project / "data" / "moved")
