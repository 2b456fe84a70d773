"""The manifest of a corpus: what was read, what became of it, and how many tokens it gave.

Per source, records add up: read = kept + dropped (by rule) + rejected (by reason). `packed` counts the documents that
the kept files of repositories became.
"""

from collections import Counter
from pathlib import Path
from typing import Any

from castline import __version__
from castline.corpus.config import CorpusConfig
from castline.corpus.decide import Outcome
from castline.corpus.measure import Part, TaskResult
from castline.corpus.split import HELD_OUT, TRAIN
from castline.errors import DataError
from castline.files import read_json, sha256_json

KIND = "castline-corpus"
SCHEMA_VERSION = 1
NAME = "manifest.json"
DECIDED = "decided.json"  # in its place while tokenizer and shards are of earlier decisions


def account(
    config: CorpusConfig,
    results: list[TaskResult],
    outcomes: dict[str, Outcome],
    selected: list[Part],
    tokens: dict[str, dict[str, int]],
) -> dict[str, dict[str, Any]]:
    """The account of every source, in the recipe's order."""
    accounts = {}
    for source in config.sources:
        mine = [result for result in results if result.source == source.name]
        rejected: Counter[str] = Counter()
        for result in mine:
            rejected.update(result.rejected)
        outcome = outcomes.get(source.name, Outcome(dropped={}, kept={TRAIN: 0, HELD_OUT: 0}))
        documents = sum(part.documents for result in mine for part in result.parts)
        kept, dropped = sum(outcome.kept.values()), sum(outcome.dropped.values())
        if documents != kept + dropped:
            raise AssertionError(f"{source.name}: {documents} documents, but {kept} kept and {dropped} dropped")
        accounts[source.name] = {
            "kind": source.kind,
            "licence": source.licence,
            "weight": source.weight,
            "files": sum(result.files for result in mine),
            "bytes": sum(result.size for result in mine),
            "content_sha256": sha256_json([result.content_sha256 for result in mine]),
            "read": documents + rejected.total(),
            "rejected": dict(sorted(rejected.items())),
            "dropped": outcome.dropped,
            "kept": outcome.kept,
            "packed": sum(part.documents for part in selected if part.packed and part.source == source.name),
            "tokens": tokens[source.name],
        }
    return accounts


def totals(accounts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The sums over all sources, shaped like the account of one."""
    result: dict[str, Any] = {
        name: sum(one[name] for one in accounts.values()) for name in ("files", "bytes", "read", "packed")
    }
    for name in ("rejected", "dropped", "kept", "tokens"):
        sums: Counter[str] = Counter()
        for one in accounts.values():
            sums.update(one[name])
        result[name] = dict(sums) if name in ("kept", "tokens") else dict(sorted(sums.items()))
    return result


def new_manifest(config: CorpusConfig, accounts: dict[str, dict[str, Any]], **details: Any) -> dict[str, Any]:
    """The manifest of a finished corpus."""
    return {
        "kind": KIND,
        "schema_version": SCHEMA_VERSION,
        "castline_version": __version__,
        "recipe": recipe_values(config),
        "totals": totals(accounts),
        "sources": accounts,
        **details,
    }


def read_manifest(out: Path) -> dict[str, Any]:
    """The manifest of the finished corpus in `out`.

    Raises:
        DataError: there is none, or it was written by another version of the format.
    """
    manifest = read_json(out / NAME) if (out / NAME).is_file() else None
    if not isinstance(manifest, dict) or manifest.get("kind") != KIND:
        raise DataError(
            f"expected a finished corpus in {out}, but found no {NAME} of one; "
            "`castline corpus build` makes one, or goes on with one that was interrupted"
        )
    version = manifest.get("schema_version")
    if version != SCHEMA_VERSION:
        raise DataError(
            f"{out / NAME}: expected schema version {SCHEMA_VERSION}, but found {version}; "
            "build the corpus again with --force"
        )
    return manifest


def read_account(out: Path) -> dict[str, Any]:
    """The manifest of the corpus in `out`, or of one that was decided again and is not built yet.

    The latter has no tokens, no tokenizer and no files.
    """
    if (out / NAME).is_file() or not (out / DECIDED).is_file():
        return read_manifest(out)
    account: dict[str, Any] = read_json(out / DECIDED)
    return account


def decided_again(account: dict[str, Any], config: CorpusConfig, outcomes: dict[str, Outcome]) -> dict[str, Any]:
    """The account after other decisions about the same documents."""
    sources = {}
    for name, one in account["sources"].items():
        outcome = outcomes.get(name, Outcome(dropped={}, kept={TRAIN: 0, HELD_OUT: 0}))
        none = dict.fromkeys(one["tokens"], 0)
        sources[name] = one | {"dropped": outcome.dropped, "kept": outcome.kept, "packed": 0, "tokens": none}
    return new_manifest(config, sources, annotators=account.get("annotators", {}))


def recipe_values(config: CorpusConfig) -> dict[str, Any]:
    """The fully resolved recipe as JSON values."""
    return config.model_dump(mode="json")


def differing_fields(old: Any, new: Any, path: str = "") -> list[str]:
    """The dotted paths at which two recipes differ, with both values; what does not change the corpus is left out."""
    if path.endswith((".max_bad", "dedup.memory")) or old == new:
        return []
    if isinstance(old, dict) and isinstance(new, dict):
        pairs = [(str(key), old.get(key), new.get(key)) for key in dict.fromkeys([*old, *new])]
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = [(str(at), *both) for at, both in enumerate(zip(old, new, strict=True))]
    else:
        return [f"{path}: {_shown(old)} there, {_shown(new)} now"]
    prefix = f"{path}." if path else ""
    return [line for key, before, after in pairs for line in differing_fields(before, after, prefix + key)]


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return f"{len(value)} entries"
    return "nothing" if value is None else repr(value)
