"""Documents of a corpus to look at: some that were kept, or that a rule dropped, chosen by a hash of their ids."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from castline.corpus.documents import document_at
from castline.corpus.manifest import read_account
from castline.corpus.tables import read_table
from castline.errors import RecipeError


@dataclass(frozen=True)
class SampledDocument:
    """A document with what was decided about it."""

    id: str
    source: str
    path: str
    rule: str  # what dropped it; empty for a kept one
    value: float | None
    threshold: float | None
    duplicate_of: str
    earlier_corpus: str  # that the former belongs to; empty for this one
    text: str


def sample_documents(
    out: Path, *, rule: str = "", source: str = "", kept: bool | None = None, count: int = 5, seed: int = 0
) -> list[SampledDocument]:
    """Documents chosen at random, the same ones for the same seed.

    Args:
        out: the corpus directory.
        rule: only what this rule, or this set of rules, dropped.
        source: only documents of this source.
        kept: only kept ones, or only dropped ones.
        count: at most so many.
        seed: another seed gives other documents.

    Raises:
        DataError: `out` holds no corpus.
        RecipeError: there is no such document.
    """
    account = read_account(out)
    if source and source not in account["sources"]:
        raise RecipeError(f"expected a source of {out} ({', '.join(account['sources'])}), but got '{source}'")
    chosen: list[tuple[bytes, str, int]] = []
    for path in sorted((out / "decisions").glob("*.parquet")):
        decisions = read_table(path, ["id", "rule"])
        sources = read_table(out / "measurements" / path.name, ["source"])["source"].to_pylist()
        for row, (identity, reason) in enumerate(
            zip(decisions["id"].to_pylist(), decisions["rule"].to_pylist(), strict=True)
        ):
            fits = not rule or reason == rule or reason.startswith(f"{rule}.")
            if fits and (not source or sources[row] == source) and kept in (None, reason == ""):
                chosen.append((hashlib.blake2b(f"{seed}\0{identity}".encode()).digest(), path.stem, row))
    if not chosen:
        known = ", ".join(account["totals"]["dropped"])
        raise RecipeError(f"expected documents that fit, but {out} has none; rules that dropped some: {known}")
    wanted = [(part, row) for _, part, row in sorted(chosen)[:count]]
    found = {place: _read(out, *place) for place in sorted(wanted)}
    return [found[place] for place in wanted]


def _read(out: Path, part: str, row: int) -> SampledDocument:
    decision = read_table(out / "decisions" / f"{part}.parquet").slice(row, 1).to_pylist()[0]
    document = document_at(out / "documents" / f"{part}.jsonl.zst", row)
    shown = {name: decision[name] for name in ("rule", "value", "threshold", "duplicate_of", "earlier_corpus")}
    return SampledDocument(id=document.id, source=document.source, path=document.path, text=document.text, **shown)
