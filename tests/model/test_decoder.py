"""The decoder: what it computes, document by document."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from castline.model.config import ModelConfig
from castline.model.decoder import Decoder, segment_lengths
from castline.model.layouts import decoder_shapes
from castline.model.reference_ops import IGNORED

from .conftest import SMALL, random_decoder


def random_tokens(rows: int, length: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 320, (rows, length), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("tied", [False, True])
def test_shapes_are_those_of_the_parameters(tied: bool) -> None:
    decoder = Decoder(ModelConfig.model_validate(SMALL | {"tie_word_embeddings": tied}))
    found = {name: tuple(parameter.shape) for name, parameter in decoder.named_parameters()}
    assert found == decoder_shapes(decoder.config)


def test_a_token_sees_only_what_came_before() -> None:
    decoder = random_decoder()
    tokens = random_tokens(1, 24)
    changed = tokens.clone()
    changed[0, 12] = (changed[0, 12] + 1) % 320
    before, after = decoder(tokens), decoder(changed)
    assert torch.equal(before[:, :12], after[:, :12])
    assert (before[:, 12:] - after[:, 12:]).abs().amin(dim=(0, 2)).max() > 0


@settings(max_examples=15, deadline=None)
@given(lengths=st.lists(st.integers(1, 20), min_size=1, max_size=6), seed=st.integers(0, 99))
def test_a_documents_loss_does_not_depend_on_its_neighbours(lengths: list[int], seed: int) -> None:
    decoder = random_decoder()
    tokens = random_tokens(1, sum(lengths), seed)
    targets = random_tokens(1, sum(lengths), seed + 1)
    ids = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))[None]
    packed = decoder.token_losses(tokens, targets, ids)
    alone = [
        decoder.token_losses(part, target)
        for part, target in zip(tokens.split(lengths, 1), targets.split(lengths, 1), strict=True)
    ]
    torch.testing.assert_close(packed, torch.cat(alone, dim=1), atol=1e-5, rtol=1e-5)


def test_without_document_ids_neighbours_do_matter() -> None:
    """The test above can fail: the same packing, seen as one document, gives other losses."""
    decoder = random_decoder()
    tokens, targets = random_tokens(1, 30), random_tokens(1, 30, 1)
    ids = (torch.arange(30) >= 15).long()[None]
    apart, together = (decoder.token_losses(tokens, targets, i) for i in (ids, None))
    torch.testing.assert_close(apart[:, :15], together[:, :15])
    assert (apart[:, 15:] - together[:, 15:]).abs().max() > 0.01


def test_loss_is_the_sum_over_counted_targets() -> None:
    decoder = random_decoder()
    tokens, targets = random_tokens(2, 16), random_tokens(2, 16, 1)
    targets[0, 3:9] = IGNORED
    log_probabilities = decoder(tokens).double().log_softmax(-1)
    counted = targets != IGNORED
    expected = -log_probabilities[counted].gather(1, targets[counted][:, None]).sum()
    torch.testing.assert_close(decoder.loss(tokens, targets).double(), expected, atol=1e-3, rtol=1e-6)
    each = decoder.token_losses(tokens, targets)
    assert torch.equal(each == 0, ~counted)
    torch.testing.assert_close(each.double().sum(), expected, atol=1e-3, rtol=1e-6)


def test_gradients_agree_with_finite_differences() -> None:
    decoder = random_decoder(vocab_size=40, num_hidden_layers=1).double()
    tokens, targets = random_tokens(1, 6) % 40, random_tokens(1, 6, 1) % 40
    ids = torch.tensor([[0, 0, 0, 1, 1, 1]])
    decoder.loss(tokens, targets, ids).backward()
    generator = torch.Generator().manual_seed(0)
    for parameter in decoder.parameters():
        assert parameter.grad is not None
        direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        expected = float((parameter.grad * direction).sum())
        step = 1e-3
        with torch.no_grad():
            losses = []
            for sign in (1, -1):
                parameter += sign * step * direction
                losses.append(float(decoder.loss(tokens, targets, ids)))
                parameter -= sign * step * direction
        # The norms and the loss compute in float32 inside, which bounds the agreement.
        assert (losses[0] - losses[1]) / (2 * step) == pytest.approx(expected, rel=2e-2, abs=2e-2)


def test_initialisation_is_a_function_of_the_seed_and_scaled_as_documented() -> None:
    config = ModelConfig(
        vocab_size=512, hidden_size=256, intermediate_size=512, num_hidden_layers=8, num_attention_heads=8
    )
    first, again, other = Decoder(config, 1), Decoder(config, 1), Decoder(config, 2)
    state = first.state_dict()
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in state.items())
    assert not torch.equal(state["output.weight"], other.state_dict()["output.weight"])
    assert float(state["layers.3.attention.wqkv.weight"].std()) == pytest.approx(math.sqrt(2 / 5 / 256), rel=0.03)
    assert float(state["layers.3.attention.wo.weight"].std()) == pytest.approx(math.sqrt(2 / 5 / 256) / 4, rel=0.03)
    assert torch.equal(state["norm.weight"], torch.ones(256))


def test_segments_end_at_document_and_row_ends() -> None:
    assert segment_lengths(torch.tensor([[0, 0, 1, 1], [1, 1, 1, 2]])) == [2, 2, 3, 1]


@pytest.mark.parametrize("tied", [False, True])
def test_fused_and_plain_ops_agree_in_loss_and_gradients(tied: bool) -> None:
    plain, fused = (random_decoder(tie_word_embeddings=tied, fused=choice) for choice in (False, True))
    tokens, targets = random_tokens(2, 40), random_tokens(2, 40, 1)
    targets[1, :7] = IGNORED
    ids = torch.cat((torch.zeros(2, 25), torch.ones(2, 15)), dim=1).long()
    losses = [decoder.loss(tokens, targets, ids) for decoder in (plain, fused)]
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-6, atol=1e-4)
    torch.testing.assert_close(fused.token_losses(tokens, targets, ids), plain.token_losses(tokens, targets, ids))
    for loss in losses:
        loss.backward()
    for (name, expected), found in zip(plain.named_parameters(), fused.parameters(), strict=True):
        assert expected.grad is not None
        torch.testing.assert_close(found.grad, expected.grad, rtol=1e-4, atol=1e-4, msg=name)
