"""Why a document was kept or dropped, what it is a duplicate of, and where its tokens are."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from castline.corpus.annotate.findings import annotation_columns
from castline.corpus.code.packed import PackedRange, find_packed_files, packed_range
from castline.corpus.config import CorpusConfig
from castline.corpus.documents import document_at
from castline.corpus.duplicates.matches import Match, Matches
from castline.corpus.long_context.select import checks as long_checks
from castline.corpus.long_context.select import long_documents
from castline.corpus.manifest import NAME, read_account
from castline.corpus.shards import open_shards
from castline.corpus.tables import read_table
from castline.errors import DataError, RecipeError
from castline.recipe import parse


@dataclass(frozen=True)
class RuleCheck:
    """One rule that looked at the document; those of `long_context` only choose it for long contexts."""

    rule: str
    value: float | None  # None: not measured for this document
    min: float | None
    max: float | None
    passed: bool


@dataclass(frozen=True)
class TokenRange:
    """Where tokens of the document are: `[start, end)` within a shard."""

    shard: str
    start: int
    end: int


@dataclass(frozen=True)
class Explanation:
    """Everything that is known about a document."""

    id: str
    source: str
    kind: str
    language: str
    source_path: str  # the source's glob in the recipe
    path: str  # below the fixed part of that glob
    record: int
    text: str
    metadata: dict[str, str]  # what the source says: url, date, licence, encoding
    kept: bool
    rule: str  # what dropped it; empty for a kept document
    split: str
    duplicate_of: str
    earlier_corpus: str  # that the former belongs to; empty for this one
    cluster: str
    cluster_size: int
    matches: list[Match]  # documents that it was compared with and found similar to
    chain: list[Match]  # from it to the document that stayed, each similar to the one before
    checks: list[RuleCheck]
    measurements: dict[str, float | str | None]  # those of annotators may be text, or missing
    annotations: list[str]  # which of them are annotators'
    quality: str  # the class of code: high, moderate or low
    repeats: int  # how often one pass over the source reads it
    packed: PackedRange | None  # the document of its repository that it is in
    tokens: list[TokenRange]  # of it, or of that document


def explain_document(out: Path, prefix: str) -> Explanation:
    """Explain the document of the finished corpus `out` whose id begins with `prefix`.

    Raises:
        DataError: `out` holds no finished corpus, or a part of it is damaged.
        RecipeError: no document, or more than one, has such an id.
    """
    manifest = read_account(out)
    config = parse(CorpusConfig, manifest["recipe"], f"the manifest of {out}")
    part, row = _find(out, prefix)
    measured = _row(out / "measurements" / f"{part}.parquet", row)
    decision = _row(out / "decisions" / f"{part}.parquet", row)
    document = document_at(out / "documents" / f"{part}.jsonl.zst", row)
    identity = decision["id"]
    checks = [
        RuleCheck(
            rule.name,
            measured[rule.measurement],
            rule.bounds.min,
            rule.bounds.max,
            rule.bounds.allow(measured[rule.measurement]),
        )
        for rule in config.rules.for_documents(measured["kind"], measured["language"], measured)
    ]
    if config.long_context:
        long = next((row for row in long_documents(out) if row["id"] == identity), None)
        checks += [
            RuleCheck(check.rule, check.value, check.bounds.min, check.bounds.max, check.passed)
            for check in (long_checks(long, config.long_context) if long else [])
        ]
    members = _members(out, decision["cluster"])
    matches = Matches(out, members)
    packed = packed_range(out, identity)
    described = {"id", "source", "kind", "language", "path", "record", "url", "date", "content_hash"}
    return Explanation(
        id=identity,
        source=measured["source"],
        kind=measured["kind"],
        language=measured["language"],
        source_path=next(source.path for source in config.sources if source.name == measured["source"]),
        path=measured["path"],
        record=measured["record"],
        text=document.text,
        metadata=document.metadata,
        kept=decision["kept"],
        rule=decision["rule"],
        split=decision["split"],
        duplicate_of=decision["duplicate_of"],
        earlier_corpus=decision["earlier_corpus"],
        cluster=decision["cluster"],
        cluster_size=len(members),
        matches=matches.of(identity),
        chain=matches.chain(identity, decision["duplicate_of"], earlier=bool(decision["earlier_corpus"])),
        checks=checks,
        measurements={name: value for name, value in measured.items() if name not in described},
        annotations=annotation_columns(manifest),
        quality=decision["quality"],
        repeats=decision["repeats"],
        packed=packed,
        tokens=_token_ranges(out, packed.document if packed else identity) if decision["kept"] else [],
    )


def _find(out: Path, prefix: str) -> tuple[str, int]:
    """The part and row of the one document whose id begins with `prefix`."""
    found: list[tuple[str, int, str]] = []
    for path in sorted((out / "measurements").glob("*.parquet")):
        ids = read_table(path, ["id"])["id"]
        rows = pc.indices_nonzero(pc.starts_with(ids, prefix.lower())).to_pylist()
        found += [(path.stem, row, ids[row].as_py()) for row in rows]
    if not found and (files := find_packed_files(out, prefix.lower())):
        some = ", ".join(f"{identity} ({path})" for identity, path in files[:4]) + (", …" if len(files) > 4 else "")
        raise RecipeError(
            f"expected the id of a document as it was read, but '{prefix}' is packed of {len(files)}: {some}"
        )
    if not found:
        raise RecipeError(
            f"expected the id of a document in {out} or the beginning of one, but got '{prefix}'; "
            "decisions/*.parquet, the rejects and report.html name them"
        )
    if len(found) > 1:
        some = ", ".join(identity for _, _, identity in found[:4])
        raise RecipeError(f"expected the id of one document, but {len(found)} begin with '{prefix}': {some}, …")
    return found[0][:2]


def _row(path: Path, row: int) -> dict[str, Any]:
    table = read_table(path)
    if row >= len(table):
        raise DataError(f"{path}: expected more than {row} rows, but found {len(table)}; build again with --force")
    return dict(table.slice(row, 1).to_pylist()[0])


def _members(out: Path, cluster: str) -> list[str]:
    members: list[str] = []
    for path in sorted((out / "decisions").glob("*.parquet")):
        table = read_table(path, ["id", "cluster"])
        members += table["id"].filter(pc.equal(table["cluster"], cluster)).to_pylist()
    return members


def _token_ranges(out: Path, identity: str) -> list[TokenRange]:
    if not (out / NAME).is_file():
        return []  # decided again and not built yet
    shards = open_shards(out)
    ranges = []
    for split in shards.manifest["splits"]:
        opened = shards.split(split)
        for name, index in zip(opened.shard_names, opened.indexes(), strict=True):
            for row in index.filter(pc.equal(index["document_id"], identity)).to_pylist():
                ranges.append(TokenRange(name, row["start"], row["end"]))
    return ranges
