"""Every kind of anchor, new and empty for each test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from encrypted_serde.anchor import MemoryAnchor, PostgresAnchor, SqliteAnchor
from tests.maintenance.conftest import mariadb_server, mysql_url
from tests.saver.conftest import database, database_of_module, store_of_module
from tests.saver.databases import SqliteDatabase

__all__ = ["database", "database_of_module", "mariadb_server", "mysql_url", "store_of_module"]  # fixtures


@pytest.fixture(params=["Sqlite", "Postgres"])
def shared_anchor(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """An anchor that processes can share."""
    if request.param == "Sqlite":
        made: Any = SqliteAnchor(tmp_path / "anchor.db")
    else:
        made = PostgresAnchor(request.getfixturevalue("postgres_database"))
    made.setup()
    with closing(made):
        yield made


@pytest.fixture(params=["Memory", "Sqlite", "Postgres"])
def anchor(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """Any anchor."""
    if request.param == "Memory":
        yield MemoryAnchor()
        return
    made = (
        SqliteAnchor(tmp_path / "anchor.db")
        if request.param == "Sqlite"
        else PostgresAnchor(request.getfixturevalue("postgres_database"))
    )
    made.setup()
    with closing(made):
        yield made


# --- databases of checkpointers whose savers have an anchor


class Anchored(NamedTuple):
    """A database of a checkpointer, and where what was stored there is entered."""

    database: Any
    anchor: Any

    def saver(self, **options: Any) -> Any:
        """A new saver, as another process would open it."""
        return self.database.saver(anchor=self.anchor, **options)


@pytest.fixture
def anchored(database: Any, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Anchored]:
    """A SQLite database with a `SqliteAnchor`, and a Postgres one with a `PostgresAnchor` on the same server."""
    if isinstance(database, SqliteDatabase):
        anchor: Any = SqliteAnchor(tmp_path / "anchor.db")
    else:
        anchor = PostgresAnchor(request.getfixturevalue("postgres_database"))
    anchor.setup()
    with closing(anchor):
        yield Anchored(database, anchor)


@pytest.fixture
def store(store_of_module: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """As in tests/saver, but every saver has an anchor."""
    store_of_module.clear()
    anchor, saver = MemoryAnchor(), store_of_module.saver
    monkeypatch.setattr(store_of_module, "saver", lambda **options: saver(**{"anchor": anchor, **options}))
    return store_of_module
