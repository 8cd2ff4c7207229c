"""Stores to test with: real ones, each in a place of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore
from langgraph.store.postgres import AsyncPostgresStore, PostgresStore
from langgraph.store.sqlite import SqliteStore
from langgraph.store.sqlite.aio import AsyncSqliteStore

SYNC = ("InMemory", "Sqlite", "Postgres")
ASYNC = ("InMemory", "AsyncSqlite", "AsyncPostgres")

_SQLITE_CLOCK = """
CREATE TABLE clock (n INTEGER);
INSERT INTO clock VALUES (0);
CREATE TRIGGER tick AFTER INSERT ON store BEGIN
    UPDATE clock SET n = n + 1;
    UPDATE store SET updated_at = datetime('2000-01-01', '+' || (SELECT n FROM clock) || ' seconds')
    WHERE prefix = NEW.prefix AND key = NEW.key;
END;
"""
_POSTGRES_CLOCK = """
CREATE SEQUENCE clock;
CREATE FUNCTION tick() RETURNS trigger AS $$
BEGIN NEW.updated_at := timestamptz '2000-01-01' + nextval('clock') * interval '1 second'; RETURN NEW; END;
$$ LANGUAGE plpgsql;
CREATE TRIGGER tick BEFORE INSERT OR UPDATE OF value ON store FOR EACH ROW EXECUTE FUNCTION tick();
"""


@contextmanager
def any_store(kind: str, place: Any, **options: Any) -> Iterator[BaseStore]:
    """Opens a store of a kind and sets it up.

    Args:
        kind: One of `SYNC`.
        place: A path for SQLite, a DSN for Postgres, anything for memory.
        **options: As for the store: ``index``, ``ttl``.
    """
    if kind == "InMemory":
        yield InMemoryStore(**options)
        return
    opened = {"Sqlite": SqliteStore, "Postgres": PostgresStore}[kind].from_conn_string(str(place), **options)
    with opened as store:
        store.setup()
        yield store


@asynccontextmanager
async def any_async_store(kind: str, place: Any, **options: Any) -> AsyncIterator[BaseStore]:
    """Opens a store of a kind, one of `ASYNC`, and sets it up."""
    if kind == "InMemory":
        yield InMemoryStore(**options)
        return
    opened = {"AsyncSqlite": AsyncSqliteStore, "AsyncPostgres": AsyncPostgresStore}[kind].from_conn_string(
        str(place), **options
    )
    async with opened as store:
        await store.setup()
        yield store


def tell_every_write_apart(store: BaseStore) -> None:
    """Gives every write a time of its own, so that "newest first" means one order and not a race with a clock of seconds."""
    if isinstance(store, SqliteStore):
        store.conn.executescript(_SQLITE_CLOCK)
    elif isinstance(store, PostgresStore):
        store.conn.execute(_POSTGRES_CLOCK, prepare=False)


def empty(store: BaseStore) -> None:
    """Deletes everything in a store."""
    if isinstance(store, InMemoryStore):
        store._data.clear()
        store._vectors.clear()
    else:
        store.conn.execute("DELETE FROM store")


class Rows:
    """What stands in a database, and how somebody without a key changes it."""

    def __init__(self, store: BaseStore) -> None:
        self.store = store

    def all(self) -> dict[tuple[str, str], dict[str, Any]]:
        """Gives the stored value of every row, by prefix and key."""
        return {(".".join(item.namespace), item.key): dict(item.value) for item in self.store.search((), limit=10_000)}

    def put(self, prefix: str, key: str, value: dict[str, Any]) -> None:
        """Writes a row."""
        self.store.put(tuple(prefix.split(".")), key, value, index=False)


def bytes_of(store: BaseStore) -> bytes:
    """Gives everything that stands in the database of a store, as whoever copies it sees it."""
    if isinstance(store, InMemoryStore):
        return repr((store._data, store._vectors)).encode()
    if isinstance(store, SqliteStore):
        tables = [name for (name,) in store.conn.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()]
        rows = [row for name in tables for row in store.conn.execute(f"SELECT * FROM {name}").fetchall()]
        return b"\n".join(cell if isinstance(cell, bytes) else str(cell).encode() for row in rows for cell in row)
    tables = store.conn.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    found = [store.conn.execute(f"SELECT t::text AS row FROM {table['tablename']} t").fetchall() for table in tables]
    return "\n".join(row["row"] for rows in found for row in rows).encode()
