"""MariaDB from the system's package, started by ``mariadb-install-db`` in a directory of its own."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from tests.coverage.row import Servers, Unavailable
from tests.coverage.servers.process import directory, free_port, program, running
from tests.coverage.servers.sql import SqlPlace

_PACKAGE = "mariadb-server"
_SETTINGS = ("--skip-log-bin", "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=32M", "--skip-name-resolve")
_KEYS = """
SELECT table_name AS t, column_name AS c FROM information_schema.key_column_usage
WHERE table_schema = DATABASE() AND constraint_name = 'PRIMARY' ORDER BY table_name, ordinal_position
"""


@contextmanager
def server() -> Iterator[int]:
    """Gives the port on which a server answers ``root`` without a password."""
    install, daemon = program(["mariadb-install-db", "mysql_install_db"], _PACKAGE), program(["mariadbd", "mysqld"], _PACKAGE)
    with directory() as base:
        data, port = base / "data", free_port()
        user = [f"--user={_user(base)}"] if os.geteuid() == 0 else []
        create = [install, "--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal", *user]
        done = subprocess.run(create, capture_output=True, text=True, check=False, timeout=120)
        if done.returncode:
            raise Unavailable(f"mariadb-install-db failed: {done.stderr[-400:]}")
        listen = [f"--port={port}", "--bind-address=127.0.0.1", f"--socket={base / 'socket'}"]
        with running(
            [daemon, "--no-defaults", f"--datadir={data}", *listen, *_SETTINGS, *user], base, lambda: connect(port).close()
        ):
            yield port


def _user(base: Any) -> str:
    shutil.chown(base, "mysql")  # the package creates that user; the server refuses to run as root
    return "mysql"


def connect(port: int, database: str | None = None) -> Any:
    try:
        import pymysql
    except ImportError:
        raise Unavailable("pip install PyMySQL") from None
    return pymysql.connect(
        host="127.0.0.1", port=port, user="root", database=database, autocommit=True, cursorclass=pymysql.cursors.DictCursor
    )


@contextmanager
def place(servers: Servers) -> Iterator[SqlPlace]:
    port, name = servers.get(server), f"coverage_{secrets.token_hex(6)}"
    with closing(connect(port)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT VERSION() AS v")
        version = cursor.fetchone()["v"].partition("-")[0]
        cursor.execute(f"CREATE DATABASE {name}")
    with closing(connect(port, name)) as connection:

        def run(statement: str, *parameters: Any) -> list[dict[str, Any]]:
            with connection.cursor() as cursor:
                cursor.execute(statement, parameters)
                return list(cursor.fetchall())

        def keys() -> dict[str, tuple[str, ...]]:
            found: dict[str, tuple[str, ...]] = {}
            for row in run(_KEYS):
                found[row["t"]] = (*found.get(row["t"], ()), row["c"])
            return found

        yield SqlPlace(f"{port}/{name}", f"MariaDB {version}", run, keys, ("%s", "`"))
        run(f"DROP DATABASE {name}")
