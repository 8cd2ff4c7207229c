"""The Valkey savers of langgraph-checkpoint-aws, on a Redis, which speaks the same protocol."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

from tests.coverage.row import ASYNC, SYNC, Row, sync_open
from tests.coverage.servers.redis import place

_PACKAGE = "langgraph-checkpoint-aws"


@sync_open
def _open(where: str, serde: Any) -> Iterator[Any]:
    from langgraph_checkpoint_aws import ValkeySaver
    from valkey import Valkey

    with Valkey.from_url(where) as connection:
        yield ValkeySaver(connection, serde=serde)


@asynccontextmanager
async def _aopen(where: str, serde: Any) -> AsyncIterator[Any]:
    from langgraph_checkpoint_aws import AsyncValkeySaver
    from valkey.asyncio import Valkey

    async with Valkey.from_url(where) as connection:
        yield AsyncValkeySaver(connection, serde=serde)


ROWS = (Row("ValkeySaver", _PACKAGE, place, _open, (SYNC,)), Row("AsyncValkeySaver", _PACKAGE, place, _aopen, (ASYNC,)))
