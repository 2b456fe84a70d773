"""TensorRT engines built again, from the graphs that a package carries: for the GPU at hand, or for others.

An engine serves the kinds of GPU and the library version it was built for. Where it does not load, its graph does
the same work anywhere: the new engine takes its place in the manifest, and its own run is owed again.
"""

import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from castline._C import examine_tensorrt
from castline.compile.backends import graph_path
from castline.compile.formats import TENSORRT_TARGETS, Target, parse_format
from castline.compile.one_file import is_one_file
from castline.compile.package import (
    VERIFICATION,
    Backend,
    Manifest,
    check_files,
    check_replaceable,
    file_entries,
    read_manifest,
    write_manifest,
)
from castline.compile.plan import able_capabilities
from castline.compile.tensorrt import EngineState, build_engine, check_capabilities, engine_state, layers_path
from castline.compile.verify import read_verification
from castline.errors import DeviceError, PackageError
from castline.files import atomic_folder, write_json
from castline.libraries import tensorrt_path

_VALID = "valid on this machine"


@dataclass(frozen=True)
class Rebuilt:
    """What became of one engine."""

    target: Target
    rebuilt: bool
    compute_capabilities: list[str]
    """Of the engine that is there now; empty: the GPU at hand."""
    reason: str


def rebuild_engines(
    package: Path, *, out: Path | None = None, capabilities: tuple[str, ...] = (), force: bool = False
) -> list[Rebuilt]:
    """Build the TensorRT engines of a package again.

    The package is replaced as a whole, or left as it was. Engines that are valid here stay, unless
    `capabilities` names others or `force` is given.

    Args:
        package: the folder
        out: where the result goes; by default in the package's place
        capabilities: compute capabilities to build for; by default the GPU's at hand
        force: rebuild valid engines, too

    Raises:
        PackageError: a file is missing or changed, or there is no TensorRT engine to rebuild.
        CompileError: a capability that is not offered or cannot compute with the package's formats, or a builder
            that fails, with its own words.
        DeviceError: a library is missing; or no GPU is here, and no capability is named.
        RecipeError: `out` holds something else.
    """
    if is_one_file(package):
        raise PackageError(f"{package}: expected a package folder to rebuild in, but it is one file; unpack it first")
    manifest = read_manifest(package)
    check_files(package, manifest)
    recorded = read_verification(package, manifest)
    targets = [target for target in TENSORRT_TARGETS if target in manifest.backends]
    if not targets:
        raise PackageError(
            f"{package}: expected a TensorRT engine to rebuild, but it has none; compile it with --target tensorrt-rtx"
        )
    if out is not None:
        check_replaceable(out)
    wanted = {target: _wanted(package, manifest.backends[target], target, capabilities, force) for target in targets}
    if not any(reason for _, reason in wanted.values()):
        return [Rebuilt(target, False, _served(manifest.backends[target]), _VALID) for target in targets]

    backends, proofs, tools = dict(manifest.backends), dict(recorded.backends), dict(manifest.tools)
    replaced = {VERIFICATION}
    for target, (_, reason) in wanted.items():
        file = Path(backends[target].file)
        replaced |= {file.as_posix(), layers_path(file).as_posix()} if reason else set()
    with atomic_folder(out or package) as folder:
        _link_files(package, folder, manifest, replaced)
        for target, (chosen, reason) in wanted.items():
            if not reason:
                continue
            old = backends[target]
            info = build_engine(
                graph_path(folder, target),
                folder / old.file,
                target=target,
                context=manifest.generation.max_context,
                batch=int((old.engine or {}).get("batch", 1)),
                capabilities=chosen,
            )
            backends[target] = old.model_copy(update={"engine": asdict(info), "status": "built_not_run"})
            proofs[target] = proofs[target].model_copy(update={"status": "built_not_run", "run": None})
            tools[info.library] = info.version
        verification = recorded.model_copy(update={"backends": proofs})
        write_json(folder / VERIFICATION, verification.model_dump(mode="json"))
        update = {"backends": backends, "files": file_entries(folder), "tools": tools}
        write_manifest(folder, manifest.model_copy(update=update))
    return [
        Rebuilt(target, bool(reason), _served(backends[target]), reason or _VALID)
        for target, (_, reason) in wanted.items()
    ]


def _link_files(package: Path, folder: Path, manifest: Manifest, leave: set[str]) -> None:
    """The package's files in another folder, without using the space again where the disk can share it."""
    for name in manifest.files.keys() - leave:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(package / name, folder / name)
        except OSError:
            shutil.copyfile(package / name, folder / name)


def _wanted(
    package: Path, backend: Backend, target: Target, capabilities: tuple[str, ...], force: bool
) -> tuple[list[str], str]:
    """What to build an engine for, and why; no reason: it stays."""
    kinds = {parse_format(text).kind for text in backend.tensors} | {backend.weights}
    if capabilities:
        chosen = able_capabilities(kinds, check_capabilities(target, capabilities), capabilities)
        return chosen, f"asked for compute capability {', '.join(chosen)}"
    machine = examine_tensorrt(tensorrt_path())
    if not machine["gpu"]:
        raise DeviceError(
            f"expected a GPU to rebuild {backend.file} for, but found none ({machine['driver'].splitlines()[0]}); "
            "name the ones that it is for: --compute-capability 8.9"
        )
    state = engine_state(package / backend.file, target)
    if state.valid and not force:
        return [], ""
    here = (machine["compute_capability"],)
    offered = check_capabilities(target, here) if target == "tensorrt-rtx" else []
    return able_capabilities(kinds, offered, here), _why(state)


def _why(state: EngineState) -> str:
    return "asked for" if state.valid else f"not valid on this machine: {state.words}"


def _served(backend: Backend) -> list[str]:
    served: list[str] = (backend.engine or {}).get("compute_capabilities", [])
    return served
