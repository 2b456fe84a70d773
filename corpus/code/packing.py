"""The stage between deciding and the tokenizer: the kept files of repositories become markdown documents.

Writes, for the sources that are repositories, `packed/NUMBER.jsonl.zst` (documents as `documents.py` has them: the
path is the repository, the record numbers its documents), `packed/NUMBER.parquet` (a row for each: language, size,
split, repeats) and `packed/NUMBER.files.parquet`: which bytes of a packed document are which file. How repositories are
divided into these parts depends on the kept files alone, so the number of workers changes nothing.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from castline.corpus.code.config import RepositoriesConfig
from castline.corpus.code.imports.files import CodeFile
from castline.corpus.code.layout import DOCUMENTATION, arrange, divide
from castline.corpus.code.markdown import section
from castline.corpus.code.repositories import repository_of
from castline.corpus.config import CorpusConfig, Source
from castline.corpus.documents import Document, document_id, read_documents, write_documents
from castline.corpus.measure import Part
from castline.corpus.selected import PACKED
from castline.corpus.tables import read_table, write_table
from castline.corpus.workers import Workers
from castline.corpus.workspace import Workspace
from castline.files import sha256_file
from castline.progress import progress

FORMAT = 2
JOB_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True)
class _Kept:
    """A kept file: where its document is, and what was decided about it."""

    part: str
    row: int
    bytes: int
    split: str
    repeats: int


@dataclass(frozen=True)
class _Job:
    """Whole repositories of one source, by name."""

    name: str
    out: Path
    source: str
    budget: int
    repositories: dict[str, list[_Kept]]

    @property
    def bytes(self) -> int:
        return sum(file.bytes for files in self.repositories.values() for file in files)


@dataclass(frozen=True)
class _PackedFile:
    document: str
    file: Document
    start: int
    end: int


def pack_repositories(parts: list[Part], config: CorpusConfig, workspace: Workspace, workers: Workers) -> list[Part]:
    """Pack the sources that are repositories.

    Returns:
        The parts that go on: those of other sources as they are, in the recipe's order of sources with packed ones.
    """
    selected: list[Part] = []
    jobs: list[_Job] = []
    for source in config.sources:
        mine = [part for part in parts if part.source == source.name]
        if source.repository == "none":
            selected += mine
        else:
            jobs += _make_jobs(mine, source, config.repositories, workspace.out, len(jobs))
    hashes = {part.name: part.sha256["documents"] for part in parts}
    keys = {job.name: _key(job, hashes) for job in jobs}
    packed: dict[str, Part] = {}
    for job in jobs:
        stored = workspace.load(f"{PACKED}/{job.name}", keys[job.name])
        if stored is not None:
            packed[job.name] = Part(**stored)
    todo = [job for job in jobs if job.name not in packed]
    with progress("packing repositories", sum(job.bytes for job in todo), "B") as advance:
        for number, part in workers.run(_run, todo):
            job = todo[number]
            files = [workspace.out / file for file in packed_files(job.name).values()]
            workspace.save(f"{PACKED}/{job.name}", keys[job.name], vars(part), files)
            packed[job.name] = part
            advance(job.bytes)
    workspace.keep_only(PACKED, (Path(file).name for job in jobs for file in packed_files(job.name).values()))
    return selected + [packed[job.name] for job in jobs]


def packed_files(name: str) -> dict[str, str]:
    """The files of a packed part by what they hold, relative to the corpus directory."""
    return {
        "documents": f"{PACKED}/{name}.jsonl.zst",
        "table": f"{PACKED}/{name}.parquet",
        "files": f"{PACKED}/{name}.files.parquet",
    }


def _make_jobs(parts: list[Part], source: Source, config: RepositoriesConfig, out: Path, first: int) -> Iterator[_Job]:
    repositories: dict[str, list[_Kept]] = defaultdict(list)
    for part in parts:
        measured = read_table(out / "measurements" / f"{part.name}.parquet", ["path", "bytes"]).to_pydict()
        decided = read_table(out / "decisions" / f"{part.name}.parquet", ["kept", "split", "repeats"]).to_pydict()
        for row, kept in enumerate(decided["kept"]):
            if kept:
                name = repository_of(measured["path"][row], source.repository)
                size, split, repeats = measured["bytes"][row], decided["split"][row], decided["repeats"][row]
                repositories[name].append(_Kept(part.name, row, size, split, repeats))
    group: dict[str, list[_Kept]] = {}
    size = 0

    def job() -> _Job:
        return _Job(f"{first:06d}", out, source.name, config.budget, dict(group))

    for name in sorted(repositories):
        group[name] = repositories[name]
        size += sum(file.bytes for file in repositories[name])
        if size >= JOB_BYTES:
            yield job()
            first, size = first + 1, 0
            group.clear()
    if group:
        yield job()


def _key(job: _Job, hashes: dict[str, str]) -> Any:
    files = {name: [list(vars(file).values()) for file in files] for name, files in job.repositories.items()}
    used = sorted({file.part for files in job.repositories.values() for file in files})
    return {"format": FORMAT, "budget": job.budget, "files": files, "documents": [hashes[part] for part in used]}


def _run(job: _Job) -> Part:
    wanted: dict[str, set[int]] = defaultdict(set)
    for files in job.repositories.values():
        for file in files:
            wanted[file.part].add(file.row)
    texts: dict[tuple[str, int], Document] = {}
    for part, rows in sorted(wanted.items()):
        documents_of_part = read_documents(job.out / "documents" / f"{part}.jsonl.zst", rows)
        texts |= {(part, row): document for row, document in zip(sorted(rows), documents_of_part, strict=True)}

    documents: list[Document] = []
    table: list[dict[str, Any]] = []
    packed: list[_PackedFile] = []
    for name, files in job.repositories.items():
        for split in sorted({file.split for file in files}):
            kept = {texts[file.part, file.row].id: file for file in files if file.split == split}
            originals = _unique_paths([texts[file.part, file.row] for file in kept.values()])
            for number, group in enumerate(divide(arrange(list(originals)), job.budget)):
                identity = document_id(job.source, f"{PACKED}\0{split}\0{name}", number)
                members = [originals[file] for file in group]
                text, ranges = _join(group)
                language = _main_language(members)
                documents.append(Document(identity, job.source, "code", language, name, number, text))
                packed += [
                    _PackedFile(identity, file, start, end) for file, (start, end) in zip(members, ranges, strict=True)
                ]
                table.append(
                    {
                        "id": identity,
                        "repository": name,
                        "number": number,
                        "language": language,
                        "bytes": len(text.encode()),
                        "files": len(group),
                        "split": split,
                        "repeats": _repeats([(file.bytes, file.repeats) for file in (kept[m.id] for m in members)]),
                    }
                )
    return _write(job, documents, table, packed)


def _unique_paths(documents: Sequence[Document]) -> dict[CodeFile, Document]:
    """The documents by the files they are in a repository; records of one file get their number in the path."""
    times = Counter(document.path for document in documents)
    result = {}
    for document in documents:
        path = document.path if times[document.path] == 1 else f"{document.path}:{document.record}"
        result[CodeFile(path, document.language, document.text)] = document
    return result


def _join(files: Sequence[CodeFile]) -> tuple[str, list[tuple[int, int]]]:
    """The text of a packed document, and the bytes in it that are each file."""
    pieces: list[str] = []
    ranges = []
    size = 0
    for file in files:
        before, behind = section(file)
        start = size + len(before.encode())
        end = start + len(file.text.encode())
        ranges.append((start, end))
        size = end + len(behind.encode())
        pieces += [before, file.text, behind]
    return "".join(pieces).rstrip("\n") + "\n", ranges


def _main_language(documents: Sequence[Document]) -> str:
    """The language with the most bytes, documentation aside where there is anything else."""
    sizes: Counter[str] = Counter()
    for document in documents:
        sizes[document.language] += len(document.text.encode())
    code = {language: size for language, size in sizes.items() if language not in DOCUMENTATION}
    return min(code or sizes, key=lambda language: (-sizes[language], language))


def _repeats(files: Sequence[tuple[int, int]]) -> int:
    """How often a document is read per pass: as often as most of its bytes deserve (the weighted lower median)."""
    half = sum(size for size, _ in files) / 2
    seen = 0
    for size, repeats in sorted(files, key=lambda file: file[1]):
        seen += size
        if seen >= half:
            return repeats
    return 1


def _write(job: _Job, documents: list[Document], table: list[dict[str, Any]], packed: list[_PackedFile]) -> Part:
    paths = {folder: job.out / file for folder, file in packed_files(job.name).items()}
    write_documents(paths["documents"], documents)
    write_table(paths["table"], pa.Table.from_pylist(table))
    write_table(
        paths["files"],
        pa.table(
            {
                "document": [entry.document for entry in packed],
                "file": [entry.file.id for entry in packed],
                "path": [entry.file.path for entry in packed],
                "start": pa.array([entry.start for entry in packed], pa.int64()),
                "end": pa.array([entry.end for entry in packed], pa.int64()),
            }
        ),
    )
    sha256 = {folder: sha256_file(path) for folder, path in paths.items()}
    return Part(job.name, job.source, len(documents), sha256, packed=True)
