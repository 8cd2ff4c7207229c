"""MySQL 8 and MariaDB 10.6 or newer, as the savers of ``langgraph-checkpoint-mysql`` fill them, shallow ones too.

They look as in Postgres, but for primary keys, in which a hash replaces the namespace. Needs the extra ``mysql``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pymysql

from ..errors import ConfigurationError
from .address import Address
from .database import Database
from .json_checkpoints import Blobs, JsonCheckpoints
from .table import Table
from .writes import Writes

CONNECT_TIMEOUT = 30
"""Seconds to wait for the server."""

_OPTIONS = frozenset({"unix_socket", "charset", "ssl_ca", "ssl_cert", "ssl_key", "read_default_file"})


class MysqlDatabase(Database):
    """A MySQL or MariaDB database. Rows are paged by primary key, and those of a page that will be stored are locked."""

    TABLES = (Writes, JsonCheckpoints, Blobs)
    errors = pymysql.Error
    version = "SELECT IF(INSTR(VERSION(), 'MariaDB'), VERSION(), CONCAT('MySQL ', VERSION()))"
    looked_at = "SELECT CONCAT('database ', QUOTE(DATABASE()))"
    quote = "`"  # BLOB is a keyword
    both_ends = "CONCAT(SUBSTRING({column}, 1, {head}), SUBSTRING({column}, -{tail}))"
    magic_at = "LOCATE(X'{magic}', SUBSTRING({value}, 1, {head}))"
    metadata_key = "JSON_CONTAINS_PATH({alias}.metadata, 'one', '$.{key}')"
    in_part = "MOD(CRC32({owner}), {parts}) = {number}"
    row_lock = "FOR UPDATE SKIP LOCKED"
    columns_of = "SELECT column_name FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = %s"
    random = "RAND()"
    types = """(SELECT JSON_OBJECTAGG(b.channel, CASE WHEN {bound} THEN 'bound' ELSE b.type END)
        FROM JSON_TABLE(JSON_KEYS(t.checkpoint, '$.channel_versions'),
        '$[*]' COLUMNS (channel VARCHAR(150) CHARACTER SET utf8mb4 PATH '$')) AS v
        JOIN checkpoint_blobs AS b ON b.thread_id = t.thread_id AND b.checkpoint_ns_hash = t.checkpoint_ns_hash
        AND b.channel = v.channel {version} AND b.type <> 'empty')"""

    namespace = "checkpoint_ns_hash"
    channel_version = "JSON_UNQUOTE(JSON_EXTRACT(t.checkpoint, CONCAT('$.channel_versions.\"', v.channel, '\"')))"
    shallow_id = "JSON_UNQUOTE(JSON_EXTRACT({alias}.checkpoint, '$.id'))"
    all_versions = "JSON_EXTRACT(t.checkpoint, '$.channel_versions')"
    shallow_version = """(SELECT JSON_UNQUOTE(JSON_EXTRACT(c.checkpoint, CONCAT('$.channel_versions."', {channel}, '"')))
        FROM checkpoints AS c WHERE c.thread_id = t.thread_id AND c.checkpoint_ns_hash = t.checkpoint_ns_hash)"""
    data_errors = (pymysql.err.DataError, pymysql.err.IntegrityError)

    @classmethod
    @contextmanager
    def connect(cls, address: Address, write: bool) -> Iterator[Any]:
        """Connects, in autocommit mode."""
        with closing(pymysql.connect(**options_of(address.target), autocommit=True)) as connection:
            with connection.cursor() as cursor:
                # No locks on gaps: the application goes on to insert rows beside those of a page.
                cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
                cursor.execute(f"SET SESSION TRANSACTION {'READ WRITE' if write else 'READ ONLY'}")
            yield connection

    @staticmethod
    def says(error: Exception) -> str:
        """Returns what the server said."""
        return f"MySQL says: {error.args[-1] if error.args else type(error).__name__}"

    def check_writable(self, changes: str) -> None:
        """Runs a statement that changes nothing and needs the privilege."""
        for table in self.tables:
            values = f" SET {self.quoted(table.changed[-1])} = NULL" if changes == "UPDATE" else ""
            self.execute(f"{changes}{'' if values else ' FROM'} {table.name}{values} WHERE 1 = 0")

    def behind(self, key: Sequence[str], after: tuple[Any, ...]) -> tuple[str, tuple[Any, ...]]:
        """Returns SQL for the rows that come after one, spelled so that the primary key serves."""
        condition, parameters = "", ()
        for name, value in reversed([*zip(key, after, strict=True)]):
            deeper = f" OR (t.{name} = %s AND {condition})" if condition else ""
            parameters = (value, *((value, *parameters) if condition else ()))
            condition = f"(t.{name} > %s{deeper})"
        return f"t.{key[0]} >= %s AND {condition}", (after[0], *parameters)

    def assignment(self, table: Table, column: str) -> str:
        """Returns SQL that sets a column; of a checkpoint nothing but its values changes."""
        if isinstance(table, JsonCheckpoints) and column == "checkpoint":
            return "checkpoint = JSON_SET(checkpoint, '$.channel_values', JSON_EXTRACT(%s, '$.channel_values'))"
        return f"{self.quoted(column)} = %s"


def options_of(url: str) -> dict[str, Any]:
    """Returns what PyMySQL needs to connect.

    Raises:
        ConfigurationError: If the URL has options that are not known.
    """
    parts = urlsplit(url)
    given = dict(parse_qsl(parts.query))
    if unknown := sorted(given.keys() - _OPTIONS):
        raise ConfigurationError(f"unknown options in the URL: {', '.join(unknown)}; known: {', '.join(sorted(_OPTIONS))}")
    return {
        "host": parts.hostname or "localhost",
        "port": parts.port or 3306,
        "user": unquote(parts.username or "") or None,
        "password": unquote(parts.password or ""),
        "database": unquote(parts.path.strip("/")) or None,
        "charset": "utf8mb4",
        "connect_timeout": CONNECT_TIMEOUT,
        **given,
    }
