"""The savers of langgraph-checkpoint-plainredis: a Redis without modules."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from typing import Any

from tests.coverage.row import ASYNC, SYNC, Row, sync_open
from tests.coverage.servers.redis import client, place

_PACKAGE = "langgraph-checkpoint-plainredis"


@sync_open
def _open(where: str, serde: Any) -> Iterator[Any]:
    from langgraph_checkpoint_plainredis import RedisSaver

    with closing(client(where)) as connection:
        yield RedisSaver(connection, serde=serde)


@asynccontextmanager
async def _aopen(where: str, serde: Any) -> AsyncIterator[Any]:
    from langgraph_checkpoint_plainredis import AsyncRedisSaver
    from redis.asyncio import Redis

    async with Redis.from_url(where) as connection:
        yield AsyncRedisSaver(connection, serde=serde)


ROWS = (
    Row("RedisSaver", _PACKAGE, place, _open, (SYNC,)),
    Row("AsyncRedisSaver", _PACKAGE, place, _aopen, (ASYNC,)),
)
