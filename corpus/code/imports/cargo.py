"""What `Cargo.toml` says of a repository's crates: by which name a package's files know which library.

A package's files know the libraries that it depends on by a path (under the names that its dependencies have there,
also through the workspace), and its own; any other name is that of a library somewhere in the repository.
"""

import tomllib
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from castline.corpus.code.imports.files import Files, ancestors, folder_of, join, nearest

_TABLES = ("dependencies", "dev-dependencies", "build-dependencies")


class Crates:
    """The libraries of a repository, by the names that its files know them by."""

    def __init__(self, files: Files) -> None:
        """`files` are those of the repository, with its `Cargo.toml`s."""
        self._manifests = {
            folder_of(file.path): _parse(file.text)
            for file in files.of("toml")
            if file.path.rpartition("/")[2] == "Cargo.toml"
        }
        sources = frozenset(file.path for file in files.of("rust"))
        self._libraries: dict[str, str] = {}  # the root file of a library, by its package's folder
        self._named: dict[str, list[str]] = defaultdict(list)  # the root files of libraries, by name
        folders = {folder_of(folder_of(path)) for path in sources if f"/{path}".endswith("/src/lib.rs")}
        for folder in sorted(folders | set(self._manifests)):
            manifest = self._manifests.get(folder, {})
            root = join(folder, str(_table(manifest, "lib").get("path", "src/lib.rs")))
            if root in sources:
                self._libraries[folder] = root
                self._named[_library_name(folder, manifest)].append(root)

    def find(self, name: str, importer: str) -> str | None:
        """The root file of the library that a file knows by a name; None for those from elsewhere."""
        package = next((folder for folder in ancestors(folder_of(importer)) if self._is_package(folder)), None)
        if package is not None:
            for known, folder in self._dependencies(package):
                if known == name and folder in self._libraries:
                    return self._libraries[folder]
            own = self._libraries.get(package)
            if own in self._named.get(name, ()):
                return own
        return nearest(self._named.get(name, ()), importer)

    def _is_package(self, folder: str) -> bool:
        return folder in self._libraries or "package" in self._manifests.get(folder, {})

    def _dependencies(self, package: str) -> Iterator[tuple[str, str | None]]:
        """The names of a package's dependencies in this repository, each with the folder of its package."""
        manifest = self._manifests.get(package, {})
        for part in [manifest, *_table(manifest, "target").values()]:
            for table in _TABLES:
                for name, wanted in _table(part, table).items():
                    folder, at = package, _table({"": wanted}, "")
                    if at.get("workspace") is True:
                        folder, at = self._of_workspace(package, name)
                    if "path" in at:
                        yield name.replace("-", "_"), join(folder, str(at["path"]))

    def _of_workspace(self, package: str, name: str) -> tuple[str, dict[str, Any]]:
        for folder in ancestors(package):
            workspace = _table(self._manifests.get(folder, {}), "workspace")
            if workspace:
                return folder, _table(_table(workspace, "dependencies"), name)
        return package, {}


def _parse(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return {}


def _table(values: Any, name: str) -> dict[str, Any]:
    found = values.get(name) if isinstance(values, dict) else None
    return found if isinstance(found, dict) else {}


def _library_name(folder: str, manifest: dict[str, Any]) -> str:
    name = _table(manifest, "lib").get("name") or _table(manifest, "package").get("name") or folder.rpartition("/")[2]
    return str(name).replace("-", "_")
