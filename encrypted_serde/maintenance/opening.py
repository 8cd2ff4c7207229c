"""Opening a database: which backend knows it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError
from .address import MYSQL, POSTGRES, Address, parse_address
from .database import INTERRUPTED, Database
from .report import DatabaseFailed


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
    backend = _room(address)
    try:
        with backend.connect(address, write) as connection:
            yield backend(connection, address.label)
    except backend.errors as error:
        raise DatabaseFailed(f"{address.label}: {backend.says(error)}{INTERRUPTED if write else ''}") from None


def _room(address: Address) -> Any:
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
