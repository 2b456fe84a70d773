"""Formats chosen for a divergence or a size: the best ones by the estimate, and within the limit by measurement."""

import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from castline.compile.build import build_package
from castline.compile.choose import Option, frontier, smallest_within
from castline.compile.config import CompileConfig
from castline.compile.fidelity import ReferenceLogits, measure
from castline.compile.formats import TensorFormat
from castline.compile.quantize import rounded_values
from castline.compile.sensitivity import groups, sensitivities
from castline.errors import CompileError
from castline.model.checkpoint import CheckpointReader, load_decoder
from castline.model.layouts import from_llama

from .conftest import Trained

LIMIT = 6e-4
"""Of divergence: between what the trained model has with the smallest formats and with int8."""

OPTIONS = st.lists(st.tuples(st.integers(1, 50), st.integers(0, 50)), min_size=1, max_size=4, unique_by=lambda o: o[0])


@given(st.lists(OPTIONS, min_size=1, max_size=4), st.integers(0, 100))
def test_no_choice_is_better_than_one_of_the_frontier(groups: list[list[tuple[int, int]]], rest: int) -> None:
    formats = [TensorFormat("int4", number) for number in range(4)]
    options = {
        f"group {number}": [Option(formats[place], size, float(kl)) for place, (size, kl) in enumerate(own)]
        for number, own in enumerate(groups)
    }
    points = frontier(options, rest)
    for before, after in itertools.pairwise(points):
        assert before.size > after.size
        assert before.kl < after.kl
    for choice in itertools.product(*options.values()):
        size, kl = rest + sum(option.size for option in choice), sum(option.kl for option in choice)
        assert not any(size <= point.size and kl < point.kl for point in points)
    assert points[-1].size == rest + sum(min(size for size, _ in own) for own in groups)
    assert points[0].kl == sum(min(kl for _, kl in own) for own in groups)
    best = smallest_within(points, points[len(points) // 2].kl)
    assert best is not None
    assert best.size == points[len(points) // 2].size


def test_a_groups_sensitivity_is_the_divergence_it_causes(trained: Trained) -> None:
    reader = CheckpointReader(trained.checkpoint)
    ids = trained.held_out[:2]
    coarse, fine = TensorFormat("int4", 128), TensorFormat("int8")
    found = sensitivities(reader, ids, {group.label: [fine, coarse] for group in groups(reader.config)})

    decoder = load_decoder(reader).requires_grad_(False)
    reference = ReferenceLogits(ids, [decoder(torch.from_numpy(row)[None])[0].numpy() for row in ids])
    assert {group.label for group in groups(reader.config)} == found.keys()
    for group in groups(reader.config):
        for stored in (fine, coarse):

            def tensor(name: str, group=group, stored=stored) -> torch.Tensor:  # type: ignore[no-untyped-def]
                original = reader.tensor(name)
                return torch.from_numpy(rounded_values(original.numpy(), stored)) if name in group.names else original

            own = from_llama(reader.config, tensor)
            decoder.load_state_dict({**own, "output.weight": own["tok_embeddings.weight"]}, assign=True)
            exact = measure(lambda row: decoder(torch.tensor([row]))[0].numpy(), reference, lambda _: None).mean_kl
            assert found[group.label][stored] == pytest.approx(exact, rel=0.02, abs=1e-7), group.label


def package(trained: Trained, out: Path, **options: object) -> CompileConfig:
    text = out.parent / "text.txt"
    from pydoc_data import topics

    text.write_text("\n\n".join(topics.topics[name] for name in sorted(topics.topics)[1::2])[:20_000])
    seen = out.parent / "seen.txt"
    seen.write_text("\n\n".join(topics.topics[name] for name in sorted(topics.topics)[::2])[:20_000])
    return CompileConfig.model_validate(
        {
            "targets": ("cpu",),
            "verify_text": text,
            "verify_tokens": 512,
            "calibration_text": seen,
            "calibration_tokens": 8192,
            **options,
        }
    )


def test_the_smallest_package_within_a_divergence(trained: Trained, tmp_path: Path) -> None:
    config = package(trained, tmp_path / "out", max_kl=LIMIT)
    made = build_package(trained.checkpoint, tmp_path / "out", config)
    run = made.verification.backends["cpu"].run
    assert run is not None
    assert run.mean_kl <= LIMIT
    assert made.verification.backends["cpu"].bound == LIMIT
    stored = made.manifest.backends["cpu"].tensors
    assert any(name.startswith("int4") for name in stored), stored
    choice = json.loads((tmp_path / "out" / "choice.json").read_text())
    assert choice["chosen"]["measured"] == pytest.approx(run.mean_kl, rel=1e-6)
    assert abs(choice["chosen"]["size"] - made.manifest.files["cpu/weights.safetensors"].size) <= 4096
    over = [trial for trial in choice["trials"] if trial["measured"] > LIMIT]
    assert len(choice["trials"]) >= 2, "the limit does not bind: nothing was corrected"
    assert all(trial["size"] < choice["chosen"]["size"] for trial in over)
    fitting = [trial["size"] for trial in choice["trials"] if trial["measured"] <= LIMIT]
    assert choice["chosen"]["size"] == min(fitting)
    sizes = [size for size, _ in choice["frontier"]]
    assert sizes[-1] < choice["chosen"]["size"] < sizes[0]
    assert sizes == sorted(sizes, reverse=True)
    assert choice["chosen"]["size"] < choice["uniform"]["int8"][0]
    page = (tmp_path / "out" / "choice.html").read_text()
    assert page.count("<svg") == 1
    assert not re.search(r"(src|href)=\"http", page)
    assert build_package(trained.checkpoint, tmp_path / "out", config).reused


def test_the_closest_package_of_a_size(trained: Trained, tmp_path: Path) -> None:
    config = package(trained, tmp_path / "out", max_size="500kB")
    made = build_package(trained.checkpoint, tmp_path / "out", config)
    size = made.manifest.files["cpu/weights.safetensors"].size
    assert 450_000 < size <= 500_000


def test_what_is_measured_is_the_targets_own_graph(trained: Trained, tmp_path: Path) -> None:
    config = package(trained, tmp_path / "out", max_size="600kB", targets=("onnxruntime",), calibration="none")
    made = build_package(trained.checkpoint, tmp_path / "out", config)
    run = made.verification.backends["onnxruntime"].run
    assert run is not None
    choice = json.loads((tmp_path / "out" / "choice.json").read_text())
    assert choice["chosen"]["measured"] == pytest.approx(run.mean_kl, rel=1e-6)


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        (
            {"max_kl": 1e-9, "targets": ("tensorrt-rtx",)},  # which computes in 16 bits
            r"--max-kl: expected at least [\d.e-]+, the mean KL of the closest .* but got 1e-09",
        ),
        ({"max_size": "100kB"}, r"--max-size: expected at least 0\.\d+ MB, which cpu takes .* but got 0.10 MB"),
    ],
)
def test_what_cannot_be_reached_is_said(
    trained: Trained, tmp_path: Path, limit: dict[str, object], message: str
) -> None:
    if "targets" in limit:
        pytest.importorskip("tensorrt_rtx")
    with pytest.raises(CompileError, match=message):
        build_package(trained.checkpoint, tmp_path / "out", package(trained, tmp_path / "out", **limit))
    assert not (tmp_path / "out").exists()


def test_limits_are_read_and_go_alone() -> None:
    assert CompileConfig.model_validate({"max_size": "1.5GB"}).max_size == 1_500_000_000
    for values, message in (
        ({"max_size": "90 apples"}, "expected a size such as '90MB'"),
        ({"max_size": "90MB", "max_kl": 0.1}, "max_kl or max_size, but got both"),
        ({"max_kl": 0.1, "weights": "int8"}, "without weights"),
    ):
        with pytest.raises(ValidationError, match=message):
            CompileConfig.model_validate(values)


def test_groups_hold_every_matrix_once(trained: Trained) -> None:
    reader = CheckpointReader(trained.checkpoint)
    names = [name for group in groups(reader.config) for name in group.names]
    assert sorted(names) == sorted(name for name in reader.names() if not name.endswith("norm.weight"))
    assert np.unique(names).size == len(names)
