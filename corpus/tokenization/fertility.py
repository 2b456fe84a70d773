"""How many tokens a text takes, by kind and language: `fertility.json`.

Words and characters are those of the measurements (a Han character is a word); packed repositories are not
measured, so they count with bytes alone. `pieces_of_characters` is the share of bytes in tokens that are no whole
characters: what the vocabulary does not know.
"""

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from castline.corpus.encode import token_files
from castline.corpus.measure import Part
from castline.corpus.selected import selected_table
from castline.corpus.tables import read_table
from castline.corpus.tokenization.make import TokenizerInfo
from castline.files import write_json

NAME = "fertility.json"
COUNTS = ("documents", "bytes", "tokens", "partial_bytes", "measured_tokens", "words", "characters")


def write_fertility(
    out: Path, parts: list[Part], kinds: dict[str, str], tokenizer: TokenizerInfo
) -> list[dict[str, Any]]:
    """Write `fertility.json` from the counts of all selected documents.

    Args:
        out: the corpus directory.
        parts: what is selected, in order.
        kinds: the kind of every source.
        tokenizer: that encoded them.

    Returns:
        A row for every kind and language, and one for all, as the file holds them.
    """
    totals: defaultdict[tuple[str, str], dict[str, int]] = defaultdict(lambda: dict.fromkeys(COUNTS, 0))
    for part in parts:
        table = _counts(out, part)
        languages = np.array(table.pop("language"), dtype=object)
        for language in sorted(set(languages)):
            mine = languages == language
            for group in ((kinds[part.source], language), ("all", "")):
                for name in COUNTS:
                    totals[group][name] += int(table[name][mine].sum())
    groups = [_row(*group, totals[group]) for group in sorted(totals, key=lambda group: (group[0] == "all", group))]
    values = {"vocab_size": tokenizer.vocab_size, "characters": tokenizer.characters, "groups": groups}
    write_json(out / NAME, values)
    return groups


def _counts(out: Path, part: Part) -> dict[str, Any]:
    """The counts of a part's selected documents, one array each, and their languages."""
    selected = selected_table(out, part)
    encoded = np.load(token_files(out, part.name)[1])
    counts: dict[str, Any] = {name: np.zeros(len(selected), np.int64) for name in COUNTS}
    counts |= {"documents": np.ones(len(selected), np.int64), "bytes": selected["bytes"].to_numpy()}
    counts |= {"tokens": encoded[:, 0] - 1, "partial_bytes": encoded[:, 1]}
    if not part.packed:
        kept = read_table(out / "decisions" / f"{part.name}.parquet", ["kept"])["kept"]
        measured = read_table(out / "measurements" / f"{part.name}.parquet", ["words", "characters"]).filter(kept)
        counts |= {name: measured[name].to_numpy() for name in ("words", "characters")}
        counts["measured_tokens"] = counts["tokens"]
    return {**counts, "language": selected["language"].to_pylist()}


def _row(kind: str, language: str, counts: dict[str, int]) -> dict[str, Any]:
    def ratio(numerator: str, denominator: str) -> float | None:
        return round(counts[numerator] / counts[denominator], 6) if counts[denominator] else None

    return {
        "kind": kind,
        "language": language,
        **{name: counts[name] for name in ("documents", "bytes", "tokens")},
        "bytes_per_token": ratio("bytes", "tokens"),
        "tokens_per_byte": ratio("tokens", "bytes"),
        "tokens_per_character": ratio("measured_tokens", "characters"),
        "tokens_per_word": ratio("measured_tokens", "words"),
        "pieces_of_characters": ratio("partial_bytes", "bytes"),
    }
