"""SQLite, as SqliteSaver, SqliteStore and the async ones fill it: a checkpoint with all its values is one packed value."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from .address import Address
from .database import Database
from .items import SqliteItems
from .packed_checkpoints import PackedCheckpoints
from .report import DatabaseFailed
from .selection import part_of
from .table import PAGE_BYTES, Paging, Row, Table
from .writes import SqliteWrites

LOCK_TIMEOUT = 30.0
"""Seconds to wait for another process that writes."""


class SqliteDatabase(Database):
    """A SQLite file. Rows are paged by rowid: what is written meanwhile comes behind all that was there."""

    TABLES = (SqliteWrites, PackedCheckpoints, SqliteItems)
    errors = sqlite3.Error
    version = "SELECT 'SQLite ' || sqlite_version()"
    looked_at = "SELECT 'it'"
    begin = "BEGIN IMMEDIATE"  # takes the write lock
    mark = "?"
    page_key = ("rowid",)
    columns_of = "SELECT name FROM pragma_table_info(?)"
    # Text that is no UTF-8 comes as bytes; what is no text was written by no saver.
    thread_mark = "CAST(? AS TEXT)"
    proper_thread = "typeof(t.thread_id) = 'text'"
    length = stored_length = "length({column})"
    both_ends = "CAST(substr({column}, 1, {head}) || substr({column}, -{tail}) AS BLOB)"
    magic_at = "instr(substr({value}, 1, {head}), X'{magic}')"
    # What is no JSON by SQLite's rules (NaN, a thousand levels) is judged by its text: better a key too many.
    metadata_key = """(CASE WHEN json_valid(CAST({alias}.metadata AS TEXT))
        THEN json_type(CAST({alias}.metadata AS TEXT), '$."{key}"') IS NOT NULL
        ELSE CAST({alias}.metadata AS TEXT) LIKE '%"{key}"%' END)"""
    in_part = "es_part({owner}, {parts}) = {number}"
    random = "abs(random() % 1000000) / 1000000.0"

    @classmethod
    @contextmanager
    def connect(cls, address: Address, write: bool) -> Iterator[sqlite3.Connection]:
        """Opens a file that exists.

        Raises:
            DatabaseFailed: If there is none.
        """
        path = Path(address.target)
        if not path.is_file():
            raise DatabaseFailed(f"{address.label}: {'it is a directory' if path.is_dir() else 'there is no such file'}")
        uri = f"{path.absolute().as_uri()}?mode={'rw' if write else 'ro'}"
        with closing(sqlite3.connect(uri, uri=True, timeout=LOCK_TIMEOUT, isolation_level=None)) as connection:
            connection.text_factory = _text
            connection.create_function("es_part", 2, part_of, deterministic=True)
            yield connection

    @staticmethod
    def says(error: Exception) -> str:
        """Returns what SQLite said."""
        return f"SQLite says: {error}"

    def check_writable(self, changes: str) -> None:
        """Takes the write lock once, and lets go of it."""
        with self.transaction():
            pass

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Opens a transaction: reading a page takes none."""
        with self.transaction():
            yield

    def fetch(self, paging: Paging) -> list[Row]:
        """Returns the rows of the next page, which ends where its values are larger together than `PAGE_BYTES`."""
        rows: list[Row] = []
        size = 0
        sql, parameters = self.query(paging)
        with closing(self.connection.execute(sql, parameters)) as cursor:
            for found in cursor:
                rows.append(self.make_row(paging, found))
                size += rows[-1].size
                if size > PAGE_BYTES:
                    break
        paging.turn(rows, len(rows) if size > PAGE_BYTES else paging.size)
        return rows

    def store(self, table: Table, changes: Sequence[tuple[Row, tuple[Any, ...]]]) -> int:
        """Writes all changes, each where its old values are still those that were read."""
        assigned = ", ".join(self.assignment(table, name) for name in table.changed)
        same = " AND ".join(f"{name} IS ?" for name in table.changed)
        return self.executemany(
            f"UPDATE {table.name} SET {assigned} WHERE rowid = ? AND {same}",  # noqa: S608
            [(*new, *row.place, *(row.cells[name] for name in table.changed)) for row, new in changes],
        )


def _text(stored: bytes) -> str | bytes:
    """Decodes text; what is none stays the bytes it is, and `Table.checked` refuses it."""
    try:
        return stored.decode("utf-8")
    except UnicodeDecodeError:
        return stored
