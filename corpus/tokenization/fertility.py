"""How many tokens a text takes, by kind and language: `fertility.json`.

Words and characters are those of the measurements (a Han character is a word); packed repositories are not
measured, so they count with bytes alone. `pieces_of_characters` is the share of bytes in tokens that are no whole
characters: what the vocabulary does not know.
"""

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from castline import _C
from castline.corpus.encode import TokenFiles
from castline.corpus.measure import Part
from castline.corpus.selected import selected_table
from castline.corpus.tables import few_strings
from castline.corpus.tokenization.characters import CODE_POINTS, add_sparse, measure_coverage
from castline.corpus.tokenization.make import TokenizerInfo
from castline.files import write_json

NAME = "fertility.json"
COUNTS = ("documents", "bytes", "tokens", "partial_bytes", "measured_tokens", "words", "characters")


def write_fertility(out: Path, parts: list[Part], kinds: dict[str, str], tokenizer: TokenizerInfo) -> dict[str, Any]:
    """Write `fertility.json` from the counts of all selected documents.

    Args:
        out: the corpus directory.
        parts: what is selected, in order.
        kinds: the kind of every source.
        tokenizer: that encoded them.

    Returns:
        `characters`: which characters of the training text are one token (`characters.Coverage`); `fertility`: a row
        for every kind and language, and one for all.
    """
    totals: defaultdict[tuple[str, str], dict[str, int]] = defaultdict(lambda: dict.fromkeys(COUNTS, 0))
    occurring = np.zeros(CODE_POINTS, np.int64)
    for part in parts:
        add_sparse(occurring, np.load(TokenFiles.of(out, part.name).characters))
        table = _counts(out, part)
        languages = few_strings(table.pop("language"))
        for language in sorted(set(languages)):
            mine = languages == language
            for group in ((kinds[part.source], language), ("all", "")):
                for name in COUNTS:
                    totals[group][name] += int(table[name][mine].sum())
    groups = [_row(*group, totals[group]) for group in sorted(totals, key=lambda group: (group[0] == "all", group))]
    characters = measure_coverage(_C.Tokenizer(out / "tokenizer.json"), occurring)
    write_json(out / NAME, {"vocab_size": tokenizer.vocab_size, "characters": characters, "groups": groups})
    return {"characters": characters, "fertility": groups}


def _counts(out: Path, part: Part) -> dict[str, Any]:
    """The counts of a part's selected documents, one array each, and their languages."""
    measured = () if part.packed else ("words", "characters")
    selected = selected_table(out, part, ["language", "bytes", *measured])
    encoded = np.load(TokenFiles.of(out, part.name).counts)
    counts: dict[str, Any] = {name: np.zeros(len(selected), np.int64) for name in COUNTS}
    counts |= {"documents": np.ones(len(selected), np.int64), "bytes": selected["bytes"].to_numpy()}
    counts |= {"tokens": encoded[:, 0] - 1, "partial_bytes": encoded[:, 1]}
    if measured:
        counts |= {name: selected[name].to_numpy() for name in measured}
        counts["measured_tokens"] = counts["tokens"]
    return {**counts, "language": selected["language"]}


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
