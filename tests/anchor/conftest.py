"""Every kind of anchor, new and empty for each test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from encrypted_serde.anchor import MemoryAnchor, PostgresAnchor, SqliteAnchor


@pytest.fixture(params=["Sqlite", "Postgres"])
def shared_anchor(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """An anchor that processes can share."""
    if request.param == "Sqlite":
        made: Any = SqliteAnchor(tmp_path / "anchor.db")
    else:
        made = PostgresAnchor(request.getfixturevalue("postgres_database"))
    with closing(made):
        yield made


@pytest.fixture(params=["Memory", "Sqlite", "Postgres"])
def anchor(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """Any anchor."""
    if request.param == "Memory":
        yield MemoryAnchor()
        return
    made = (
        SqliteAnchor(tmp_path / "anchor.db")
        if request.param == "Sqlite"
        else PostgresAnchor(request.getfixturevalue("postgres_database"))
    )
    with closing(made):
        yield made
