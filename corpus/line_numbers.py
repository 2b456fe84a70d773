"""Line numbers for large jsonl files that are read in pieces: line feeds are counted before the pieces are read."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

from castline.corpus.readers.compressed import CHUNK
from castline.corpus.readers.formats import choose_reader
from castline.corpus.sources import SourceFile, Task
from castline.corpus.workers import Workers
from castline.corpus.workspace import Workspace
from castline.progress import progress


def number_lines(tasks: list[Task], todo: list[Task], workspace: Workspace, workers: Workers) -> list[Task]:
    """The tasks of `todo` with the number of their first line, where they are pieces of a jsonl file.

    Args:
        tasks: all tasks of the build.
        todo: those that are still to be read.
        workspace: keeps what was counted, in case this build is interrupted.
        workers: they count.
    """
    wanted = {_file(task) for task in todo if _is_piece(task)}
    pieces = [task for task in tasks if _is_piece(task) and _file(task) in wanted]
    counts = {task.index: workspace.load(_step(task), task.files[0].identity) for task in pieces}
    unknown = [task for task in pieces if counts[task.index] is None]
    with progress("counting lines", sum(task.size for task in unknown), "B") as advance:
        for number, count in workers.run(_count, [task.files[0] for task in unknown]):
            task = unknown[number]
            workspace.save(_step(task), task.files[0].identity, count, [])
            counts[task.index] = count
            advance(task.size)
    before: Counter[tuple[str, Path]] = Counter()  # pieces of a file are in order
    first_line = {}
    for task in pieces:
        first_line[task.index] = before[_file(task)] + 1
        before[_file(task)] += counts[task.index]
    return [_starting_at(task, first_line[task.index]) if task.index in first_line else task for task in todo]


def _step(task: Task) -> str:
    return f"lines/{task.index:06d}"


def _file(task: Task) -> tuple[str, Path]:
    return task.source.name, task.files[0].location  # two sources may read one file


def _is_piece(task: Task) -> bool:
    file = task.files[0]
    return file.span is not None and choose_reader(task.source, file.path) == "jsonl"


def _starting_at(task: Task, line: int) -> Task:
    return replace(task, files=(replace(task.files[0], first_line=line),))


def _count(file: SourceFile) -> int:
    """How many lines begin in a piece: at its first byte or after a line feed, the piece's last byte aside."""
    assert file.span is not None
    start, end = file.span
    at = max(start - 1, 0)
    count = 0 if start else 1
    with file.location.open("rb") as stream:
        stream.seek(at)
        while at < end - 1 and (data := stream.read(min(CHUNK, end - 1 - at))):
            count += data.count(b"\n")
            at += len(data)
    return count
