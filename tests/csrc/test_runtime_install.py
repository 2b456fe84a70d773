"""The installed library: find_package(castline), and the examples in C and C++ built against it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from package_writer import TINY, byte_tokenizer, random_tensors, write_package

from castline._C import Engine

REPOSITORY = Path(__file__).resolve().parents[2]
TOOLS = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
PROMPT = "Grüße, 世界"


def run(*command: str | Path, code: int = 0) -> tuple[str, str]:
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        check=False,
        env={**os.environ, "PATH": TOOLS},
    )
    output, errors = done.stdout.decode(), done.stderr.decode()
    assert done.returncode == code, f"{command}\n{output}\n{errors}"
    return output, errors


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the examples, built as a user builds them: against what `cmake --install` gave."""
    if shutil.which("cmake", path=TOOLS) is None or shutil.which("ninja", path=TOOLS) is None:
        pytest.skip("cmake and ninja are needed to build the examples")
    library = REPOSITORY / "build" / "cpp"  # where `make ctest` builds: mostly there already
    prefix = tmp_path_factory.mktemp("prefix")
    build = tmp_path_factory.mktemp("examples")
    run("cmake", "-S", REPOSITORY, "-B", library, "-G", "Ninja")
    run("cmake", "--build", library, "--target", "castline")
    run("cmake", "--install", library, "--component", "cpp", "--prefix", prefix)
    headers = sorted(path.relative_to(prefix / "include").as_posix() for path in prefix.rglob("*.h*"))
    assert headers == ["castline/castline.h", "castline/castline.hpp"]
    strict = "-Wall -Wextra -Wpedantic -Werror"
    run(
        *("cmake", "-S", REPOSITORY / "examples", "-B", build, "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={prefix}"),
        *(f"-DCMAKE_C_FLAGS={strict}", f"-DCMAKE_CXX_FLAGS={strict}"),
    )
    run("cmake", "--build", build)
    return build


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("package")
    return write_package(folder, TINY, random_tensors(TINY), tokenizer=byte_tokenizer())


def test_generate_writes_what_the_python_engine_gives(examples: Path, package: Path) -> None:
    engine = Engine(package)
    assert engine.tokenizer is not None
    for temperature, seed in ((0, 0), (1, 3)):
        expected = engine.generate(engine.tokenizer.encode(PROMPT), max_tokens=60, temperature=temperature, seed=seed)
        output, errors = run(examples / "generate", package, PROMPT, "60", str(temperature), str(seed))
        # The example streams: a character that the last token leaves unfinished is not in the stream.
        assert output.removesuffix("\n") in (expected.text, expected.text.removesuffix("\ufffd"))
        assert "cpu, f32 weights" in errors
        assert "60 tokens" in errors


def test_score_prints_the_log_probabilities(examples: Path, package: Path) -> None:
    engine = Engine(package)
    assert engine.tokenizer is not None
    ids = engine.tokenizer.encode(PROMPT)
    rows = [line.split() for line in run(examples / "score", package, PROMPT)[0].splitlines()]
    assert [int(row[0]) for row in rows] == ids[1:].tolist()
    np.testing.assert_allclose([float(row[1]) for row in rows], engine.score(ids), atol=1e-6)


def test_errors_are_printed_with_a_failing_status(examples: Path, tmp_path: Path) -> None:
    for program in ("generate", "score"):
        _, errors = run(examples / program, tmp_path, "text", code=1)
        assert "`castline compile` makes one" in errors
    assert "usage" in run(examples / "generate", code=2)[1]


def test_the_example_is_short() -> None:
    assert len((REPOSITORY / "examples" / "generate.cpp").read_text().splitlines()) < 60
