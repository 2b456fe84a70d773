"""Held-out loss per source, and the loss of a unigram model beside it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from castline.corpus.shards import CorpusShards, TokenShards
from castline.model.config import TrainConfig
from castline.model.data import Windows
from castline.model.decoder import Decoder
from castline.model.reference_ops import IGNORED

_PREFIX = "held_out/"


@dataclass(frozen=True)
class HeldOutLoss:
    """Nats per predicted token: the mean over all tokens (None where nothing is held out), and each source's."""

    mean: float | None
    by_source: dict[str, float]


class HeldOut:
    """The held-out split of every source, as far as `evaluate_tokens` reaches."""

    def __init__(self, corpus: CorpusShards, config: TrainConfig) -> None:
        opened = {split.removeprefix(_PREFIX): corpus.split(split) for split in corpus.held_out}
        self._windows = {
            source: Windows(shards, config.sequence_length) for source, shards in opened.items() if len(shards) > 1
        }
        self._rows, self._limit = config.micro_batch_size, config.evaluate_tokens

    def losses(self, decoder: Decoder) -> HeldOutLoss:
        """The decoder's loss."""
        sums, counts = {}, {}
        for source, windows in self._windows.items():
            total, count = 0.0, 0
            for batch in windows.in_order(self._rows, self._limit):
                losses = decoder.token_losses(batch.tokens, batch.targets, batch.document_ids)
                total += float(losses.double().sum())
                count += batch.counted
            sums[source], counts[source] = total, count
        return _means(sums, counts)

    def unigram_losses(self, train: TokenShards) -> HeldOutLoss:
        """The loss of the tokens' frequencies in the training split, each count plus one."""
        counted = np.ones(train.vocab_size, np.int64)
        for shard in train.tokens:
            counted += np.bincount(shard, minlength=train.vocab_size)
        nats: npt.NDArray[np.float64] = np.log(counted.sum()) - np.log(counted)
        sums, counts = {}, {}
        for source, windows in self._windows.items():
            targets = [batch.targets.numpy().ravel() for batch in windows.in_order(self._rows, self._limit)]
            flat = np.concatenate(targets)
            flat = flat[flat != IGNORED]
            sums[source], counts[source] = float(nats[flat].sum()), len(flat)
        return _means(sums, counts)


def _means(sums: dict[str, float], counts: dict[str, int]) -> HeldOutLoss:
    by_source = {source: sums[source] / counts[source] for source in sums if counts[source]}
    return HeldOutLoss(sum(sums.values()) / sum(counts.values()) if by_source else None, by_source)
