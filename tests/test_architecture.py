"""The structure that the design promises, checked on the source itself."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# What each part may import of castline: itself, the parts after it, and the base layer.
ORDER = ["cli", "compile", "model", "corpus"]
BASE = {"errors", "files", "libraries", "progress", "recipe", "_C", "__version__"}


def imported_parts(source: Path) -> set[str]:
    parts: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            if node.module == "castline":
                parts.update(alias.name for alias in node.names)
            elif node.module.startswith("castline."):
                parts.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            parts.update(a.name.split(".")[1] for a in node.names if a.name.startswith("castline."))
    return parts


def sources(part: str) -> list[Path]:
    return sorted((ROOT / part).rglob("*.py"))


@pytest.mark.parametrize("part", ORDER)
def test_imports_point_one_way(part: str) -> None:
    allowed = set(ORDER[ORDER.index(part) :]) | BASE
    assert sources(part), f"no sources found under {part}/"
    for source in sources(part):
        outside = imported_parts(source) - allowed
        assert not outside, f"{source.relative_to(ROOT)} imports castline.{outside.pop()}"


def test_base_layer_imports_no_stage() -> None:
    for source in (ROOT / "src" / "castline").glob("*.py"):
        assert not imported_parts(source) - BASE, source


@pytest.mark.parametrize("folder", ["kernels", "text", "tokenizer", "base"])
def test_core_knows_neither_python_nor_torch(folder: str) -> None:
    files = [p for p in (ROOT / "csrc" / folder).rglob("*") if p.suffix in (".hpp", ".cpp", ".h", ".cu", ".cuh")]
    assert files
    for path in files:
        found = re.search(r'#include\s*[<"](Python\.h|pybind11/|torch/|ATen/)', path.read_text())
        assert found is None, f"{path.relative_to(ROOT)}: {found.group(0) if found else ''}"


def test_help_imports_no_heavy_library() -> None:
    heavy = ("torch", "onnx", "onnxruntime", "tensorrt", "tensorrt_rtx", "numpy", "pyarrow", "matplotlib")
    program = (
        "import sys; from castline.cli.app import app; app(['--help'], standalone_mode=False);"
        f"print([m for m in {heavy!r} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "doctor" in done.stdout


def test_no_file_is_a_heap() -> None:
    for path in subprocess.run(
        ["git", "ls-files", "*.py", "*.cpp", "*.hpp", "*.h", "*.cu"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split():
        lines = len((ROOT / path).read_text().splitlines())
        assert lines <= 600, f"{path} has {lines} lines: is it one thing?"
