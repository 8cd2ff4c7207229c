"""What scan and re-encryption need of a database. `open_database` finds the module that knows it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from ..errors import ConfigurationError
from .coder import Coder
from .model import Seen

MetadataKeys = tuple[Collection[str], Collection[str]]
"""Metadata keys that stay readable, and those that get a search token."""


class Row(NamedTuple):
    """A row that was read.

    Attributes:
        key: Its primary key, by column.
        size: Bytes of its values.
        stored: What else the module of its database needs.
    """

    key: dict[str, Any]
    size: int
    stored: Any


class Page(Protocol):
    """Some rows in the order of their keys. On leaving the context, what was not stored is let go."""

    @property
    def rows(self) -> Sequence[Row]:
        """As they were read."""
        ...

    def store(self, changes: Sequence[tuple[Row, tuple[Any, ...]]]) -> int:
        """Writes what `Database.recode` gave, in one transaction, where the row is still what was read.

        Returns:
            How many rows were written.
        """
        ...


class Database(Protocol):
    """A database of a checkpointer.

    Attributes:
        label: What to call it; without a password.
    """

    label: str

    @property
    def tables(self) -> Sequence[str]:
        """Its tables with values, in the order to go through them."""
        ...

    def count(self, table: str, threads: Sequence[str]) -> int | None:
        """Gives the number of rows, perhaps estimated; None if nobody knows."""
        ...

    def read(self, table: str, threads: Sequence[str]) -> Iterator[Row]:
        """Gives every row, with as much of its values as `look` needs."""
        ...

    def look(self, table: str, row: Row, readable_keys: Collection[str]) -> Iterator[Seen]:
        """Finds the values in a row."""
        ...

    def pages(
        self, table: str, threads: Sequence[str], size: int, coder: Coder, *, lock: bool, hurried: bool
    ) -> Iterator[AbstractContextManager[Page]]:
        """Gives rows in pages of so many at most.

        Args:
            table: Of which table.
            threads: Only of these threads; of all where there are none.
            size: Rows in a page.
            coder: Knows what is to be done.
            lock: Whether rows will be stored, and may be locked for that while the page is open.
            hurried: Whether rows that seem to be done may be passed over.
        """
        ...

    def recode(self, table: str, row: Row, coder: Coder, metadata_keys: MetadataKeys) -> tuple[Any, ...]:
        """Gives the columns that `Page.store` writes for a row. Their size together compares with that of the row.

        Raises:
            EncryptedSerdeError: If it does not open, or cannot be written in the form that is asked for.
        """
        ...

    def check_writable(self) -> None:
        """Raises `DatabaseFailed`, saying what is missing, if rows cannot be updated."""
        ...


def open_database(database: str | Path, *, write: bool) -> AbstractContextManager[Database]:
    """Opens a database of a checkpointer.

    Args:
        database: Path of a SQLite file, or URL of a Postgres database (``postgresql://...``).
        write: Whether it will be written to.

    Raises:
        ConfigurationError: If the driver for it is not installed.
        DatabaseFailed: On entering, if it cannot be opened or is no database of a checkpointer.
    """
    if str(database).startswith(("postgresql://", "postgres://")):
        try:
            from .postgres import PostgresDatabase
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != "psycopg":
                raise
            raise ConfigurationError(
                "a Postgres database needs psycopg; install it with: pip install 'encrypted-serde[postgres]'"
            ) from None
        return PostgresDatabase.open(str(database), write=write)
    from .sqlite import SqliteDatabase

    return SqliteDatabase.open(str(database), write=write)
