"""Where a package comes from, link by link, each checked against what is at hand: engine, graph, checkpoint,
training run, corpus manifest, sources.

A package says what it was made from by content, not by place. What it names is looked for near it (in the folder it
lies in, and two levels below) and where the origin's own paths lead; what is found is told by its hash.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from castline.compile.formats import TENSORRT_TARGETS
from castline.compile.one_file import is_one_file, members, sha256_member
from castline.compile.package import Backend, Manifest, read_manifest
from castline.compile.provenance import checkpoint_sha256
from castline.corpus.manifest import NAME as CORPUS_MANIFEST
from castline.errors import DataError, PackageError
from castline.files import read_json, sha256_file
from castline.model.importer import PROVENANCE_FILE
from castline.progress import progress

State = Literal["matches", "differs", "not found", "not checked"]
"""Against its hash: what is found is that, or something else; it is not there; nothing says what it should be."""

_DEPTH = 2
_MOST_FOLDERS = 2000


@dataclass(frozen=True)
class Link:
    """One thing in a package's history, and what it was made from."""

    kind: str
    """package, engine, graph, weights, checkpoint, import, run, corpus or source."""
    name: str
    state: State
    sha256: str | None = None
    path: Path | None = None
    """Where it is, if it was found."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    made_from: tuple["Link", ...] = ()


def trace(package: Path) -> Link:
    """The history of a package.

    Raises:
        PackageError: it cannot be read; a changed file is told in its link.
    """
    manifest = read_manifest(package)
    size = sum(entry.size for entry in manifest.files.values())
    with progress("checking files", size, "B") as advance:
        states = {name: _state_of(package, manifest, name, advance) for name in manifest.files}
    around = list(_folders(package.absolute().parent))
    backends = tuple(_backend(name, backend, manifest, states) for name, backend in manifest.backends.items())
    return Link(
        kind="package",
        name=package.name,
        state=_all(states.values()),
        path=package,
        facts={"castline_version": manifest.castline_version, "files": len(manifest.files), "bytes": size},
        made_from=(*backends, _checkpoint(manifest, around)),
    )


def _backend(name: str, backend: Backend, manifest: Manifest, states: Mapping[str, State]) -> Link:
    facts: dict[str, Any] = {"backend": name, "weights": backend.weights, "status": backend.status}
    if backend.file in manifest.not_reproducible:
        facts["not_reproducible"] = True
    if backend.engine is not None:
        facts |= {key: backend.engine[key] for key in ("library", "version", "compute_capabilities")}
    parts = [file for file in manifest.files if file.startswith(f"{name}/") and file != backend.file]
    kind = "engine" if name in TENSORRT_TARGETS else "weights" if name == "cpu" else "graph"
    below = tuple(
        Link("graph" if part.endswith(".onnx") else "weights", part, states[part], manifest.files[part].sha256)
        for part in sorted(parts, key=lambda part: not part.endswith(".onnx"))
    )
    return Link(
        kind, backend.file, states[backend.file], manifest.files[backend.file].sha256, facts=facts, made_from=below
    )


def _checkpoint(manifest: Manifest, around: list[Path]) -> Link:
    expected, origin = manifest.provenance.checkpoint_sha256, manifest.provenance.origin
    candidates = [folder for folder in around if (folder / "config.json").is_file() and _origin_of(folder) == origin]
    found = next((folder for folder in candidates if checkpoint_sha256(folder) == expected), None)
    state: State = "matches" if found else "differs" if candidates else "not found"
    return Link(
        kind="checkpoint",
        name=(found or candidates[0]).name if candidates else "checkpoint",
        state=state,
        sha256=expected,
        path=found or (candidates[0] if candidates else None),
        made_from=_origins(origin or {}, found, around),
    )


def _origins(origin: Mapping[str, Any], checkpoint: Path | None, around: list[Path]) -> tuple[Link, ...]:
    """What a checkpoint's castline.json names."""
    links = []
    if "import" in origin:
        source = origin["import"]
        links.append(Link("import", str(source.get("source")), "not checked", source.get("sha256")))
    corpus = (_corpus(origin["corpus"], checkpoint, around),) if origin.get("corpus") else ()
    if "run" in origin:
        run = origin["run"]
        facts = {"steps": run.get("steps"), "tokens": origin.get("tokens"), "seed": run.get("recipe", {}).get("seed")}
        path = checkpoint.parent if checkpoint and (checkpoint.parent / "run.json").is_file() else None
        links.append(Link("run", path.name if path else "run", _run_state(run, path), None, path, facts, corpus))
        return tuple(links)
    return (*links, *corpus)


def _run_state(run: Mapping[str, Any], path: Path | None) -> State:
    """Whether the run's folder has the recipe that the checkpoint names; where data lies may differ."""
    if path is None:
        return "not found"
    found = read_json(path / "run.json").get("recipe", {})
    wanted = run.get("recipe", {})
    same = all(_without_places(found.get(table)) == _without_places(wanted.get(table)) for table in found | wanted)
    return "matches" if same else "differs"


def _without_places(table: Any) -> Any:
    return {k: v for k, v in table.items() if k not in ("data", "init")} if isinstance(table, Mapping) else table


def _corpus(corpus: Mapping[str, Any], checkpoint: Path | None, around: list[Path]) -> Link:
    expected = corpus["manifest_sha256"]
    named = [(checkpoint / corpus["path"]).resolve()] if checkpoint and corpus.get("path") else []
    candidates = [folder for folder in (*named, *around) if (folder / CORPUS_MANIFEST).is_file()]
    found = next((folder for folder in candidates if sha256_file(folder / CORPUS_MANIFEST) == expected), None)
    if found is None:
        there = named and (named[0] / CORPUS_MANIFEST).is_file()
        return Link("corpus", "corpus", "differs" if there else "not found", expected, named[0] if there else None)
    manifest = read_json(found / CORPUS_MANIFEST)
    sources = tuple(_source(name, account) for name, account in manifest["sources"].items())
    totals = manifest.get("totals", {})
    facts = {key: totals[key] for key in ("read", "kept") if key in totals}
    return Link("corpus", found.name, "matches", expected, found, facts, sources)


def _source(name: str, account: Mapping[str, Any]) -> Link:
    wanted = ("kind", "licence", "files", "bytes", "read", "kept", "tokens")
    facts = {key: account[key] for key in wanted if account.get(key) is not None}
    return Link("source", name, "not checked", account.get("content_sha256"), facts=facts)


def _state_of(package: Path, manifest: Manifest, name: str, advance: Callable[[float], None]) -> State:
    entry = manifest.files[name]
    advance(entry.size)
    if is_one_file(package):
        member = members(package).get(name)
        if member is None:
            return "not found"
        return "matches" if sha256_member(package, member) == entry.sha256 else "differs"
    if not (package / name).is_file():
        return "not found"
    return "matches" if sha256_file(package / name) == entry.sha256 else "differs"


def _all(states: Any) -> State:
    return "matches" if all(state == "matches" for state in states) else "differs"


def _origin_of(checkpoint: Path) -> Any:
    path = checkpoint / PROVENANCE_FILE
    try:
        return read_json(path) if path.is_file() else None
    except (DataError, PackageError):
        return None


def _folders(root: Path, depth: int = _DEPTH) -> Iterator[Path]:
    """A folder and those below it, breadth first, hidden ones left out; at most so many."""
    level, count = [root], 0
    for _ in range(depth + 1):
        following: list[Path] = []
        for folder in level:
            count += 1
            if count > _MOST_FOLDERS:
                return
            yield folder
            try:
                following += sorted(entry for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != ".")
            except OSError:  # not ours to read
                continue
        level = following
