"""The savers of langgraph-checkpoint-redis, which need RedisJSON and RediSearch. They take no ``serde=``."""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

from tests.coverage.row import ASYNC, SYNC, Row, sync_open
from tests.coverage.servers.redis import place_with_modules

_PACKAGE = "langgraph-checkpoint-redis"


def _sync(name: str) -> Row:
    @sync_open
    def opened(where: str, serde: Any) -> Iterator[Any]:
        made = getattr(importlib.import_module("langgraph.checkpoint.redis"), name)
        with made.from_conn_string(where) as saver:
            saver.setup()
            yield saver

    return Row(name, _PACKAGE, place_with_modules, opened, (SYNC,), takes_serde=False)


def _async(name: str) -> Row:
    @asynccontextmanager
    async def opened(where: str, serde: Any) -> AsyncIterator[Any]:
        made = getattr(importlib.import_module("langgraph.checkpoint.redis"), name)
        async with made.from_conn_string(where) as saver:
            await saver.asetup()
            yield saver

    return Row(name, _PACKAGE, place_with_modules, opened, (ASYNC,), takes_serde=False)


ROWS = (_sync("RedisSaver"), _async("AsyncRedisSaver"), _sync("ShallowRedisSaver"), _async("AsyncShallowRedisSaver"))
