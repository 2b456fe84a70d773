"""Claim: masking private data at least 10 times as fast as datatrove, which masks e-mail and IP addresses only.

    python -m venv peers && peers/bin/pip install 'datatrove==0.10.1' regex
    python benchmarks/annotate.py [DOCUMENTS.jsonl] --peer-python peers/bin/python

The peer is datatrove's PIIFormatter. The ceiling is a look at every character and a hash of the text, taken from
content hashes.
"""

import json

from text_input import parser, print_table, read_documents, run_peer, seconds, size_of


def peer(texts: list[str]) -> dict[str, float]:
    """Seconds of datatrove's PIIFormatter."""
    from datatrove.data import Document
    from datatrove.pipeline.formatters import PIIFormatter

    formatter = PIIFormatter()
    documents = [Document(text=text, id=str(i)) for i, text in enumerate(texts)]
    return {"seconds": seconds(lambda: [formatter.format(document.text) for document in documents], repeat=1)}


def main() -> None:
    options = parser(__doc__, megabytes=20).parse_args()
    texts = read_documents(options.documents, options.megabytes)
    if options.peer:
        print(json.dumps(peer(texts)))
        return
    from castline import _C

    theirs = run_peer(options, texts)
    rows = {"castline, masking all kinds": seconds(lambda: _C.mask_private(texts))}
    if theirs:
        rows["datatrove, e-mail and IP addresses"] = theirs["seconds"]
    rows["castline, measuring"] = seconds(lambda: _C.measure(texts))
    rows["ceiling: classing and hashing every character"] = seconds(lambda: _C.content_hashes(texts))
    print_table(size_of(texts), rows)


if __name__ == "__main__":
    main()
