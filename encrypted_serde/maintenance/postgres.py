"""Postgres, as PostgresSaver, the shallow savers, PostgresStore and the async ones fill it. Needs the extra ``postgres``.

A checkpoint is JSON, with its scalars inlined, and every other channel value has a row of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from ..core.format import SEALED_MAGIC, sealed_text_prefixes
from ..core.keys import Key
from ..errors import ConfigurationError
from ..rows.manifest import KEY
from .address import Address
from .codec import SAVER
from .database import SEALED_HEAD, Database
from .items import StoreItems
from .json_checkpoints import Blobs, JsonCheckpoints
from .report import DatabaseFailed
from .selection import Selection
from .table import Table
from .writes import Writes

CONNECT_TIMEOUT = 30
"""Seconds to wait for the server."""

_KEY_ID_HEAD = 96  # within so many its key id is over


class PostgresDatabase(Database):
    """A Postgres database. Rows are paged by primary key, and those of a page that will be stored are locked."""

    TABLES = (Writes, JsonCheckpoints, Blobs, StoreItems)
    errors = psycopg.Error
    version = "SELECT 'PostgreSQL ' || current_setting('server_version')"
    looked_at = "SELECT 'the search_path, which is ' || current_setting('search_path')"
    begin = "BEGIN READ WRITE"
    prunes = True
    takes_parts = True
    stored_length = "pg_column_size({column})"
    both_ends = "substring({column} FROM 1 FOR {head}) || substring({column} FROM octet_length({column}) - {tail} + 1)"
    magic_at = "position('\\x{magic}'::bytea IN substring({value} FROM 1 FOR {head}))"
    metadata_key = "{alias}.metadata ? '{key}'"
    in_part = "mod(hashtext({owner})::bigint + 2147483648, {parts}) = {number}"
    json_as_text = "{column}::text"
    row_lock = "FOR UPDATE OF t SKIP LOCKED"
    columns_of = "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped"
    random = "random()"
    types = """(SELECT jsonb_object_agg(b.channel, CASE WHEN {bound} THEN 'bound' ELSE b.type END)::text FROM jsonb_each_text(
        CASE WHEN jsonb_typeof(t.checkpoint -> 'channel_versions') = 'object' THEN t.checkpoint -> 'channel_versions' END) AS v
        JOIN checkpoint_blobs AS b ON b.thread_id = t.thread_id AND b.checkpoint_ns = t.checkpoint_ns
        AND b.channel = v.key {version} AND b.type <> 'empty')"""

    channel_version = "v.value"
    shallow_id = "{alias}.checkpoint ->> 'id'"
    all_versions = "(t.checkpoint -> 'channel_versions')::text"
    shallow_version = """(SELECT c.checkpoint -> 'channel_versions' ->> {channel} FROM checkpoints AS c
        WHERE c.thread_id = t.thread_id AND c.checkpoint_ns = t.checkpoint_ns)"""
    data_errors = (psycopg.DataError, psycopg.IntegrityError)

    @classmethod
    @contextmanager
    def connect(cls, address: Address, write: bool) -> Iterator[psycopg.Connection[Any]]:
        """Connects, in autocommit mode."""
        try:
            parts = conninfo_to_dict(address.target)
        except psycopg.Error:  # its text may hold parts of the password
            raise ConfigurationError("no URL or conninfo string that Postgres understands (it is not shown)") from None
        options: dict[str, Any] = {"connect_timeout": CONNECT_TIMEOUT, **parts}
        with closing(psycopg.connect(**options, autocommit=True)) as connection:
            yield connection

    @staticmethod
    def says(error: Exception) -> str:
        """Returns the first line of what Postgres said: details may hold values."""
        message = error.diag.message_primary if isinstance(error, psycopg.Error) else None
        return f"Postgres says: {message or str(error).partition(chr(10))[0]}"

    def check_writable(self, changes: str) -> None:
        """Asks for the privileges that are needed, and whether the server takes writes at all."""
        [(role, standby)] = self.execute("SELECT current_user, pg_is_in_recovery()")
        if standby:
            raise DatabaseFailed(f"{self.label}: this server is a standby, which takes no writes: use the primary")
        query = "SELECT has_table_privilege(%s, 'SELECT') AND has_table_privilege(%s, %s)"
        names = [table.name for table in self.tables if table.has_threads or changes == "UPDATE"]
        if missing := [name for name in names if not self.execute(query, (name, name, changes))[0][0]]:
            grant = f"GRANT SELECT, {changes} ON {', '.join(missing)} TO {role}"
            raise DatabaseFailed(f"{self.label}: role {role!r} may not {changes.lower()}: {grant}")

    def execute(self, sql: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
        """Runs a statement with parameters on the server, so that values come as bytes and not as text."""
        with psycopg.Cursor(self.connection) as cursor:
            cursor.execute(sql, tuple(parameters), binary=True)
            return cursor.fetchall() if cursor.description else []

    def count(self, table: Table, selection: Selection) -> int | None:
        """Returns the number of rows that the server's statistics say; None where it has none, or for some of the rows."""
        if selection != Selection():
            return None
        [(number,)] = self.execute("SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass(%s)", (table.name,))
        return int(number) if number >= 0 else None

    def assignment(self, table: Table, column: str) -> str:
        """Returns SQL that sets a column; of a checkpoint the parts that are given."""
        if isinstance(table, JsonCheckpoints):
            new = "checkpoint || %s::jsonb" if column == "checkpoint" else "%s::jsonb"
            return f"{column} = {new}"
        if isinstance(table, StoreItems):
            return f"{column} = %s::jsonb"
        return f"{column} = {'%b' if column == 'blob' else '%s'}"

    def not_done(self, table: Table, target: str, key: Key) -> tuple[str, tuple[Any, ...]]:
        """Returns a condition that passes over rows which are done, so that they are neither fetched nor locked."""
        if isinstance(table, StoreItems):
            return "", ()
        if isinstance(table, JsonCheckpoints):
            done = f"EXISTS (SELECT FROM unnest(%s::text[]) AS p WHERE starts_with(t.metadata ->> '{KEY}', p))"
            return (f"NOT coalesce({done}, false)", (sealed_text_prefixes(key.id, "msgpack"),)) if target == SAVER else ("", ())
        if target == SAVER:
            done = (
                f"t.type IN ('bytes', 'msgpack') AND position(%s::bytea IN substring(t.blob FROM 1 FOR {SEALED_HEAD})) > 0 "
                f"AND position(%s::bytea IN substring(t.blob FROM 1 FOR {_KEY_ID_HEAD})) > 0"
            )
            return f"NOT coalesce({done}, false)", (SEALED_MAGIC, key.id)
        return "NOT coalesce(t.type LIKE '%%+%%' AND substring(t.blob FROM 3 FOR 32) = %s::bytea, false)", (key.id,)
