"""An anchor in a Postgres database, for a role that can insert and read and nothing else."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import AnchorError, ConfigurationError
from .entries import Entry, Kind
from .forks import start_anew_in_children

if TYPE_CHECKING:
    import psycopg
    from psycopg import sql

T = TypeVar("T")

_COLUMNS = "thread, namespace, checkpoint, kind, task, batch, slots, epoch, number"
_CREATE = """
CREATE TABLE IF NOT EXISTS {table} (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    thread bytea NOT NULL,
    namespace bytea NOT NULL,
    checkpoint bytea NOT NULL,
    kind smallint NOT NULL,
    task bytea NOT NULL,
    batch bytea NOT NULL,
    slots bytea NOT NULL,
    epoch bigint NOT NULL
);
CREATE INDEX IF NOT EXISTS {index} ON {table} (thread, namespace, checkpoint, kind);
"""
_GRANT = "GRANT INSERT, SELECT ON {table} TO {role}"
_LOCK = 7_310_913_413  # of pg_advisory_xact_lock: two that create the table at once would fail
_CONNECT_SECONDS = 10

_left_to_the_parent: list[Any] = []
"""Connections from before a fork: closing one in the child would end the parent's session."""


class PostgresAnchor:
    """Keeps entries in a table of a Postgres database: another server than the checkpointer's, or at least another role.

    The application connects as a role that can insert and read, and neither change nor delete. The owner of the table makes it
    once, with `setup` or ``encrypted-serde anchor init --grant ROLE``; where the connection may create tables, it makes itself.

    One connection per process, shared by its threads, made on first use and again when it broke. Needs psycopg 3.2 (extra
    ``postgres``).

    Args:
        conninfo: What `psycopg.connect` takes.
        table: Its name; one table serves one checkpointer's database.

    Raises:
        ConfigurationError: If psycopg is missing, or conninfo is none.
    """

    def __init__(self, conninfo: str, *, table: str = "anchor_entries") -> None:
        try:
            import psycopg
            from psycopg import conninfo as parsing
            from psycopg import sql
        except ImportError:
            raise ConfigurationError("psycopg is missing: pip install 'encrypted-serde[postgres]'") from None
        try:
            options = parsing.conninfo_to_dict(conninfo)
        except psycopg.ProgrammingError:  # whose message repeats the text, password included
            raise ConfigurationError("conninfo: not a connection string that psycopg understands") from None
        self._options: dict[str, Any] = {"connect_timeout": _CONNECT_SECONDS, **options}
        self._psycopg = psycopg
        self._table = table
        self._lock = threading.Lock()
        self._connection: psycopg.Connection[Any] | None = None
        start_anew_in_children(self)
        names = {"table": sql.Identifier(table), "index": sql.Identifier(f"{table}_places"), "columns": sql.SQL(_COLUMNS)}
        self._names = names
        self._insert = _format(
            "INSERT INTO {table} (thread, namespace, checkpoint, kind, task, batch, slots, epoch) VALUES {rows}",
            names | {"rows": sql.SQL("(%b, %b, %b, %s, %b, %b, %b, %s)")},
        )
        marks = "SELECT {columns} FROM {table} WHERE thread = %(thread)b AND namespace = '' AND checkpoint = ''"
        place = "SELECT {columns} FROM {table} WHERE thread = %(thread)b AND namespace = %(namespace)b"
        highest = "(SELECT checkpoint FROM {table} WHERE thread = %(thread)b AND namespace = %(namespace)b AND kind = {kind} "
        highest += "ORDER BY checkpoint DESC LIMIT 1)"
        self._newest = _format(
            f"{marks} UNION ALL {place} AND checkpoint = {highest}", names | {"kind": sql.Literal(int(Kind.CHECKPOINT))}
        )
        self._in_thread = _format("SELECT {columns} FROM {table} WHERE thread = %(thread)b ORDER BY number", names)
        self._in_namespace = _format(f"{marks} UNION ALL {place}", names)
        self._in_checkpoint = _format(f"{marks} UNION ALL {place} AND checkpoint = %(checkpoint)b", names)
        self._threads = _format("SELECT DISTINCT thread FROM {table}", names)

    def after_fork(self) -> None:
        """Leaves the connection to the parent."""
        self._lock = threading.Lock()
        if self._connection is not None:
            _left_to_the_parent.append(self._connection)
            self._connection = None

    def setup(self, *, grant_to: str | None = None) -> None:
        """Makes the table if it is not there, as a role that may create one.

        Args:
            grant_to: A role that is to insert and read. It must exist, and should have no other right here.

        Raises:
            AnchorError: If the database refuses.
        """
        from psycopg import sql

        def create(connection: psycopg.Connection[Any]) -> None:
            self._create(connection)
            if grant_to is not None:
                connection.execute(_format(_GRANT, self._names | {"role": sql.Identifier(grant_to)}))

        self._run(create)

    def append(self, entries: Iterable[Entry]) -> None:
        """As `Anchor.append`: one statement, one transaction."""
        rows = [entry[:8] for entry in entries]
        if len(rows) == 1:
            self._run(lambda connection: connection.execute(self._insert, rows[0]))
        elif rows:

            def insert(connection: psycopg.Connection[Any]) -> None:
                with connection.transaction(), connection.cursor() as cursor:
                    cursor.executemany(self._insert, rows)

            self._run(insert)

    def newest(self, thread: bytes, namespace: bytes) -> list[Entry]:
        """As `Anchor.newest`: one indexed read."""
        return self._read(self._newest, {"thread": thread, "namespace": namespace})

    def entries(self, thread: bytes, namespace: bytes | None = None, checkpoint: bytes | None = None) -> list[Entry]:
        """As `Anchor.entries`."""
        if namespace is None:
            return self._read(self._in_thread, {"thread": thread})
        if checkpoint is None:
            return self._read(self._in_namespace, {"thread": thread, "namespace": namespace})
        return self._read(self._in_checkpoint, {"thread": thread, "namespace": namespace, "checkpoint": checkpoint})

    def threads(self) -> list[bytes]:
        """As `Anchor.threads`."""
        return self._run(lambda connection: [bytes(thread) for (thread,) in connection.execute(self._threads)])

    def close(self) -> None:
        """Closes the connection. The next call makes another one."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def __del__(self) -> None:
        if getattr(self, "_connection", None) is not None:
            self.close()

    def _read(self, statement: sql.Composed, parameters: dict[str, bytes]) -> list[Entry]:
        return self._run(lambda connection: [Entry(*row) for row in connection.execute(statement, parameters, binary=True)])

    def _run(self, work: Callable[[psycopg.Connection[Any]], T]) -> T:
        """Works on the connection; once more on a new one if it was broken. An entry that is added twice does no harm."""
        with self._lock:
            try:
                fresh = self._connection is None
                connection = self._connected()
                try:
                    return work(connection)
                except self._psycopg.OperationalError:
                    if fresh or not connection.broken:
                        raise
                    return work(self._connected())
            except self._psycopg.Error as error:
                retryable = isinstance(error, self._psycopg.OperationalError)
                raise AnchorError(f"the anchor {self._table}: {_reason(error)}", retryable=retryable) from None

    def _connected(self) -> psycopg.Connection[Any]:
        if self._connection is not None and not self._connection.closed:  # a broken one counts as closed
            return self._connection
        connection = self._psycopg.connect(**self._options, autocommit=True)
        try:
            [(found,)] = connection.execute("SELECT to_regclass(%s)", [self._names["table"].as_string()])
            if found is None:
                self._create(connection)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    def _create(self, connection: psycopg.Connection[Any]) -> None:
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
            connection.execute(_format(_CREATE, self._names))


def _format(template: str, names: dict[str, Any]) -> sql.Composed:
    from psycopg import sql

    return sql.SQL(template).format(**names)


def _reason(error: Exception) -> str:
    """Gives the server's own message, or the class where there is none: a connection error repeats host and user."""
    primary: str | None = getattr(getattr(error, "diag", None), "message_primary", None)
    return primary or type(error).__name__
