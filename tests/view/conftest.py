"""Places for the tests of the view: those of maintenance."""

from __future__ import annotations

from tests.maintenance.conftest import mariadb_server, mysql_url, place, postgres_url

__all__ = ["mariadb_server", "mysql_url", "place", "postgres_url"]
