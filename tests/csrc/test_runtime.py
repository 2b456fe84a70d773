"""The CPU backend against transformers, and the promises about threads, levels and cut sequences."""

import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from package_writer import TINY, Tensors, byte_tokenizer, quantise, random_tensors, write_package
from transformers import LlamaConfig, LlamaForCausalLM

from castline._C import Engine, GenerateResult, cpu_levels
from castline.errors import DeviceError

Floats = npt.NDArray[np.float32]
IDS = np.random.default_rng(5).integers(0, TINY["vocab_size"], 150)

VARIANTS: dict[str, dict[str, Any]] = {
    "tiny": {},
    "tied": {"tie_word_embeddings": True},
    "odd": {
        "vocab_size": 301,
        "hidden_size": 30,
        "intermediate_size": 37,
        "num_attention_heads": 3,
        "num_key_value_heads": 1,
        "head_dim": 22,
    },
    "wide": {"hidden_size": 1104, "intermediate_size": 1030, "head_dim": 80, "num_hidden_layers": 1},
    "no groups": {"num_key_value_heads": 6},
    "linear": {"rope_scaling": {"rope_type": "linear", "factor": 2.5}},
    "dynamic": {"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}},
    "llama3": {
        "rope_scaling": {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        }
    },
}


@pytest.fixture(autouse=True)
def one_torch_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(params=["scalar", "avx2", "avx512"])
def level(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    name: str = request.param
    if name not in cpu_levels():
        pytest.skip(f"this machine has no {name}")
    monkeypatch.setenv("CASTLINE_CPU", name)
    return name


def transformers_logits(config: dict[str, Any], tensors: Tensors, ids: npt.NDArray[Any]) -> Floats:
    model = LlamaForCausalLM(LlamaConfig(**config, attn_implementation="eager")).eval()
    model.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in tensors.items()}, strict=False)
    with torch.no_grad():
        logits: Floats = model(torch.from_numpy(ids)[None]).logits[0].numpy()
    return logits


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_package(tmp_path_factory.mktemp("package"), TINY, random_tensors(TINY))


@pytest.fixture(scope="module")
def int8_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    stored, _ = quantise(random_tensors(TINY))
    return write_package(tmp_path_factory.mktemp("package"), TINY, stored, weights="int8")


@pytest.mark.parametrize("variant", VARIANTS)
def test_logits_equal_transformers(variant: str, level: str, tmp_path: Path) -> None:
    config = TINY | VARIANTS[variant]
    # A spread that keeps the sums of every width at the same size.
    tensors = random_tensors(config, spread=1.5 / config["hidden_size"] ** 0.5)
    ids = IDS % config["vocab_size"]
    engine = Engine(write_package(tmp_path, config, tensors))
    assert engine.info()["processor"] == level
    expected = transformers_logits(config, tensors, ids)
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(engine.logits(ids), expected, atol=1e-4)


@pytest.mark.parametrize("variant", ["tiny", "odd", "wide"])
def test_int8_logits_equal_what_the_integers_stand_for(variant: str, level: str, tmp_path: Path) -> None:
    config = TINY | VARIANTS[variant]
    stored, meant = quantise(random_tensors(config, spread=1.5 / config["hidden_size"] ** 0.5))
    ids = IDS % config["vocab_size"]
    engine = Engine(write_package(tmp_path, config, stored, weights="int8"))
    assert engine.info()["weights"] == "int8"
    # Activations carry 15 bits beside the largest of their block.
    np.testing.assert_allclose(engine.logits(ids), transformers_logits(config, meant, ids), atol=5e-3)


def test_int8_products_are_the_same_on_every_level(int8_package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The first layer's products see equal inputs, so only float rounding elsewhere may differ.
    results = []
    for name in cpu_levels():
        monkeypatch.setenv("CASTLINE_CPU", name)
        results.append(Engine(int8_package).logits(IDS))
    for result in results[1:]:
        np.testing.assert_allclose(result, results[0], atol=5e-3)


def test_greedy_tokens_equal_transformers(package: Path) -> None:
    model = LlamaForCausalLM(LlamaConfig(**TINY, attn_implementation="eager")).eval()
    tensors = random_tensors(TINY)
    model.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in tensors.items()}, strict=False)
    engine = Engine(package)
    for seed in range(5):
        prompt = np.random.default_rng(seed).integers(0, TINY["vocab_size"], 3 + 7 * seed)
        ids = torch.from_numpy(prompt)[None]
        expected = model.generate(ids, max_new_tokens=40, do_sample=False, pad_token_id=0, eos_token_id=None)
        assert engine.generate(prompt, max_tokens=40).ids == expected[0, len(prompt) :].tolist()


def test_score_is_the_log_softmax_of_the_logits(package: Path, int8_package: Path) -> None:
    for folder in (package, int8_package):
        engine = Engine(folder)
        logits = torch.from_numpy(engine.logits(IDS)).double()
        expected = logits[:-1].log_softmax(-1)[torch.arange(len(IDS) - 1), torch.from_numpy(IDS[1:])]
        scores = engine.score(IDS)
        assert scores.dtype == np.float32
        np.testing.assert_allclose(scores, expected.numpy(), atol=2e-6)


@pytest.mark.parametrize("kind", ["f32", "int8"])
def test_bits_do_not_depend_on_threads_or_on_cuts(kind: str, level: str, package: Path, int8_package: Path) -> None:
    folder = package if kind == "f32" else int8_package
    reference = Engine(folder, threads=1).logits(IDS)
    for threads in (2, 3):
        assert Engine(folder, threads=threads).logits(IDS).tobytes() == reference.tobytes()
    # Decoding token by token goes through matrix-vector products and single attention rows.
    engine = Engine(folder, threads=2)
    greedy = engine.generate(IDS[:20], max_tokens=100).ids
    everything = np.concatenate([IDS[:20], greedy])
    assert engine.logits(everything)[19:-1].argmax(-1).tolist() == greedy
    for cut in (1, 2, 7, 64):
        assert engine.logits(IDS[:cut]).tobytes() == reference[:cut].tobytes()


def test_sampling_repeats_for_a_seed_on_any_number_of_threads(package: Path) -> None:
    def sample(threads: int, seed: int) -> list[int]:
        engine = Engine(package, threads=threads)
        return engine.generate([1, 2], max_tokens=30, temperature=1.0, top_k=50, top_p=0.9, seed=seed).ids

    assert sample(1, 7) == sample(2, 7) == sample(3, 7)
    assert sample(1, 7) != sample(1, 8)


def test_generation_ends_at_a_stop_token_the_limit_or_the_context(tmp_path: Path, package: Path) -> None:
    greedy = Engine(package).generate([5, 6, 7], max_tokens=12)
    assert (len(greedy.ids), greedy.finish_reason) == (12, "length")
    stop = greedy.ids[6]
    folder = write_package(tmp_path, TINY, random_tensors(TINY), generation={"eos_ids": [stop], "max_context": 16})
    engine = Engine(folder)
    stopped = engine.generate([5, 6, 7], max_tokens=12)
    assert (stopped.ids, stopped.finish_reason) == (greedy.ids[: greedy.ids.index(stop)], "stop")
    full = engine.generate([1] * 14, max_tokens=12)
    assert (len(full.ids), full.finish_reason) == (3, "length") or full.finish_reason == "stop"
    assert engine.generate([1], max_tokens=0).ids == []


def test_the_callback_sees_every_token_and_can_stop(package: Path) -> None:
    engine = Engine(package)
    seen: list[int] = []

    def until_five(token: int, text: str) -> bool:
        assert text == ""  # no tokenizer in this package
        seen.append(token)
        return len(seen) < 5

    result: GenerateResult = engine.generate([1, 2, 3], max_tokens=20, callback=until_five)
    assert (result.ids, result.finish_reason) == (seen, "cancelled")
    assert len(seen) == 5

    def fails(token: int, text: str) -> None:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        engine.generate([1], callback=fails)
    with pytest.raises(ValueError, match="callback not to call"):
        engine.generate([1], callback=lambda *_: bool(engine.score([1, 2]).size))
    assert engine.generate([1, 2, 3], max_tokens=5).ids == seen  # usable after all that


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompt_ids": []}, "at least 1 token, but got 0"),
        ({"prompt_ids": [0] * 257}, "at most 256 tokens, the context of this package, but got 257"),
        ({"prompt_ids": [300]}, "below the vocabulary's 300, but got 300"),
        ({"prompt_ids": [-1]}, "but got -1"),
        ({"prompt_ids": [1], "temperature": -1.0}, "temperature"),
        ({"prompt_ids": [1], "temperature": float("nan")}, "temperature"),
        ({"prompt_ids": [1], "top_p": 0.0}, "top_p"),
    ],
)
def test_a_wrong_argument_is_a_value_error(package: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Engine(package).generate(**arguments)


def test_a_wrong_backend_or_level_says_what_there_is(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="cpu, tensorrt or auto, but got 'gpu'"):
        Engine(package, backend="gpu")  # type: ignore[arg-type]
    with pytest.raises(DeviceError, match="tensorrt"):
        Engine(package, backend="tensorrt")
    monkeypatch.setenv("CASTLINE_CPU", "neon9")
    with pytest.raises(ValueError, match="scalar, avx2 or avx512, but got 'neon9'"):
        Engine(package)


@pytest.fixture(scope="module")
def text_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("package")
    return write_package(folder, TINY, random_tensors(TINY), tokenizer=byte_tokenizer())


def test_streamed_text_is_whole_characters_and_adds_up(text_package: Path) -> None:
    # A random model over bytes writes every kind of broken and whole UTF-8; ids from 257 on have no text.
    engine = Engine(text_package)
    tokenizer = engine.tokenizer
    assert tokenizer is not None
    whole = 0
    for seed in range(20):
        pieces: list[str] = []

        def collect(_: int, text: str, pieces: list[str] = pieces) -> None:
            pieces.append(text)

        prompt = tokenizer.encode("中文 text")
        result = engine.generate(prompt, max_tokens=100, temperature=1.5, seed=seed, callback=collect)
        known = [token for token in result.ids if token < tokenizer.vocab_size]
        expected = tokenizer.decode(known, skip_special=True).decode("utf-8", "replace")
        assert result.text == expected
        assert "".join(pieces) in (expected, expected.removesuffix("\ufffd"))
        whole += sum(len(text) == 1 and text != "\ufffd" for text in pieces)
    assert whole > 500


def test_ctrl_c_stops_a_long_generation(tmp_path: Path) -> None:
    config = TINY | {"max_position_embeddings": 1_000_000}
    package = write_package(tmp_path, config, random_tensors(config))
    program = (
        "import sys; from castline._C import Engine; said = []\n"
        "def callback(token, text):\n"
        "    if not said: said.append(print('running', flush=True))\n"
        "try: Engine(sys.argv[1], threads=1).generate([1], max_tokens=900_000, callback=callback)\n"
        "except KeyboardInterrupt: print('stopped')\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(package)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=30)[0] == "stopped\n"
    assert process.returncode == 0


def test_other_python_threads_run_meanwhile(package: Path) -> None:
    engine = Engine(package, threads=1)
    done = threading.Event()

    def work() -> None:
        engine.logits(np.resize(IDS, 250))
        for _ in range(20):
            engine.generate([1], max_tokens=200)
        done.set()

    worker = threading.Thread(target=work)
    worker.start()
    turns = 0
    while not done.wait(0.0005):
        turns += 1
    worker.join()
    assert turns > 5
