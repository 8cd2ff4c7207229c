"""An anchor in a table: what the two databases have in common, which are one connection and the statements that read."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from ..core.forks import start_anew_in_children
from ..core.keys import Key, KeyProvider
from .entries import Entry, Kind

COLUMNS = "thread, namespace, checkpoint, kind, task, batch, slots, known"
"""Everything but the column ``number``: nobody is to choose when an entry was made."""

_left_to_the_parent: list[Any] = []
"""Connections from before a fork: a child that closed one would end the parent's session, or damage its file."""


def reading(table: str, mark: str, empty: str) -> dict[str, str]:
    """Returns the statements that read an anchor, by what they ask for.

    Args:
        table: Its table.
        mark: What is written before the number of a parameter: of a thread 1, of a namespace 2, of a checkpoint 3.
        empty: No bytes, as a literal.
    """
    thread = f"SELECT {COLUMNS}, number FROM {table} WHERE thread = {mark}1"  # noqa: S608
    place = f"{thread} AND namespace = {empty} AND checkpoint = {empty} UNION ALL {thread} AND namespace = {mark}2"
    highest = (
        f"SELECT checkpoint FROM {table} WHERE thread = {mark}1 AND namespace = {mark}2 "  # noqa: S608
        f"AND kind = {int(Kind.CHECKPOINT)} ORDER BY checkpoint DESC LIMIT 1"
    )
    return {
        "newest": f"{place} AND checkpoint = ({highest})",
        "thread": f"{thread} ORDER BY number",
        "namespace": place,
        "checkpoint": f"{place} AND checkpoint = {mark}3",
        "threads": f"SELECT DISTINCT thread FROM {table}",  # noqa: S608
    }


class TableAnchor:
    """Reads entries over one connection, which is made on first use, and shared by the threads of a process.

    Args:
        keys: Keys for the anchor's secret; those of the saver when None.

    Attributes:
        keys: As given.
    """

    def __init__(self, keys: Key | KeyProvider | None) -> None:
        self.keys = keys
        self._lock = threading.Lock()
        self._connection: Any = None
        start_anew_in_children(self)

    def after_fork(self) -> None:
        """Leaves the connection to the parent."""
        self._lock = threading.Lock()
        if self._connection is not None:
            _left_to_the_parent.append(self._connection)
            self._connection = None

    def newest(self, thread: bytes, namespace: bytes) -> list[Entry]:
        """Returns the entries about the newest checkpoint of a namespace, and about its thread. It is one indexed read."""
        return self._entries("newest", thread, namespace)

    def entries(self, thread: bytes, namespace: bytes | None = None, checkpoint: bytes | None = None) -> list[Entry]:
        """Returns the entries about a thread, a namespace or a checkpoint."""
        if namespace is None:
            return self._entries("thread", thread)
        if checkpoint is None:
            return self._entries("namespace", thread, namespace)
        return self._entries("checkpoint", thread, namespace, checkpoint)

    def threads(self) -> list[bytes]:
        """Returns the tokens of all threads."""
        return [thread for (thread,) in self._read("threads")]

    def close(self) -> None:
        """Closes the connection. The next call opens another one."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def __del__(self) -> None:
        if getattr(self, "_connection", None) is not None:
            self.close()

    def _entries(self, statement: str, *parameters: bytes) -> list[Entry]:
        return [Entry(*row) for row in self._read(statement, *parameters)]

    def _read(self, statement: str, *parameters: bytes) -> Sequence[Sequence[Any]]:
        """Runs one of the statements of `reading`."""
        raise NotImplementedError
