"""Writing token shards (`shards.py` has their layout), each by itself: any number of workers may share a split."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from castline.corpus.shards import INDEX_SCHEMA, ShardInfo
from castline.corpus.tables import strings, write_table
from castline.files import atomic_write, sha256_file

Integers = npt.NDArray[np.int64]

BUFFER = 4 * 1024 * 1024


def divide(tokens: Integers, shard_tokens: int) -> list[slice]:
    """The documents of each shard: as many as fit into `shard_tokens`; a longer one has a shard of its own.

    Args:
        tokens: of every document of a split, in order.
        shard_tokens: the most that a shard of several documents holds.
    """
    ends = np.cumsum(tokens)
    shards, start, before = [], 0, 0
    while start < len(tokens):
        stop = max(int(np.searchsorted(ends, before + shard_tokens, side="right")), start + 1)
        shards.append(slice(start, stop))
        start, before = stop, int(ends[stop - 1])
    return shards


IndexRows = tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any], Integers]


def write_shard(root: Path, name: str, pieces: Iterable[npt.NDArray[Any]], index: Iterable[IndexRows]) -> ShardInfo:
    """Write one shard and return what the manifest must say of it.

    Args:
        root: the `shards` folder.
        name: of the shard in it, such as "train/00000".
        pieces: the tokens of its documents in order, in the manifest's type; each ends with the end-of-text token.
        index: of the same documents, in any number of pieces: ids, sources and languages (bytes or objects), and how
            many tokens each has.
    """
    hashed = hashlib.sha256()
    with atomic_write(root / f"{name}.tokens") as file:
        for data in _joined(pieces):
            hashed.update(data)
            file.write(data)
    tables, size = [], 0
    for *columns, tokens in index:
        ends = size + np.cumsum(tokens)
        size = int(ends[-1])
        rows = [*map(strings, columns), pa.array(ends - tokens), pa.array(ends)]
        tables.append(pa.Table.from_arrays(rows, schema=INDEX_SCHEMA))
    table = pa.concat_tables(tables).combine_chunks()
    path = root / f"{name}.index.parquet"
    write_table(path, table)
    return ShardInfo(name, len(table), size, hashed.hexdigest(), sha256_file(path))


def _joined(pieces: Iterable[npt.NDArray[Any]]) -> Iterable[bytes]:
    """The bytes of all pieces, in larger ones."""
    held: list[memoryview] = []
    size = 0
    for piece in pieces:
        held.append(piece.data)
        size += piece.nbytes
        if size >= BUFFER:
            yield b"".join(held)
            held, size = [], 0
    yield b"".join(held)
