"""Building a corpus: the stages in order, each skipped where its output is there already.

    read and measure -> find duplicates -> decide and split -> pack repositories
    -> train the tokenizer -> encode -> mix -> report

The manifest is written last, so a directory with a manifest is complete. An interrupted build goes on
where it stopped, and gives the same bytes as one that was never interrupted.
"""

import contextlib
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from castline.corpus import manifest as manifests
from castline.corpus.annotate.annotator import Annotator
from castline.corpus.annotate.annotators import identities, make_annotators
from castline.corpus.code.packing import pack_repositories, packed_files
from castline.corpus.config import CorpusConfig
from castline.corpus.decide import DUPLICATES, Outcome, decide
from castline.corpus.duplicates.earlier import EarlierCorpus, against, open_earlier
from castline.corpus.duplicates.search import find_duplicates
from castline.corpus.encode import FOLDER as TOKENS
from castline.corpus.encode import encode_documents
from castline.corpus.long_context.select import FOLDER as LONG_CONTEXT
from castline.corpus.long_context.select import check_scorer, measure_long_documents
from castline.corpus.measure import Part, check_results, measure_sources, part_files, unchanged
from castline.corpus.memory import release
from castline.corpus.pack import pack_shards
from castline.corpus.report import look_at_tables, write_report
from castline.corpus.sources import WORKSPACE, Task, make_tasks
from castline.corpus.tokenization.existing import existing_files_hash
from castline.corpus.tokenization.fertility import NAME as FERTILITY
from castline.corpus.tokenization.fertility import write_fertility
from castline.corpus.tokenization.make import FILES as TOKENIZER_FILES
from castline.corpus.tokenization.make import FORMAT as TOKENIZER_FORMAT
from castline.corpus.tokenization.make import TokenizerInfo, make_tokenizer
from castline.corpus.workers import Workers
from castline.corpus.workspace import Workspace
from castline.errors import DataError, RecipeError
from castline.files import sha256_file, write_json

Engine = Literal["local", "ray"]


@dataclass(frozen=True)
class CorpusSummary:
    """A finished corpus: where it is, its manifest, and what did not have to be done again."""

    out: Path
    manifest: dict[str, Any]
    reused: bool  # the whole corpus was there
    resumed: dict[str, int]  # steps taken over from an interrupted build, by stage


def build_corpus(
    config: CorpusConfig,
    out: Path,
    *,
    base: Path = Path(),
    workers: int | Workers = 1,
    engine: Engine = "local",
    force: bool = False,
    max_bad: float | None = None,
) -> CorpusSummary:
    """Build the corpus that a recipe describes, or finish one that was interrupted.

    Args:
        config: the recipe's corpus tables.
        out: the corpus directory.
        base: the folder that the sources' paths are relative to: the recipe's.
        workers: how many processes (and, where a stage is one process, threads), or a pool that the caller has entered.
        engine: processes of this machine, or a Ray cluster (where 0 `workers` are all its processors).
        force: replace a finished corpus of another recipe; what has not changed is still not done again.
        max_bad: for every source, instead of its own `max_bad`.

    Raises:
        RecipeError: `out` holds a corpus of another recipe, or something else.
        DataError: a source is missing, damaged or empty, or the text is too little for the tokenizer.
        DeviceError: the disk is full, a worker was killed, or there is no Ray.
    """
    workspace = Workspace(out)
    _check_folder(out)
    tasks = make_tasks(config.sources, base)
    annotators = make_annotators(config, base)
    earlier = open_earlier(config.dedup, base, out)
    scorer = check_scorer(config, base)
    finished = _finished(config, base, tasks, annotators, earlier, workspace, force)
    if finished is not None:
        return CorpusSummary(out, finished, reused=True, resumed={})
    named = identities(annotators)
    with workspace.locked(), _pool(engine, workers, workspace) as pool, ThreadPoolExecutor(1) as aside:
        pool.start()
        for name in (manifests.NAME, manifests.DECIDED):
            (out / name).unlink(missing_ok=True)
        workspace.keep_only("shards", ())
        results = measure_sources(tasks, annotators, workspace, pool)
        check_results(
            results, {source.name: source.max_bad if max_bad is None else max_bad for source in config.sources}
        )
        parts = [part for result in results for part in result.parts]
        duplicates = find_duplicates(parts, config.dedup, earlier, workspace, pool)
        release()
        outcomes = decide(out, config, pool)
        release()
        _check_outcomes(outcomes)
        decisions = {part.name: sha256_file(out / "decisions" / f"{part.name}.parquet") for part in parts}
        workspace.keep_only("decisions", (f"{name}.parquet" for name in decisions))
        selected = pack_repositories(parts, config, workspace, pool)
        tables = aside.submit(look_at_tables, out, config, named)  # read while the workers encode
        tokenizer = _tokenizer(selected, config, base, workspace, decisions, pool)
        depends_on = [sha256_file(out / "tokenizer.json"), tokenizer.eos_id, decisions]
        encode_documents(selected, tokenizer.eos_id, workspace, depends_on, pool)
        kinds: dict[str, str] = {source.name: source.kind for source in config.sources}
        fertility = write_fertility(out, selected, kinds, tokenizer)
        measure_long_documents(selected, config, base, tokenizer.vocab_size, workspace, depends_on, pool)
        shown = tables.result()
        release()
        packed = pack_shards(out, selected, config, tokenizer, pool)
        manifest = manifests.new_manifest(
            config,
            manifests.account(config, results, outcomes, selected, packed.tokens),
            tokenizer=asdict(tokenizer) | fertility,
            mixture=packed.mixture,
            long_context={"scorer": scorer, "sources": packed.long_context} if scorer else None,
            annotators=named,
            against=against(earlier),
            files=_file_hashes(out, parts, selected, decisions, duplicates),
        )
        write_report(out, manifest, shown)
        write_json(out / manifests.NAME, manifest)
        shutil.rmtree(out / TOKENS, ignore_errors=True)
    return CorpusSummary(out, manifest, reused=False, resumed=dict(workspace.resumed))


def _pool(engine: Engine, workers: int | Workers, workspace: Workspace) -> contextlib.AbstractContextManager[Workers]:
    if isinstance(workers, Workers):
        return contextlib.nullcontext(workers)
    if engine == "local":
        return Workers(workers)
    from castline.corpus.ray_workers import RayWorkers

    return RayWorkers(workers, workspace.folder)


def _check_folder(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise RecipeError(f"expected a folder to write the corpus to, but {out} is a file")
    if out.is_dir() and any(out.iterdir()) and not ((out / WORKSPACE).is_dir() or (out / manifests.NAME).is_file()):
        raise RecipeError(f"expected an empty folder or a corpus at {out}, but found other files; choose another --out")


def _finished(
    config: CorpusConfig,
    base: Path,
    tasks: list[Task],
    annotators: list[Annotator],
    earlier: list[EarlierCorpus],
    workspace: Workspace,
    force: bool,
) -> dict[str, Any] | None:
    """The manifest of the finished corpus of this very recipe; None when there is work to do."""
    out = workspace.out
    if not (out / manifests.NAME).is_file():
        return None
    manifest = manifests.read_manifest(out)
    differing = manifests.differing_fields(manifest["recipe"], manifests.recipe_values(config))
    if differing and not force:
        raise RecipeError(
            f"{out} holds a corpus of another recipe; it differs in\n"
            + "\n".join(f"  {field}" for field in differing)
            + "\nchoose another --out, or replace it with --force"
        )
    same_files = (
        not differing
        and manifest["totals"]["files"] == sum(task.file_count for task in tasks)
        and unchanged(tasks, annotators, workspace)
        and manifest.get("against", {}) == against(earlier)
        and (manifest.get("long_context") or {}).get("scorer") == check_scorer(config, base)
        and manifest["tokenizer"]["existing_sha256"] == existing_files_hash(_existing_tokenizer(config, base))
    )
    if same_files:
        return manifest
    if force:
        return None
    raise DataError(
        f"the sources' files have changed since {out} was built, or a file that another table of the recipe names; "
        "bring it up to date with --force"
    )


def _check_outcomes(outcomes: dict[str, Outcome]) -> None:
    for source, outcome in outcomes.items():
        if not sum(outcome.kept.values()) and not set(DUPLICATES) & set(outcome.dropped):
            why = ", ".join(f"{rule} {count}" for rule, count in outcome.dropped.items())
            raise DataError(
                f"source '{source}': expected documents that pass the rules, but all were dropped ({why}); "
                "change those rules in the recipe, or leave the source out"
            )


def _tokenizer(
    parts: list[Part],
    config: CorpusConfig,
    base: Path,
    workspace: Workspace,
    decisions: dict[str, str],
    pool: Workers,
) -> TokenizerInfo:
    out = workspace.out
    existing = _existing_tokenizer(config, base)
    key = {
        "format": TOKENIZER_FORMAT,
        "tokenizer": config.tokenizer.model_dump(mode="json"),
        "existing": existing_files_hash(existing),
        "documents": [part.sha256["documents"] for part in parts],
        "decisions": decisions,
    }
    stored = workspace.load("tokenizer", key)
    if stored is not None:
        return TokenizerInfo(**stored)
    chat = any(source.kind == "chat" for source in config.sources)
    info = make_tokenizer(out, parts, config.tokenizer, existing, chat, pool)
    workspace.save("tokenizer", key, asdict(info), [out / name for name in TOKENIZER_FILES if (out / name).is_file()])
    return info


def _existing_tokenizer(config: CorpusConfig, base: Path) -> Path | None:
    return base / config.tokenizer.path if config.tokenizer.path else None


def _file_hashes(
    out: Path, parts: list[Part], selected: list[Part], decisions: dict[str, str], duplicates: dict[str, str]
) -> dict[str, str]:
    hashes = dict(duplicates)
    for part in parts:
        hashes |= {path: part.sha256[folder] for folder, path in part_files(part.name).items()}
        hashes[f"decisions/{part.name}.parquet"] = decisions[part.name]
    for part in selected:
        if part.packed:
            hashes |= {path: part.sha256[content] for content, path in packed_files(part.name).items()}
        path = f"{LONG_CONTEXT}/{part.name}.parquet"
        if (out / path).is_file():
            hashes[path] = sha256_file(out / path)
    singles = [*TOKENIZER_FILES, FERTILITY, "shards/manifest.json"]
    return hashes | {name: sha256_file(out / name) for name in singles if (out / name).is_file()}
