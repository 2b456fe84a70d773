"""Claim: signatures (128 permutations, word 5-grams) of raw text, at least 5 times as fast as rensa's of split words.

    python -m venv peers && peers/bin/pip install rensa==0.5.0
    python benchmarks/minhash.py [DOCUMENTS.jsonl] --peer-python peers/bin/python

rensa gets the words split and in lower case beforehand, for nothing, and joins them to 5-grams; castline starts from
the text. rensa's signatures of single words are another job (blind to the order of words), shown for what its kernel
can do. The ceiling is our permutation kernel alone: what 2,048 further permutations cost, divided by 16.
"""

import json

from text_input import parser, print_table, read_documents, run_peer, seconds, size_of


def peer(texts: list[str]) -> dict[str, float]:
    """Seconds of rensa, each way that its interface offers, on words made beforehand."""
    import rensa

    words = [text.lower().split() for text in texts]

    def sketch(tokens: list[str]) -> None:
        one = rensa.RMinHash(num_perm=128, seed=42)
        one.update(tokens)
        one.digest()

    def five_grams() -> None:
        for w in words:
            sketch(list(map(" ".join, zip(w, w[1:], w[2:], w[3:], w[4:], strict=False))) or w)

    def single_words() -> None:
        for w in words:
            sketch(w)

    return {
        "rensa RMinHash, split words, 5-grams": seconds(five_grams),
        "(rensa RMinHash, split words, single words)": seconds(single_words),
    }


def main() -> None:
    options = parser(__doc__, megabytes=20).parse_args()
    texts = read_documents(options.documents, options.megabytes)
    if options.peer:
        print(json.dumps(peer(texts)))
        return
    from castline import _C

    def signatures(permutations: int) -> float:
        return seconds(lambda: _C.minhash(texts, permutations=permutations))

    theirs = run_peer(options, texts)
    rows = {"castline, from raw text": signatures(128), **theirs}
    rows["ceiling: the permutation kernel alone"] = (signatures(4096) - signatures(2048)) / 16
    print_table(size_of(texts), rows)


if __name__ == "__main__":
    main()
