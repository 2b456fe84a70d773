"""The first stage: read every source once, annotate and measure every document in the same pass.

Each task writes parts, named TASK-PART: `documents/….jsonl.zst`, `rejects/….jsonl` and `measurements/….parquet`
(row n belongs to document n). Sorted by name, parts are in reading order. How files are divided into tasks, and
records into parts, depends on the files alone, so the result does not depend on the number of workers.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from castline import _C
from castline.corpus.annotate.annotator import Annotator
from castline.corpus.annotate.annotators import annotate, identities
from castline.corpus.documents import Document, Reject, write_documents, write_rejects
from castline.corpus.line_numbers import number_lines
from castline.corpus.readers.compressed import CHUNK
from castline.corpus.readers.read import read_files
from castline.corpus.sources import SourceFile, Task
from castline.corpus.tables import write_table
from castline.corpus.workers import Workers
from castline.corpus.workspace import Workspace
from castline.errors import DataError
from castline.files import sha256_file
from castline.progress import progress

FORMAT = 4  # of documents, measurements and rejects; a new number makes every build read its sources again
PART_CHARACTERS = 16 * 1024 * 1024
PART_RECORDS = 20_000
CHINESE_SHARE = 1 / 6  # of letters: as many Han characters as words of five letters
FOLDERS = {"documents": ".jsonl.zst", "measurements": ".parquet", "rejects": ".jsonl"}


@dataclass(frozen=True)
class Part:
    """One part as written: how many documents it has, and the hashes of its files by folder."""

    name: str
    source: str
    documents: int
    sha256: dict[str, str]
    packed: bool = False  # packed from other parts (code/repositories.py)


@dataclass(frozen=True)
class TaskResult:
    """What reading a task gave. `damaged` counts the rejects that `max_bad` is about."""

    source: str
    files: int
    size: int
    content_sha256: str  # of the paths and contents of the task's files
    rejected: dict[str, int]
    damaged: int
    first_damage: str
    parts: list[Part]


def measure_sources(
    tasks: list[Task], annotators: list[Annotator], workspace: Workspace, workers: Workers
) -> list[TaskResult]:
    """Read, annotate and measure all tasks that are not done yet; returns the results of all, in order."""
    results: dict[int, TaskResult] = {}
    added = identities(annotators)
    for task in tasks:
        stored = workspace.load(_step(task), _key(task, added))
        if stored is not None:
            results[task.index] = _from_json(stored)
    todo = [task for task in tasks if task.index not in results]
    todo = number_lines(tasks, todo, workspace, workers)
    with progress("reading", sum(task.size for task in todo), "B") as advance:
        jobs = [(task, _key(task, added), annotators, workspace.out) for task in todo]
        for number, result in workers.run(_run, jobs):
            task = todo[number]
            files = [workspace.out / name for part in result.parts for name in part_files(part.name).values()]
            workspace.save(_step(task), _key(task, added), asdict(result), files)
            workspace.forget(_parts(task))
            results[task.index] = result
            advance(task.size)
    names = [part.name for result in results.values() for part in result.parts]
    for folder, suffix in FOLDERS.items():
        workspace.keep_only(folder, (name + suffix for name in names))
    return [results[task.index] for task in tasks]


def unchanged(tasks: list[Task], annotators: list[Annotator], workspace: Workspace) -> bool:
    """Whether the tasks are those that were read and annotated; True also when nothing is known about that."""
    if not (workspace.folder / "read").is_dir():
        return True
    added = identities(annotators)
    return all(workspace.is_done(_step(task), _key(task, added)) for task in tasks)


def part_files(name: str) -> dict[str, str]:
    """The files of a part by folder, relative to the corpus directory."""
    return {folder: f"{folder}/{name}{suffix}" for folder, suffix in FOLDERS.items()}


def check_results(results: list[TaskResult], max_bad: dict[str, float]) -> None:
    """Refuse sources with too many damaged records, and sources without a document.

    Args:
        results: of all tasks.
        max_bad: per source, the largest share of its records that may be damaged.

    Raises:
        DataError: says which source, how many, and the first place.
    """
    for source, limit in max_bad.items():
        mine = [result for result in results if result.source == source]
        rejected: Counter[str] = Counter()
        for result in mine:
            rejected.update(result.rejected)
        documents = sum(part.documents for result in mine for part in result.parts)
        damaged = sum(result.damaged for result in mine)
        read = documents + rejected.total()
        first = next((result.first_damage for result in mine if result.damaged), "")
        if damaged > limit * read:
            enough = math.ceil(1000 * damaged / read) / 1000
            raise DataError(
                f"source '{source}': expected a share of at most {limit:g} damaged records (max_bad), but found "
                f"{damaged} of {read}; the first: {first}\n"
                f"mend them, or let that share be rejected with --max-bad {enough:g}"
            )
        if documents == 0:
            why = ", ".join(f"{count} {reason}" for reason, count in sorted(rejected.items()))
            raise DataError(
                f"source '{source}': expected documents, but its files gave none ({why or 'no records'}); "
                "the output's rejects folder lists each"
            )


def _step(task: Task) -> str:
    return f"read/{task.index:06d}"


def _key(task: Task, annotators: dict[str, Any]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "source": task.source.model_dump(exclude={"path", "weight", "max_bad", "repository"}),
        "files": [file.identity for file in task.files],
        "index": task.index,
        "annotators": annotators,
    }


def _from_json(values: dict[str, Any]) -> TaskResult:
    return TaskResult(**{**values, "parts": [Part(**part) for part in values["parts"]]})


@dataclass(frozen=True)
class _PartResult:
    """A part of a task, and what was rejected on the way to it."""

    part: Part
    records: int
    rejected: dict[str, int]
    damaged: int
    first_damage: str


def _run(job: tuple[Task, dict[str, Any], list[Annotator], Path]) -> TaskResult:
    task, key, annotators, out = job
    workspace = Workspace(out)
    results = _finished_parts(task, key, workspace)
    records = read_files(task.source, task.files, skip=sum(result.records for result in results))
    for number, (documents, rejects) in enumerate(_divide(records), start=len(results)):
        name = f"{task.index:06d}-{number:06d}"
        damaged = [reject for reject in rejects if reject.reason.damaged]
        result = _PartResult(
            _write_part(out, name, task.source.name, documents, rejects, annotators),
            len(documents) + len(rejects),
            dict(Counter(reject.reason for reject in rejects)),
            len(damaged),
            f"{damaged[0].where}: {damaged[0].detail}" if damaged else "",
        )
        files = [out / file for file in part_files(name).values()]
        workspace.save(f"{_parts(task)}/{number:06d}", key, asdict(result), files)
        results.append(result)
    rejected: Counter[str] = Counter()
    for result in results:
        rejected.update(result.rejected)
    content = hashlib.sha256()
    for file in task.files:
        content.update(f"{file.path}\0{_content_hash(file)}\n".encode())
    return TaskResult(
        task.source.name,
        task.file_count,
        task.size,
        content.hexdigest(),
        dict(sorted(rejected.items())),
        sum(result.damaged for result in results),
        next((result.first_damage for result in results if result.damaged), ""),
        [result.part for result in results],
    )


def _parts(task: Task) -> str:
    return f"parts/{task.index:06d}"


def _finished_parts(task: Task, key: dict[str, Any], workspace: Workspace) -> list[_PartResult]:
    """The parts that an interrupted build has written of this task, up to the first that is missing."""
    finished: list[_PartResult] = []
    while (stored := workspace.load(f"{_parts(task)}/{len(finished):06d}", key)) is not None:
        finished.append(_PartResult(**{**stored, "part": Part(**stored["part"])}))
    return finished


def _content_hash(file: SourceFile) -> str:
    if file.git:
        return file.git.object
    try:
        if file.span is None:
            return sha256_file(file.location)
        content = hashlib.sha256()
        with file.location.open("rb") as stream:
            stream.seek(file.span[0])
            left = file.length
            while data := stream.read(min(left, CHUNK)):
                content.update(data)
                left -= len(data)
        return content.hexdigest()
    except OSError:
        return "unreadable"


def _divide(records: Iterable[Document | Reject]) -> Iterator[tuple[list[Document], list[Reject]]]:
    documents: list[Document] = []
    rejects: list[Reject] = []
    size = 0
    for record in records:
        if isinstance(record, Document):
            documents.append(record)
            size += len(record.text)
        else:
            rejects.append(record)
        if size >= PART_CHARACTERS or len(documents) + len(rejects) >= PART_RECORDS:
            yield documents, rejects
            documents, rejects, size = [], [], 0
    if documents or rejects:
        yield documents, rejects


def _write_part(
    out: Path,
    name: str,
    source: str,
    documents: list[Document],
    rejects: list[Reject],
    annotators: list[Annotator],
) -> Part:
    documents, annotations = annotate(annotators, documents)
    texts = [document.text.encode() for document in documents]
    measured = _C.measure(texts)
    documents = settle_languages(documents, measured["han_fraction"])
    hashes = _C.content_hashes(texts).astype("<u8").tobytes()
    columns: dict[str, Any] = {
        "id": pa.array([document.id for document in documents], pa.string()),
        "source": _category([document.source for document in documents]),
        "kind": _category([document.kind for document in documents]),
        "language": _category([document.language for document in documents]),
        "path": pa.array([document.path for document in documents], pa.string()),
        "record": pa.array([document.record for document in documents], pa.int64()),
        "url": pa.array([document.metadata.get("url") for document in documents], pa.string()),
        "date": pa.array([document.metadata.get("date") for document in documents], pa.string()),
        "bytes": pa.array([len(text) for text in texts], pa.int64()),
        "content_hash": pa.array([hashes[at : at + 16] for at in range(0, len(hashes), 16)], pa.binary(16)),
        **{name: pa.array(np.asarray(measured[name])) for name in _C.MEASUREMENTS},
        **annotations,
    }
    paths = {folder: out / file for folder, file in part_files(name).items()}
    write_documents(paths["documents"], documents)
    write_table(paths["measurements"], pa.table(columns))
    write_rejects(paths["rejects"], rejects)
    sha256 = {folder: sha256_file(path) for folder, path in paths.items()}
    return Part(name, source, len(documents), sha256)


def settle_languages(documents: list[Document], han_fractions: npt.NDArray[Any]) -> list[Document]:
    """Documents whose language is still `auto` are Chinese or English, by their share of Han characters."""
    return [
        replace(document, language="zh" if share >= CHINESE_SHARE else "en")
        if document.language == "auto"
        else document
        for document, share in zip(documents, han_fractions, strict=True)
    ]


def _category(values: list[str]) -> pa.Array:
    return pa.array(values, pa.string()).dictionary_encode()
