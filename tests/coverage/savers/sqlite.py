"""The two SQLite savers, on a file."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from typing import Any

from tests.coverage.row import ASYNC, SYNC, Row, Servers, sync_open
from tests.coverage.servers.process import directory
from tests.coverage.servers.sql import SqlPlace

_PACKAGE = "langgraph-checkpoint-sqlite"
_ROW = ("thread_id", "checkpoint_ns", "checkpoint_id")


@contextmanager
def _place(servers: Servers) -> Iterator[SqlPlace]:
    with directory() as base, closing(sqlite3.connect(base / "checkpoints.sqlite", timeout=30)) as connection:
        connection.row_factory = sqlite3.Row

        def run(statement: str, *parameters: Any) -> list[dict[str, Any]]:
            with connection:
                return [dict(row) for row in connection.execute(statement, parameters)]

        keys = {"checkpoints": _ROW, "writes": (*_ROW, "task_id", "idx")}
        yield SqlPlace(str(base / "checkpoints.sqlite"), f"SQLite {sqlite3.sqlite_version}", run, lambda: keys, ("?", '"'))


@sync_open
def _open(where: str, serde: Any) -> Iterator[Any]:
    from tests.savers import sqlite_saver

    with sqlite_saver(where, serde) as saver:
        yield saver


@asynccontextmanager
async def _aopen(where: str, serde: Any) -> AsyncIterator[Any]:
    from tests.savers import async_sqlite_saver

    async with async_sqlite_saver(where, serde) as saver:
        yield saver


ROWS = (
    Row("SqliteSaver", _PACKAGE, _place, _open, (SYNC,)),
    Row("AsyncSqliteSaver", _PACKAGE, _place, _aopen, (ASYNC,)),
)
