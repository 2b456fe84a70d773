"""The order of a repository's files: what is imported comes before what imports it.

Files are visited in the order of their paths, each behind everything it imports (a depth-first search), so
that what belongs together stays together. Files that import each other, directly or around a cycle, form a group
(a strongly connected component, after Tarjan 1972), which stands as a whole behind what it imports. Inside a group no
order satisfies all imports. There only the firm ones count, which may leave smaller groups; in these the next
file is always the one with the fewest firm imports from the group still to come, of several the first by path.
"""

import heapq
from collections.abc import Iterator, Mapping, Set

from castline.corpus.code.imports import ImportGraph


def import_order(graph: ImportGraph) -> list[str]:
    """All files in order."""
    order: list[str] = []
    for group in import_groups(graph.all):
        if len(group) == 1:
            order += group
            continue
        members = set(group)
        firm = {path: graph.firm[path] & members for path in group}
        for cycle in import_groups(firm):
            order += _break_cycle(cycle, firm)
    return order


def import_groups(imports: Mapping[str, Set[str]]) -> Iterator[list[str]]:
    """The groups of files that import each other (most hold one file), each behind those it imports."""
    number: dict[str, int] = {}  # in the order of visiting
    lowest: dict[str, int] = {}  # the earliest file of the stack that is reached
    stack: list[str] = []
    waiting: set[str] = set()  # the files on the stack
    for start in sorted(imports):
        if start in number:
            continue
        visits: list[tuple[str, Iterator[str]]] = []

        def enter(path: str, visits: list[tuple[str, Iterator[str]]] = visits) -> None:
            number[path] = lowest[path] = len(number)
            stack.append(path)
            waiting.add(path)
            visits.append((path, iter(sorted(imports[path]))))

        enter(start)
        while visits:
            path, rest = visits[-1]
            imported = next(rest, None)
            if imported is None:
                visits.pop()
                if visits:
                    importer = visits[-1][0]
                    lowest[importer] = min(lowest[importer], lowest[path])
                if lowest[path] == number[path]:
                    group = [stack.pop()]
                    while group[-1] != path:
                        group.append(stack.pop())
                    waiting.difference_update(group)
                    yield sorted(group)
            elif imported not in number:
                enter(imported)
            elif imported in waiting:
                lowest[path] = min(lowest[path], number[imported])


def _break_cycle(group: list[str], imports: Mapping[str, Set[str]]) -> Iterator[str]:
    members = set(group)
    missing = {path: len(imports[path] & members) for path in group}
    importers: dict[str, list[str]] = {path: [] for path in group}
    for path in group:
        for imported in imports[path] & members:
            importers[imported].append(path)
    queue = [(count, path) for path, count in missing.items()]
    heapq.heapify(queue)
    while queue:
        count, path = heapq.heappop(queue)
        if missing.get(path) != count:  # an older entry of the queue
            continue
        del missing[path]
        yield path
        for importer in importers[path]:
            if importer in missing:
                missing[importer] -= 1
                heapq.heappush(queue, (missing[importer], importer))
