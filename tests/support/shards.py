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
    ids, sources, languages = (np.array(column, dtype=object) for column in columns)
    counts = np.array([len(one) for one in tokens])
    return [
        write_shard(
            root,
            f"{split}/{number:05d}",
            [one.astype(dtype) for one in tokens[rows]],
            [(ids[rows], sources[rows], languages[rows], counts[rows])],
        )
        for number, rows in enumerate(divide(counts, shard_tokens))
    ]
