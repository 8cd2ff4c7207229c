"""One database per kind and module, emptied for every test: the rows of a test are all there are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.postgres import temporary_database
from tests.saver.databases import Database, MemoryDatabase, PostgresDatabase, SqliteDatabase


def _open(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    if request.param == "InMemory":
        yield MemoryDatabase()
    elif request.param == "Sqlite":
        database = SqliteDatabase(tmp_path_factory.mktemp("sqlite") / "checkpoints.sqlite")
        with closing(database.connection):
            yield database
    else:
        with temporary_database(request.getfixturevalue("postgres_dsn")) as dsn:
            database = PostgresDatabase(dsn)
            with closing(database.connection):
                yield database


database_of_module = pytest.fixture(scope="module", params=["Sqlite", "Postgres"], name="database_of_module")(_open)
store_of_module = pytest.fixture(scope="module", params=["InMemory", "Sqlite", "Postgres"], name="store_of_module")(_open)


@pytest.fixture
def database(database_of_module: Database) -> Database:
    """A SQLite file and a Postgres database in turn."""
    database_of_module.clear()
    return database_of_module


@pytest.fixture
def store(store_of_module: Database) -> Database:
    """As `database`, and an InMemorySaver."""
    store_of_module.clear()
    return store_of_module
