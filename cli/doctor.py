"""`castline doctor`: what this machine can do, and what to install for the rest."""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

from castline.cli.output import JsonOption, print_json


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for: whether it is there, what was found, and how to get it."""

    name: str
    present: bool
    found: str
    advice: str = ""


def doctor_command(json_output: JsonOption = False) -> None:
    """Say what this machine can do, and what to install for the rest."""
    findings = examine()
    if json_output:
        print_json({"findings": [asdict(finding) for finding in findings]})
        return
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        mark = "yes" if finding.present else "no "
        print(f"{mark}  {finding.name:<{width}}  {finding.found}")
        if not finding.present:
            for line in finding.advice.splitlines():
                print(f"     {'':<{width}}  {line}")


def examine() -> list[Finding]:
    """Look at the processor, the compiler, the libraries and the GPU of this machine."""
    return [
        _platform(),
        _processor(),
        _memory(),
        _tool("C++ compiler", ("c++", "g++", "clang++"), "only building from source needs one: apt install g++"),
        _package("torch", "training and verification", "pip install torch"),
        _package("onnx", "ONNX export", "pip install onnx"),
        _package("onnxruntime", "verification of the ONNX graph", "pip install onnxruntime"),
        _module("castline._C", "corpus, tokenizer and CPU runtime", "make build"),
        _ops(),
        _package("ray", "corpora built on a cluster", "pip install 'castline[ray]'"),
        _package("tensorrt_rtx", "TensorRT for RTX: engines build here", "pip install 'castline[tensorrt-rtx]'"),
        _package("tensorrt", "TensorRT (data centre): engines build here", "pip install 'castline[tensorrt]'"),
        _gpu(),
        *_tensorrt(),
        _tool("CUDA compiler", ("nvcc",), "only the CUDA ops need it: install the CUDA toolkit"),
    ]


def _platform() -> Finding:
    supported = platform.system() == "Linux" and platform.machine() in ("x86_64", "aarch64")
    found = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    return Finding("platform", supported, found, "castline is developed and tested on Linux x86_64")


def _processor() -> Finding:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    flags: set[str] = set()
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith(("flags", "Features")):
                flags = set(line.split(":", 1)[1].split())
                break
    wanted = ("avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "asimd")
    found = [name for name in wanted if name in flags]
    fast = {"avx2", "fma"} <= flags
    advice = "without AVX2 the scalar kernels are used: correct, and several times slower"
    return Finding("processor", fast, f"{cores} cores, {' '.join(found) or 'no vector extensions'}", advice)


def _memory() -> Finding:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Finding("memory", True, f"{total / 1e9:.1f} GB")


def _tool(name: str, commands: tuple[str, ...], advice: str) -> Finding:
    for command in commands:
        path = shutil.which(command)
        if path is not None:
            lines = _output([path, "--version"]).splitlines()
            version = lines[-2] if command == "nvcc" and len(lines) > 1 else lines[0] if lines else ""
            return Finding(name, True, f"{path} {version}".strip())
    return Finding(name, False, "not found", advice)


def _package(module: str, purpose: str, advice: str) -> Finding:
    if importlib.util.find_spec(module) is None:
        return Finding(module, False, f"not installed ({purpose})", advice)
    names = importlib.metadata.packages_distributions().get(module, [])
    version = importlib.metadata.version(names[0]) if names else "unknown version"
    return Finding(module, True, f"{version} ({purpose})")


def _module(module: str, purpose: str, advice: str) -> Finding:
    if importlib.util.find_spec(module) is None:
        return Finding(module, False, f"not built ({purpose})", advice)
    return Finding(module, True, f"built ({purpose})")


def _ops() -> Finding:
    import castline

    folders = [Path(folder) for folder in castline.__path__]
    module = importlib.util.find_spec("castline._C")
    if module is not None and module.origin:
        folders.append(Path(module.origin).parent)
    built = sorted(p.name for folder in folders for p in folder.glob("_ops*.so"))
    if not built:
        return Finding("fused ops", False, "not built; the PyTorch twins are used", "make build")
    return Finding("fused ops", True, ", ".join(built))


def _gpu() -> Finding:
    command = shutil.which("nvidia-smi")
    names = _output([command, "--query-gpu=name,compute_cap", "--format=csv,noheader"]) if command else ""
    if not names:
        advice = "engines can be built here but not run; `castline verify` on a machine with a GPU completes the proof"
        return Finding("NVIDIA GPU", False, "not found", advice)
    return Finding("NVIDIA GPU", True, "; ".join(names.splitlines()))


def _tensorrt() -> list[Finding]:
    """Whether the runtime can run TensorRT engines: the backend, its libraries, the driver."""
    if importlib.util.find_spec("castline._C") is None:
        return []
    from castline._C import examine_tensorrt
    from castline.libraries import tensorrt_path

    machine = examine_tensorrt(tensorrt_path())
    built = "left out of this build" if machine["left_out"] else "in this build"
    findings = [Finding("TensorRT backend", not machine["left_out"], built, machine["left_out"])]
    for module, (name, where) in machine["libraries"].items():
        found = f"{name}, {where}" if name else "no library for its engines"
        findings.append(Finding(f"running {module}", bool(name), found, where))
    driver = f"for CUDA {machine['driver']}" if machine["gpu"] else "none that works"
    findings.append(Finding("CUDA driver", bool(machine["gpu"]), driver, machine["driver"]))
    return findings


def _output(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""
