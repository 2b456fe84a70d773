"""What a path holds, and where it comes from: package, checkpoint, training run, corpus or GGUF file.

Only manifests and headers are read; `castline verify` reads every byte.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

from castline.compile.package import is_package, read_manifest
from castline.compile.verify import read_verification
from castline.corpus.manifest import NAME as CORPUS_MANIFEST
from castline.corpus.manifest import read_manifest as read_corpus_manifest
from castline.errors import DataError
from castline.files import read_json, sha256_file
from castline.model.checkpoint import CheckpointReader
from castline.model.config import ModelConfig
from castline.model.gguf import GgufFile
from castline.model.importer import PROVENANCE_FILE
from castline.model.layouts import layout_shapes

Facts = dict[str, Any]


@dataclass(frozen=True)
class Origin:
    """One step back in the history of something: what kind of thing it was made from, and what is known of that."""

    kind: str
    facts: Facts


@dataclass(frozen=True)
class Inspection:
    """What is at a path, and its history, the nearest step first."""

    kind: str
    path: Path
    facts: Facts
    origins: list[Origin] = field(default_factory=list)


def inspect_path(path: Path) -> Inspection:
    """Describe what is at `path`.

    Raises:
        DataError: there is nothing, it is damaged, or nothing that castline knows.
    """
    if is_package(path):
        return _package(path)
    if path.is_file():
        return _gguf(path)
    if (path / "config.json").is_file():
        return _checkpoint(path)
    if (path / "run.json").is_file():
        return _run(path)
    if (path / CORPUS_MANIFEST).is_file():
        return _corpus(path)
    raise DataError(
        f"expected a package, a checkpoint, a training run, a corpus or a GGUF file at {path}, but found "
        + ("a folder without any of their manifests" if path.is_dir() else "nothing")
    )


def _package(path: Path) -> Inspection:
    manifest = read_manifest(path)
    verification = read_verification(path, manifest)
    backends: dict[str, dict[str, Any]] = {}
    for name, backend in manifest.backends.items():
        proof = verification.backends[name]
        measured = proof.run or proof.graph
        backends[name] = {
            "status": backend.status,
            "weights": backend.weights,
            "tensors": backend.tensors,
            "kv": backend.kv,
            "mean_kl": measured.mean_kl if measured else None,
            "bound": proof.bound,
            "bytes": manifest.size(name),
        }
        if backend.quantization is not None:
            backends[name]["quantization"] = backend.quantization
        if backend.engine is not None:
            backends[name]["compute_capabilities"] = backend.engine["compute_capabilities"]
    facts = {
        **_model(manifest.model),
        "context": manifest.generation.max_context,
        "tokenizer": manifest.tokenizer is not None,
        "backends": backends,
        "unverified": list(manifest.unverified),
        "verified_on": f"{verification.tokens} tokens: {verification.source}",
        "castline_version": manifest.castline_version,
        "tools": manifest.tools,
    }
    checkpoint = Origin("checkpoint", {"sha256": manifest.provenance.checkpoint_sha256})
    return Inspection("package", path, facts, [checkpoint, *_origins(manifest.provenance.origin, None)])


def _checkpoint(path: Path) -> Inspection:
    reader = CheckpointReader(path)
    facts = {
        **_model(reader.config),
        "layout": reader.layout,
        "context": reader.config.max_position_embeddings,
        "tokenizer": (path / "tokenizer.json").is_file(),
        "bytes": sum(file.stat().st_size for file in path.glob("*.safetensors")),
    }
    provenance = path / PROVENANCE_FILE
    origin = read_json(provenance) if provenance.is_file() else None
    return Inspection("checkpoint", path, facts, _origins(origin, path))


def _run(path: Path) -> Inspection:
    identity = read_json(path / "run.json")
    summary = path / "summary.json"
    facts: Facts = {"complete": summary.is_file()}
    if summary.is_file():
        facts |= read_json(summary)
    return Inspection("run", path, facts, _origins({"corpus": identity.get("corpus")}, path))


def _corpus(path: Path) -> Inspection:
    manifest = read_corpus_manifest(path)
    facts = {
        **manifest["totals"],
        "sources": list(manifest["sources"]),
        "manifest_sha256": sha256_file(path / CORPUS_MANIFEST),
        "castline_version": manifest["castline_version"],
    }
    return Inspection("corpus", path, facts)


def _gguf(path: Path) -> Inspection:
    gguf = GgufFile(path)
    kinds = sorted({tensor.kind.name for tensor in gguf.tensors.values()})
    facts = {
        "architecture": gguf.metadata.get("general.architecture"),
        "name": gguf.metadata.get("general.name"),
        "parameters": sum(prod(tensor.shape) for tensor in gguf.tensors.values()),
        "tensor_types": kinds,
        "bytes": path.stat().st_size,
    }
    return Inspection("gguf", path, facts)


def _model(config: ModelConfig) -> Facts:
    return {
        "parameters": sum(prod(shape) for shape in layout_shapes(config, "llama").values()),
        "model": config.model_dump(),
    }


def _origins(origin: Mapping[str, Any] | None, base: Path | None) -> list[Origin]:
    """The history that a castline.json tells; `base` is the folder its corpus path counts from, if it is here."""
    if origin is None:
        return []
    chain = []
    if "import" in origin:
        chain.append(Origin("import", dict(origin["import"])))
    if "run" in origin:
        chain.append(Origin("run", dict(origin["run"]) | {"tokens": origin.get("tokens")}))
    if origin.get("corpus"):
        facts = {"manifest_sha256": origin["corpus"]["manifest_sha256"]}
        if base is not None:
            facts |= _found_corpus((base / origin["corpus"]["path"]).resolve(), facts["manifest_sha256"])
        chain.append(Origin("corpus", facts))
    return chain


def _found_corpus(path: Path, expected: str) -> Facts:
    manifest = path / CORPUS_MANIFEST
    if not manifest.is_file():
        return {"found": False}
    if sha256_file(manifest) != expected:
        return {"found": False, "note": f"the corpus at {path} is another one by now"}
    return {"found": True, "path": str(path), "totals": read_corpus_manifest(path)["totals"]}
