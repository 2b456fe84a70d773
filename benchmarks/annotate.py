"""Claim: masking private data, block lists and decontamination at least 10 times as fast as datatrove's counterparts.

    python -m venv peers && peers/bin/pip install 'datatrove==0.10.1' regex
    python benchmarks/annotate.py [DOCUMENTS.jsonl] --peer-python peers/bin/python

The peers: PIIFormatter, which masks e-mail and IP addresses only; for block lists the one regular expression that
datatrove's C4BadWordsFilter makes of its list, here of the same 1,000 words; for decontamination a set of the hashes of
12-grams, as NGramsDecontFilter has it, with words divided by white space (its own division into words is far slower).
Classifiers have no peer here: both ways the scoring is fastText's; the row says what castline's part costs. The ceiling
is a look at every character and a hash of the text, taken from content hashes.
"""

import json
import random
import re
import tempfile
from pathlib import Path

from text_input import parser, print_table, read_documents, run_peer, seconds, size_of

LETTERS = "aaabcdeeeefghiiiklmnoooprstuvwy"
TERMS = 1000
EVALUATION = 500  # passages of the documents themselves
NGRAM = 12


def terms() -> list[str]:
    """Words of seven letters that nobody uses, every tenth with another behind it: rare, as blocked words are."""
    rng = random.Random(2)
    words = ["".join(rng.choices(LETTERS, k=7)) for _ in range(TERMS)]
    return [word if number % 10 else f"{word} {words[number - 1]}" for number, word in enumerate(words)]


def evaluation_texts(texts: list[str]) -> list[str]:
    """Passages of 60 words, chosen at random."""
    rng = random.Random(1)
    words = [rng.choice(texts).split() for _ in range(EVALUATION)]
    return [" ".join(one[(start := rng.randrange(max(1, len(one) - 60))) : start + 60]) for one in words]


def peer(texts: list[str]) -> dict[str, float]:
    """Seconds of datatrove's PIIFormatter, and of the counterparts of the other two."""
    from datatrove.pipeline.formatters import PIIFormatter

    formatter = PIIFormatter()
    expression = re.compile(r"(?:\W|^)({})(?:\W|$)".format("|".join(map(re.escape, terms()))))

    def ngrams(text: str) -> list[int]:
        words = re.sub(r"[^\w\s]", "", text.lower()).split()
        return [hash(" ".join(words[at : at + NGRAM])) for at in range(len(words) - NGRAM + 1)]

    known = {one for text in evaluation_texts(texts) for one in ngrams(text)}
    return {
        "private": seconds(lambda: [formatter.format(text) for text in texts], repeat=1),
        "words": seconds(lambda: [expression.search(text.lower()) for text in texts], repeat=1),
        "contamination": seconds(lambda: [sum(one in known for one in ngrams(text)) for text in texts], repeat=1),
    }


def classifying(texts: list[str]) -> tuple[float, float]:
    """Seconds of castline's lines and scores with a small model, and of fastText alone on those lines."""
    from castline.corpus.annotate.classifiers import token_lines
    from castline.corpus.annotate.fasttext_model import label_scores, load_classifier
    from castline.corpus.annotate.training import Hyperparameters, Labelled, train_classifier

    lines = token_lines(texts)
    labels = ["even" if number % 2 == 0 else "odd" for number in range(len(lines))]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.bin"
        train_classifier(Labelled(lines, labels), path, Hyperparameters(epochs=1))
        model = load_classifier(path)
        ours = seconds(lambda: label_scores(model, token_lines(texts), "even"))
        return ours, seconds(lambda: model.predict(lines, k=-1))


def main() -> None:
    options = parser(__doc__, megabytes=20).parse_args()
    texts = read_documents(options.documents, options.megabytes)
    if options.peer:
        print(json.dumps(peer(texts)))
        return
    import numpy as np

    from castline import _C

    theirs = run_peer(options, texts)
    matcher = _C.TermMatcher(terms())
    index = _C.ContaminationIndex(evaluation_texts(texts), np.arange(EVALUATION), ngram=NGRAM)
    ceiling = {"ceiling: classing and hashing every character": seconds(lambda: _C.content_hashes(texts))}
    tables = {
        "private": (
            "castline, masking all kinds",
            lambda: _C.mask_private(texts),
            "datatrove, e-mail and IP addresses",
        ),
        "words": ("castline, 1,000 terms", lambda: matcher.find(texts), "a regular expression, as datatrove's"),
        "contamination": (
            "castline, n-grams of 500 texts",
            lambda: index.find(texts),
            "a set of n-grams, as datatrove's",
        ),
    }
    for name, (ours, work, peer_name) in tables.items():
        rows = {ours: seconds(work)}
        if theirs:
            rows[peer_name] = theirs[name]
        print_table(size_of(texts), rows | ceiling)
        print()
    scored, alone = classifying(texts)
    print_table(size_of(texts), {"castline, one classifier": scored, "ceiling: fastText's scoring alone": alone})


if __name__ == "__main__":
    main()
