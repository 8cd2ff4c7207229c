"""What somebody with access to a database does by SQL, in any of the databases."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import psycopg

from tests import mariadb


def run(place: str, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """Runs a statement with ``?`` for parameters, and gives its rows."""
    if place.startswith("postgresql:"):
        with psycopg.connect(place, autocommit=True) as connection:
            cursor = connection.execute(statement.replace("?", "%s"), parameters)
            return cursor.fetchall() if cursor.description else []
    if place.startswith("mysql:"):
        with closing(mariadb.connect(place)) as connection, connection.cursor() as cursor:
            cursor.execute(statement.replace("?", "%s"), parameters)
            return [*cursor.fetchall()]
    with closing(sqlite3.connect(place)) as connection, connection:
        return connection.execute(statement, parameters).fetchall()


def writes_of(place: str) -> tuple[str, str]:
    """Gives the table of pending writes and its column of values."""
    return ("checkpoint_writes", "`blob`" if place.startswith("mysql:") else "blob") if ":" in place else ("writes", "value")


def count(place: str, table: str, where: str = "1 = 1", *parameters: Any) -> int:
    """Counts rows."""
    [(number,)] = run(place, f"SELECT count(*) FROM {table} WHERE {where}", *parameters)
    return int(number)
