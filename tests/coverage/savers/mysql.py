"""The MySQL savers with their three drivers, on MariaDB."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from typing import Any

from tests.coverage.row import ASYNC, SYNC, Row, Unavailable, sync_open
from tests.coverage.servers.mariadb import connect, place

_PACKAGE = "langgraph-checkpoint-mysql"
_MODULE = "langgraph.checkpoint.mysql"


def _make(module: str, name: str, connection: Any, serde: Any) -> Any:
    try:
        made = getattr(importlib.import_module(f"{_MODULE}.{module}"), name)
    except ImportError as error:
        raise Unavailable(f"pip install {error.name}") from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of the shallow ones
        return made(connection, serde=serde)


def _sync(name: str) -> Row:
    @sync_open
    def opened(where: str, serde: Any) -> Iterator[Any]:
        port, _, database = where.partition("/")
        with closing(connect(int(port), database)) as connection:
            saver = _make("pymysql", name, connection, serde)
            saver.setup()
            yield saver

    return Row(name, _PACKAGE, place, opened, (SYNC,))


def _async(driver: str, module: str, name: str) -> Row:
    @asynccontextmanager
    async def opened(where: str, serde: Any) -> AsyncIterator[Any]:
        port, _, database = where.partition("/")
        try:
            dial = importlib.import_module(driver).connect
        except ImportError:
            raise Unavailable(f"pip install {driver}") from None
        connection = await dial(host="127.0.0.1", port=int(port), user="root", password="", db=database, autocommit=True)
        try:
            saver = _make(module, name, connection, serde)
            await saver.setup()
            yield saver
        finally:
            closed = connection.close()
            if closed is not None:  # asyncmy's is a coroutine in some releases
                await closed

    return Row(name, _PACKAGE, place, opened, (ASYNC,))


ROWS = (
    _sync("PyMySQLSaver"),
    _async("aiomysql", "aio", "AIOMySQLSaver"),
    _async("asyncmy", "asyncmy", "AsyncMySaver"),
    _sync("ShallowPyMySQLSaver"),
    _async("aiomysql", "aio", "ShallowAIOMySQLSaver"),
    _async("asyncmy", "asyncmy", "ShallowAsyncMySaver"),
)
