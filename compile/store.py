"""What long work keeps of itself, so that nothing is held in memory that is not needed, or done twice."""

from collections.abc import Mapping
from typing import Any, Protocol

from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]


class Store(Protocol):
    """Named groups of arrays. `work.WorkFolder` keeps them on the disk, beside the package that is being made."""

    def load(self, name: str) -> Arrays | None:
        """The arrays saved under a name; None where there are none."""

    def save(self, name: str, arrays: Arrays) -> None:
        """Keep arrays under a name, in place of what was there."""


class MemoryStore:
    """A store for small models: everything is in memory."""

    def __init__(self) -> None:
        self._arrays: dict[str, Arrays] = {}

    def load(self, name: str) -> Arrays | None:
        """See `Store`."""
        return self._arrays.get(name)

    def save(self, name: str, arrays: Arrays) -> None:
        """See `Store`."""
        self._arrays[name] = arrays


class StoreGroup:
    """A part of a store, with names of its own."""

    def __init__(self, store: Store, name: str) -> None:
        self._store, self.name = store, name

    def load(self, name: str) -> Arrays | None:
        """See `Store`."""
        return self._store.load(f"{self.name}/{name}")

    def save(self, name: str, arrays: Arrays) -> None:
        """See `Store`."""
        self._store.save(f"{self.name}/{name}", arrays)
