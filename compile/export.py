"""`castline export`: a checkpoint, or a package's CPU weights, as a Hugging Face folder or a GGUF file."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from castline import __version__
from castline.compile.backends import CPU_WEIGHTS
from castline.compile.cpu_weights import read_cpu_weights
from castline.compile.one_file import as_folder
from castline.compile.package import MANIFEST, check_files, is_package, read_manifest
from castline.compile.provenance import checkpoint_sha256
from castline.errors import CheckpointError, PackageError, RecipeError
from castline.files import read_json, require_space, sha256_file
from castline.model.checkpoint import CheckpointReader
from castline.model.config import ModelConfig
from castline.model.exporter import HF_TYPES, PROVENANCE_KEY, HfType, Model, hf_bytes, write_gguf_file, write_hf
from castline.model.gguf import GgufFile
from castline.model.gguf_writer import GGUF_TYPES, GgufType, gguf_bytes
from castline.model.hf_config import SpecialTokens
from castline.model.importer import PROVENANCE_FILE, TOKENIZER_FILES
from castline.model.layouts import LAYOUTS, LayoutName
from castline.progress import progress

Format = Literal["hf", "gguf"]


@dataclass(frozen=True)
class Request:
    """What is asked for: a format, the type of its tensors (none: the source's), and a Hugging Face folder's layout."""

    format: Format
    dtype: str | None = None
    layout: LayoutName = "llama"


def parse_request(form: str, dtype: str | None, layout: str) -> Request:
    """A request in words, checked.

    Raises:
        RecipeError: a word that is not known, or a pair that does not go together.
    """
    known = {"hf": tuple(HF_TYPES), "gguf": GGUF_TYPES}
    if form not in known:
        raise RecipeError(f"--format {form}: expected one of {', '.join(known)}")
    if dtype is not None and dtype not in known[form]:
        raise RecipeError(f"--dtype {dtype}: expected one of {', '.join(known[form])} for --format {form}")
    if layout not in LAYOUTS:
        raise RecipeError(f"--layout {layout}: expected one of {', '.join(LAYOUTS)}")
    if layout != "llama" and form == "gguf":
        raise RecipeError(f"--layout {layout} goes with --format hf: GGUF files have llama.cpp's own layout")
    return Request("hf" if form == "hf" else "gguf", dtype, next(name for name in LAYOUTS if name == layout))


@dataclass(frozen=True)
class ExportSummary:
    """What an export made, or would make."""

    out: Path
    format: Format
    dtype: str
    layout: LayoutName
    bytes: int
    """Of the tensors."""
    weights: str
    """Whose weights they are, for people."""
    tokenizer: bool
    notes: tuple[str, ...] = ()
    """What the form does not carry, for people."""
    reused: bool = False


@dataclass(frozen=True)
class _Source:
    """A model opened for export: its tensors, its tokenizer's files, and where it comes from."""

    model: Model
    tokenizer: Mapping[str, bytes]
    weights: str
    dtype: HfType
    """What its tensors are in, or the nearest type that holds them."""
    identity: Mapping[str, str]
    origin: Mapping[str, Any]
    """Its own castline.json, the corpus's path absolute."""


class _PackageWeights:
    """The CPU weights of a package as a model's tensors."""

    def __init__(self, package: Path) -> None:
        manifest = read_manifest(package)
        check_files(package, manifest)
        if "cpu" not in manifest.backends:
            raise PackageError(
                f"{package}: expected a package with the cpu backend, whose weights can be read back, but it has "
                f"{', '.join(manifest.backends)}; export the checkpoint it was compiled from"
            )
        self.config: ModelConfig = manifest.model
        self.special_tokens = SpecialTokens(manifest.generation.eos_ids, manifest.generation.bos_id)
        self.format = manifest.backends["cpu"].weights
        self._read = read_cpu_weights(package / CPU_WEIGHTS, manifest.model)

    def tensor(self, name: str) -> Tensor:
        """One tensor, dequantised to float32."""
        return torch.from_numpy(self._read(name))


def plan_export(source: Path, out: Path, request: Request) -> ExportSummary:
    """What `export` would write.

    Raises:
        As `export`, but for what only reading the tensors tells.
    """
    with as_folder(source) as folder:
        return _summary(_open(folder), out, request)


def export(source: Path, out: Path, request: Request, *, force: bool = False) -> ExportSummary:
    """Write a checkpoint, or the CPU weights of a package, in another tool's form.

    The output appears whole, or not at all. One made from the same source with the same options is reused.

    Args:
        source: a checkpoint or a package
        out: the folder (hf) or file (gguf) to write
        request: in which form
        force: replace another checkpoint folder or GGUF file at `out`

    Raises:
        CheckpointError, PackageError: the source is damaged, or has what the form has no place for.
        RecipeError: `out` holds something else.
        DeviceError: no room on the disk, or `out` cannot be written.
    """
    with as_folder(source) as folder:
        return _export(_open(folder), source.absolute().name, out, request, force=force)


def _export(opened: _Source, name: str, out: Path, request: Request, *, force: bool) -> ExportSummary:
    summary = _summary(opened, out, request)
    made = {**opened.identity, "format": request.format, "dtype": summary.dtype, "layout": request.layout}
    if _is_there(out, request.format, made, force=force):
        return ExportSummary(**vars(summary) | {"reused": True})
    require_space(out, summary.bytes)
    provenance = {"castline_version": __version__, "export": made}
    with progress(f"writing {out.name}", summary.bytes, "B") as advance:
        if request.format == "hf":
            write_hf(
                out,
                opened.model,
                opened.tokenizer,
                _carried(opened.origin, out) | provenance,
                dtype=_hf_type(summary.dtype),
                layout=request.layout,
                advance=advance,
            )
        else:
            write_gguf_file(
                out,
                opened.model,
                opened.tokenizer,
                provenance,
                dtype=_gguf_type(summary.dtype),
                name=name,
                advance=advance,
            )
    return summary


def _open(source: Path) -> _Source:
    if is_package(source):
        package = _PackageWeights(source)
        return _Source(
            model=package,
            tokenizer=_files(source, ("tokenizer.json",)) | _files(source / "tokenizer", TOKENIZER_FILES[1:]),
            weights=f"the package's CPU weights, {package.format}"
            + (", dequantised" if package.format in ("int8", "int4", "fp8") else ""),
            dtype="f32",
            identity={"package_sha256": sha256_file(source / MANIFEST)},
            origin={},
        )
    reader = CheckpointReader(source)
    stored = [name for name in HF_TYPES if {name.upper()} == reader.types]
    return _Source(
        model=reader,
        tokenizer=_files(source, TOKENIZER_FILES),
        weights="the checkpoint's",
        dtype=stored[0] if stored else "f32",
        identity={"checkpoint_sha256": checkpoint_sha256(source)},
        origin=_origin(source),
    )


def _files(folder: Path, names: tuple[str, ...]) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in names if (folder / name).is_file()}


def _origin(checkpoint: Path) -> dict[str, Any]:
    path = checkpoint / PROVENANCE_FILE
    if not path.is_file():
        return {}
    origin = dict(read_json(path))
    if origin.get("corpus"):
        origin["corpus"] = origin["corpus"] | {
            "path": os.path.normpath(checkpoint.absolute() / origin["corpus"]["path"])
        }
    return origin


def _carried(origin: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """The source's origin for a folder at `out`, from where it names its corpus."""
    carried = dict(origin)
    if carried.get("corpus"):
        carried["corpus"] = carried["corpus"] | {"path": os.path.relpath(carried["corpus"]["path"], out.absolute())}
    return carried


def _summary(source: _Source, out: Path, request: Request) -> ExportSummary:
    dtype = request.dtype or source.dtype
    config = source.model.config
    return ExportSummary(
        out=out,
        format=request.format,
        dtype=dtype,
        layout=request.layout,
        bytes=hf_bytes(config, _hf_type(dtype)) if request.format == "hf" else gguf_bytes(config, _gguf_type(dtype)),
        weights=source.weights,
        tokenizer="tokenizer.json" in source.tokenizer,
        notes=_notes(config, request),
    )


def _notes(config: ModelConfig, request: Request) -> tuple[str, ...]:
    scaling = config.rope_scaling
    if request.format == "hf" or scaling is None or scaling.rope_type != "dynamic":
        return ()
    return (
        "llama.cpp has no dynamic RoPE scaling: the file is the model up to its trained "
        f"{config.max_position_embeddings} tokens, where that changes nothing",
    )


def _hf_type(name: str) -> HfType:
    return next(known for known in HF_TYPES if known == name)


def _gguf_type(name: str) -> GgufType:
    return next(known for known in GGUF_TYPES if known == name)


def _is_there(out: Path, form: Format, made: Mapping[str, Any], *, force: bool) -> bool:
    """Whether `out` is this very export already.

    Raises:
        RecipeError: it is something else, and `force` is not there or may not replace it.
    """
    if not out.exists() or (form == "hf" and out.is_dir() and not any(out.iterdir())):
        return False
    what = "a checkpoint folder" if form == "hf" else "a GGUF file"
    try:
        found = _made_before(out, form)
    except CheckpointError:
        raise RecipeError(f"--out {out}: expected nothing, or {what} to replace, but found something else") from None
    if force:
        return False
    if found == made:
        return True
    differing = [
        f"{key} (was {found.get(key)!r}, now {value!r})" for key, value in made.items() if found.get(key) != value
    ]
    raise RecipeError(
        f"--out {out} holds {what} made otherwise; these differ: {'; '.join(differing)}. Choose another place, or "
        "replace it with --force"
    )


def _made_before(out: Path, form: Format) -> dict[str, Any]:
    """What the export at `out` was made from; nothing where another tool wrote it."""
    if form == "gguf":
        if not out.is_file():
            raise CheckpointError(f"{out} is no file")
        provenance = json.loads(GgufFile(out).value(PROVENANCE_KEY, str, "{}"))
    else:
        CheckpointReader(out)
        path = out / PROVENANCE_FILE
        provenance = read_json(path) if path.is_file() else {}
    return dict(provenance.get("export", {}))
