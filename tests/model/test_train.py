"""The trainer: it learns, it follows the recipe, and it says what is wrong."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from castline.corpus.shards import TokenShards
from castline.errors import DataError, RecipeError
from castline.model.checkpoint import CheckpointReader, load_decoder
from castline.model.config import RunConfig
from castline.model.run import RunDirectory
from castline.model.train import TrainSummary, parameters_sha256, train

from .conftest import END, VOCAB, run_config, write_corpus


@pytest.fixture(scope="module")
def trained(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainSummary:
    return train(run_config(corpus, steps=60), tmp_path_factory.mktemp("trained") / "run")


def test_it_learns_what_the_text_teaches(trained: TrainSummary) -> None:
    assert trained.held_out.mean is not None
    assert trained.unigram.mean is not None
    # The rule leaves open the start and the direction only; to a unigram model it is all but noise.
    assert trained.held_out.mean < 1.6 < 4 < trained.unigram.mean
    assert set(trained.held_out.by_source) == {"up", "down"}
    decoder = load_decoder(trained.checkpoint)
    assert decoder(torch.tensor([[10, 11, 12, 13, 14]]))[0, -1].argmax() == 15
    assert decoder(torch.tensor([[50, 49, 48, 47, 46]]))[0, -1].argmax() == 45


def test_the_finished_checkpoint_is_whole_and_says_where_it_comes_from(trained: TrainSummary, corpus: Path) -> None:
    reader = CheckpointReader(trained.checkpoint)
    assert reader.config.vocab_size == VOCAB
    assert reader.special_tokens.eos_ids == (END,)
    assert parameters_sha256(load_decoder(trained.checkpoint)) == trained.parameters_sha256
    provenance = json.loads((trained.checkpoint / "castline.json").read_text())
    assert (trained.checkpoint / provenance["corpus"]["path"]).resolve() == corpus
    assert provenance["tokens"] == trained.tokens == 60 * 4 * 32
    theirs = AutoModelForCausalLM.from_pretrained(trained.checkpoint, dtype=torch.float32)
    tokens = torch.arange(20)[None]
    assert (theirs(tokens).logits - load_decoder(trained.checkpoint)(tokens)).abs().max() < 1e-4


def test_the_run_directory_holds_what_it_promises(trained: TrainSummary) -> None:
    lines = RunDirectory(trained.run).read_metrics()
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, 61))
    assert [line["step"] for line in lines if "held_out" in line] == list(range(5, 61, 5))
    assert lines[0]["threads"] == 1
    assert (trained.run / "loss.svg").read_text().count("held out, up") == 1
    assert [path.name for path in sorted((trained.run / "checkpoints").iterdir())] == ["step-00000056", "step-00000060"]
    assert all(not {"time", "seconds"} & line.keys() for line in lines)


def test_a_complete_run_is_reused_and_another_recipe_named(corpus: Path, tmp_path: Path) -> None:
    config = run_config(corpus, steps=2)
    first = train(config, tmp_path / "run")
    before = (tmp_path / "run" / "checkpoint" / "model.safetensors").stat().st_mtime_ns
    again = train(config, tmp_path / "run")
    assert again.reused
    assert again.parameters_sha256 == first.parameters_sha256
    assert (tmp_path / "run" / "checkpoint" / "model.safetensors").stat().st_mtime_ns == before
    other = run_config(corpus, steps=3, clip_norm=0.5)
    with pytest.raises(
        RecipeError, match=r"(?s)train\.steps: 2 there, 3 here.*train\.clip_norm: 1\.0 there, 0\.5 here"
    ):
        train(other, tmp_path / "run")
    assert not train(other, tmp_path / "run", force=True).reused


def test_accumulation_changes_nothing_but_rounding(corpus: Path, tmp_path: Path) -> None:
    losses = []
    for rows in (1, 4):
        train(run_config(corpus, steps=6, micro_batch_size=rows), tmp_path / str(rows))
        lines = RunDirectory(tmp_path / str(rows)).read_metrics()
        losses.append([line["loss"] for line in lines if "loss" in line])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_training_goes_on_from_a_checkpoint(trained: TrainSummary, corpus: Path, tmp_path: Path) -> None:
    values = run_config(corpus, steps=4, init=trained.checkpoint).model_dump()
    # An empty [model] takes the checkpoint's; the context may grow, with another RoPE base.
    values["model"] = {"max_position_embeddings": 128, "rope_theta": 50_000.0}
    summary = train(RunConfig.model_validate(values), tmp_path / "run")
    assert summary.training_loss < trained.training_loss + 0.5
    assert CheckpointReader(summary.checkpoint).config.max_position_embeddings == 128
    values["model"] = {"num_hidden_layers": 3}
    with pytest.raises(RecipeError, match=r"model\.num_hidden_layers: 3 here, 2 in the checkpoint"):
        train(RunConfig.model_validate(values), tmp_path / "other")


def without_manifest(corpus: Path) -> None:
    (corpus / "manifest.json").unlink()


def without_shards(corpus: Path) -> None:
    (corpus / "shards" / "manifest.json").unlink()


def with_a_short_shard(corpus: Path) -> None:
    path = corpus / "shards" / "train" / "00000.tokens"
    path.write_bytes(path.read_bytes()[:-2])


@pytest.mark.parametrize(
    ("damage", "changes", "message"),
    [
        (without_manifest, {}, "a finished corpus"),
        (without_shards, {}, "castline corpus build"),
        (with_a_short_shard, {}, "bytes as the manifest says"),
        (None, {"train": {"sequence_length": 4096}, "model": {"max_position_embeddings": 4096}}, "tokens to train on"),
        (None, {"model": {"vocab_size": 50}}, "at least the tokenizer's 96, but got 50"),
        (None, {"train": {"data": None}}, r"train\.data"),
        (None, {"train": {"phase": "32k"}}, r"train\.phase.*\(train\), but got '32k'"),
    ],
)
def test_what_does_not_fit_is_said_before_anything_is_written(
    tmp_path: Path, damage: Callable[[Path], None] | None, changes: dict[str, dict[str, object]], message: str
) -> None:
    corpus = write_corpus(tmp_path / "corpus", documents=20)
    if damage:
        damage(corpus)
    values = run_config(corpus).model_dump()
    for table, fields in changes.items():
        values[table] |= fields
    with pytest.raises((DataError, RecipeError), match=message):
        train(RunConfig.model_validate(values), tmp_path / "run")
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_phases_are_trained_one_after_the_other(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", documents=40, phases=("4k", "32k"))
    with pytest.raises(RecipeError, match=r"train\.phase.*\(4k, 32k\), but got none"):
        train(run_config(corpus), tmp_path / "any")
    first = train(run_config(corpus, phase="4k", steps=4), tmp_path / "first")
    longer = run_config(corpus, phase="32k", steps=4, sequence_length=64, batch_size=2, init=first.checkpoint)
    second = train(longer, tmp_path / "second")
    header = json.loads((tmp_path / "second" / "metrics.jsonl").read_text().splitlines()[0])
    assert header["sequences"] == len(TokenShards.open(corpus, "32k")) // 64
    recipe = json.loads((second.checkpoint / "castline.json").read_text())["run"]["recipe"]["train"]
    assert (recipe["phase"], recipe["sequence_length"]) == ("32k", 64)


def test_a_folder_with_other_files_is_left_alone(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    for force in (False, True):
        with pytest.raises(RecipeError, match=r"other files \(thesis\.tex\)"):
            train(run_config(corpus), tmp_path, force=force)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_loss_that_is_not_finite_names_the_step_and_its_documents(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"step 2: expected a finite loss .* of this batch: train-\d+, train-\d+"):
        train(run_config(corpus, learning_rate=1e30), tmp_path / "run")


def test_transformers_loads_a_trained_checkpoint_with_its_tokenizer(tmp_path: Path) -> None:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())[: VOCAB - 1]
    tokenizer = Tokenizer(models.BPE(vocab={char: index for index, char in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken("<|endoftext|>", special=True)])
    corpus = write_corpus(tmp_path / "corpus")
    tokenizer.save(str(corpus / "tokenizer.json"))
    summary = train(run_config(corpus, steps=1), tmp_path / "run")
    theirs = AutoTokenizer.from_pretrained(summary.checkpoint)
    assert theirs.eos_token_id == END
    assert theirs.encode("AB<|endoftext|>") == [alphabet.index("A"), alphabet.index("B"), END]
