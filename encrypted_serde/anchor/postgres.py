"""An anchor in a Postgres database, for a role that can insert and read and nothing else."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from ..core.keys import Key, KeyProvider
from ..errors import AnchorError, ConfigurationError
from .entries import Entry
from .table import COLUMNS, TableAnchor, reading

if TYPE_CHECKING:
    import psycopg
    from psycopg import pq, sql

T = TypeVar("T")

_CREATE = """
CREATE TABLE IF NOT EXISTS {table} (
    number bigint GENERATED ALWAYS AS IDENTITY,
    thread bytea NOT NULL,
    namespace bytea NOT NULL,
    checkpoint bytea NOT NULL,
    kind smallint NOT NULL,
    task bytea NOT NULL,
    batch bytea NOT NULL,
    slots bytea NOT NULL,
    known bigint NOT NULL
);
CREATE INDEX IF NOT EXISTS {index} ON {table} (thread, namespace, checkpoint, kind);
"""
_GRANT = f"GRANT SELECT, INSERT ({COLUMNS}) ON {{table}} TO {{role}}"
_INSERT = f"INSERT INTO {{table}} ({COLUMNS}) "
_DELETIONS = (
    "SELECT greatest((SELECT coalesce(max(number), 0) FROM {{table}} WHERE thread = {0} AND namespace = '' "
    "AND checkpoint = ''), (SELECT coalesce(max(number), 0) FROM {{table}} WHERE thread = {0} AND namespace = {1} "
    "AND checkpoint = {2} AND kind IN (4, 5, 6)))"
)
_STATEMENTS = {
    "insert": f"WITH added AS ({_INSERT} VALUES ($1, $2, $3, $4, $5, $6, $7, $8)) " + _DELETIONS.format("$1", "$2", "$3"),
    **reading("{table}", "$", "''"),
}
_INSERT_MANY = (
    f"WITH added AS ({_INSERT} SELECT * FROM unnest(%s::bytea[], %s::bytea[], %s::bytea[], %s::int2[], "  # noqa: S608
    "%s::bytea[], %s::bytea[], %s::bytea[], %s::int8[])) "
    f"SELECT ({_DELETIONS.format('k.thread', 'k.namespace', 'k.checkpoint')}) "
    "FROM unnest(%s::bytea[], %s::bytea[], %s::bytea[]) WITH ORDINALITY AS k(thread, namespace, checkpoint, place) "
    "ORDER BY k.place"
)
_LOCK = 7_310_913_413  # of pg_advisory_xact_lock: two that create the table at once would fail
_CONNECT_SECONDS = 10


@dataclass
class _Waiting:
    """One call of `append`: its rows, and what became of them."""

    rows: list[tuple[Any, ...]]
    deletions: int | None = None
    error: AnchorError | None = None


class PostgresAnchor(TableAnchor):
    """Keeps entries in a table of a Postgres database: another server than the checkpointer's, or at least another role.

    The application connects as a role that can insert and read, and neither change nor delete. The owner of the table makes it
    once, with `setup` or ``encrypted-serde anchor init --grant ROLE``. Entries of calls that wait at the same time share a
    round trip.

    One connection per process, shared by its threads, made on first use and again when it broke. It uses prepared statements,
    which PgBouncer passes on since 1.21. Needs psycopg 3.2 (extra ``postgres``).

    Args:
        conninfo: What `psycopg.connect` takes.
        table: Its name; one table serves one checkpointer's database.
        keys: Keys for the anchor's secret; those of the saver when None. A saver with a key for each tenant needs them.

    Raises:
        ConfigurationError: If psycopg is missing, or conninfo is none.
    """

    def __init__(self, conninfo: str, *, table: str = "anchor_entries", keys: Key | KeyProvider | None = None) -> None:
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
        self._queue: deque[_Waiting] = deque()
        self._names = {"table": sql.Identifier(table), "index": sql.Identifier(f"{table}_places")}
        super().__init__(keys)

    def after_fork(self) -> None:
        """Leaves the connection to the parent, and calls that wait to its threads."""
        super().after_fork()
        self._queue = deque()

    def setup(self, *, grant_to: str | None = None) -> None:
        """Makes an empty anchor if the table is not there. The first process that uses it draws its secret.

        Args:
            grant_to: A role that is to insert and read. It must exist, and should have no other right here.

        Raises:
            AnchorError: If the database refuses.
        """
        from psycopg import sql

        with self._lock, self._failing(), self._psycopg.connect(**self._options, autocommit=True) as connection:
            with connection.transaction():
                connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
                connection.execute(self._sql(_CREATE))
            if grant_to is not None:
                connection.execute(self._sql(_GRANT, role=sql.Identifier(grant_to)))

    def check_writable(self) -> None:
        """Raises `AnchorError` if entries cannot be added."""
        asked = "SELECT has_any_column_privilege(%s, 'INSERT') AND NOT current_setting('transaction_read_only')::bool"
        [(writable,)] = self._run(lambda connection: [*connection.execute(asked, [self._names["table"].as_string()])])
        if not writable:
            raise AnchorError(f"the anchor {self._table}: this role, or this server, can only read it", retryable=False)

    def append(self, entries: Iterable[Entry]) -> int:
        """Adds entries. One statement serves all calls that wait for the connection."""
        mine = _Waiting([entry[:8] for entry in entries])
        if not mine.rows:
            return 0
        self._queue.append(mine)
        with self._lock:
            if mine.deletions is None and mine.error is None:
                self._insert_all([self._queue.popleft() for _ in range(len(self._queue))])
        if mine.error is not None:
            raise mine.error
        return mine.deletions or 0

    def _insert_all(self, waiting: list[_Waiting]) -> None:
        failed: AnchorError = AnchorError(f"the anchor {self._table}: another call was interrupted", retryable=True)
        try:
            self._insert(waiting)
        except AnchorError as error:
            failed = error
        finally:
            for each in waiting:
                each.error = failed if each.deletions is None else None

    def _insert(self, waiting: list[_Waiting]) -> None:
        rows = [row for each in waiting for row in each.rows]
        if len(rows) == 1:
            [(thread, namespace, checkpoint, kind, task, batch, slots, known)] = rows
            row = (thread, namespace, checkpoint, kind.to_bytes(2, "big"), task, batch, slots, known.to_bytes(8, "big"))
            [[deletions]] = self._locked(lambda connection: self._fetch(connection, "insert", row))
            waiting[0].deletions = int.from_bytes(deletions, "big")
            return
        columns = [[*column] for column in zip(*rows, strict=True)]
        columns += [[*column] for column in zip(*[each.rows[0][:3] for each in waiting], strict=True)]
        found = self._locked(lambda connection: [*connection.execute(self._sql(_INSERT_MANY), columns)])
        for each, (number,) in zip(waiting, found, strict=True):
            each.deletions = number

    def _entries(self, statement: str, *parameters: bytes) -> list[Entry]:
        number = int.from_bytes
        return [
            Entry(
                thread, namespace, checkpoint, number(kind, "big"), task, batch, slots, number(known, "big"), number(own, "big")
            )
            for thread, namespace, checkpoint, kind, task, batch, slots, known, own in self._read(statement, *parameters)
        ]

    def _read(self, statement: str, *parameters: bytes) -> list[list[bytes]]:
        return self._run(lambda connection: self._fetch(connection, statement, parameters))

    def _fetch(self, connection: psycopg.Connection[Any], statement: str, parameters: Sequence[bytes]) -> list[list[bytes]]:
        """Runs a prepared statement straight through libpq: a fifth of the client's time that a cursor takes."""
        result = connection.pgconn.exec_prepared(statement.encode(), [*parameters], [1] * len(parameters), 1)
        self._check(connection, result)
        return [[result.get_value(row, column) or b"" for column in range(result.nfields)] for row in range(result.ntuples)]

    def _check(self, connection: psycopg.Connection[Any], result: pq.abc.PGresult) -> None:
        pq = self._psycopg.pq
        if connection.pgconn.status != pq.ConnStatus.OK:
            raise self._psycopg.OperationalError("the connection broke")
        if result.status not in (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK):
            reason = result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b"a statement failed"
            raise AnchorError(f"the anchor {self._table}: {reason.decode('utf-8', 'replace')}", retryable=False)

    def _run(self, work: Callable[[psycopg.Connection[Any]], T]) -> T:
        with self._lock:
            return self._locked(work)

    def _locked(self, work: Callable[[psycopg.Connection[Any]], T]) -> T:
        """Works on the connection; once more on a new one if it was broken. An entry that is added twice does no harm."""
        with self._failing():
            fresh = self._connection is None
            connection = self._connected()
            try:
                return work(connection)
            except self._psycopg.OperationalError:
                if fresh or not connection.broken:
                    raise
                return work(self._connected())

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """Turns what Postgres says into an `AnchorError`."""
        try:
            yield
        except self._psycopg.Error as error:
            retryable = isinstance(error, self._psycopg.OperationalError)
            raise AnchorError(f"the anchor {self._table}: {_reason(error)}", retryable=retryable) from None

    def _connected(self) -> psycopg.Connection[Any]:
        held: psycopg.Connection[Any] | None = self._connection
        if held is not None and not held.closed:  # a broken one counts as closed
            return held
        connection = self._psycopg.connect(**self._options, autocommit=True)
        try:
            [(found,)] = connection.execute("SELECT to_regclass(%s)", [self._names["table"].as_string()])
            if found is None:
                message = f"there is no anchor {self._table} in this database: encrypted-serde anchor init begins one"
                raise AnchorError(message, retryable=False)
            for name, statement in _STATEMENTS.items():
                self._check(connection, connection.pgconn.prepare(name.encode(), self._sql(statement).as_bytes(connection)))
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    def _sql(self, template: str, **names: sql.Composable) -> sql.Composed:
        from psycopg import sql

        return sql.SQL(template).format(**self._names, **names)


def _reason(error: Exception) -> str:
    """Returns the server's own message, or the class where there is none: a connection error repeats host and user."""
    primary: str | None = getattr(getattr(error, "diag", None), "message_primary", None)
    return primary or type(error).__name__
