"""The stores that tenants' keys are kept in, one without any lock among them."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from langgraph.store.base import BaseStore, Op, Result
from langgraph.store.memory import InMemoryStore
from langgraph.store.postgres import PostgresStore
from langgraph.store.sqlite import SqliteStore
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

KINDS = ("InMemoryStore", "SqliteStore", "PostgresStore", "PostgresStore with a pool", "LocklessStore")


class LocklessStore(BaseStore):
    """A database that several processes share, of which the package knows no lock. It is some way off."""

    def __init__(self, inner: BaseStore) -> None:
        self.inner = inner

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        results = self.inner.batch(ops)
        time.sleep(random.uniform(0, 0.002))  # what a network does, so that processes do come in between
        return results

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        raise NotImplementedError


@contextmanager
def open_store(kind: str, place: Path | str) -> Iterator[BaseStore]:
    """Opens a store at a file (SQLite) or DSN (Postgres), set up."""
    if kind == "InMemoryStore":
        yield InMemoryStore()
    elif kind in ("SqliteStore", "LocklessStore"):
        connection = sqlite3.connect(place, check_same_thread=False, isolation_level=None, timeout=60)
        try:
            store = SqliteStore(connection)
            store.setup()
            yield store if kind == "SqliteStore" else LocklessStore(store)
        finally:
            connection.close()
    elif kind == "PostgresStore":
        with PostgresStore.from_conn_string(str(place)) as postgres:
            postgres.setup()
            yield postgres
    else:
        options: dict[str, Any] = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
        with ConnectionPool(str(place), min_size=1, max_size=1, kwargs=options, open=True) as pool:
            pooled = PostgresStore(pool)
            pooled.setup()
            yield pooled
