"""What a user installs: the wheel, in an environment that has the dependencies but not this checkout."""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-build-isolation", "--no-deps"]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run([*command, "--wheel-dir", str(out), str(ROOT)], check=True, env=environment)
    [built] = out.glob("castline-*.whl")
    return built


def test_wheel_holds_every_part_once(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert len(names) == len(set(names))
    for part in ("corpus", "model", "compile", "cli"):
        for source in sorted((ROOT / part).rglob("*.py")):
            assert f"castline/{source.relative_to(ROOT)}" in names
    assert "castline/py.typed" in names
    assert [name for name in names if name.startswith("castline/_C.") and name.endswith(".so")]
    assert not [name for name in names if "/tests/" in name or name.startswith("csrc")]


def test_wheel_runs_without_the_checkout(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    venv.create(environment, with_pip=False)
    site = next((environment / "lib").glob("python3*/site-packages"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    # The dependencies come from here; a plain path does not run the editable install's hook.
    paths = {sysconfig.get_paths()["purelib"], *(p for p in sys.path if p.endswith("site-packages"))}
    (site / "dependencies.pth").write_text("\n".join(sorted(paths)))
    program = "import castline, castline._C; from castline.cli.main import main; print(castline.__file__); main()"
    done = subprocess.run(
        [environment / "bin" / "python", "-c", program, "doctor"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert str(site) in done.stdout.splitlines()[0]
    assert "corpus, tokenizer and CPU runtime" in done.stdout
