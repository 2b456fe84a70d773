"""`castline score` on a checkpoint: the log-probability of every token."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from castline.errors import DataError
from castline.model.checkpoint import load_decoder
from castline.model.decoder import Decoder
from castline.model.reference_ops import IGNORED


@dataclass(frozen=True)
class Score:
    """Natural log-probabilities, one list per sequence; the first token of each has None."""

    logprobs: list[list[float | None]]

    @property
    def tokens(self) -> int:
        """How many tokens have a log-probability."""
        return sum(value is not None for values in self.logprobs for value in values)

    @property
    def perplexity(self) -> float:
        """exp of the mean negative log-probability; NaN where nothing was predicted."""
        total = sum(value for values in self.logprobs for value in values if value is not None)
        return math.exp(-total / self.tokens) if self.tokens else math.nan


def score(checkpoint: Path, sequences: Sequence[Sequence[int]]) -> Score:
    """Score token ids under a checkpoint; each token given all before it in its sequence.

    Raises:
        CheckpointError: the checkpoint is damaged.
        DataError: an id is outside the vocabulary, or a sequence is longer than the context.
    """
    decoder = load_decoder(checkpoint)
    return Score([_score(decoder, ids, index) for index, ids in enumerate(sequences)])


def _score(decoder: Decoder, ids: Sequence[int], index: int) -> list[float | None]:
    config = decoder.config
    wrong = [token for token in ids if not 0 <= token < config.vocab_size]
    if wrong:
        raise DataError(f"sequence {index}: expected ids from 0 to {config.vocab_size - 1}, but got {wrong[0]}")
    if len(ids) > config.max_position_embeddings:
        raise DataError(
            f"sequence {index}: expected at most the context of {config.max_position_embeddings} tokens, but got "
            f"{len(ids)}"
        )
    if len(ids) < 2:
        return [None] * len(ids)
    tokens = torch.tensor([ids])
    targets = torch.cat((tokens[:, 1:], torch.tensor([[IGNORED]])), dim=1)
    losses = decoder.token_losses(tokens, targets)[0, :-1]
    return [None, *(-losses).tolist()]
