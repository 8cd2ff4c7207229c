"""An anchor in a SQLite file of its own, in WAL mode: any number of threads and processes of one machine."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..core.keys import Key, KeyProvider
from ..errors import AnchorError
from .entries import Entry
from .table import COLUMNS, TableAnchor, reading

_SCHEMA = """
CREATE TABLE IF NOT EXISTS anchor_entries (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    thread BLOB NOT NULL,
    namespace BLOB NOT NULL,
    checkpoint BLOB NOT NULL,
    kind INTEGER NOT NULL,
    task BLOB NOT NULL,
    batch BLOB NOT NULL,
    slots BLOB NOT NULL,
    known INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS anchor_places ON anchor_entries (thread, namespace, checkpoint, kind);
"""

_INSERT = f"INSERT INTO anchor_entries ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
_HIGHEST = "SELECT coalesce(max(number), 0) FROM anchor_entries WHERE thread = ?"
_DELETIONS = (
    f"SELECT max(({_HIGHEST} AND namespace = x'' AND checkpoint = x''), "
    f"({_HIGHEST} AND namespace = ? AND checkpoint = ? AND kind IN (4, 5, 6)))"
)
_READING = reading("anchor_entries", ":p", "x''")
_BUSY_SECONDS = 30.0


class SqliteAnchor(TableAnchor):
    """Keeps entries in a SQLite file, which `setup` or ``encrypted-serde anchor init`` makes.

    The file must be out of reach of everybody who can write the checkpointer's database: another directory with another owner,
    or another disk. A file on the same disk under the same user shows a restored backup, but does not stop an intruder.

    It survives the death of a process at any moment (WAL, ``synchronous=NORMAL``). A power failure may take the last entries;
    rows without entries are accepted, so that weakens the protection of those rows and locks nobody out.

    Args:
        path: The file, on a local disk: WAL needs shared memory. It is opened on first use, and never created then.
        keys: Keys for the anchor's secret; those of the saver when None. A saver with a key for each tenant needs them.
    """

    def __init__(self, path: str | os.PathLike[str], *, keys: Key | KeyProvider | None = None) -> None:
        super().__init__(keys)
        self.path = Path(path)

    def setup(self) -> None:
        """Makes an empty anchor if the file is not there. The first process that uses it draws its secret.

        Raises:
            AnchorError: If the file cannot be made, or is no SQLite database.
        """
        with self._failing():
            connection = _connect(self.path, "rwc")
            try:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.executescript(_SCHEMA)
            finally:
                connection.close()

    def check_writable(self) -> None:
        """Raises `AnchorError` if entries cannot be added."""
        with self._cursor() as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")

    def append(self, entries: Iterable[Entry]) -> int:
        """Adds entries, all or none."""
        rows = [entry[:8] for entry in entries]
        if not rows:
            return 0
        with self._cursor() as connection:
            if len(rows) == 1:
                connection.execute(_INSERT, rows[0])
            else:
                connection.execute("BEGIN IMMEDIATE")
                try:
                    connection.executemany(_INSERT, rows)
                except BaseException:
                    connection.execute("ROLLBACK")
                    raise
                connection.execute("COMMIT")
            return int(connection.execute(_DELETIONS, (rows[0][0], *rows[0][:3])).fetchone()[0] or 0)

    def _read(self, statement: str, *parameters: bytes) -> list[tuple[Any, ...]]:
        with self._cursor() as connection:
            named = {f"p{number}": value for number, value in enumerate(parameters, 1)}
            return connection.execute(_READING[statement], named).fetchall()

    @contextmanager
    def _cursor(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._failing():
            yield self._connection or self._connected()

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """Turns what SQLite says into an `AnchorError`."""
        try:
            yield
        except sqlite3.Error as error:
            message = str(error)
            # Locked for longer than the time-out, or a disk that is full: both may pass.
            passes = isinstance(error, sqlite3.OperationalError) and "readonly" not in message
            if "no such table" in message:
                message, passes = "this file is no anchor; encrypted-serde anchor init begins one", False
            raise AnchorError(f"the anchor {self.path.name}: {message}", retryable=passes) from error

    def _connected(self) -> sqlite3.Connection:
        if not self.path.is_file():
            raise AnchorError(
                f"there is no anchor at {self.path.name}: is its disk mounted? encrypted-serde anchor init begins a new one",
                retryable=False,
            )
        connection = _connect(self.path, "rw")
        try:
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute("SELECT number FROM anchor_entries LIMIT 1")
        except sqlite3.Error:
            connection.close()
            raise
        self._connection = connection
        return connection


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    options: dict[str, Any] = {"timeout": _BUSY_SECONDS, "isolation_level": None, "check_same_thread": False}
    connection: sqlite3.Connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, **options)
    return connection
