"""The sixth stage: encoded documents to token shards, mixed and shuffled per phase, in order for evaluation."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from castline.corpus.config import CorpusConfig
from castline.corpus.encode import token_files
from castline.corpus.long_context.select import chosen_documents
from castline.corpus.measure import Part
from castline.corpus.mixing.account import phase_account
from castline.corpus.mixing.config import Phase
from castline.corpus.mixing.order import order_phase
from castline.corpus.mixing.phases import Pool, Target, group_documents, plan_phase
from castline.corpus.selected import selected_table
from castline.corpus.shards import ShardInfo, ShardWriter, read_index, token_dtype, write_manifest
from castline.corpus.split import HELD_OUT, TRAIN
from castline.corpus.tokenization.make import TokenizerInfo
from castline.files import sha256_file
from castline.progress import progress

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Packed:
    """What the shards hold.

    `tokens` are per source: what one pass over it reads (`available`), in the training shards of all phases (`train`),
    and `held_out`. `mixture` is the account of every phase (`mixing/account.py`), `long_context` that of the long
    documents (`long_context/select.py`), where the recipe has the table.
    """

    tokens: dict[str, dict[str, int]]
    mixture: list[dict[str, Any]]
    long_context: dict[str, Any] | None


@dataclass(frozen=True)
class _Encoded:
    """The selected documents of all sources, one row each, in reading order."""

    id: npt.NDArray[np.bytes_]
    source: Integers  # as the number of the source
    language: npt.NDArray[np.object_]
    split: npt.NDArray[np.object_]
    part: Integers
    start: Integers  # of its tokens, in the part's token file
    tokens: Integers
    repeats: Integers  # how often one pass over the source reads it

    def of(self, rows: npt.NDArray[np.bool_]) -> "_Encoded":
        return _Encoded(**{name: column[rows] for name, column in vars(self).items()})


def pack_shards(out: Path, parts: list[Part], config: CorpusConfig, tokenizer: TokenizerInfo) -> Packed:
    """Write `shards/` from the encoded parts.

    Raises:
        RecipeError: there is nothing to train on, or not enough for a budget.
    """
    documents = _encoded(out, parts, config)
    train, held_out = (documents.of(documents.split == split) for split in (TRAIN, HELD_OUT))
    pool = _pool(train, config)
    long_context = None
    if config.long_context:
        chosen, long_context = chosen_documents(out, config.long_context)
        pool = replace(pool, long_context=np.isin(train.id, np.array(sorted(chosen), dtype="S32")))
    weights = {source.name: source.weight for source in config.sources}
    plans = []
    for phase in config.mix.resolved():  # all are planned before one is written
        groups, member = group_documents(pool, phase)
        plans.append((phase, plan_phase(phase, groups, weights), member))

    packer = _Packer(out, parts, config, tokenizer)
    mixture = []
    read = np.zeros(len(pool), dtype=np.int64)
    for phase, targets, member in plans:
        mixture.append(packer.write_phase(phase, targets, member, train, read))
    for number, source in enumerate(config.sources):
        packer.write_held_out(held_out.of(held_out.source == number), source.name)
    tokens = {
        source.name: {
            "available": int((train.tokens * train.repeats)[train.source == number].sum()),
            TRAIN: sum(row["read"] for phase in mixture for row in phase["rows"] if row["source"] == source.name),
            HELD_OUT: int(held_out.tokens[held_out.source == number].sum()),
        }
        for number, source in enumerate(config.sources)
    }
    write_manifest(
        out / "shards",
        vocab_size=tokenizer.vocab_size,
        eos_id=tokenizer.eos_id,
        tokenizer_sha256=sha256_file(out / "tokenizer.json"),
        splits=packer.written,
        sources=tokens,
    )
    return Packed(tokens, mixture, long_context)


def _encoded(out: Path, parts: list[Part], config: CorpusConfig) -> _Encoded:
    numbers = {source.name: number for number, source in enumerate(config.sources)}
    columns: list[tuple[npt.NDArray[Any], ...]] = []
    for number, part in enumerate(parts):
        selected = selected_table(out, part)
        tokens = np.load(token_files(out, part.name)[1])[:, 0]
        columns.append(
            (
                np.array(selected["id"].to_pylist(), dtype="S32"),
                np.full(len(selected), numbers[part.source]),
                np.array(selected["language"].to_pylist(), dtype=object),
                np.array(selected["split"].to_pylist(), dtype=object),
                np.full(len(selected), number),
                np.cumsum(tokens) - tokens,
                tokens,
                selected["repeats"].to_numpy(),
            )
        )
    return _Encoded(*(np.concatenate(column) for column in zip(*columns, strict=True)))


def _pool(documents: _Encoded, config: CorpusConfig) -> Pool:
    languages, language = np.unique(documents.language.astype(str), return_inverse=True)
    return Pool(
        sources=tuple(source.name for source in config.sources),
        kinds=tuple(source.kind for source in config.sources),
        languages=tuple(languages.tolist()),
        source=documents.source,
        language=language,
        tokens=documents.tokens,
        repeats=documents.repeats,
        long_context=np.ones(len(documents.id), dtype=bool),
    )


class _Packer:
    """Writes splits from the encoded parts, whose token files it maps when they are first needed."""

    def __init__(self, out: Path, parts: list[Part], config: CorpusConfig, tokenizer: TokenizerInfo) -> None:
        self.written: dict[str, list[ShardInfo]] = {}
        self._shards = out / "shards"
        self._config = config
        self._dtype = token_dtype(tokenizer.vocab_size)
        self._eos_id = tokenizer.eos_id
        self._paths = [token_files(out, part.name)[0] for part in parts]
        self._maps: dict[int, npt.NDArray[Any]] = {}

    def write_phase(
        self, phase: Phase, targets: list[Target], member: Integers, documents: _Encoded, read: Integers
    ) -> dict[str, Any]:
        """Write a phase, add to `read` how often it reads each document, and return its account."""
        order = order_phase(phase.name, targets, member, documents.tokens, read, self._config.seed)
        self._write(phase.name, documents, order.document, order.tokens)
        read += np.bincount(order.document, minlength=len(read))
        indexes = (read_index(self._shards, info) for info in self.written[phase.name])
        return phase_account(phase.name, targets, documents.id, member, indexes)

    def write_held_out(self, documents: _Encoded, source: str) -> None:
        """Write the held-out documents of a source."""
        self._write(f"{HELD_OUT}/{source}", documents, np.arange(len(documents.id)), documents.tokens)

    def _write(self, split: str, documents: _Encoded, rows: Integers, counts: Integers) -> None:
        writer = ShardWriter(self._shards, split, self._dtype, self._config.mix.shard_tokens)
        with progress(f"writing {split}", int(counts.sum()), "tokens") as advance:
            for row, count in zip(rows.tolist(), counts.tolist(), strict=True):
                source = self._config.sources[documents.source[row]].name
                writer.add(
                    self._tokens(documents, row, count), documents.id[row].decode(), source, documents.language[row]
                )
                advance(count)
        self.written[split] = writer.finish()

    def _tokens(self, documents: _Encoded, row: int, count: int) -> npt.NDArray[Any]:
        """The first `count` tokens of a document; where that cuts it, the last is the end-of-text token."""
        part, start = int(documents.part[row]), int(documents.start[row])
        if part not in self._maps:
            self._maps[part] = np.memmap(self._paths[part], dtype=self._dtype, mode="r")
        tokens = self._maps[part][start : start + count]
        if count < documents.tokens[row]:
            tokens = tokens.copy()
            tokens[-1] = self._eos_id
        return tokens
