"""The five savers that the tests run on, opened by name with the serializer under test."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

import aiosqlite
import psycopg
import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from psycopg.rows import dict_row

SYNC_SAVERS = ("InMemory", "Sqlite", "Postgres")
ASYNC_SAVERS = ("InMemory", "AsyncSqlite", "AsyncPostgres")
ALL_SAVERS = ("InMemory", "Sqlite", "AsyncSqlite", "Postgres", "AsyncPostgres")

needs_async_interrupt = pytest.mark.skipif(
    sys.version_info < (3, 11), reason="LangGraph's interrupt() in an asynchronous graph needs Python 3.11"
)


@contextmanager
def sqlite_saver(path: Path, serde: Any) -> Iterator[SqliteSaver]:
    with closing(sqlite3.connect(path, check_same_thread=False)) as connection:
        saver = SqliteSaver(connection, serde=serde)
        saver.setup()
        yield saver


@asynccontextmanager
async def async_sqlite_saver(path: Path, serde: Any) -> AsyncIterator[AsyncSqliteSaver]:
    async with aiosqlite.connect(path) as connection:
        saver = AsyncSqliteSaver(connection, serde=serde)
        await saver.setup()
        yield saver


@contextmanager
def postgres_saver(dsn: str, serde: Any) -> Iterator[PostgresSaver]:
    with psycopg.connect(dsn, autocommit=True, prepare_threshold=0, row_factory=dict_row) as connection:
        saver = PostgresSaver(connection, serde=serde)
        saver.setup()
        yield saver


@asynccontextmanager
async def async_postgres_saver(dsn: str, serde: Any) -> AsyncIterator[AsyncPostgresSaver]:
    connect = psycopg.AsyncConnection.connect(dsn, autocommit=True, prepare_threshold=0, row_factory=dict_row)
    async with await connect as connection:
        saver = AsyncPostgresSaver(connection, serde=serde)
        await saver.setup()
        yield saver


@asynccontextmanager
async def any_saver(kind: str, place: Any, serde: Any) -> AsyncIterator[BaseCheckpointSaver]:
    """Opens a saver by its name in `ALL_SAVERS`.

    Args:
        kind: Which saver.
        place: Path of the SQLite file or DSN of the Postgres database; unused by InMemory.
        serde: What the saver serializes with; None for its default.
    """
    if kind == "InMemory":
        yield InMemorySaver(serde=serde)
    elif kind == "Sqlite":
        with sqlite_saver(place, serde) as saver:
            yield saver
    elif kind == "AsyncSqlite":
        async with async_sqlite_saver(place, serde) as saver:
            yield saver
    elif kind == "Postgres":
        with postgres_saver(place, serde) as saver:
            yield saver
    else:
        async with async_postgres_saver(place, serde) as saver:
            yield saver
