"""The sixth stage: encoded documents to token shards, mixed and shuffled per phase, in order for evaluation."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from castline.corpus.config import CorpusConfig
from castline.corpus.encode import TokenFiles
from castline.corpus.long_context.select import chosen_documents
from castline.corpus.measure import Part
from castline.corpus.mixing.account import phase_account
from castline.corpus.mixing.config import Phase
from castline.corpus.mixing.order import order_phase
from castline.corpus.mixing.phases import Pool, Target, group_documents, plan_phase
from castline.corpus.selected import selected_table
from castline.corpus.shard_writer import divide, write_shard
from castline.corpus.shards import ShardInfo, read_index, token_dtype, write_manifest
from castline.corpus.split import HELD_OUT, TRAIN
from castline.corpus.tables import few_strings, fixed_width
from castline.corpus.tokenization.make import TokenizerInfo
from castline.corpus.workers import Workers
from castline.files import sha256_file
from castline.progress import progress

Integers = npt.NDArray[np.int64]
Small = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]


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
    """The selected documents of all sources, one row each, in reading order; there may be many millions."""

    id: npt.NDArray[np.bytes_]
    source: Small  # as the number of the source
    language: Small  # as the number of the language
    is_train: Flags
    part: Small
    start: Integers  # of its tokens, in the part's token file
    tokens: Integers
    repeats: Small  # how often one pass over the source reads it

    def of(self, rows: Flags) -> "_Encoded":
        return _Encoded(**{name: column[rows] for name, column in vars(self).items()})


def pack_shards(
    out: Path, parts: list[Part], config: CorpusConfig, tokenizer: TokenizerInfo, workers: Workers
) -> Packed:
    """Write `shards/` from the encoded parts.

    Raises:
        RecipeError: there is nothing to train on, or not enough for a budget.
    """
    documents, languages = _encoded(out, parts, config)
    held_out, train = documents.of(~documents.is_train), documents.of(documents.is_train)
    del documents
    pool = _pool(train, languages, config)
    long_context = None
    if config.long_context:
        chosen, long_context = chosen_documents(out, config.long_context)
        pool = replace(pool, long_context=np.isin(train.id, np.array(sorted(chosen), dtype="S32")))
    weights = {source.name: source.weight for source in config.sources}
    plans = []
    for phase in config.mix.resolved():  # all are planned before one is written
        groups, member = group_documents(pool, phase)
        plans.append((phase, plan_phase(phase, groups, weights), member))

    packer = _Packer(out, parts, languages, config, tokenizer, workers)
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


def _encoded(out: Path, parts: list[Part], config: CorpusConfig) -> tuple[_Encoded, tuple[str, ...]]:
    """All selected documents, and the languages by their numbers."""
    numbers = {source.name: number for number, source in enumerate(config.sources)}
    languages: dict[str, int] = {}
    columns: dict[str, list[npt.NDArray[Any]]] = {field.name: [] for field in fields(_Encoded)}
    for number, part in enumerate(parts):
        selected = selected_table(out, part, ["id", "language", "split", "repeats"])
        tokens = np.load(TokenFiles.of(out, part.name).counts)[:, 0]
        count = len(selected)
        found = few_strings(selected["language"])
        for language in sorted(set(found.tolist())):
            languages.setdefault(language, len(languages))
        row = {
            "id": fixed_width(selected["id"], "S32"),
            "source": np.full(count, numbers[part.source], np.int32),
            "language": np.fromiter((languages[language] for language in found), np.int32, count),
            "is_train": few_strings(selected["split"]) == TRAIN,
            "part": np.full(count, number, np.int32),
            "start": np.cumsum(tokens) - tokens,
            "tokens": tokens,
            "repeats": selected["repeats"].to_numpy().astype(np.int32),
        }
        for name, column in row.items():
            columns[name].append(column)
    encoded = _Encoded(**{name: np.concatenate(columns.pop(name)) for name in list(columns)})
    in_order = sorted(languages)
    renumbered = np.array([in_order.index(language) for language in languages], np.int32)
    return replace(encoded, language=renumbered[encoded.language]), tuple(in_order)


def _pool(documents: _Encoded, languages: tuple[str, ...], config: CorpusConfig) -> Pool:
    return Pool(
        sources=tuple(source.name for source in config.sources),
        kinds=tuple(source.kind for source in config.sources),
        languages=languages,
        source=documents.source,
        language=documents.language,
        tokens=documents.tokens,
        repeats=documents.repeats,
        long_context=np.ones(len(documents.id), dtype=bool),
    )


@dataclass(frozen=True)
class _Shard:
    """A shard to be written: where its tokens are, one entry per document, and its index."""

    root: Path
    name: str
    files: list[Path]  # of the parts
    dtype: np.dtype[Any]
    eos_id: int
    part: Small
    start: Integers
    whole: Integers  # the tokens of the document
    index: dict[str, npt.NDArray[Any]]  # with the tokens that are read of it


class _Shards(Sequence[_Shard]):
    """The shards of a split, made when they are asked for: each takes some memory."""

    def __init__(self, slices: list[slice], make: Callable[[int, slice], _Shard]) -> None:
        self._slices = slices
        self._make = make

    def __len__(self) -> int:
        return len(self._slices)

    def __getitem__(self, number: Any) -> Any:
        return self._make(number, self._slices[number])


class _Packer:
    """Writes splits from the encoded parts: every worker some of the shards."""

    def __init__(
        self,
        out: Path,
        parts: list[Part],
        languages: tuple[str, ...],
        config: CorpusConfig,
        tokenizer: TokenizerInfo,
        workers: Workers,
    ) -> None:
        self.written: dict[str, list[ShardInfo]] = {}
        self._shards = out / "shards"
        self._config = config
        self._sources = np.array([source.name for source in config.sources], dtype=object)
        self._languages = np.array(languages, dtype=object)
        self._dtype = token_dtype(tokenizer.vocab_size)
        self._eos_id = tokenizer.eos_id
        self._files = [TokenFiles.of(out, part.name).tokens for part in parts]
        self._workers = workers

    def write_phase(
        self, phase: Phase, targets: list[Target], member: Integers, documents: _Encoded, read: Integers
    ) -> dict[str, Any]:
        """Write a phase, add to `read` how often it reads each document, and return its account."""
        order = order_phase(phase.name, targets, member, documents.tokens, read, self._config.seed)
        self._write(phase.name, documents, order.document, order.tokens)
        read += np.bincount(order.document, minlength=len(read))
        indexes = (read_index(self._shards, info) for info in self.written[phase.name])
        return phase_account(phase.name, targets, member, documents.id, order.document, indexes)

    def write_held_out(self, documents: _Encoded, source: str) -> None:
        """Write the held-out documents of a source."""
        self._write(f"{HELD_OUT}/{source}", documents, np.arange(len(documents.id)), documents.tokens)

    def _write(self, split: str, documents: _Encoded, rows: Integers, counts: Integers) -> None:
        def shard(number: int, entries: slice) -> _Shard:
            mine = rows[entries]
            used, part = np.unique(documents.part[mine], return_inverse=True)
            return _Shard(
                root=self._shards,
                name=f"{split}/{number:05d}",
                files=[self._files[number] for number in used],
                dtype=self._dtype,
                eos_id=self._eos_id,
                part=part.astype(np.int32),
                start=documents.start[mine],
                whole=documents.tokens[mine],
                index={
                    "document_id": documents.id[mine],
                    "source": self._sources[documents.source[mine]],
                    "language": self._languages[documents.language[mine]],
                    "tokens": counts[entries],
                },
            )

        shards = _Shards(divide(counts, self._config.mix.shard_tokens), shard)
        written: dict[int, ShardInfo] = {}
        with progress(f"writing {split}", int(counts.sum()), "tokens") as advance:
            for number, info in self._workers.run(_write_shard, shards):
                written[number] = info
                advance(info.tokens)
        self.written[split] = [written[number] for number in range(len(shards))]


def _write_shard(shard: _Shard) -> ShardInfo:
    return write_shard(shard.root, shard.name, _tokens(shard), shard.index)


def _tokens(shard: _Shard) -> Iterator[npt.NDArray[Any]]:
    """The tokens of every document; where it is cut, the last is the end-of-text token."""
    maps: dict[int, npt.NDArray[Any]] = {}
    rows = zip(*(c.tolist() for c in (shard.part, shard.start, shard.index["tokens"], shard.whole)), strict=True)
    for part, start, count, whole in rows:
        if part not in maps:
            maps[part] = np.asarray(np.memmap(shard.files[part], dtype=shard.dtype, mode="r"))
        tokens = maps[part][start : start + count]
        if count < whole:
            tokens = tokens.copy()
            tokens[-1] = shard.eos_id
        yield tokens
