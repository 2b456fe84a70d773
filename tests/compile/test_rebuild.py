"""`castline rebuild`: a package's TensorRT engines, built again from its graphs."""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from castline._C import examine_tensorrt
from castline.cli.app import app
from castline.compile.build import build_package
from castline.compile.config import CompileConfig
from castline.compile.package import check_files, file_entry, read_manifest
from castline.compile.rebuild import rebuild_engines
from castline.compile.tensorrt import engine_state
from castline.compile.verify import read_verification, verify_package
from castline.errors import CompileError, DeviceError, PackageError, RecipeError
from castline.libraries import tensorrt_path

from .conftest import random_llama

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="the package tensorrt-rtx is not installed"
)
has_no_gpu = pytest.mark.skipif(bool(examine_tensorrt(tensorrt_path())["gpu"]), reason="there is a GPU here")


@pytest.fixture(scope="module")
def bf16_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package with an engine in bf16 for compute capability 8.0."""
    folder = tmp_path_factory.mktemp("package")
    random_llama(folder / "checkpoint", num_hidden_layers=1)
    targets = ("tensorrt-rtx",)
    config = CompileConfig(weights="bf16", targets=targets, compute_capability=("8.0",), context=64, verify_tokens=64)
    return build_package(folder / "checkpoint", folder / "package", config).package


@pytest.fixture
def package(bf16_package: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bf16_package, tmp_path / "package"))


def test_an_engine_is_built_for_another_gpu_in_the_packages_place(package: Path, tmp_path: Path) -> None:
    before, engine = read_manifest(package), (package / "tensorrt-rtx" / "model.engine").read_bytes()
    result = CliRunner().invoke(app, ["rebuild", str(package), "--compute-capability", "8.9", "--json"])
    assert result.exit_code == 0, result.output
    (entry,) = json.loads(result.stdout)["engines"]
    assert (entry["target"], entry["rebuilt"], entry["compute_capabilities"]) == ("tensorrt-rtx", True, ["8.9"])
    after = read_manifest(package)
    check_files(package, after)
    assert [path.name for path in tmp_path.iterdir()] == ["package"]
    assert (package / "tensorrt-rtx" / "model.engine").read_bytes() != engine
    changed = {name for name in after.files if after.files[name] != before.files[name]}
    assert after.files.keys() == before.files.keys()
    assert "tensorrt-rtx/model.engine" in changed
    assert changed <= {"tensorrt-rtx/model.engine", "tensorrt-rtx/model.layers.json"}
    info = after.backends["tensorrt-rtx"].engine
    assert info is not None
    assert info["compute_capabilities"] == ["8.9"]
    assert (info["context"], info["batch"]) == (64, 1)
    # It is the same graph, and the same proof of it; the engine's own run is owed.
    assert after.backends["tensorrt-rtx"].status == "built_not_run"
    verify_package(package)


def test_what_ran_on_the_old_engine_says_nothing_of_the_new_one(package: Path) -> None:
    manifest, path = read_manifest(package), package / "verification.json"
    verification = json.loads(path.read_text())
    proof = verification["backends"]["tensorrt-rtx"]
    verification["backends"]["tensorrt-rtx"] = proof | {"status": "passed", "run": proof["graph"]}
    path.write_text(json.dumps(verification))
    values = manifest.model_dump(mode="json")
    values["files"]["verification.json"] = file_entry(path).model_dump()
    values["backends"]["tensorrt-rtx"]["status"] = "passed"
    (package / "package.json").write_text(json.dumps(values))
    rebuild_engines(package, capabilities=("12.0",))
    again = read_verification(package, read_manifest(package)).backends["tensorrt-rtx"]
    assert (again.status, again.run) == ("built_not_run", None)
    assert again.graph is not None


def test_the_result_may_go_elsewhere(package: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in package.rglob("*") if path.is_file()}
    rebuild_engines(package, out=tmp_path / "other", capabilities=("8.6",))
    check_files(tmp_path / "other", read_manifest(tmp_path / "other"))
    assert {path: path.read_bytes() for path in before} == before
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "something").touch()
    with pytest.raises(RecipeError, match="expected a new folder or a package to replace"):
        rebuild_engines(package, out=tmp_path / "full", capabilities=("8.6",))


def test_a_rebuild_that_cannot_be_leaves_everything_as_it_was(package: Path, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in package.rglob("*")}
    with pytest.raises(CompileError, match=r"bf16 needs compute capability 8.0 or newer.* holds 7.5"):
        rebuild_engines(package, capabilities=("7.5",))
    with pytest.raises(CompileError, match=r"--compute-capability 9\.9: tensorrt-rtx expects one of"):
        rebuild_engines(package, capabilities=("9.9",))
    assert {path: path.stat().st_mtime_ns for path in package.rglob("*")} == before
    graph = package / "tensorrt-rtx" / "model.onnx"
    graph.write_bytes(graph.read_bytes()[:-1])
    with pytest.raises(PackageError, match=r"model\.onnx: expected \d+ bytes"):
        rebuild_engines(package, capabilities=("8.9",))
    assert [path.name for path in tmp_path.iterdir()] == ["package"]


@has_no_gpu
def test_without_a_gpu_one_has_to_be_named(package: Path) -> None:
    with pytest.raises(
        DeviceError, match=r"a GPU to rebuild tensorrt-rtx/model\.engine for.*--compute-capability 8\.9"
    ):
        rebuild_engines(package)
    result = CliRunner().invoke(app, ["rebuild", str(package)])
    assert result.exit_code == 4


@has_no_gpu
def test_an_engines_state_is_in_the_librarys_own_words(package: Path) -> None:
    state = engine_state(package / "tensorrt-rtx" / "model.engine", "tensorrt-rtx")
    assert not state.valid
    assert "driver" in state.words
    (package / "no.engine").write_bytes(b"no engine" * 99)
    assert not engine_state(package / "no.engine", "tensorrt-rtx").valid


def test_a_package_without_engines_is_told_so(tmp_path: Path) -> None:
    random_llama(tmp_path / "checkpoint", num_hidden_layers=1)
    build_package(tmp_path / "checkpoint", tmp_path / "package", CompileConfig(targets=("onnx",), verify_tokens=64))
    with pytest.raises(PackageError, match="has none; compile it with --target"):
        rebuild_engines(tmp_path / "package")
