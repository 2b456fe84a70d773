"""Reading a source's files: whatever is wrong with one of them becomes a reject, and the rest goes on."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO

from castline.corpus.config import Source
from castline.corpus.documents import Reason, UnreadableError
from castline.corpus.git import GitFile, GitObjects
from castline.corpus.readers.archives import read_archive
from castline.corpus.readers.compressed import FREE_BYTES, Budget
from castline.corpus.readers.content import Content
from castline.corpus.readers.formats import WHY, archive_name, choose_reader
from castline.corpus.readers.html import read_html
from castline.corpus.readers.jsonl import read_jsonl
from castline.corpus.readers.parquet import read_parquet
from castline.corpus.readers.record import Origin, Pending, Record
from castline.corpus.readers.text import read_code, read_script, read_text
from castline.corpus.readers.warc import read_warc
from castline.corpus.sources import SourceFile

MAX_NESTING = 2  # archives in an archive in an archive are not read

_READERS: dict[str, Callable[[Origin], Iterator[Pending]]] = {
    "txt": read_text,
    "md": read_text,
    "html": read_html,
    "jsonl": read_jsonl,
    "parquet": read_parquet,
    "warc": read_warc,
    "code": read_code,
    "script": read_script,
}


def read_files(
    source: Source, files: tuple[SourceFile, ...], skip: int = 0, opened: Callable[[IO[bytes]], None] | None = None
) -> Iterator[Record]:
    """Every record of some files, as a document or as a reject; a damaged file gives what could be read of it.

    Args:
        source: where the files belong.
        files: in the order of reading.
        skip: how many records are passed over: those that were read before an interruption.
        opened: is given every file on disk as it is opened, whose position says how far it has been read.
    """
    with ExitStack() as stack:
        repositories: dict[Path, GitObjects] = {}

        def objects(repository: Path) -> GitObjects:
            if repository not in repositories:
                repositories[repository] = stack.enter_context(GitObjects(repository))
            return repositories[repository]

        pending = (record for file in files for record in _read_file(source, file, objects, opened))
        for record in itertools.islice(pending, skip, None):
            yield record()


def _read_file(
    source: Source,
    file: SourceFile,
    objects: Callable[[Path], GitObjects],
    opened: Callable[[IO[bytes]], None] | None,
) -> Iterator[Pending]:
    origin = _origin(source, file, objects, opened)
    if file.unlisted:
        detail = f"the folder cannot be looked into: {file.unlisted}"
        yield origin.rejected(Reason.UNREADABLE, detail=detail)
    elif _is_broken_link(file.location):
        yield origin.rejected(Reason.BROKEN_LINK, detail="a symbolic link to nothing, or to itself")
    else:
        yield from _read(origin)


def _is_broken_link(location: Path) -> bool:
    try:
        return location.is_symlink() and not location.exists()
    except OSError:  # opening it says why
        return False


def _origin(
    source: Source,
    file: SourceFile,
    objects: Callable[[Path], GitObjects],
    opened: Callable[[IO[bytes]], None] | None,
) -> Origin:
    if file.git:
        opener: Callable[[], IO[bytes]] = partial(_open_object, objects, file.location, file.git)
        metadata = {"date": file.git.date, "commit": file.git.commit}
    else:
        opener, metadata = partial(_open_file, file.location, opened), {}
    budget = Budget(FREE_BYTES + source.max_expansion * file.size)
    content = Content(file.path, opener, budget, source.max_record_bytes)
    return Origin(source, file.path, content, file.span, file.first_line, metadata=metadata)


def _open_file(location: Path, opened: Callable[[IO[bytes]], None] | None) -> IO[bytes]:
    stream = location.open("rb")
    if opened:
        opened(stream)
    return stream


def _open_object(objects: Callable[[Path], GitObjects], repository: Path, file: GitFile) -> IO[bytes]:
    return objects(repository).open(file.object)


def _read(origin: Origin) -> Iterator[Pending]:
    if archive := archive_name(origin.path):
        if origin.depth == MAX_NESTING:
            detail = f"an archive inside {origin.depth} others; unpack the outermost"
            yield origin.rejected(Reason.NESTED, detail=detail)
            return
        content = replace(origin.content, name=archive)
        members = read_archive(replace(origin, content=content, depth=origin.depth + 1))
        yield from _guarded(origin, (record for member in members for record in _read(member)))
        return
    reader = choose_reader(origin.source, origin.path)
    if isinstance(reader, Reason):
        yield origin.rejected(reader, detail=WHY[reader])
    else:
        yield from _guarded(origin, _READERS[reader](origin))


def _guarded(origin: Origin, records: Iterator[Pending]) -> Iterator[Pending]:
    """The records of a reader; what ends it early is a last one."""
    try:
        yield from records
    except UnreadableError as error:
        yield partial(origin.unreadable, error)
    except OSError as error:
        yield origin.rejected(Reason.UNREADABLE, detail=error.strerror or str(error))
