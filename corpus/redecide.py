"""Deciding again with other settings, from the measurements alone: `castline corpus decide`.

Measurements and duplicates stay; decisions and report are written anew. The tokenizer and the shards were made from
the earlier decisions, so the shards and the manifest go, and `decided.json` takes the manifest's place until
`castline corpus build` has finished the corpus again: it reads no source for that.
"""

import copy
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from castline.corpus import manifest as manifests
from castline.corpus.config import CorpusConfig
from castline.corpus.decide import Decisions, make_decisions, write_decisions
from castline.corpus.long_context.config import LongContextConfig
from castline.corpus.long_context.select import chosen_documents
from castline.corpus.report import write_report
from castline.corpus.tables import read_table
from castline.corpus.workspace import Workspace
from castline.errors import RecipeError
from castline.files import write_json
from castline.recipe import apply_overrides, parse

# What needs no other measurements.
DECIDING = (
    "seed",
    "rules",
    "dedup.keep",
    "dedup.best_by",
    "split",
    "code",
    "long_context.rules",
    "long_context.sources",
)


@dataclass(frozen=True)
class Change:
    """What other settings make of the same documents."""

    settings: list[str]  # the fields that differ, with both values
    dropped_before: dict[str, int]  # by rule
    dropped_after: dict[str, int]
    kept_before: int
    kept_after: int
    newly_kept: int
    newly_dropped: int
    decisions_changed: int  # documents with any other decision: dropped by another rule, moved to another split, …
    long_before: int | None  # of the long documents that were measured, those chosen for long contexts
    long_after: int | None  # None where there are no such bounds


def redecide(
    out: Path, *, recipe: dict[str, Any] | None = None, overrides: list[str] | None = None, dry_run: bool = False
) -> Change:
    """Decide again about all documents of the corpus directory `out`.

    Args:
        out: a finished corpus, or one that was decided again.
        recipe: the corpus tables of another recipe; without it, the corpus's own.
        overrides: settings such as `rules.gopher_quality.words.min=30` on top.
        dry_run: only say what would change.

    Raises:
        DataError: `out` holds no such corpus, or a rule looks at what was not measured.
        RecipeError: the settings are wrong, or change more than decisions.
    """
    workspace = Workspace(out)
    account = manifests.read_account(out)
    values = account["recipe"] if recipe is None else recipe
    where = f"the recipe of {out}" if recipe is None else "the recipe"
    config = parse(CorpusConfig, apply_overrides(copy.deepcopy(values), overrides or []), where)
    settings = manifests.differing_fields(account["recipe"], manifests.recipe_values(config))
    _check_settings(settings)
    after = make_decisions(out, config)
    was = parse(CorpusConfig, account["recipe"], f"the recipe of {out}")
    change = _compare(out, after, settings, (was.long_context, config.long_context))
    if not dry_run and (settings or change.decisions_changed):
        with workspace.locked():
            (out / manifests.NAME).unlink(missing_ok=True)
            (out / manifests.DECIDED).unlink(missing_ok=True)
            workspace.keep_only("shards", ())
            write_decisions(out, after)
            decided = manifests.decided_again(account, config, after.outcomes)
            write_report(out, decided)
            write_json(out / manifests.DECIDED, decided)
    return change


def _check_settings(settings: list[str]) -> None:
    more = [line for line in settings if not line.partition(":")[0].startswith(DECIDING)]
    if more:
        raise RecipeError(
            f"expected settings that only decide ({', '.join(DECIDING)}), but these change more:\n"
            + "\n".join(f"  {line}" for line in more)
            + "\n`castline corpus build --force` applies them"
        )


def _compare(
    out: Path, after: Decisions, settings: list[str], long: tuple[LongContextConfig | None, LongContextConfig | None]
) -> Change:
    before = pa.concat_tables([read_table(out / "decisions" / name) for name in after.documents])
    now = pa.concat_tables([table for _, table in after.tables()])
    was_kept, is_kept = before["kept"].to_numpy(), now["kept"].to_numpy()
    columns = [name for name in ("rule", "duplicate_of", "split", "repeats") if name in before.column_names]
    same = np.ones(len(now), dtype=bool)
    for name in columns:
        same &= np.array(before[name].to_pylist(), dtype=object) == np.array(now[name].to_pylist(), dtype=object)
    return Change(
        settings=settings,
        dropped_before=_dropped(before),
        dropped_after=_dropped(now),
        kept_before=int(was_kept.sum()),
        kept_after=int(is_kept.sum()),
        newly_kept=int((is_kept & ~was_kept).sum()),
        newly_dropped=int((was_kept & ~is_kept).sum()),
        decisions_changed=int((~same).sum()),
        long_before=_chosen(out, long[0]),
        long_after=_chosen(out, long[1]),
    )


def _chosen(out: Path, long: LongContextConfig | None) -> int | None:
    return len(chosen_documents(out, long)[0]) if long else None


def _dropped(table: pa.Table) -> dict[str, int]:
    counts = Counter(table["rule"].to_pylist())
    return {rule: count for rule, count in sorted(counts.items()) if rule}
