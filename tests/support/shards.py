"""Small token shards, document by document."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from castline.corpus.shard_writer import divide, write_shard
from castline.corpus.shards import ShardInfo

Row = tuple[npt.NDArray[Any], str, str, str]


def write_split(
    root: Path, split: str, dtype: np.dtype[Any], shard_tokens: int, documents: Iterable[Row]
) -> list[ShardInfo]:
    """Write documents (their tokens, id, source and language) as the shards of a split."""
    tokens, *columns = zip(*documents, strict=True)
    index = {
        name: np.array(column, dtype=object)
        for name, column in zip(("document_id", "source", "language"), columns, strict=True)
    } | {"tokens": np.array([len(one) for one in tokens])}
    return [
        write_shard(
            root,
            f"{split}/{number:05d}",
            [one.astype(dtype) for one in tokens[rows]],
            {name: column[rows] for name, column in index.items()},
        )
        for number, rows in enumerate(divide(index["tokens"], shard_tokens))
    ]
