"""Token shards: flat little-endian token files with an index that names the document behind every token.

Layout, under the corpus directory:

    shards/manifest.json                dtype, vocabulary, sizes and hashes of all below; written last
    shards/train/00000.tokens           tokens in training order; with phases, a folder of each phase's name
    shards/train/00000.index.parquet    one row per document: document_id, source, language, start, end
    shards/held_out/<source>/00000.…    the same, per source, in reading order

Every document ends with the end-of-text token, and none crosses a shard. `start` and `end` count tokens
within the shard; the rows lie end to end, so they cover every token. With a mixture that repeats a source, a
document has several rows; one that was cut to meet a token budget has fewer tokens than its text.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from castline.corpus.tables import read_table
from castline.errors import DataError, RecipeError
from castline.files import read_json, write_json

SCHEMA_VERSION = 1
HELD_OUT = "held_out/"
INDEX_SCHEMA = pa.schema(
    [
        ("document_id", pa.string()),
        ("source", pa.string()),
        ("language", pa.string()),
        ("start", pa.int64()),
        ("end", pa.int64()),
    ]
)
Tokens = npt.NDArray[np.unsignedinteger[Any]]


def token_dtype(vocab_size: int) -> np.dtype[Any]:
    """The smallest little-endian type that holds every id below `vocab_size`."""
    return np.dtype("<u2") if vocab_size <= 2**16 else np.dtype("<u4")


@dataclass(frozen=True)
class ShardInfo:
    """What the manifest says of one shard: its path under `shards/` without suffix, sizes and hashes."""

    name: str
    documents: int
    tokens: int
    sha256: str
    index_sha256: str


@dataclass(frozen=True)
class DocumentSpan:
    """The tokens of one document: `[start, end)`, counted from the beginning of the split."""

    document_id: str
    source: str
    language: str
    start: int
    end: int


def write_manifest(
    root: Path,
    *,
    vocab_size: int,
    eos_id: int,
    tokenizer_sha256: str,
    splits: dict[str, list[ShardInfo]],
    sources: dict[str, dict[str, int]],
) -> None:
    """Write `shards/manifest.json`, after everything it names.

    Args:
        root: the `shards` folder.
        vocab_size: size of the vocabulary, which also decides the token type.
        eos_id: the end-of-text token that ends every document.
        tokenizer_sha256: identity of the tokenizer that made the tokens.
        splits: the shards of each phase and of each "held_out/<source>".
        sources: totals per source, for people.
    """
    write_json(
        root / "manifest.json",
        {
            "schema_version": SCHEMA_VERSION,
            "dtype": "uint16" if token_dtype(vocab_size).itemsize == 2 else "uint32",
            "vocab_size": vocab_size,
            "eos_id": eos_id,
            "tokenizer_sha256": tokenizer_sha256,
            "splits": {
                split: {
                    "tokens": sum(shard.tokens for shard in shards),
                    "documents": sum(shard.documents for shard in shards),
                    "shards": [asdict(shard) for shard in shards],
                }
                for split, shards in splits.items()
            },
            "sources": sources,
        },
    )


class TokenShards:
    """One split, memory-mapped: `tokens` (one array per shard) and the document behind every position.

    Positions count through all shards of the split, in order.
    """

    def __init__(self, root: Path, split: str, manifest: dict[str, Any]) -> None:
        """Map the shards of `split` that `manifest` (of the `shards` folder `root`) names."""
        dtype = np.dtype("<u2" if manifest["dtype"] == "uint16" else "<u4")
        self.split = split
        self.vocab_size: int = manifest["vocab_size"]
        self.eos_id: int = manifest["eos_id"]
        self._root = root
        self._infos = [ShardInfo(**shard) for shard in manifest["splits"][split]["shards"]]
        self.tokens: tuple[Tokens, ...] = tuple(_map_tokens(root, info, dtype) for info in self._infos)
        self.shard_starts: npt.NDArray[np.int64] = np.cumsum([0, *(info.tokens for info in self._infos)])
        self.shard_names = [info.name for info in self._infos]
        self._indexes: list[pa.Table] | None = None

    @classmethod
    def open(cls, corpus: Path, split: str = "train") -> "TokenShards":
        """Open a phase (without phases: "train") or "held_out/<source>" of a corpus directory.

        Raises:
            DataError: the directory holds no finished corpus, or no such split, or a shard is damaged.
        """
        return open_shards(corpus).split(split)

    def __len__(self) -> int:
        """The number of tokens."""
        return int(self.shard_starts[-1])

    @property
    def document_starts(self) -> npt.NDArray[np.int64]:
        """Shape [documents + 1]: where each document starts; the last entry is the number of tokens."""
        starts = [
            index.column("start").to_numpy() + offset
            for index, offset in zip(self.indexes(), self.shard_starts, strict=False)
        ]
        return np.concatenate([*starts, np.array([len(self)])]).astype(np.int64)

    def indexes(self) -> list[pa.Table]:
        """The index table of every shard (read once)."""
        if self._indexes is None:
            self._indexes = [read_index(self._root, info) for info in self._infos]
        return self._indexes

    def read(self, start: int, end: int) -> Tokens:
        """A copy of the tokens `[start, end)`, which may cross shards.

        Raises:
            IndexError: the range is not inside the split.
        """
        if not 0 <= start <= end <= len(self):
            raise IndexError(f"expected 0 ≤ start ≤ end ≤ {len(self)}, but got {start} and {end}")
        first = int(np.searchsorted(self.shard_starts, start, side="right")) - 1
        pieces = []
        for shard, offset in zip(self.tokens[first:], self.shard_starts[first:], strict=False):
            if offset >= end:
                break
            pieces.append(shard[max(0, start - offset) : end - offset])
        return np.concatenate(pieces) if pieces else np.empty(0, dtype="<u2")

    def document_at(self, position: int) -> DocumentSpan:
        """The document that holds the token at `position`.

        Raises:
            IndexError: there is no such position.
        """
        if not 0 <= position < len(self):
            raise IndexError(f"expected a position below {len(self)}, but got {position}")
        shard = int(np.searchsorted(self.shard_starts, position, side="right")) - 1
        offset = int(self.shard_starts[shard])
        index = self.indexes()[shard]
        row = int(np.searchsorted(index.column("start").to_numpy(), position - offset, side="right")) - 1
        values = index.slice(row, 1).to_pylist()[0]
        return DocumentSpan(
            values["document_id"],
            values["source"],
            values["language"],
            offset + values["start"],
            offset + values["end"],
        )

    def spans(self) -> Iterator[DocumentSpan]:
        """Every document in order."""
        for index, offset in zip(self.indexes(), self.shard_starts, strict=False):
            for row in index.to_pylist():
                yield DocumentSpan(
                    row["document_id"],
                    row["source"],
                    row["language"],
                    int(offset) + row["start"],
                    int(offset) + row["end"],
                )


@dataclass(frozen=True)
class CorpusShards:
    """The shards of a finished corpus: its manifest, and the splits it names."""

    root: Path
    manifest: dict[str, Any]

    @property
    def held_out(self) -> list[str]:
        """The held-out splits, "held_out/<source>", in the order of the sources."""
        return [split for split in self.manifest["splits"] if split.startswith(HELD_OUT)]

    @property
    def phases(self) -> list[str]:
        """The training phases, in the order of the recipe; "train" alone where it has none."""
        return [split for split in self.manifest["splits"] if not split.startswith(HELD_OUT)]

    def phase(self, name: str | None) -> str:
        """The phase called `name`; without a name the only one.

        Raises:
            RecipeError: there is no such phase, or there are several to choose from.
        """
        if name is None and len(self.phases) == 1:
            return self.phases[0]
        if name not in self.phases:
            found = f"'{name}'" if name else "none"
            raise RecipeError(
                f"expected train.phase to name one of the phases of {self.root.parent} ({', '.join(self.phases)}), "
                f"but got {found}"
            )
        return name

    def split(self, name: str) -> TokenShards:
        """Open a phase or "held_out/<source>".

        Raises:
            DataError: there is no such split, or a shard is damaged.
        """
        if name not in self.manifest["splits"]:
            known = ", ".join(self.manifest["splits"])
            raise DataError(f"{self.root}: expected one of the splits {known}, but got '{name}'")
        return TokenShards(self.root, name, self.manifest)


def open_shards(corpus: Path) -> CorpusShards:
    """Open the shards of a corpus directory.

    Raises:
        DataError: there is no finished corpus, or one written by a newer castline.
    """
    root = corpus / "shards"
    if not (root / "manifest.json").is_file():
        raise DataError(
            f"expected token shards in {root}, but found no manifest.json; `castline corpus build` makes them"
        )
    manifest = read_json(root / "manifest.json")
    version = manifest.get("schema_version") if isinstance(manifest, dict) else None
    if version != SCHEMA_VERSION:
        raise DataError(
            f"{root / 'manifest.json'}: expected schema version {SCHEMA_VERSION}, but found {version}; "
            "build the corpus again with this castline"
        )
    return CorpusShards(root, manifest)


def _map_tokens(root: Path, info: ShardInfo, dtype: np.dtype[Any]) -> Tokens:
    path = root / f"{info.name}.tokens"
    expected = info.tokens * dtype.itemsize
    found = path.stat().st_size if path.is_file() else None
    if found != expected:
        raise DataError(
            f"{path}: expected {expected} bytes as the manifest says, but "
            + ("the file is missing" if found is None else f"found {found}")
            + "; build the corpus again with --force"
        )
    return np.memmap(path, dtype=dtype, mode="r")


def read_index(root: Path, info: ShardInfo) -> pa.Table:
    """The index of one shard: a row for every document in it."""
    return read_table(root / f"{info.name}.index.parquet", INDEX_SCHEMA.names)
