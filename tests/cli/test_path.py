"""The whole path through the command line, on real text: what comes out, and what is reused."""

import json
import math
import re
from pathlib import Path

import pytest
from command_line import Castline


def test_corpus_is_accounted_for_and_reused(data: Path, corpus: Path, castline: Castline) -> None:
    again = castline("corpus", "build", data / "recipe.toml", "--out", corpus, "--json")
    assert "reused" in again.err
    assert again.json["reused"]
    totals = again.json["totals"]
    kept = totals["kept"]["train"] + totals["kept"]["held_out"]
    assert totals["read"] == kept + sum(totals["dropped"].values()) + sum(totals["rejected"].values())
    report = (corpus / "report.html").read_text()
    assert "<svg" in report
    assert not re.search(r'(src|href)="(https?:)?//', report)  # it opens without a network


def test_every_document_can_be_explained(corpus: Path, castline: Castline) -> None:
    import pyarrow.parquet as pq

    part = sorted((corpus / "decisions").glob("*.parquet"))[0]
    row = pq.read_table(part).to_pylist()[0]
    found = castline("corpus", "explain", corpus, row["id"][:12], "--json").json
    assert found["id"] == row["id"]
    assert found["kept"] == row["kept"]
    assert castline("corpus", "explain", corpus, "zzzz").code == 2
    assert row["id"] in castline("corpus", "explain", corpus, row["id"]).out


def test_thresholds_are_tried_and_documents_looked_at(corpus: Path, castline: Castline) -> None:
    before = (corpus / "manifest.json").read_bytes()
    change = castline(
        "corpus", "decide", corpus, "--set", "rules.gopher_quality.words.min=5000", "--dry-run", "--json"
    ).json
    assert change["kept_after"] < change["kept_before"]
    tried = castline("corpus", "decide", corpus, "--set", "rules.gopher_quality.words.min=5000", "--dry-run")
    assert "gopher_quality.words" in tried.out
    assert (corpus / "manifest.json").read_bytes() == before
    documents = castline("corpus", "sample", corpus, "--kept", "-n", 3, "--json").json["documents"]
    assert [document["rule"] for document in documents] == [""] * 3
    assert documents[0]["id"] in castline("corpus", "sample", corpus, "--kept", "-n", 3).out
    assert castline("corpus", "sample", corpus, "--rule", "no_such_rule").code == 2


def test_another_recipe_is_refused_and_named(data: Path, corpus: Path, run: Path, castline: Castline) -> None:
    other = castline("corpus", "build", data / "recipe.toml", "--out", corpus, "--set", "tokenizer.vocab_size=768")
    assert other.code == 2
    assert "tokenizer.vocab_size" in other.err
    other = castline("train", "run", data / "recipe.toml", "--out", run, "--set", "train.learning_rate=0.5")
    assert other.code == 2
    assert "learning_rate" in other.err


def test_train_plan_counts_the_parameters_of_the_run(data: Path, run: Path, castline: Castline) -> None:
    plan = castline("train", "plan", data / "recipe.toml", "--json").json
    assert sum(plan["parameters"].values()) == castline("inspect", run, "--json").json["facts"]["parameters"]
    assert plan["tokens"] == 6 * 4 * 64


def test_package_and_checkpoint_agree(data: Path, run: Path, package: Path, castline: Castline) -> None:
    ids = data / "ids.json"
    ids.write_text(json.dumps([[5, 99, 300, 7, 7, 12], [1, 2]]))
    by_package = castline("score", package, "--ids", ids, "--json").json
    by_checkpoint = castline("score", run / "checkpoint", "--ids", ids, "--json").json
    assert by_package["tokens"] == by_checkpoint["tokens"] == 8
    assert [len(row) for row in by_package["logprobs"]] == [6, 2]
    assert by_package["logprobs"][0][0] is None
    for one, other in zip(by_package["logprobs"], by_checkpoint["logprobs"], strict=True):
        assert one[1:] == pytest.approx(other[1:], abs=0.1)  # int8 beside float32
    values = [v for row in by_package["logprobs"] for v in row if v is not None]
    assert by_package["perplexity"] == pytest.approx(math.exp(-sum(values) / len(values)))


def test_text_is_scored_by_the_models_own_tokenizer(data: Path, package: Path, castline: Castline) -> None:
    text = data / "docs" / "00.txt"
    scored = castline("score", package, "--text", text, "--json").json
    assert scored["tokens"] == len(scored["logprobs"])
    assert scored["logprobs"].count(None) == math.ceil(scored["tokens"] / 128)  # a window is one context long


def test_run_is_greedy_seeded_and_streams(package: Path, castline: Castline) -> None:
    first = castline("run", package, "--prompt", "The return value", "--max-tokens", 8, "--json").json
    again = castline("run", package, "--prompt", "The return value", "--max-tokens", 8, "--threads", 1, "--json").json
    assert first["ids"] == again["ids"]
    assert first["finish_reason"] in ("stop", "length")
    assert len(first["ids"]) <= 8
    sampled = [
        castline("run", package, "--prompt", "a", "--temperature", 1, "--seed", seed, "--json").json["ids"]
        for seed in (3, 3, 4)
    ]
    assert sampled[0] == sampled[1] != sampled[2]
    plain = castline("run", package, "--prompt", "The return value", "--max-tokens", 8)
    assert plain.out.startswith("The return value" + first["text"])


def test_verify_inspect_and_bench(package: Path, corpus: Path, castline: Castline) -> None:
    proof = castline("verify", package, "--json").json["verification"]
    assert {name: one["status"] for name, one in proof["backends"].items()} == {"cpu": "passed", "onnx": "passed"}
    found = castline("inspect", package, "--json").json
    assert [origin["kind"] for origin in found["origins"]] == ["checkpoint", "run", "corpus"]
    corpus_found = castline("inspect", corpus, "--json").json
    assert found["origins"][-1]["facts"]["manifest_sha256"] == corpus_found["facts"]["manifest_sha256"]
    bench = castline("bench", package, "--runs", 1, "--max-tokens", 4, "--json").json
    assert bench["prefill_tokens_per_second"] > 0
    assert castline("compile", package, "--out", package.parent / "x").code == 3


def test_a_model_without_a_chat_template_cannot_be_talked_to(package: Path, castline: Castline) -> None:
    result = castline("chat", package, input="hello\n")
    assert result.code == 3
    assert "has no chat template" in result.err
    assert "castline run" in result.err


def test_a_dry_run_needs_a_configuration_only(data: Path, run: Path, castline: Castline) -> None:
    folder = data / "config-only"
    folder.mkdir()
    (folder / "config.json").write_bytes((run / "checkpoint" / "config.json").read_bytes())
    command = ("compile", folder, "--out", data / "never", "--dry-run", "--target", "cpu", "--weights", "int4")
    result = castline(*command, "--json").json
    memory = result["memory"]["cpu"]
    assert result["bytes"]["cpu"] >= memory["weights"] > 0
    gpu = result["gpus"]["L4"]
    assert gpu["runs"]
    assert not result["gpus"]["T4"]["runs"]  # int4 needs compute capability 8.0
    assert gpu["most_tokens_per_second"]["0"] > gpu["most_tokens_per_second"][str(result["context"])]
    said = castline(*command)
    assert said.code == 0
    assert "memory of cpu" in said.out
    assert "RTX 4090" in said.out
    assert not (data / "never").exists()
