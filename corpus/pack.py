"""The sixth stage: encoded documents to token shards, mixed and shuffled for training, in order for evaluation."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from castline.corpus.config import CorpusConfig
from castline.corpus.encode import token_files
from castline.corpus.measure import Part
from castline.corpus.mix import mix
from castline.corpus.selected import selected_table
from castline.corpus.shards import ShardInfo, ShardWriter, token_dtype, write_manifest
from castline.corpus.split import HELD_OUT, TRAIN
from castline.corpus.tokenization.make import TokenizerInfo
from castline.files import sha256_file
from castline.progress import progress


@dataclass(frozen=True)
class _Encoded:
    """The selected documents of one source and split: one row each."""

    id: npt.NDArray[np.object_]
    language: npt.NDArray[np.object_]
    part: npt.NDArray[np.int64]
    start: npt.NDArray[np.int64]  # of its tokens, in the part's token file
    tokens: npt.NDArray[np.int64]
    repeats: npt.NDArray[np.int64]  # how often one pass over the source reads it

    def __len__(self) -> int:
        return len(self.id)


def pack_shards(
    out: Path, parts: list[Part], config: CorpusConfig, tokenizer: TokenizerInfo
) -> dict[str, dict[str, int]]:
    """Write `shards/` from the encoded parts.

    Returns:
        Per source its tokens: what one pass over it reads (`available`), in the training shards (`train`), and
        `held_out`.

    Raises:
        RecipeError: there is nothing to train on.
    """
    splits = {
        split: {source.name: _encoded(out, parts, source.name, split) for source in config.sources}
        for split in (TRAIN, HELD_OUT)
    }
    train = splits[TRAIN]
    mixture = mix(
        {source: documents.tokens for source, documents in train.items()},
        {source: documents.repeats for source, documents in train.items()},
        {source.name: source.weight for source in config.sources},
        config.mix.tokens,
        config.seed,
    )
    reader = _TokenReader(out, parts, tokenizer)
    written: dict[str, list[ShardInfo]] = {}
    with progress("writing shards", int(mixture.tokens.sum()), "tokens") as advance:
        writer = ShardWriter(out / "shards", TRAIN, reader.dtype, config.mix.shard_tokens)
        names = np.repeat(np.array(list(train), dtype=object), [len(documents) for documents in train.values()])
        offsets = dict(zip(train, np.cumsum([0, *(len(documents) for documents in train.values())]), strict=False))
        for number, count in zip(mixture.document.tolist(), mixture.tokens.tolist(), strict=True):
            source = names[number]
            _add(writer, reader, train[source], number - offsets[source], count, source)
            advance(count)
        written[TRAIN] = writer.finish()
    for source, documents in splits[HELD_OUT].items():
        writer = ShardWriter(out / "shards", f"{HELD_OUT}/{source}", reader.dtype, config.mix.shard_tokens)
        for row in range(len(documents)):
            _add(writer, reader, documents, row, int(documents.tokens[row]), source)
        written[f"{HELD_OUT}/{source}"] = writer.finish()
    totals = {
        source: {
            "available": int((documents.tokens * documents.repeats).sum()),
            TRAIN: mixture.targets[source],
            HELD_OUT: int(splits[HELD_OUT][source].tokens.sum()),
        }
        for source, documents in train.items()
    }
    write_manifest(
        out / "shards",
        vocab_size=tokenizer.vocab_size,
        eos_id=tokenizer.eos_id,
        tokenizer_sha256=sha256_file(out / "tokenizer.json"),
        splits=written,
        sources=totals,
    )
    return totals


def _encoded(out: Path, parts: list[Part], source: str, split: str) -> _Encoded:
    rows: list[tuple[Any, ...]] = []
    for number, part in enumerate(parts):
        if part.source != source:
            continue
        selected = selected_table(out, part).select(["id", "language", "split", "repeats"]).to_pylist()
        tokens = np.load(token_files(out, part.name)[1])[:, 0]
        starts = np.cumsum(tokens) - tokens
        rows.extend(
            (row["id"], row["language"], number, start, count, row["repeats"])
            for row, start, count in zip(selected, starts.tolist(), tokens.tolist(), strict=True)
            if row["split"] == split
        )
    columns = list(zip(*rows, strict=True)) or [()] * 6
    return _Encoded(
        *(np.array(column, dtype=object) for column in columns[:2]),
        *(np.array(column, dtype=np.int64) for column in columns[2:]),
    )


class _TokenReader:
    """Slices of the encoded parts, memory-mapped when first asked for."""

    def __init__(self, out: Path, parts: list[Part], tokenizer: TokenizerInfo) -> None:
        self.dtype = token_dtype(tokenizer.vocab_size)
        self.eos_id = tokenizer.eos_id
        self._paths = [token_files(out, part.name)[0] for part in parts]
        self._maps: dict[int, npt.NDArray[Any]] = {}

    def read(self, part: int, start: int, count: int) -> npt.NDArray[Any]:
        if part not in self._maps:
            self._maps[part] = np.memmap(self._paths[part], dtype=self.dtype, mode="r")
        return self._maps[part][start : start + count]


def _add(writer: ShardWriter, reader: _TokenReader, documents: _Encoded, row: int, count: int, source: str) -> None:
    tokens = reader.read(int(documents.part[row]), int(documents.start[row]), count)
    if count < documents.tokens[row]:
        tokens = tokens.copy()
        tokens[-1] = reader.eos_id
    writer.add(tokens, documents.id[row], source, documents.language[row])
