"""``DynamoDBSaver`` of langgraph-dynamodb-checkpoint, which makes its table itself. It takes no ``serde=``."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from tests.coverage.row import ASYNC, SYNC, Row, sync_open
from tests.coverage.servers.aws import table


@sync_open
def _open(where: str, serde: Any) -> Iterator[Any]:
    from langgraph_dynamodb_checkpoint import DynamoDBSaver

    yield DynamoDBSaver(where)


ROWS = (
    Row(
        "DynamoDBSaver",
        "langgraph-dynamodb-checkpoint",
        partial(table, created=False),
        _open,
        (SYNC, ASYNC),
        takes_serde=False,
        edits=8,
    ),
)
