"""Places for the tests of maintenance: an empty SQLite file, an empty Postgres database."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from psycopg.conninfo import conninfo_to_dict


@pytest.fixture
def postgres_url(postgres_database: str) -> str:
    """The URL of a database that is empty and dropped afterwards."""
    parts = conninfo_to_dict(postgres_database)
    return f"postgresql:///{quote(str(parts.pop('dbname')))}?{urlencode(parts)}"


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """What `scan` and `reencrypt` take as their database, of both kinds in turn."""
    return str(tmp_path / "checkpoints.sqlite") if request.param == "sqlite" else request.getfixturevalue("postgres_url")
