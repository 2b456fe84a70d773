"""Which files belong to one repository, and which repositories are held out whole."""

from collections.abc import Sequence

from castline.corpus.code.config import Repository


def repository_of(path: str, unit: Repository) -> str:
    """The name of the repository that a file belongs to; a file at the top, in no folder, is one of its own."""
    if unit == "source":
        return ""
    return path.partition("/")[0] if unit == "folder" else path


def held_out_groups(paths: Sequence[str], clusters: Sequence[str], unit: Repository, share: float) -> list[str]:
    """For every kept file of a source the group that is held out with it.

    That is its repository where there are enough of them for one to be no more than the `share` that is held
    out; else its cluster: then the files held out of a repository are packed apart from the others.
    """
    repositories = [repository_of(path, unit) for path in paths]
    return repositories if len(set(repositories)) * share >= 1 else list(clusters)
