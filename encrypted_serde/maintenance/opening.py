"""Opening a database: which backend knows it, and a command at work on it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Generic, TypeVar

from ..errors import ConfigurationError
from .address import MYSQL, POSTGRES, Address, parse_address
from .database import INTERRUPTED, Database
from .report import DatabaseFailed, Report
from .selection import Progress, ProgressListener, Selection
from .table import READ_ROWS, Paging, Row, Table

R = TypeVar("R", bound=Report)


@contextmanager
def open_database(database: str | Path, *, write: bool) -> Iterator[Database]:
    """Opens a database.

    Args:
        database: Path of a SQLite file, URL or conninfo string of a Postgres database, URL of a MySQL or MariaDB database.
        write: Whether it will be written to.

    Raises:
        ConfigurationError: If it is nothing that is known, or the driver for it is not installed.
        DatabaseFailed: If it cannot be opened, is no database of a checkpointer or a store, or fails.
    """
    address = parse_address(database)
    backend = _backend(address)
    try:
        with backend.connect(address, write) as connection:
            yield backend(connection, address.label)
    except backend.errors as error:
        raise DatabaseFailed(f"{address.label}: {backend.says(error)}{INTERRUPTED if write else ''}") from None


@dataclass(frozen=True)
class Work(Generic[R]):
    """A command at work on a database.

    Attributes:
        database: The database.
        selection: Which rows are meant.
        report: Counts what is read and done.
        progress: Is told how far it is.
        total: How many rows there are, if somebody is told; None if nobody knows.
    """

    database: Database
    selection: Selection
    report: R
    progress: ProgressListener | None = None
    total: int | None = None

    def pages(self, reading: int, size: int = READ_ROWS) -> Iterator[tuple[Table, list[Row]]]:
        """Returns the rows of each table, page by page. No transaction stays open between them."""
        for table in self.database.tables:
            paging = Paging(table, self.selection, reading, size=size)
            self.report.rows[table.name] = 0
            while not paging.finished:
                rows = self.database.fetch(paging)
                self.count(table, rows)
                yield table, rows
                self.tell(table.name)

    def rows(self, reading: int) -> Iterator[tuple[Table, Row]]:
        """Returns every row of every table."""
        for table, rows in self.pages(reading):
            for row in rows:
                yield table, row

    def count(self, table: Table, rows: Sequence[Row]) -> None:
        """Counts rows that were read."""
        self.report.rows[table.name] += len(rows)
        self.report.bytes += sum(row.size for row in rows)

    def tell(self, table: str) -> None:
        """Tells how far it is."""
        if self.progress is not None:
            read, done = sum(self.report.rows.values()), self.report.done
            self.progress(Progress(table, read, self.total, self.report.bytes, done))


@contextmanager
def at_work(
    report: R, database: str | Path, selection: Selection, progress: ProgressListener | None = None, changes: str = ""
) -> Iterator[Work[R]]:
    """Opens a database for a command, and notes in its report which it is, what was told, and when the work ended.

    Args:
        report: The report.
        database: As for `open_database`.
        selection: Which rows are meant.
        progress: Is told how far it is.
        changes: ``UPDATE`` or ``DELETE`` where rows will be changed: the database must allow it.

    Raises:
        ConfigurationError: As for `open_database`, and if the selection cannot be meant.
        DatabaseFailed: As for `open_database`.
    """
    selection.check()
    report.options = {**selection.described(), **report.options}
    with open_database(database, write=bool(changes)) as opened:
        report.database, report.server = opened.label, opened.server
        if changes:
            opened.check_writable(changes)
        yield Work(opened, selection, report, progress, opened.total(selection) if progress else None)
    report.finished = datetime.now(timezone.utc)


def keep_pace(rate: float | None, done: int, start: float) -> None:
    """Waits until so many rows, begun at a time, have taken as long as a rate says; not at all where there is none."""
    if rate is not None:
        time.sleep(max(0.0, done / rate - (time.monotonic() - start)))


def _backend(address: Address) -> Any:
    try:
        if address.kind == POSTGRES:
            from .postgres import PostgresDatabase

            return PostgresDatabase
        if address.kind == MYSQL:
            from .mysql import MysqlDatabase

            return MysqlDatabase
    except ModuleNotFoundError as error:
        driver = (error.name or "").partition(".")[0]
        extra = {"psycopg": "postgres", "pymysql": "mysql"}.get(driver)
        if extra is None:
            raise
        raise ConfigurationError(
            f"this database needs {driver}; install it with: pip install 'encrypted-serde[{extra}]'"
        ) from None
    from .sqlite import SqliteDatabase

    return SqliteDatabase
