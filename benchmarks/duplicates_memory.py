"""Claim: duplicates among 5 million short documents are found in at most 1.5 GB of memory.

    python benchmarks/duplicates_memory.py [--documents 5000000] [--memory 1GB] [--folder /where/12GB/fit]
                                           [--tokenizer tokenizer.json]

Documents of 32 random words, of which every fourth family has a copy and a copy with one word changed (Jaccard
similarity 0.81). They lie on disk as reading leaves them; the build's own stages then index and search them, and
decide who stays, each in a process of its own, whose peak of resident memory is read from the kernel. What was found
is compared with what was planted. Then the whole build of the same documents, from jsonl to shards with rules and an
existing tokenizer (--tokenizer), in two workers. The peer, datasketch's MinHashLSH, holds its index in memory and
verifies nothing; it gets a hundredth of the documents, and its growth per document is what is compared.
"""

import argparse
import hashlib
import itertools
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from castline import _C
from castline.corpus.build import build_corpus
from castline.corpus.config import CorpusConfig
from castline.corpus.decide import decide
from castline.corpus.documents import Document, write_documents
from castline.corpus.duplicates import CLUSTERS, PAIRS
from castline.corpus.duplicates.config import DedupConfig
from castline.corpus.duplicates.search import find_duplicates
from castline.corpus.measure import PART_RECORDS, Part
from castline.corpus.tables import read_table, write_table
from castline.corpus.workers import Workers
from castline.corpus.workspace import Workspace

WORDS = 32
ORIGIN = {"source": "made", "kind": "text", "language": "en", "path": "made.jsonl"}
VOCABULARY = [f"word{i}" for i in range(50_000)]
PEER_SHARE = 100
FILE_DOCUMENTS = 250_000


def texts(count: int) -> Iterator[tuple[int, str]]:
    """Pairs of (family, text), the same ones every time."""
    random = np.random.default_rng(1)
    given = 0
    for family, row in enumerate(
        row for _ in iter(int, 1) for row in random.integers(len(VOCABULARY), size=(9999, WORDS))
    ):
        words = [VOCABULARY[i] for i in row]
        versions = [" ".join(words)]
        if family % 4 == 0:
            versions += [versions[0], " ".join([*words[:-3], "changed", *words[-2:]])]
        for text in versions[: count - given]:
            yield family, text
        given += len(versions)
        if given >= count:
            return


def write_parts(out: Path, count: int) -> tuple[list[str], np.ndarray[Any, np.dtype[np.int32]]]:
    """Documents and measurements as the first stage of a build leaves them; the parts' names, and all families."""
    families = np.empty(count, np.int32)
    source = texts(count)
    names = []
    for begin in range(0, count, PART_RECORDS):
        part = [next(source) for _ in range(min(PART_RECORDS, count - begin))]
        families[begin : begin + len(part)] = [family for family, _ in part]
        name = f"000000-{len(names):06d}"
        ids = [hashlib.blake2b(str(begin + i).encode(), digest_size=16).hexdigest() for i in range(len(part))]
        documents = [
            Document(one, "made", "text", "en", "made.jsonl", begin + i, text)
            for i, (one, (_, text)) in enumerate(zip(ids, part, strict=True))
        ]
        write_documents(out / "documents" / f"{name}.jsonl.zst", documents)
        hashes = _C.content_hashes([text for _, text in part]).tobytes()
        column = pa.array([hashes[at : at + 16] for at in range(0, len(hashes), 16)], pa.binary(16))
        columns = {"id": ids, "content_hash": column, "bytes": [len(text) for _, text in part]}
        columns |= {name: pa.array([value] * len(part)).dictionary_encode() for name, value in ORIGIN.items()}
        write_table(out / "measurements" / f"{name}.parquet", pa.table(columns))
        names.append(name)
    return names, families


def peak() -> int:
    """The most resident memory of this process so far, in bytes."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def search(out: Path, memory: str) -> dict[str, float]:
    """Index and search the parts in `out`."""
    names = sorted(path.stem for path in (out / "measurements").iterdir())
    parts = [Part(name, "made", PART_RECORDS, {"documents": name}) for name in names]
    before, start, processor = peak(), time.perf_counter(), time.process_time()
    with Workers(1) as pool:
        find_duplicates(parts, DedupConfig(memory=memory), [], Workspace(out), pool)
    spent = {"seconds": time.perf_counter() - start, "processor": time.process_time() - processor}
    return {"start": before, "peak": peak(), **spent}


def choose(out: Path) -> dict[str, float]:
    """Decide who stays; no other rule looks at the documents."""
    off = {"enabled": False}
    rules = dict.fromkeys(("gopher_quality", "gopher_repetition", "text_form"), off)
    config = CorpusConfig.model_validate({"sources": [{"name": "made", "path": "made.jsonl"}], "rules": rules})
    before, start = peak(), time.perf_counter()
    kept = decide(out, config)["made"].kept
    return {"start": before, "peak": peak(), "seconds": time.perf_counter() - start, "kept": sum(kept.values())}


def whole(folder: Path, count: int, tokenizer: Path) -> dict[str, float]:
    """Build a corpus of so many documents."""
    (folder / "lines").mkdir()
    source = texts(count)
    for begin in range(0, count, FILE_DOCUMENTS):
        lines = (json.dumps({"text": text}) + "\n" for _, text in itertools.islice(source, FILE_DOCUMENTS))
        (folder / "lines" / f"{begin:09d}.jsonl").write_text("".join(lines))
    rules = {"gopher_quality": {"words": {"min": 10}, "english_stop_words": False}, "text_form": {"enabled": False}}
    sources = [{"name": "made", "path": "lines/*.jsonl"}]
    config = CorpusConfig.model_validate({"sources": sources, "rules": rules, "tokenizer": {"path": str(tokenizer)}})
    before, start = peak(), time.perf_counter()
    kept = build_corpus(config, folder / "out", base=folder, workers=2).manifest["totals"]["kept"]
    workers = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    seconds = time.perf_counter() - start
    return {"start": before, "peak": peak(), "workers": workers, "seconds": seconds, "kept": sum(kept.values())}


def peer(count: int) -> dict[str, float]:
    """datasketch's index of so many documents."""
    from datasketch import MinHash, MinHashLSH

    before, start = peak(), time.perf_counter()
    index = MinHashLSH(threshold=0.7, num_perm=128)
    for number, (_, text) in enumerate(texts(count)):
        words = text.split()
        signature = MinHash(num_perm=128)
        signature.update_batch([" ".join(words[i : i + 5]).encode() for i in range(WORDS - 4)])
        index.insert(number, signature)
    return {"start": before, "peak": peak(), "seconds": time.perf_counter() - start}


def in_a_process(*arguments: str) -> dict[str, float]:
    result = subprocess.run([sys.executable, __file__, *arguments], check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    return found


def check(out: Path, families: np.ndarray[Any, np.dtype[np.int32]]) -> str:
    """What was found against what was planted: a family is a cluster."""
    clusters = read_table(out / CLUSTERS)["cluster"].to_numpy()
    first_of = np.unique(families, return_index=True)[1][families]
    together = clusters == first_of
    false = int((families[clusters] != families).sum())
    duplicates = int((first_of != np.arange(len(families))).sum())
    found = int((together & (first_of != np.arange(len(families)))).sum())
    pairs = len(read_table(out / PAIRS, ["similarity"]))
    return f"{found:,} of {duplicates:,} duplicates found ({found / duplicates:.3%}), {false} false, {pairs:,} pairs"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--documents", type=int, default=5_000_000, help="how many (default 5 million)")
    options.add_argument("--memory", default="1GB", help="[dedup] memory (default 1GB)")
    options.add_argument("--folder", type=Path, help="where to write (default: the system's temporary folder)")
    options.add_argument("--tokenizer", type=Path, help="a tokenizer.json: build the whole corpus, too")
    options.add_argument("--whole", type=Path, help=argparse.SUPPRESS)
    options.add_argument("--search", type=Path, help=argparse.SUPPRESS)
    options.add_argument("--choose", type=Path, help=argparse.SUPPRESS)
    options.add_argument("--peer", type=int, help=argparse.SUPPRESS)
    options = options.parse_args()
    if options.whole:
        print(json.dumps(whole(options.whole, options.documents, options.tokenizer)))
        return
    if options.search:
        print(json.dumps(search(options.search, options.memory)))
        return
    if options.choose:
        print(json.dumps(choose(options.choose)))
        return
    if options.peer:
        print(json.dumps(peer(options.peer)))
        return
    count = options.documents
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        out = Path(folder)
        _, families = write_parts(out, count)
        ours = in_a_process("--search", folder, "--memory", options.memory)
        chosen = in_a_process("--choose", folder)
        disk = sum(path.stat().st_size for path in (out / "duplicates").rglob("*") if path.is_file())
        result = check(out, families)
    print(f"{count:,} documents of {WORDS} words, [dedup] memory = {options.memory}")
    print(f"castline:    {ours['peak'] / 1e9:.2f} GB resident at most (before it began: {ours['start'] / 1e9:.2f} GB)")
    print(
        f"             {ours['seconds']:.0f} s, of one processor {ours['processor']:.0f} s; {disk / 1e9:.1f} GB on disk"
    )
    print(f"             {result}")
    print(f"who stays:   {chosen['peak'] / 1e9:.2f} GB, {chosen['seconds']:.0f} s, {chosen['kept']:,} kept", flush=True)
    if options.tokenizer:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            tokenizer = str(options.tokenizer.resolve())
            built = in_a_process("--whole", folder, "--documents", str(count), "--tokenizer", tokenizer)
        print(f"whole build: {built['peak'] / 1e9:.2f} GB, its workers {built['workers'] / 1e9:.2f} GB", end="")
        print(f"; {built['seconds']:.0f} s with two, {built['kept']:,} kept", flush=True)
    theirs = in_a_process("--peer", str(count // PEER_SHARE))
    per_document = (theirs["peak"] - theirs["start"]) / (count // PEER_SHARE)
    print(f"datasketch:  {per_document / 1e3:.1f} kB per document in memory, so {per_document * count / 1e9:.0f} GB")
    print(f"ratio:       {per_document * count / max(ours['peak'], chosen['peak']):.0f}x")


if __name__ == "__main__":
    main()
