"""The engine package on disk: a folder (or the same as one file, one_file.py) whose manifest names every file.

    package.json            the manifest (`Manifest` below), written last
    tokenizer.json          Hugging Face format; missing where the checkpoint has none
    chat_template.json      the chat template, compiled for the C++ runtime (chat.py)
    tokenizer/              what else the checkpoint says of its tokenizer, as it is: the chat template, …
    cpu/weights.safetensors the CPU runtime's weights (cpu_weights.py)
    onnx/model.onnx         the graph in standard operators (graph.py), its weights in model.onnx.data
    onnxruntime/            the graph in its own operators (graph_contrib.py), and what genai needs (genai.py)
    TARGET/model.onnx       for a TensorRT target: the graph its engine is built from, weights beside it
    TARGET/model.engine     the engine
    verification.json       how far each backend is from the checkpoint (verify.py)
    verification.html       the same for people (page.py)
    golden.safetensors      tokens and the checkpoint's log-probabilities, to prove it again (golden.py)

A package is made in a temporary folder beside its place and renamed when it is proven. The C++ reader of the
same manifest is csrc/runtime/.
"""

import json
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import ValidationError, field_validator

from castline.compile.formats import CacheFormat, WeightFormat
from castline.compile.one_file import SUFFIX, is_one_file, members, read_member, sha256_member
from castline.errors import PackageError, RecipeError
from castline.files import sha256_file, write_json
from castline.model.config import ModelConfig
from castline.recipe import Table

SCHEMA_VERSION = 1
MANIFEST = "package.json"
VERIFICATION = "verification.json"
GOLDEN = "golden.safetensors"
PAGE = "verification.html"
PROOF_FILES = (GOLDEN, PAGE, VERIFICATION)

Status = Literal["passed", "failed", "built_not_run"]


class FileEntry(Table):
    """One file of a package."""

    size: int
    sha256: str


class Generation(Table):
    """What generating needs to know beside the model."""

    eos_ids: tuple[int, ...]
    bos_id: int | None
    max_context: int
    kv: CacheFormat = "f32"
    """How the CPU runtime caches keys and values."""
    rope_theta: float | None = None
    """Instead of the model's: the base that dynamic scaling has for max_context, which is beyond the trained one."""


class Backend(Table):
    """One backend: its weight format, whether it is proven, its main file, and what else there is to say."""

    weights: WeightFormat
    status: Status
    file: str
    tensors: dict[str, int]
    """How many matrices are stored in each format."""
    kv: WeightFormat
    """How keys and values are cached."""
    quantization: str | None = None
    """int4 only: its blocks, and how the weights were chosen."""
    engine: dict[str, Any] | None = None
    """TensorRT only: library, version, compute capabilities, shapes (tensorrt.EngineInfo)."""


class Provenance(Table):
    """Where a package comes from: the checkpoint, by content, and the origin the checkpoint names."""

    checkpoint_sha256: str
    compile: dict[str, Any]
    """The resolved `[compile]` table."""
    origin: dict[str, Any] | None = None
    """The checkpoint's castline.json: the run that trained it, and its corpus's manifest."""


class Manifest(Table):
    """package.json."""

    schema_version: int
    castline_version: str
    model: ModelConfig
    generation: Generation
    tokenizer: str | None
    chat_template: str | None = None
    """The compiled chat template (chat.py); none where the checkpoint has none."""
    files: dict[str, FileEntry]
    backends: dict[str, Backend]
    provenance: Provenance
    tools: dict[str, str]
    unverified: tuple[str, ...] = ()
    """Backends over their bounds, packaged with --allow-unverified all the same."""
    not_reproducible: tuple[str, ...] = ()
    """Files that two builds from the same inputs may write differently."""

    def size(self, backend: str) -> int:
        """The bytes of a backend's files, which lie in a folder of its name."""
        return sum(entry.size for path, entry in self.files.items() if path.startswith(f"{backend}/"))

    @field_validator("files")
    @classmethod
    def _inside(cls, files: dict[str, FileEntry]) -> dict[str, FileEntry]:
        for name in files:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts:
                raise ValueError(f"expected paths inside the package, but found '{name}'")
        return files


def file_entries(package: Path) -> dict[str, FileEntry]:
    """Size and hash of every file of a package folder but the manifest, by path, in order."""
    names = sorted(
        path.relative_to(package).as_posix()
        for path in package.rglob("*")
        if path.is_file() and path != package / MANIFEST
    )
    return {name: file_entry(package / name) for name in names}


def file_entry(path: Path) -> FileEntry:
    """Size and hash of one file."""
    return FileEntry(size=path.stat().st_size, sha256=sha256_file(path))


def package_files(package: Path) -> list[str]:
    """The files of a package folder as one file holds them: the manifest first."""
    return [MANIFEST, *read_manifest(package).files]


def write_manifest(package: Path, manifest: Manifest) -> None:
    """Write package.json."""
    write_json(package / MANIFEST, manifest.model_dump(mode="json"))


def is_package(path: Path) -> bool:
    """Whether a folder or file looks like a package."""
    return (path / MANIFEST).is_file() or is_one_file(path)


def read_file(package: Path, name: str) -> bytes:
    """A file of a package, which may be one file itself.

    Raises:
        PackageError: it is missing, or cannot be read.
    """
    if is_one_file(package):
        return read_member(package, name)
    try:
        return (package / name).read_bytes()
    except FileNotFoundError:
        raise PackageError(f"expected the file {package / name}, but it does not exist") from None
    except OSError as error:
        raise PackageError(f"cannot read {package / name}: {error.strerror}") from error


def read_json_file(package: Path, name: str) -> Any:
    """A JSON file of a package.

    Raises:
        PackageError: it is missing, or not JSON.
    """
    try:
        return json.loads(read_file(package, name))
    except ValueError as error:
        raise PackageError(f"expected JSON in {package / name}, but found: {error}") from None


def read_manifest(package: Path) -> Manifest:
    """Read package.json.

    Raises:
        PackageError: there is none, it is damaged, or its schema is newer than this castline.
    """
    try:
        values = read_json_file(package, MANIFEST)
    except PackageError as error:
        raise PackageError(f"{package} is no readable package: {error}") from None
    version = values.get("schema_version") if isinstance(values, dict) else None
    if not isinstance(version, int):
        raise PackageError(f"{package / MANIFEST}: expected a package manifest with a schema_version")
    if version > SCHEMA_VERSION:
        raise PackageError(
            f"{package / MANIFEST}: expected schema version {SCHEMA_VERSION} or older, but found {version}; "
            "a newer castline made this package: update castline"
        )
    try:
        return Manifest.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise PackageError(f"{package / MANIFEST}: {where}: {first['msg']}; the manifest is damaged") from None


def check_files(package: Path, manifest: Manifest) -> None:
    """Compare every file with the manifest.

    Raises:
        PackageError: a file is missing or changed; it is named.
    """
    if is_one_file(package):
        _check_members(package, manifest)
        return
    for name, entry in manifest.files.items():
        path = package / name
        if not path.is_file():
            raise PackageError(f"{package}: {name} is missing; copy the package again or compile it again")
        size = path.stat().st_size
        if size != entry.size:
            raise PackageError(f"{path}: expected {entry.size} bytes, but found {size}; the file was cut or changed")
        if sha256_file(path) != entry.sha256:
            raise PackageError(f"{path}: its SHA-256 is not the manifest's; the file was changed")


def _check_members(package: Path, manifest: Manifest) -> None:
    found = members(package)
    for name, entry in manifest.files.items():
        if name not in found:
            raise PackageError(f"{package}: {name} is missing; copy the package again or compile it again")
        if found[name].size != entry.size:
            raise PackageError(
                f"{package}: expected {entry.size} bytes of {name}, but found {found[name].size}; the file was changed"
            )
        if sha256_member(package, found[name]) != entry.sha256:
            raise PackageError(f"{package}: the SHA-256 of {name} is not the manifest's; the file was changed")
    if extra := sorted(found.keys() - manifest.files.keys() - {MANIFEST}):
        raise PackageError(f"{package}: expected only the files that {MANIFEST} lists, but found {extra[0]}")


def check_replaceable(out: Path) -> None:
    """Refuse to put a package where something else is: a folder, or one file where the name ends in `.castline`.

    Raises:
        RecipeError: `out` is something else than a package of its kind, and no empty folder.
    """
    one_file = out.suffix == SUFFIX
    if not one_file and out.is_dir() and (is_package(out) or not any(out.iterdir())):
        return
    if one_file and is_one_file(out):
        return
    if out.exists():
        kind = "file" if one_file else "folder"
        raise RecipeError(f"--out {out}: expected a new {kind} or a package to replace, but found something else")
