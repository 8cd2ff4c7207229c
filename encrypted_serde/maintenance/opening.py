"""Opening a database: which backend knows it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError
from .address import MYSQL, POSTGRES, Address, parse_address
from .database import INTERRUPTED, Database
from .report import DatabaseFailed, Report
from .selection import Selection


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


@contextmanager
def opened_for(
    report: Report, database: str | Path, selection: Selection, *, write: bool = False, deleting: bool = False
) -> Iterator[Database]:
    """Opens a database for a command, and notes in its report which it is, what was told, and when the work ended.

    Args:
        report: The report.
        database: As for `open_database`.
        selection: Which rows are meant.
        write: Whether it will be written to, and must be writable.
        deleting: Whether rows will be deleted.

    Raises:
        ConfigurationError: As for `open_database`, and if the selection cannot be meant.
        DatabaseFailed: As for `open_database`.
    """
    selection.check()
    report.options = {**selection.described(), **report.options}
    with open_database(database, write=write) as opened:
        report.database, report.server = opened.label, opened.server
        if write:
            opened.check_writable(deleting)
        yield opened
    report.finish()


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
