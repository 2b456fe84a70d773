"""A small real path, built once through the command line: corpus, run, package."""

import json
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest
from command_line import CHINESE, RECIPE, Castline, Result


@pytest.fixture(scope="session")
def castline() -> Castline:
    """Run the command line in a process of its own. A traceback is never right here."""

    def run(*arguments: object, **options: Any) -> Result:
        command = [sys.executable, "-c", "from castline.cli.main import main; main()"]
        done = subprocess.run(
            [*command, *(str(a) for a in arguments)], capture_output=True, text=True, check=False, **options
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Result(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recipe and real text: documentation and code of the standard library, and Chinese."""
    folder = tmp_path_factory.mktemp("path")
    (folder / "docs").mkdir()
    (folder / "code").mkdir()
    library = Path(sysconfig.get_paths()["stdlib"])
    from pydoc_data import topics

    for i, text in enumerate(sorted(topics.topics.values(), key=len)[-60:]):
        (folder / "docs" / f"{i:02}.txt").write_text(text)
    for source in sorted(library.glob("*.py"))[:40]:
        (folder / "code" / source.name).write_bytes(source.read_bytes())
    lines = [json.dumps({"text": CHINESE.format(i) * (i % 3 + 1)}, ensure_ascii=False) for i in range(60)]
    (folder / "chinese.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "recipe.toml").write_text(RECIPE)
    return folder


@pytest.fixture(scope="session")
def corpus(data: Path, castline: Castline) -> Path:
    out = data / "corpus"
    assert castline("corpus", "build", data / "recipe.toml", "--out", out, "--workers", 2, "--json").code == 0
    return out


@pytest.fixture(scope="session")
def run(data: Path, corpus: Path, castline: Castline) -> Path:
    out = data / "run"
    result = castline("train", "run", data / "recipe.toml", "--out", out, "--json")
    assert result.json["steps"] == 6
    return out


@pytest.fixture(scope="session")
def package(data: Path, run: Path, castline: Castline) -> Path:
    out = data / "package"
    arguments = ("--recipe", data / "recipe.toml", "--target", "cpu,onnx", "--weights", "int8", "--json")
    assert castline("compile", run / "checkpoint", "--out", out, *arguments).code == 0
    return out
