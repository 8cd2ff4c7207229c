"""Where graphs keep their state while they are measured: memory, a SQLite file, a real Postgres."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver

from tests.postgres import running_postgres, temporary_database
from tests.savers import postgres_saver, sqlite_saver


@dataclass(frozen=True)
class Setup:
    """How a checkpointer is put together.

    Attributes:
        name: What the table calls it.
        serde: Makes the serializer for ``serde=``; None leaves the saver's default.
        wrap: Makes the checkpointer that the graph gets of the saver.
    """

    name: str
    serde: Callable[[], Any] = lambda: None
    wrap: Callable[[BaseCheckpointSaver], BaseCheckpointSaver] = lambda saver: saver


class Places:
    """Databases to measure in, each new and empty; a Postgres server starts when the first one on it is asked for.

    A server of the tests' own runs without fsync, so the time that a real disk would add to both sides is missing and the
    ratios on it are the larger ones.
    """

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._dsn = ""

    def __enter__(self) -> Places:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    @contextmanager
    def place(self, kind: str) -> Iterator[Any]:
        """Gives what `tests.savers.any_saver` takes as the place of this kind of saver."""
        with ExitStack() as stack:
            if "Postgres" in kind:
                self._dsn = self._dsn or self._stack.enter_context(running_postgres())
                yield stack.enter_context(temporary_database(self._dsn))
            else:
                directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="es-bench-"))
                yield Path(directory) / "checkpoints.sqlite"

    @contextmanager
    def saver(self, kind: str, setup: Setup) -> Iterator[BaseCheckpointSaver]:
        """Gives a synchronous checkpointer in a new place.

        Args:
            kind: ``InMemory``, ``Sqlite`` or ``Postgres``.
            setup: How to put it together.
        """
        if kind == "InMemory":
            yield setup.wrap(InMemorySaver(serde=setup.serde()))
            return
        opened = {"Sqlite": sqlite_saver, "Postgres": postgres_saver}[kind]
        with self.place(kind) as place, opened(place, setup.serde()) as saver:
            yield setup.wrap(saver)
