"""A real MariaDB server for the tests, from the binaries that are installed: ``apt-get install mariadb-server``."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pymysql

URL_VARIABLE = "TEST_MARIADB_URL"
"""Names a server that is running already: ``mysql://user:password@host:port``, for a user who may create databases."""


class MariaDbUnavailable(Exception):
    """There is no server, and none could be started."""


def is_there() -> bool:
    """Says whether a server runs already, or could be started."""
    return URL_VARIABLE in os.environ or shutil.which("mariadbd", path=_PATH) is not None


@contextmanager
def running_mariadb() -> Iterator[str]:
    """Gives the URL of a server, without a database."""
    if url := os.environ.get(URL_VARIABLE):
        yield url
        return
    server, install = shutil.which("mariadbd", path=_PATH), shutil.which("mariadb-install-db", path=_PATH)
    if server is None or install is None:
        raise MariaDbUnavailable(f"set {URL_VARIABLE}, or install mariadb-server")
    base = Path(tempfile.mkdtemp(prefix="es-my-"))
    user = ["--user=root"] if os.geteuid() == 0 else []
    environment = {**os.environ, "TMPDIR": str(base)}  # its own: a server that starts deletes the temporary tables of others
    process: subprocess.Popen[bytes] | None = None
    try:
        subprocess.run(
            [install, f"--datadir={base / 'data'}", "--auth-root-authentication-method=normal", "--skip-test-db", *user],
            check=True,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        socket = base / "s"
        process = subprocess.Popen(
            [
                server,
                "--no-defaults",
                f"--datadir={base / 'data'}",
                f"--socket={socket}",
                f"--pid-file={base / 'pid'}",
                "--skip-networking",
                "--innodb-flush-log-at-trx-commit=0",
                "--skip-log-bin",
                *user,
            ],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(600):
            if socket.exists():
                break
            if process.poll() is not None:
                raise MariaDbUnavailable("the server did not start")
            time.sleep(0.05)
        yield f"mysql://root@localhost/?unix_socket={quote(str(socket), safe='')}"
    finally:
        if process is not None:
            process.terminate()
            process.wait()
        shutil.rmtree(base, ignore_errors=True)


_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])


def connect(url: str, **options: Any) -> Any:
    """Connects as the savers are used: in autocommit mode."""
    from encrypted_serde.maintenance.mysql import options_of

    return pymysql.connect(**{**options_of(url), "autocommit": True, **options})


@contextmanager
def temporary_database(server_url: str) -> Iterator[str]:
    """Creates an empty database, gives its URL, and drops it."""
    name = f"encrypted_serde_{secrets.token_hex(6)}"
    with closing(connect(server_url)) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
    address, _, query = server_url.partition("?")
    try:
        yield f"{address.rstrip('/')}/{name}?{query}"
    finally:
        with closing(connect(server_url)) as connection, connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE {name}")
