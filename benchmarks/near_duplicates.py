"""Claim: near-duplicate removal, jsonl to jsonl, at least 20 times as fast as text-dedup with xxh3, and verified.

    python -m venv peers && peers/bin/pip install text-dedup==0.4.0
    python benchmarks/near_duplicates.py [DOCUMENTS.jsonl] --peer-python peers/bin/python [--check 5000]

Both use 128 permutations, word 5-grams and threshold 0.7, one thread. text-dedup verifies no pair, and writes Arrow
instead of jsonl; what it takes to import it is not counted. The ceiling is parsing the lines and no more. --check
compares the clusters with brute force over all pairs of that many documents.
"""

import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from text_input import parser, print_table, read_documents, run_peer, seconds, size_of, write_documents

BATCH = 1000


def find(texts: Iterable[str], folder: Path) -> tuple[Any, ...]:
    """First, second, similarity of verified pairs, and every document's cluster; through an index on disk."""
    from castline import _C

    index = _C.DuplicateIndex()
    texts = iter(texts)
    while batch := list(itertools.islice(texts, BATCH)):
        index.add(batch)
    (folder / "index").write_bytes(bytes(index))
    return _C.find_duplicates([str(folder / "index")])


def deduplicate(source: Path, target: Path) -> int:
    """Copy the first document of every cluster; the number of documents left out."""
    with source.open("rb") as file:
        first, _, _, clusters = find((json.loads(line)["text"] for line in file), target.parent)
    with source.open("rb") as file, target.open("wb") as kept:
        kept.writelines(line for i, line in enumerate(file) if clusters[i] == i)
    return len(first)


def peer(source: Path) -> dict[str, float]:
    """Processor seconds of text-dedup's command, less those of importing it."""

    def run(*command: str, folder: str) -> float:
        before = os.times()
        environment = {**os.environ, "HF_HOME": folder, "HF_HUB_OFFLINE": "1"}
        subprocess.run([sys.executable, *command], check=True, capture_output=True, env=environment)
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    with tempfile.TemporaryDirectory() as folder:
        files = f"--path json --split train --cache_dir {folder}/cache --output {folder}/out".split()
        method = [
            "--num_perm",
            "128",
            "--ngram",
            "5",
            "--threshold",
            "0.7",
            "--hash_func",
            "xxh3",
            "--hash_bits",
            "32",
            "--num_proc",
            "1",
        ]
        loading = run("-c", "import text_dedup.minhash", folder=folder)
        command = ["-m", "text_dedup.minhash", "--data_files", str(source), "--column", "text", *files, *method]
        return {"seconds": run(*command, folder=folder) - loading}


def check(texts: list[str]) -> str:
    """How many of all pairs at 0.7 or more end up in one cluster. Similarities come from sets of word 5-grams."""
    import numpy as np

    from castline import _C

    with tempfile.TemporaryDirectory() as folder:
        first, second, jaccard, clusters = find(texts, Path(folder))

    postings: dict[tuple[str, ...], list[int]] = defaultdict(list)
    sizes = np.zeros(len(texts))
    similar: dict[tuple[int, int], float] = {}
    for i, text in enumerate(texts):
        words = [token.lower() for token in _C.tokens(text) if any(c.isalnum() for c in token)]
        grams = {tuple(words[k : k + 5]) for k in range(max(1, len(words) - 4))} if words else set()
        sizes[i] = len(grams)
        if not grams:
            continue
        common = np.bincount(np.concatenate([np.array(postings[g], np.int64) for g in grams]), minlength=i)
        similarity = common[:i] / np.maximum(1, sizes[:i] + sizes[i] - common[:i])
        similar.update(((int(j), i), float(similarity[j])) for j in np.flatnonzero(similarity >= 0.7))
        for gram in grams:
            postings[gram].append(i)
    found = sum(clusters[i] == clusters[j] for i, j in similar)
    pairs = zip(first.tolist(), second.tolist(), jaccard.tolist(), strict=True)
    false = sum(similar.get((i, j)) != s for i, j, s in pairs)
    recall = found / max(1, len(similar))
    return f"{len(texts)} documents: {found} of {len(similar)} true pairs found ({recall:.2%}), {false} false"


def main() -> None:
    options = parser(__doc__, megabytes=20)
    options.add_argument("--check", type=int, default=0, metavar="N", help="compare with brute force over N documents")
    options = options.parse_args()
    if options.peer:
        print(json.dumps(peer(options.documents)))
        return
    texts = read_documents(options.documents, options.megabytes)
    theirs = run_peer(options, texts)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "documents.jsonl"
        write_documents(texts, source)
        rows = {"castline, verified": seconds(lambda: deduplicate(source, Path(folder) / "kept.jsonl"))}
        removed = deduplicate(source, Path(folder) / "kept.jsonl")
        if theirs:
            rows["text-dedup, xxh3, unverified"] = theirs["seconds"]

        def parse() -> None:
            with source.open("rb") as file:
                for line in file:
                    json.loads(line)

        rows["ceiling: parsing the lines"] = seconds(parse)
    print_table(size_of(texts), rows)
    print(f"\n{removed} of {len(texts)} documents removed")
    if options.check:
        print(check(texts[: options.check]))


if __name__ == "__main__":
    main()
