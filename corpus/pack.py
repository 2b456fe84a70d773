"""The sixth stage: encoded documents to token shards, mixed and shuffled per phase, in order for evaluation."""

import mmap
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from castline.corpus.config import CorpusConfig
from castline.corpus.encode import FOLDER as TOKENS
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
from castline.files import atomic_write, sha256_file
from castline.progress import progress

Integers = npt.NDArray[np.int64]
Small = npt.NDArray[np.int32]


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
    """The selected documents of one split, one row each, in reading order; there may be many millions."""

    id: npt.NDArray[np.bytes_]
    source: Small  # as the number of the source
    language: Small  # as the number of the language
    part: Small
    start: Integers  # of its tokens, in the part's token file
    tokens: Integers
    repeats: Small  # how often one pass over the source reads it


def pack_shards(
    out: Path, parts: list[Part], config: CorpusConfig, tokenizer: TokenizerInfo, workers: Workers
) -> Packed:
    """Write `shards/` from the encoded parts.

    Raises:
        RecipeError: there is nothing to train on, or not enough for a budget.
    """
    (train, held_out), languages = _encoded(out, parts, config)
    pool = _pool(train, languages, config)
    long_context = None
    if config.long_context:
        chosen, long_context = chosen_documents(out, config.long_context)
        pool = replace(pool, long_context=np.isin(train.id, np.array(sorted(chosen), dtype="S32")))
    weights = {source.name: source.weight for source in config.sources}
    most = config.mix.max_repeats
    read = np.zeros(len(pool), dtype=np.int64)
    plans = []
    for phase in config.mix.resolved():  # all are planned before one is written
        groups, member = group_documents(pool, phase, read, most)
        targets = plan_phase(phase, groups, weights)
        plans.append((phase, targets, member))
        if most is not None:
            read += order_phase(phase.name, targets, member, train.tokens, read, config.seed, most).reads(len(pool))

    packer = _Packer(out, parts, languages, config, tokenizer, workers)
    mixture = []
    read = np.zeros(len(pool), dtype=np.int64)
    for phase, targets, member in plans:
        mixture.append(packer.write_phase(phase, targets, member, train, read))
    for number, source in enumerate(config.sources):
        packer.write_held_out(held_out, np.flatnonzero(held_out.source == number), source.name)
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


def _encoded(out: Path, parts: list[Part], config: CorpusConfig) -> tuple[tuple[_Encoded, _Encoded], tuple[str, ...]]:
    """The documents to train on and those held out, and the languages by their numbers."""
    numbers = {source.name: number for number, source in enumerate(config.sources)}
    languages: dict[str, int] = {}
    pieces: dict[str, dict[str, list[npt.NDArray[Any]]]] = {TRAIN: defaultdict(list), HELD_OUT: defaultdict(list)}
    for number, part in enumerate(parts):
        selected = selected_table(out, part, ["id", "language", "split", "repeats"])
        tokens = np.load(TokenFiles.of(out, part.name).counts)[:, 0]
        names = few_strings(selected["language"])
        for name in sorted(set(names.tolist())):
            languages.setdefault(name, len(languages))
        split = few_strings(selected["split"])
        columns = {
            "id": fixed_width(selected["id"], "S32"),
            "source": np.full(len(names), numbers[part.source], np.int32),
            "language": np.fromiter((languages[name] for name in names), np.int32, len(names)),
            "part": np.full(len(names), number, np.int32),
            "start": np.cumsum(tokens) - tokens,
            "tokens": tokens,
            "repeats": selected["repeats"].to_numpy().astype(np.int32),
        }
        for name, found in pieces.items():
            rows = split == name
            for column, values in columns.items():
                found[column].append(values[rows])
    in_order = sorted(languages)
    renumbered = np.array([in_order.index(name) for name in languages], np.int32)
    train, held_out = (_joined(pieces.pop(name), renumbered) for name in (TRAIN, HELD_OUT))
    return (train, held_out), tuple(in_order)


def _joined(pieces: dict[str, list[npt.NDArray[Any]]], languages: Small) -> _Encoded:
    """All pieces of every column, with new numbers for the languages. They go as they are joined."""
    joined = _Encoded(**{name: np.concatenate(pieces.pop(name)) for name in list(pieces)})
    return replace(joined, language=languages[joined.language])


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


# What a shard is made from, document by document: a file of the workspace holds these of a whole split, in order.
_ENTRY = np.dtype(
    [
        ("id", "S32"),
        ("source", "<i4"),
        ("language", "<i4"),
        ("part", "<i4"),
        ("start", "<i8"),
        ("whole", "<i8"),  # its tokens,
        ("tokens", "<i8"),  # of which so many are read
    ]
)
_RESIDENT = 64 * 1024 * 1024  # bytes of mapped files
_FAULT = 64 * 1024  # bytes that the system maps around one it is asked for
_BLOCK = 64 * 1024  # entries that are in memory at a time


@dataclass(frozen=True)
class _Shard:
    """A shard to be written: some entries of a file, and what their numbers mean."""

    root: Path
    name: str
    entries: Path
    rows: slice
    files: list[Path]  # of the parts
    sources: tuple[str, ...]
    languages: tuple[str, ...]
    dtype: np.dtype[Any]
    eos_id: int


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
        self._entries = out / TOKENS / "entries"
        self._config = config
        self._sources = tuple(source.name for source in config.sources)
        self._languages = languages
        self._dtype = token_dtype(tokenizer.vocab_size)
        self._eos_id = tokenizer.eos_id
        self._files = [TokenFiles.of(out, part.name).tokens for part in parts]
        self._workers = workers

    def write_phase(
        self, phase: Phase, targets: list[Target], member: Integers, documents: _Encoded, read: Integers
    ) -> dict[str, Any]:
        """Write a phase, add to `read` how often it reads each document, and return its account."""
        config = self._config
        order = order_phase(phase.name, targets, member, documents.tokens, read, config.seed, config.mix.max_repeats)
        self._write(phase.name, documents, order.document, order.tokens)
        read += order.reads(len(read))
        indexes = (read_index(self._shards, info) for info in self.written[phase.name])
        return phase_account(phase.name, targets, member, documents.id, order.document, indexes)

    def write_held_out(self, documents: _Encoded, rows: Integers, source: str) -> None:
        """Write the held-out documents of a source."""
        self._write(f"{HELD_OUT}/{source}", documents, rows, documents.tokens[rows])

    def _write(self, split: str, documents: _Encoded, rows: Integers, counts: Integers) -> None:
        self._write_entries(documents, rows, counts)
        jobs = [
            _Shard(
                root=self._shards,
                name=f"{split}/{number:05d}",
                entries=self._entries,
                rows=entries,
                files=self._files,
                sources=self._sources,
                languages=self._languages,
                dtype=self._dtype,
                eos_id=self._eos_id,
            )
            for number, entries in enumerate(divide(counts, self._config.mix.shard_tokens))
        ]
        written: dict[int, ShardInfo] = {}
        with progress(f"writing {split}", int(counts.sum()), "tokens") as advance:
            for number, info in self._workers.run(_write_shard, jobs):
                written[number] = info
                advance(info.tokens)
        self.written[split] = [written[number] for number in range(len(jobs))]

    def _write_entries(self, documents: _Encoded, rows: Integers, counts: Integers) -> None:
        with atomic_write(self._entries, sync=False) as file:
            for at in range(0, len(rows), _BLOCK):
                some = rows[at : at + _BLOCK]
                entries = np.empty(len(some), _ENTRY)
                for name in ("id", "source", "language", "part", "start"):
                    entries[name] = getattr(documents, name)[some]
                entries["whole"], entries["tokens"] = documents.tokens[some], counts[at : at + _BLOCK]
                file.write(entries.data)


def _write_shard(shard: _Shard) -> ShardInfo:
    sources, languages = np.array(shard.sources, dtype=object), np.array(shard.languages, dtype=object)
    index = (
        (entries["id"], sources[entries["source"]], languages[entries["language"]], entries["tokens"])
        for entries in _entries(shard)
    )
    return write_shard(shard.root, shard.name, _tokens(shard), index)


def _entries(shard: _Shard) -> Iterator[npt.NDArray[Any]]:
    with shard.entries.open("rb") as file:
        file.seek(shard.rows.start * _ENTRY.itemsize)
        for start in range(shard.rows.start, shard.rows.stop, _BLOCK):
            yield np.fromfile(file, _ENTRY, min(_BLOCK, shard.rows.stop - start))


def _tokens(shard: _Shard) -> Iterator[npt.NDArray[Any]]:
    """The tokens of every document; where it is cut, the last is the end-of-text token."""
    maps: dict[int, mmap.mmap] = {}
    resident = 0
    for entries in _entries(shard):
        columns = (entries[name].tolist() for name in ("part", "start", "tokens", "whole"))
        for part, start, count, whole in zip(*columns, strict=True):
            if part not in maps:
                with shard.files[part].open("rb") as file:
                    maps[part] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            tokens = np.frombuffer(maps[part], shard.dtype, count, start * shard.dtype.itemsize)
            if count < whole:
                tokens = tokens.copy()
                tokens[-1] = shard.eos_id
            yield tokens
            resident += max(tokens.nbytes, _FAULT)
            if resident > _RESIDENT:  # or all token files would be in memory in the end
                for mapped in maps.values():
                    mapped.madvise(mmap.MADV_DONTNEED)
                resident = 0
