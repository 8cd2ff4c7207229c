"""What a saver module says of its saver, so that the passes need to know no saver."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Hashable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, ExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import wraps
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol, TypeVar

SYNC, ASYNC = "sync", "async"

T = TypeVar("T")


class Unavailable(RuntimeError):
    """A row cannot be run on this machine; the message names the package that is missing."""


class Place(Protocol):
    """An empty database for one run, seen by somebody who can read and write its raw cells.

    Attributes:
        where: What the row's `open` takes. Text where another process can reach the same data.
        server: The server and its version, for the table; empty if the saver needs none.
    """

    where: Any
    server: str

    def dump(self) -> dict[Hashable, Any]:
        """Gives every stored record, as raw as the database gives it, by its address."""
        ...

    def set(self, address: Hashable, record: Any) -> None:
        """Replaces a record; removes it if ``record`` is None."""
        ...


class Servers:
    """The servers of a run: each is started when a row first asks for it, and stopped at the end of the block."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._running: dict[Callable[[], Any], Any] = {}

    def get(self, start: Callable[[], AbstractContextManager[T]]) -> T:
        if start not in self._running:
            self._running[start] = self._stack.enter_context(start())
        return self._running[start]

    def __enter__(self) -> Servers:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: The class of the saver, or what else tells it apart.
        distribution: What to install; the table names its version.
        place: Gives an empty database.
        open: Opens the saver on ``Place.where`` with a serializer, or with its own if None.
        modes: Whether it has sync methods, async ones, or both.
        takes_serde: Whether its constructor takes ``serde=``.
        other_process: Whether another process can open the same data.
        edits: How many edits of a kind the tamper pass makes, at most.
    """

    name: str
    distribution: str
    place: Callable[[Servers], AbstractContextManager[Place]]
    open: Callable[[Any, Any], AbstractAsyncContextManager[Any]]
    modes: tuple[str, ...]
    takes_serde: bool = True
    other_process: bool = True
    edits: int = 24

    @property
    def id(self) -> str:
        """Tells the row apart from all others: two packages have a ``RedisSaver``."""
        return f"{self.distribution}:{self.name}"

    def installed(self) -> str:
        """Gives the version that is installed.

        Raises:
            Unavailable: If there is none.
        """
        try:
            return version(self.distribution)
        except PackageNotFoundError:
            raise Unavailable(f"pip install {self.distribution}") from None


def sync_open(function: Callable[..., Iterator[Any]]) -> Callable[..., AbstractAsyncContextManager[Any]]:
    """Makes of a generator function what `Row.open` is."""

    @asynccontextmanager
    @wraps(function)
    async def opened(where: Any, serde: Any) -> AsyncIterator[Any]:
        generator = function(where, serde)
        saver = next(generator)
        try:
            yield saver
        finally:
            generator.close()

    return opened
