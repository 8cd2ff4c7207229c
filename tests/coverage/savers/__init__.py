"""One small module per package of savers. To add a row, write one and name it here; docs/coverage.md says how."""

from __future__ import annotations

from tests.coverage.row import Row
from tests.coverage.savers import (
    aws_dynamodb,
    langgraph_dynamodb,
    lmdb,
    memory,
    mongodb,
    mysql,
    objectstorage,
    plainredis,
    postgres,
    redis,
    sqlite,
    valkey,
)

ROWS: tuple[Row, ...] = (
    *memory.ROWS,
    *sqlite.ROWS,
    *postgres.ROWS,
    *mysql.ROWS,
    *redis.ROWS,
    *plainredis.ROWS,
    *valkey.ROWS,
    *aws_dynamodb.ROWS,
    *langgraph_dynamodb.ROWS,
    *objectstorage.ROWS,
    *mongodb.ROWS,
    *lmdb.ROWS,
)
"""Every row, in the order of the table."""
