"""Batches: what is in them, and that their order depends on the seed and the step only."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from castline.corpus.shards import TokenShards, open_shards
from castline.model.data import TrainingData, Windows
from castline.model.evaluate import HeldOut
from castline.model.reference_ops import IGNORED

from .conftest import VOCAB, random_decoder, run_config


@pytest.fixture(scope="module")
def shards(corpus: Path) -> TokenShards:
    return TokenShards.open(corpus)


@pytest.fixture(scope="module")
def stream(shards: TokenShards) -> np.ndarray:
    return np.concatenate([np.array(part) for part in shards.tokens]).astype(np.int64)


def data(shards: TokenShards, seed: int = 7, batch_size: int = 4) -> TrainingData:
    return TrainingData(shards, length=32, batch_size=batch_size, seed=seed)


def test_windows_hold_the_stream_and_its_documents(shards: TokenShards, stream: np.ndarray) -> None:
    windows = Windows(shards, 32)
    spans = list(shards.spans())
    for number in range(len(windows)):
        batch = windows.read(np.array([number]))
        start = number * 32
        assert batch.tokens[0].tolist() == stream[start : start + 32].tolist()
        inside = range(start, start + 32)
        owners = [next(i for i, span in enumerate(spans) if span.start <= at < span.end) for at in inside]
        changes = (batch.document_ids[0].diff() != 0).tolist()
        assert changes == [a != b for a, b in pairwise(owners)]
        for offset, target in enumerate(batch.targets[0].tolist()):
            last_of_document = start + offset + 1 == spans[owners[offset]].end
            assert target == (IGNORED if last_of_document else stream[start + offset + 1])
        assert windows.documents(np.array([number])) == [spans[i].document_id for i in dict.fromkeys(owners)]


def test_an_epoch_takes_every_window_once_and_the_next_in_another_order(shards: TokenShards) -> None:
    source = data(shards, batch_size=1)
    count = len(source.windows)
    steps = [range(1, count + 1), range(count + 1, 2 * count + 1)]
    epochs = [[tuple(source.batch(step).tokens[0].tolist()) for step in epoch] for epoch in steps]
    in_order = [tuple(source.windows.read(np.array([number])).tokens[0].tolist()) for number in range(count)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(in_order)
    assert epochs[0] != epochs[1]
    assert epochs[0] != in_order


def test_a_batch_depends_on_the_seed_and_the_step_only(shards: TokenShards) -> None:
    first, second, other = data(shards), data(shards), data(shards, seed=8)
    expected = [first.batch(step).tokens for step in range(1, 40)]
    for step in (39, 3, 17, 1):
        assert torch.equal(second.batch(step).tokens, expected[step - 1])
    assert not torch.equal(other.batch(1).tokens, expected[0])


def test_held_out_batches_cover_the_split_once(corpus: Path) -> None:
    shards = open_shards(corpus).split("held_out/up")
    for limit in (len(shards), 100):
        parts = [batch.tokens.flatten() for batch in Windows(shards, 32).in_order(3, limit)]
        assert torch.cat(parts).tolist() == np.concatenate(shards.tokens)[:limit].tolist()


def test_held_out_loss_is_the_mean_over_targets(corpus: Path, shards: TokenShards, stream: np.ndarray) -> None:
    opened = open_shards(corpus)
    config = run_config(corpus, sequence_length=64).train
    held_out = HeldOut(opened, config)
    decoder = random_decoder(vocab_size=VOCAB)
    losses, unigram = held_out.losses(decoder), held_out.unigram_losses(shards)
    counts = np.bincount(stream, minlength=VOCAB) + 1
    sums, tokens = [0.0, 0.0], 0
    for source in ("up", "down"):
        split = opened.split(f"held_out/{source}")
        ids = np.concatenate(split.tokens).astype(np.int64)
        totals, predicted = [0.0, 0.0], 0
        # Documents are cut where a sequence of 64 tokens ends; position 0 of a piece is not predicted in it.
        for span in split.spans():
            cuts = [span.start, *range(-(-(span.start + 1) // 64) * 64, span.end, 64), span.end]
            for begin, end in pairwise(cuts):
                piece, targets = ids[begin:end], ids[begin + 1 : min(end + 1, span.end)]
                log_p = decoder(torch.from_numpy(piece[None])).log_softmax(-1)[0].double().detach()
                totals[0] -= sum(float(log_p[i, t]) for i, t in enumerate(targets))
                totals[1] -= sum(float(np.log(counts[t] / counts.sum())) for t in targets)
                predicted += len(targets)
        assert losses.by_source[source] == pytest.approx(totals[0] / predicted, rel=1e-5)
        assert unigram.by_source[source] == pytest.approx(totals[1] / predicted, rel=1e-9)
        sums = [a + b for a, b in zip(sums, totals, strict=True)]
        tokens += predicted
    assert losses.mean == pytest.approx(sums[0] / tokens, rel=1e-5)
    assert unigram.mean == pytest.approx(sums[1] / tokens, rel=1e-9)
