"""The TensorRT backend with the real library, up to the GPU; and, where there is one, against the CPU backend.

What needs a driver to get that far runs on the fake one of the C++ tests (csrc/tests/fake_cuda.cpp), in a process
of its own.
"""

import importlib.metadata
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from castline._C import Engine, examine_tensorrt
from castline.compile.build import build_package
from castline.compile.config import CompileConfig
from castline.errors import DeviceError
from castline.libraries import tensorrt_path

FAKE_CUDA = Path(__file__).resolve().parents[2] / "csrc" / "tests" / "fake_cuda.cpp"
MACHINE = examine_tensorrt(tensorrt_path())
IDS = np.random.default_rng(3).integers(0, 320, 80).tolist()

has_builder = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="the package tensorrt-rtx is not installed"
)
has_backend = pytest.mark.skipif(bool(MACHINE["left_out"]), reason="this build has no TensorRT backend")
has_no_gpu = pytest.mark.skipif(bool(MACHINE["gpu"]), reason="there is a GPU here")
gpu = [
    pytest.mark.gpu,
    pytest.mark.skipif(bool(MACHINE["left_out"]), reason="this build has no TensorRT backend"),
    pytest.mark.skipif(not MACHINE["gpu"], reason=MACHINE["driver"].split("\n")[0]),
]


def compiled(folder: Path, capability: str, **config: Any) -> Path:
    """A package of a small random Llama with CPU weights and an engine for `capability`."""
    torch.manual_seed(1)
    shape = {"hidden_size": 64, "intermediate_size": 160, "num_attention_heads": 4, "num_key_value_heads": 2}
    llama = LlamaConfig(vocab_size=320, num_hidden_layers=2, max_position_embeddings=128, **shape)
    model = LlamaForCausalLM(llama).requires_grad_(False)
    for parameter in model.parameters():
        if parameter.dim() == 2:
            parameter.normal_(0, parameter.shape[1] ** -0.5)
    model.save_pretrained(folder / "checkpoint")
    options = CompileConfig(
        targets=("cpu", "tensorrt-rtx"), compute_capability=(capability,), context=96, verify_tokens=128, **config
    )
    return build_package(folder / "checkpoint", folder / "package", options).package


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("tensorrt"), "8.9")


@pytest.fixture(scope="module")
def fake_driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a libcuda.so.1 that has a GPU of compute capability 8.9."""
    compiler = shutil.which("c++")
    if compiler is None:
        pytest.skip("a C++ compiler is needed to build the fake driver")
    folder = tmp_path_factory.mktemp("driver")
    command = [compiler, "-std=c++20", "-fPIC", "-shared", str(FAKE_CUDA), "-o", str(folder / "libcuda.so.1")]
    subprocess.run(command, check=True)
    return folder


OPEN = """
import json, sys
from castline._C import Engine
from castline.errors import DeviceError
package, options = sys.argv[1], json.loads(sys.argv[2])
try:
    info = Engine(package, **options).info()
    print(json.dumps([info["backend"], info["note"]]))
except DeviceError as error:
    print(json.dumps(["DeviceError", str(error)]))
"""


def opened_with(driver: Path, package: Path, **options: Any) -> tuple[str, str]:
    """The backend that a process on the fake driver gets, and its note; or DeviceError and the message."""
    command = [sys.executable, "-c", OPEN, str(package), json.dumps(options)]
    environment = {**os.environ, "LD_LIBRARY_PATH": str(driver)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    backend, message = json.loads(done.stdout)
    return backend, message


@has_builder
@has_backend
def test_the_installed_library_loads_and_says_its_version() -> None:
    name, where = MACHINE["libraries"]["tensorrt_rtx"]
    version = importlib.metadata.version("tensorrt_rtx").split(".")
    assert name == f"TensorRT for RTX {'.'.join(version[:3])}"
    assert Path(where).name == "libtensorrt_rtx.so.1"
    assert str(Path(where).parent) in tensorrt_path().split(":")


@has_backend
def test_a_library_in_no_place_is_a_list_of_places(tmp_path: Path) -> None:
    (tmp_path / "libnvinfer.so.11").write_bytes(b"no library")
    name, why = examine_tensorrt(f"/nowhere:{tmp_path}")["libraries"]["tensorrt"]
    if name:
        pytest.skip("the system's loader finds a libnvinfer.so.11")
    assert "/nowhere/libnvinfer.so.11: no such file" in why
    assert f"{tmp_path}/libnvinfer.so.11: file too short" in why
    assert "CASTLINE_TENSORRT_PATH" in why


@has_builder
@has_no_gpu
def test_without_a_gpu_auto_falls_back_and_tensorrt_is_an_error(package: Path) -> None:
    missing = "headers" if MACHINE["left_out"] else "driver|GPU"
    engine = Engine(package, backend="auto")
    assert engine.info()["backend"] == "cpu"
    assert "engine" not in engine.info()
    with pytest.raises(DeviceError, match=missing) as raised:
        Engine(package, backend="tensorrt")
    assert engine.info()["note"] == str(raised.value)
    np.testing.assert_array_equal(engine.logits(IDS[:5]), Engine(package).logits(IDS[:5]))


@has_builder
@has_backend
@has_no_gpu
def test_each_thing_that_is_missing_is_named(package: Path, fake_driver: Path, tmp_path: Path) -> None:
    # The real library refuses to load an engine on a driver that is none: its own words, and what to do.
    kind, message = opened_with(fake_driver, package, backend="tensorrt")
    assert kind == "DeviceError"
    assert "expected to load the engine with TensorRT for RTX" in message
    assert "deserializeCudaEngine" in message
    assert "was built by tensorrt_rtx" in message
    assert f"`castline rebuild {package}`" in message
    assert opened_with(fake_driver, package, backend="auto") == ("cpu", message)

    # No library: an empty path instead of pip's folders.
    kind, message = opened_with(fake_driver, package, backend="tensorrt", tensorrt_path="/nowhere")
    assert kind == "DeviceError"
    assert "/nowhere/libtensorrt_rtx.so.1: no such file" in message

    # An engine for another GPU.
    other = Path(shutil.copytree(package, tmp_path / "other"))
    manifest = json.loads((other / "package.json").read_text())
    manifest["backends"]["tensorrt-rtx"]["engine"]["compute_capabilities"] = ["8.0", "12.0"]
    (other / "package.json").write_text(json.dumps(manifest))
    kind, message = opened_with(fake_driver, other, backend="tensorrt")
    assert kind == "DeviceError"
    assert "for compute capability 8.9" in message
    assert "tensorrt-rtx/model.engine for 8.0, 12.0" in message


@has_builder
@has_backend
@has_no_gpu
def test_a_cut_engine_is_refused_in_tensorrts_own_words(package: Path, fake_driver: Path, tmp_path: Path) -> None:
    cut = Path(shutil.copytree(package, tmp_path / "cut"))
    engine = cut / "tensorrt-rtx" / "model.engine"
    engine.write_bytes(engine.read_bytes()[:1000])
    manifest = json.loads((cut / "package.json").read_text())
    manifest["files"]["tensorrt-rtx/model.engine"]["size"] = 1000
    (cut / "package.json").write_text(json.dumps(manifest))
    kind, message = opened_with(fake_driver, cut, backend="tensorrt")
    assert kind == "DeviceError"
    assert "plan.header.size == blobSize" in message


class TestOnAGpu:
    pytestmark = gpu

    @pytest.fixture(scope="class", params=["f32", "int8"])
    def engines(
        self, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
    ) -> tuple[Engine, Engine]:
        """The same package on the GPU and on the CPU."""
        capability = MACHINE["compute_capability"]
        from castline.compile.tensorrt import offered_capabilities

        if capability not in offered_capabilities("tensorrt-rtx"):
            pytest.skip(f"TensorRT for RTX builds no engine for compute capability {capability}")
        package = compiled(tmp_path_factory.mktemp("gpu"), capability, weights=request.param)
        return Engine(package, backend="tensorrt"), Engine(package, backend="cpu")

    def test_it_says_what_runs(self, engines: tuple[Engine, Engine]) -> None:
        info = engines[0].info()
        assert info["backend"] == "tensorrt"
        assert info["engine"] == "tensorrt-rtx/model.engine"
        assert MACHINE["gpu"] in info["processor"]
        assert info["note"] == ""

    def test_logits_are_those_of_the_cpu(self, engines: tuple[Engine, Engine]) -> None:
        on_gpu, on_cpu = (engine.logits(IDS) for engine in engines)
        np.testing.assert_allclose(on_gpu, on_cpu, atol=0.05)  # half precision
        np.testing.assert_array_equal(engines[0].logits(IDS[:7]), engines[0].logits(IDS[:7]))

    def test_greedy_tokens_are_those_of_the_cpu(self, engines: tuple[Engine, Engine]) -> None:
        on_gpu, on_cpu = engines
        for length in (1, 2, 17, 40):
            expected = on_cpu.generate(IDS[:length], max_tokens=50).ids
            # Token by token through the decode profile and its CUDA graph; a near tie may go either way.
            logits = np.sort(on_cpu.logits(IDS[:length] + expected)[length - 1 : -1], axis=-1)
            close = np.flatnonzero(logits[:, -1] - logits[:, -2] < 0.1)
            sure = int(close[0]) if len(close) else len(expected)
            assert on_gpu.generate(IDS[:length], max_tokens=50).ids[:sure] == expected[:sure]

    def test_scores_beyond_one_piece(self, engines: tuple[Engine, Engine]) -> None:
        on_gpu, on_cpu = (engine.score(IDS) for engine in engines)
        np.testing.assert_allclose(on_gpu, on_cpu, atol=0.05)
