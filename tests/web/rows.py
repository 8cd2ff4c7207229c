"""Looking into what a web application stored in Postgres: under which encryption context each value is."""

from __future__ import annotations

from collections import Counter
from typing import Any

import psycopg
from psycopg.rows import dict_row

from encrypted_serde.core.format import find_sealed

TABLES = {"checkpoints": "metadata", "checkpoint_blobs": "blob", "checkpoint_writes": "blob"}


def contexts_by_thread(dsn: str) -> Counter[tuple[str, str | None]]:
    """Counts the stored values by (thread, tenant in the header of the value); the tenant is None where there is none."""
    counted: Counter[tuple[str, str | None]] = Counter()
    with psycopg.connect(dsn, row_factory=dict_row) as connection:
        for table, column in TABLES.items():
            for row in connection.execute(f"SELECT thread_id, {column} AS value FROM {table}"):
                if row["value"] is not None:
                    counted[row["thread_id"], _tenant(row["value"])] += 1
    return counted


def _tenant(value: Any) -> str | None:
    sealed = find_sealed(value["es1"] if isinstance(value, dict) else value)
    assert sealed is not None
    return sealed.head.context.pairs.get("tenant_id")
