"""Places for the tests of maintenance: an empty SQLite file, an empty Postgres database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from psycopg.conninfo import conninfo_to_dict

from tests import mariadb


@pytest.fixture
def postgres_url(postgres_database: str) -> str:
    """The URL of a database that is empty and dropped afterwards."""
    parts = conninfo_to_dict(postgres_database)
    return f"postgresql:///{quote(str(parts.pop('dbname')))}?{urlencode(parts)}"


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[str]:
    """URL of a real MariaDB server, started once. Where there is none the tests that need it are skipped, and say so."""
    if not mariadb.is_there():
        pytest.skip("needs a MariaDB server: apt-get install mariadb-server, or set TEST_MARIADB_URL")
    with mariadb.running_mariadb() as url:
        yield url


@pytest.fixture
def mysql_url(mariadb_server: str) -> Iterator[str]:
    """The URL of a MariaDB database that is empty and dropped afterwards."""
    with mariadb.temporary_database(mariadb_server) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """What `scan` and `reencrypt` take as their database, of both kinds in turn."""
    return str(tmp_path / "checkpoints.sqlite") if request.param == "sqlite" else request.getfixturevalue("postgres_url")
