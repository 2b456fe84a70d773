"""Claim: all measurements at least 100 times as fast as datatrove's Gopher filters.

    python -m venv peers && peers/bin/pip install 'datatrove[processing]==0.10.1' spacy
    python benchmarks/measure.py [DOCUMENTS.jsonl] --peer-python peers/bin/python

castline computes every measurement (Gopher, C4, FineWeb, InternLM2, code); datatrove runs its Gopher quality and
repetition filters, each of which stops at the first rule that fails. The ceiling is a look at every character and a
hash of the text, taken from content hashes. The last lines say how often castline's measurements under Gopher's
thresholds decide as datatrove does: with words that white space separates for the share of words with a letter, as in
the paper, and with marks counted as words, as datatrove counts them.
"""

import json
from typing import Any

from text_input import parser, print_table, read_documents, run_peer, seconds, size_of

# What Gopher keeps, lowest and highest: Rae et al. 2021, table A1 and section A.1.1.
GOPHER = {
    "words": (50, 100_000),
    "mean_word_length": (3, 10),
    "hash_to_word_ratio": (0, 0.1),
    "ellipsis_to_word_ratio": (0, 0.1),
    "bullet_line_fraction": (0, 0.9),
    "ellipsis_line_fraction": (0, 0.3),
    "alphabetic_word_fraction": (0.8, 1),
    "english_stop_words": (2, 8),
    "duplicate_line_fraction": (0, 0.3),
    "duplicate_paragraph_fraction": (0, 0.3),
    "duplicate_line_character_fraction": (0, 0.2),
    "duplicate_paragraph_character_fraction": (0, 0.2),
    "top_2_gram_character_fraction": (0, 0.2),
    "top_3_gram_character_fraction": (0, 0.18),
    "top_4_gram_character_fraction": (0, 0.16),
    "duplicate_5_gram_character_fraction": (0, 0.15),
    "duplicate_6_gram_character_fraction": (0, 0.14),
    "duplicate_7_gram_character_fraction": (0, 0.13),
    "duplicate_8_gram_character_fraction": (0, 0.12),
    "duplicate_9_gram_character_fraction": (0, 0.11),
    "duplicate_10_gram_character_fraction": (0, 0.10),
}


def peer(texts: list[str]) -> dict[str, object]:
    """Seconds of datatrove's two Gopher filters, and the reason why each document is dropped, if it is."""
    from datatrove.data import Document
    from datatrove.pipeline.filters import GopherQualityFilter, GopherRepetitionFilter

    filters = [GopherQualityFilter(), GopherRepetitionFilter()]
    documents = [Document(text=text, id=str(i)) for i, text in enumerate(texts)]
    for one in filters:
        one.filter(documents[0])  # loads the word splitter
    verdicts: list[list[bool | tuple[bool, str]]] = []
    took = seconds(lambda: verdicts.extend([one.filter(d) for d in documents] for one in filters), repeat=1)
    reasons = [[v[1] for v in pair if isinstance(v, tuple)] for pair in zip(*verdicts, strict=True)]
    return {"seconds": took, "reasons": reasons}


def print_agreement(name: str, columns: dict[str, Any], reasons: list[list[str]]) -> None:
    """How often Gopher's thresholds on our measurements decide as datatrove did."""
    dropped = [any(not low <= columns[n][i] <= high for n, (low, high) in GOPHER.items()) for i in range(len(reasons))]
    both = list(zip(dropped, map(bool, reasons), strict=True))
    same = sum(ours == theirs for ours, theirs in both)
    print(f"\nGopher decisions, {name}: the same for {same / len(both):.1%} of {len(both)} documents;", end=" ")
    print(f"dropped by castline alone {both.count((True, False))}, by datatrove alone {both.count((False, True))}")


def main() -> None:
    options = parser(__doc__, megabytes=5).parse_args()
    texts = read_documents(options.documents, options.megabytes)
    if options.peer:
        print(json.dumps(peer(texts)))
        return
    from castline import _C

    theirs = run_peer(options, texts)
    rows = {f"castline, {len(_C.MEASUREMENTS)} measurements": seconds(lambda: _C.measure(texts))}
    if theirs:
        rows["datatrove, Gopher quality and repetition"] = theirs["seconds"]
    rows["ceiling: classing and hashing every character"] = seconds(lambda: _C.content_hashes(texts))
    print_table(size_of(texts), rows)
    if theirs:
        columns = _C.measure(texts)
        print_agreement("words by white space", columns, theirs["reasons"])
        columns["alphabetic_word_fraction"] = columns["alphabetic_token_fraction"]
        print_agreement("marks as words", columns, theirs["reasons"])


if __name__ == "__main__":
    main()
