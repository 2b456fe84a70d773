"""Plans, learning rates, weight decay, scores and the model's table: against hand computation."""

import math
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from castline.errors import DataError, RecipeError
from castline.model.config import ModelConfig, RunConfig, TrainConfig
from castline.model.optimizer import learning_rate, make_optimizer
from castline.model.plan import count_parameters, forward_flops, plan
from castline.model.score import score

from .conftest import SMALL, random_decoder, run_config, write_decoder

INTERNLM2_1_8B = {
    "vocab_size": 92_544,
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "max_position_embeddings": 32_768,
}
SMOLLM2_135M = {
    "vocab_size": 49_152,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "tie_word_embeddings": True,
}


@pytest.mark.parametrize(
    ("model", "published"),
    [(INTERNLM2_1_8B, 1_889_110_016), (SMOLLM2_135M, 134_515_008)],
)
def test_parameters_are_the_published_ones(model: dict[str, int], published: int) -> None:
    assert sum(count_parameters(ModelConfig.model_validate(model)).values()) == published


def test_the_parts_of_internlm2_by_hand() -> None:
    assert count_parameters(ModelConfig.model_validate(INTERNLM2_1_8B)) == {
        "embeddings": 92_544 * 2048,
        "attention": 24 * (2048 * (16 + 2 * 8) * 128 + 2048 * 2048),
        "feed_forward": 24 * 3 * 2048 * 8192,
        "norms": (24 * 2 + 1) * 2048,
        "output": 92_544 * 2048,
    }


def test_flops_count_every_multiplication_of_a_forward_pass() -> None:
    config = ModelConfig.model_validate(SMALL)
    length = 10
    hidden, inner, width, kv, vocab = 48, 96, 48, 16, 320
    matrices = 3 * (hidden * (width + 2 * kv) + width * hidden + 3 * hidden * inner) + hidden * vocab
    # Query i meets i + 1 keys; each meeting costs a multiply-add per element for the score, and one for the value.
    meetings = sum(i + 1 for i in range(length))
    expected = 2 * (length * matrices + 3 * 2 * width * meetings)
    assert forward_flops(config, length) * length == expected


def test_a_plan_of_a_recipe_with_a_corpus(corpus: Path) -> None:
    found = plan(run_config(corpus))
    parameters = sum(found.parameters.values())
    assert found.model.vocab_size == 96
    assert parameters == 2 * 96 * 24 + 2 * (24 * (24 + 2 * 12) + 24 * 24 + 3 * 24 * 48) + 5 * 24
    assert (found.tokens_per_step, found.tokens) == (4 * 32, 12 * 4 * 32)
    assert found.epochs == found.tokens / found.corpus_tokens  # type: ignore[operator]
    assert [found.memory[name] for name in ("weights", "gradients", "optimizer")] == [
        4 * parameters,
        4 * parameters,
        8 * parameters,
    ]
    assert found.flops == found.tokens * 3 * forward_flops(found.model, 32)


def test_a_plan_without_a_vocabulary_says_what_it_needs() -> None:
    with pytest.raises(RecipeError, match=r"model\.vocab_size, or a corpus"):
        plan(RunConfig())


def test_the_learning_rate_by_hand() -> None:
    config = TrainConfig(steps=110, warmup_ratio=0.09, learning_rate=1.0, final_learning_rate_ratio=0.1)
    assert [learning_rate(config, step) for step in (1, 5, 10)] == pytest.approx([0.1, 0.5, 1.0])
    quarter = 0.1 + 0.9 * (1 + math.sqrt(0.5)) / 2
    assert [learning_rate(config, step) for step in (35, 60, 110)] == pytest.approx([quarter, 0.55, 0.1])
    assert learning_rate(TrainConfig(steps=1, warmup_ratio=0), 1) == pytest.approx(1e-4)


def test_weight_decay_is_on_matrices_only() -> None:
    decoder = random_decoder()
    optimizer = make_optimizer(decoder, TrainConfig(weight_decay=0.1))
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in decoder.named_parameters():
        assert decay[id(parameter)] == (0.0 if "norm" in name else 0.1), name


def test_scores_are_those_of_the_logits(tmp_path: Path) -> None:
    decoder = random_decoder()
    write_decoder(decoder, tmp_path / "model")
    sequences = [[5, 9, 300, 2, 77], [1], []]
    found = score(tmp_path / "model", sequences)
    log_p = decoder(torch.tensor([sequences[0]]))[0].log_softmax(-1).detach()
    expected = [float(log_p[i, token]) for i, token in enumerate(sequences[0][1:])]
    assert found.logprobs[0][0] is None
    assert found.logprobs[0][1:] == pytest.approx(expected, abs=1e-5)
    assert found.logprobs[1:] == [[None], []]
    assert found.tokens == 4
    assert found.perplexity == pytest.approx(math.exp(-sum(expected) / 4), rel=1e-5)


@pytest.mark.parametrize(
    ("ids", "message"),
    [([1, 320], "ids from 0 to 319, but got 320"), ([1] * 129, "context of 128 tokens, but got 129")],
)
def test_what_cannot_be_scored_is_said(tmp_path: Path, ids: list[int], message: str) -> None:
    write_decoder(random_decoder(), tmp_path / "model")
    with pytest.raises(DataError, match=message):
        score(tmp_path / "model", [ids])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_attention_heads": 6, "num_key_value_heads": 4, "head_dim": 8}, "multiple of num_key_value_heads"),
        ({"hidden_size": 50, "num_attention_heads": 8}, "multiple of num_attention_heads, but got 50 and 8"),
        ({"head_dim": 7}, "even head_dim"),
    ],
)
def test_a_model_that_cannot_be_is_refused(values: dict[str, int], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ModelConfig.model_validate(values)


def test_a_run_checks_its_tables_against_each_other() -> None:
    with pytest.raises(ValidationError, match=r"at most model\.max_position_embeddings, but got 4096 and 1024"):
        RunConfig(train=TrainConfig(sequence_length=4096), model=ModelConfig(max_position_embeddings=1024))
    with pytest.raises(ValidationError, match="multiple of micro_batch_size, but got 6 and 4"):
        TrainConfig(batch_size=6, micro_batch_size=4)
