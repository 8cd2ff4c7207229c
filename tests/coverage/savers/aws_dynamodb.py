"""``DynamoDBSaver`` of langgraph-checkpoint-aws, with and without its compression. It takes no ``serde=``."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from tests.coverage.row import ASYNC, SYNC, Row, sync_open
from tests.coverage.servers.aws import table


def _row(name: str, **options: Any) -> Row:
    @sync_open
    def opened(where: str, serde: Any) -> Iterator[Any]:
        from langgraph_checkpoint_aws import DynamoDBSaver

        yield DynamoDBSaver(where, **options)

    place = partial(table, created=True)
    return Row(name, "langgraph-checkpoint-aws", place, opened, (SYNC, ASYNC), takes_serde=False, edits=8)


ROWS = (_row("DynamoDBSaver"), _row("DynamoDBSaver, compressed", enable_checkpoint_compression=True))
