"""Checkpoint to package: build every backend, prove it, and only then let the package appear."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from castline import _C, __version__
from castline.compile.assignment import Assignment
from castline.compile.automatic import AutomaticChoice, most_precise
from castline.compile.backends import CPU_WEIGHTS, graph_path
from castline.compile.chat import write_chat_template
from castline.compile.config import Bounds, CompileConfig
from castline.compile.cpu_weights import write_cpu_weights
from castline.compile.formats import TENSORRT_TARGETS, Target, cache_format, compute_format
from castline.compile.frontier_picture import Choice, write_choice
from castline.compile.genai import write_genai_files
from castline.compile.graph import write_graph
from castline.compile.graph_contrib import graph_variant
from castline.compile.layer_steps import activation_ranges
from castline.compile.package import (
    PAGE,
    PROOF_FILES,
    SCHEMA_VERSION,
    Backend,
    FileEntry,
    Generation,
    Manifest,
    Provenance,
    check_files,
    check_replaceable,
    file_entries,
    file_entry,
    is_package,
    read_manifest,
    write_manifest,
)
from castline.compile.page import write_page
from castline.compile.plan import Plan, make_plan
from castline.compile.provenance import checkpoint_sha256
from castline.compile.reference import reference_logits
from castline.compile.tensorrt import build_engine, layers_path
from castline.compile.text_tokens import TextTokens, calibration_tokens, proof_tokens
from castline.compile.verify import Verification, prove, read_verification
from castline.compile.weights import Weights
from castline.compile.work import WorkFolder, differences
from castline.errors import CompileError, RecipeError, VerificationError
from castline.files import read_json, require_space, sha256_file, sha256_json, write_bytes
from castline.model.checkpoint import INDEX_FILE, CheckpointReader
from castline.model.config import ModelConfig
from castline.model.hf_config import read_config
from castline.model.importer import PROVENANCE_FILE, TOKENIZER_FILES
from castline.progress import progress

_TOOLS = ("numpy", "onnx", "onnxruntime", "safetensors", "torch")
_LIBRARIES: dict[Target, str] = {"tensorrt-rtx": "tensorrt_rtx", "tensorrt": "tensorrt"}


@dataclass(frozen=True)
class PackageSummary:
    """What `build_package` did; `reused` means that the package was there already, made from the same inputs."""

    package: Path
    manifest: Manifest
    verification: Verification
    reused: bool

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of every backend's files."""
        return {name: self.manifest.size(name) for name in self.manifest.backends}


def dry_run(checkpoint: Path, config: CompileConfig) -> tuple[ModelConfig, Plan]:
    """The model, and what `build_package` would build of it; a folder with a config.json and no weights will do.

    Raises:
        CheckpointError: the checkpoint is damaged (headers only are read).
        CompileError, DeviceError: it cannot be compiled as asked.
    """
    has_weights = any(checkpoint.glob("*.safetensors")) or (checkpoint / INDEX_FILE).is_file()
    model = CheckpointReader(checkpoint).config if has_weights else read_config(checkpoint)[0]
    return model, plan_for(model, config)


def build_package(
    checkpoint: Path,
    out: Path,
    config: CompileConfig,
    *,
    force: bool = False,
    allow_unverified: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> PackageSummary:
    """Compile a checkpoint into a package at `out`, proven against the checkpoint.

    The package appears whole, or not at all. One made from the same inputs before is reused. An interrupted build
    keeps what it has finished in `OUT.partial`, and the same call goes on from there to the same bytes.

    Args:
        checkpoint: a Hugging Face folder
        out: the package's folder, or its one file where the name ends in `.castline`
        config: what to build
        force: replace a package made from other inputs, and discard another call's unfinished work
        allow_unverified: make a package also of what is too far from the checkpoint; it says so
        say: is told what people should know

    Raises:
        CheckpointError: the checkpoint is damaged.
        CompileError: it cannot be compiled as asked.
        RecipeError: `out` holds a package made from other inputs, or something that is no package.
        VerificationError: a backend is too far from the checkpoint.
        DeviceError: no room on the disk, or a target's library is missing.
    """
    reader = CheckpointReader(checkpoint)
    model = reader.config
    plan = plan_for(model, config)
    reader = reader.at_context(plan.config.context)
    provenance = _provenance(checkpoint, plan.config)
    check_replaceable(out)
    work = WorkFolder(out)
    if is_package(out) and not force:
        work.sweep()
        return _reuse(out, provenance, allow_unverified)
    require_space(out, plan.total_size, "free some space, or build fewer targets (--target)")
    _check_tokenizer(checkpoint, reader)
    context, vocab_size = plan.config.context, reader.config.vocab_size
    tokens = proof_tokens(
        checkpoint,
        tokens=plan.config.verify_tokens,
        context=context,
        vocab_size=vocab_size,
        text=plan.config.verify_text,
    )
    text = _calibration_text(reader, checkpoint, plan)
    identity = {
        "castline_version": __version__,
        **_tools(plan),
        "checkpoint_sha256": provenance.checkpoint_sha256,
        **provenance.compile,
        "proof_tokens_sha256": _sha256(tokens),
        "calibration_tokens_sha256": _sha256(text),
    }
    with work.opened(identity, force=force):
        if found := work.finished():
            say(f"going on with the unfinished work in {work.folder}: {', '.join(found)}")
        folder = work.package
        weights = Weights(reader, text, plan.config.calibration, work)
        choice = None
        if plan.config.is_automatic:
            choosing = AutomaticChoice(reader, plan, weights, reference_logits(reader, tokens.ids, work))
            choose = partial(choosing.choose, (text or tokens).ids)
            assignment, choice = work.step("chosen", tuple[Assignment, Choice], choose)
            plan = make_plan(model, plan.config, assignment)
        ranges = _input_ranges(reader, plan, text or tokens)
        tokenizer = _copy_tokenizer(checkpoint, folder)
        chat_template = write_chat_template(checkpoint, folder) if tokenizer else None
        backends: dict[str, Backend] = {}
        with progress("building", len(plan.assignments), "backends") as advance:
            for target in plan.assignments:
                build = partial(_build, reader, folder, plan, target, weights, ranges)
                backends[str(target)] = work.step(f"built-{target}", Backend, build)
                advance(1)
        if choice is not None:
            write_choice(folder, choice)
        manifest = Manifest(
            schema_version=SCHEMA_VERSION,
            castline_version=__version__,
            model=model,
            generation=Generation(
                eos_ids=reader.special_tokens.eos_ids,
                bos_id=reader.special_tokens.bos_id,
                max_context=context,
                kv=plan.config.kv,
                rope_theta=None if reader.config.rope_theta == model.rope_theta else reader.config.rope_theta,
            ),
            tokenizer=tokenizer,
            chat_template=chat_template,
            files=_built_files(folder),
            backends=backends,
            provenance=provenance,
            tools=_tools(plan),
            not_reproducible=tuple(
                name
                for backend in backends.values()
                if backend.engine
                for name in (backend.file, layers_path(Path(backend.file)).as_posix())
            ),
        )
        write_manifest(folder, manifest)  # the CPU runtime opens packages only
        bounds = _bounds(plan.config)
        verification = prove(folder, reader, backends, tokens, bounds, work=work, allow_unverified=allow_unverified)
        write_page(folder / PAGE, folder, manifest, verification)
        manifest = _proven(folder, manifest, verification)
        write_manifest(folder, manifest)
        work.publish()
    return PackageSummary(out, manifest, verification, reused=False)


def plan_for(model: ModelConfig, config: CompileConfig) -> Plan:
    """The plan of what a configuration asks for; where formats are chosen, of the largest choice there is.

    Raises:
        CompileError, DeviceError: as `make_plan`.
    """
    if not config.is_automatic:
        return make_plan(model, config)
    return make_plan(model, config, most_precise(model, make_plan(model, config).config.targets))


def _bounds(config: CompileConfig) -> Bounds:
    if config.max_kl is None:
        return config.bounds
    return Bounds.model_validate(dict.fromkeys(Bounds.model_fields, config.max_kl))


def _calibration_text(reader: CheckpointReader, checkpoint: Path, plan: Plan) -> TextTokens | None:
    config = plan.config
    quantised = config.is_automatic or any(assignment.int4_blocks for assignment in plan.assignments.values())
    quantised = quantised or bool(_fp8_products(plan))
    if config.calibration == "none" or not quantised:
        return None
    return calibration_tokens(
        checkpoint,
        tokens=config.calibration_tokens,
        context=config.context,
        vocab_size=reader.config.vocab_size,
        text=config.calibration_text,
    )


def _sha256(tokens: TextTokens | None) -> str | None:
    return sha256_json([tokens.source, tokens.ids.tolist()]) if tokens is not None else None


def _input_ranges(reader: CheckpointReader, plan: Plan, text: TextTokens) -> tuple[dict[str, float], str]:
    """What reaches the products that TensorRT makes in fp8, and on which text that was seen; empty without any."""
    products = _fp8_products(plan)
    if not products:
        return {}, ""
    found = activation_ranges(reader, text.ids)
    ranges = {name: found[name] for name in sorted(products)}
    return ranges, f"activation ranges of {text.ids.size:,} tokens: {text.source}"


def _fp8_products(plan: Plan) -> set[str]:
    return {
        name
        for target, assignment in plan.assignments.items()
        if target in TENSORRT_TARGETS
        for name, stored in assignment.formats.items()
        if stored.kind == "fp8"
    }


def _build(
    reader: CheckpointReader,
    folder: Path,
    plan: Plan,
    target: Target,
    weights: Weights,
    input_ranges: tuple[dict[str, float], str],
) -> Backend:
    assignment = plan.assignments[target]
    engine, measured = None, ""
    if target == "cpu":
        file = folder / CPU_WEIGHTS
        write_cpu_weights(reader, file, assignment, weights)
    else:
        file = graph_path(folder, target)
        compute = compute_format(target, assignment.main)
        ranges, measured = input_ranges if target in TENSORRT_TARGETS else ({}, "")
        write_graph(
            reader,
            file,
            assignment,
            weights,
            compute=compute,
            context=plan.config.context,
            variant=graph_variant(target),
            ranges=ranges,
        )
    if target == "onnxruntime":
        write_genai_files(reader, file, plan.config.context)
    if target in TENSORRT_TARGETS:
        graph, file = file, file.with_suffix(".engine")
        info = build_engine(
            graph,
            file,
            target=target,
            context=plan.config.context,
            batch=plan.config.batch,
            capabilities=plan.capabilities[target],
        )
        engine = asdict(info)
    blocks = sorted(set(assignment.int4_blocks.values()))
    chosen = [f"blocks of {', '.join(map(str, blocks))}, {weights.method}"] if blocks else []
    return Backend(
        weights=assignment.main,
        tensors=assignment.counts,
        kv=cache_format(target, plan.config.kv, assignment.main),
        quantization="; ".join([*chosen, *([measured] if measured else [])]) or None,
        status="built_not_run",
        file=file.relative_to(folder).as_posix(),
        engine=engine,
    )


def _built_files(folder: Path) -> dict[str, FileEntry]:
    """What the backends are made of: not what a proof that was cut off has left."""
    return {name: entry for name, entry in file_entries(folder).items() if name not in PROOF_FILES}


def _proven(folder: Path, manifest: Manifest, verification: Verification) -> Manifest:
    backends = {
        name: backend.model_copy(update={"status": verification.backends[name].status})
        for name, backend in manifest.backends.items()
    }
    files = manifest.files | {name: file_entry(folder / name) for name in PROOF_FILES if (folder / name).is_file()}
    unverified = tuple(name for name, backend in backends.items() if backend.status == "failed")
    update = {"backends": backends, "files": dict(sorted(files.items())), "unverified": unverified}
    return manifest.model_copy(update=update)


def _provenance(checkpoint: Path, config: CompileConfig) -> Provenance:
    origin = checkpoint / PROVENANCE_FILE
    resolved: dict[str, Any] = config.model_dump(mode="json")
    for name, path in (("verify_text", config.verify_text), ("calibration_text", config.calibration_text)):
        if path is not None:
            resolved[name] = sha256_file(path) if path.is_file() else None
    return Provenance(
        checkpoint_sha256=checkpoint_sha256(checkpoint),
        compile=resolved,
        origin=read_json(origin) if origin.is_file() else None,
    )


def _reuse(out: Path, provenance: Provenance, allow_unverified: bool) -> PackageSummary:
    manifest = read_manifest(out)
    before, now = manifest.provenance, provenance
    differing = differences(before.compile, now.compile)
    if before.checkpoint_sha256 != now.checkpoint_sha256:
        differing.insert(0, "the checkpoint")
    if differing:
        raise RecipeError(
            f"--out {out} holds a package made from other inputs; these differ: {'; '.join(differing)}. "
            "Choose another folder, or replace it with --force"
        )
    check_files(out, manifest)
    if manifest.unverified and not allow_unverified:
        raise VerificationError(
            f"{out} was made from the same inputs with --allow-unverified; too far from the checkpoint: "
            f"{', '.join(manifest.unverified)}"
        )
    return PackageSummary(out, manifest, read_verification(out, manifest), reused=True)


def _check_tokenizer(checkpoint: Path, reader: CheckpointReader) -> None:
    path = checkpoint / "tokenizer.json"
    if path.is_file() and (found := _C.Tokenizer(path).vocab_size) > reader.config.vocab_size:
        raise CompileError(
            f"{path}: expected at most {reader.config.vocab_size} tokens, as the model's embeddings have, but the "
            f"tokenizer has {found}; it belongs to another model"
        )


def _copy_tokenizer(checkpoint: Path, folder: Path) -> str | None:
    main, *others = TOKENIZER_FILES
    for name in others:
        if (checkpoint / name).is_file():
            write_bytes(folder / "tokenizer" / name, (checkpoint / name).read_bytes())
    if not (checkpoint / main).is_file():
        return None
    write_bytes(folder / main, (checkpoint / main).read_bytes())
    return main


def _tools(plan: Plan) -> dict[str, str]:
    libraries = [_LIBRARIES[target] for target in plan.capabilities]
    return {name: version(name) for name in (*_TOOLS, *libraries)}
