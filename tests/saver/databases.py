"""What somebody with write access to the database can do: SQL on the tables of SqliteSaver and PostgresSaver."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable
from typing import Any, NamedTuple

import ormsgpack
import psycopg
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.sqlite import SqliteSaver
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from encrypted_serde import EncryptedSaver, Key


class Place(NamedTuple):
    """Where a checkpoint stands."""

    thread_id: str
    checkpoint_ns: str
    checkpoint_id: str

    @property
    def config(self) -> dict[str, Any]:
        return {"configurable": self._asdict()}


_ROW = "thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?"


class Database:
    """A database of a checkpointer, seen from both sides: through savers, and by SQL.

    Attributes:
        key: What the savers seal with.
        writes, value: What the table of pending writes, and its column of values, are called.
        tables: All tables with data.
    """

    writes: str
    value: str
    tables: tuple[str, ...]

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.key = Key.generate()
        self.plain().setup()

    def plain(self, **options: Any) -> BaseCheckpointSaver:
        """Gives a saver of its own kind, not wrapped."""
        raise NotImplementedError

    def saver(self, **options: Any) -> EncryptedSaver:
        """Gives a new wrapped saver, as another process would open it."""
        inner = options.pop("inner", None) or self.plain()
        return EncryptedSaver(inner, options.pop("keys", self.key), **options)

    def sql(self, statement: str, *parameters: Any) -> list[tuple]:
        """Runs a statement with ``?`` for parameters and ``{writes}`` and ``{value}`` for names. Gives the rows."""
        raise NotImplementedError

    def clear(self) -> None:
        for table in self.tables:
            self.sql(f"DELETE FROM {table}")

    # --- rows

    def checkpoint(self, place: Place) -> dict[str, Any]:
        """Gives the stored checkpoint, sealed values as they are."""
        raise NotImplementedError

    def store_checkpoint(self, place: Place, checkpoint: dict[str, Any]) -> None:
        raise NotImplementedError

    def edit_checkpoint(self, place: Place, change: Callable[[dict[str, Any]], Any]) -> None:
        document = self.checkpoint(place)
        change(document)
        self.store_checkpoint(place, document)

    def metadata(self, place: Place) -> dict[str, Any]:
        [(stored,)] = self.sql(f"SELECT metadata FROM checkpoints WHERE {_ROW}", *place)
        return stored if isinstance(stored, dict) else json.loads(stored)

    def store_metadata(self, place: Place, metadata: Any) -> None:
        raise NotImplementedError

    def edit_metadata(self, place: Place, change: Callable[[dict[str, Any]], Any]) -> None:
        document = self.metadata(place)
        change(document)
        self.store_metadata(place, document)

    def sealed(self, place: Place, channel: str) -> Any:
        """Gives the stored value of a channel, wherever this saver put it."""
        return self.checkpoint(place)["channel_values"][channel]

    def store_sealed(self, place: Place, channel: str, value: Any) -> None:
        self.edit_checkpoint(place, lambda document: document["channel_values"].update({channel: value}))

    def retype(self, place: Place, channel: str, type_tag: str) -> None:
        """Changes the type that stands beside the value of a channel (in SQLite: beside all of them)."""
        raise NotImplementedError

    def write_rows(self, place: Place) -> list[tuple[str, int, str]]:
        """Gives task id, position and channel of each pending write."""
        return self.sql(f"SELECT task_id, idx, channel FROM {{writes}} WHERE {_ROW} ORDER BY task_id, idx", *place)


class MemoryDatabase(Database):
    """An InMemorySaver that stays. There is no SQL."""

    tables = ()

    def __init__(self) -> None:
        self.inner = InMemorySaver()
        self.key = Key.generate()

    def plain(self, **options: Any) -> InMemorySaver:
        return self.inner

    def clear(self) -> None:
        self.inner = InMemorySaver()


class SqliteDatabase(Database):
    writes, value = "writes", "value"
    tables = ("checkpoints", "writes")

    def __init__(self, path: Any) -> None:
        super().__init__(sqlite3.connect(path, check_same_thread=False))

    def plain(self, **options: Any) -> SqliteSaver:
        return SqliteSaver(self.connection, **options)

    def sql(self, statement: str, *parameters: Any) -> list[tuple]:
        rows = self.connection.execute(_named(self, statement), parameters).fetchall()
        self.connection.commit()
        return rows

    def checkpoint(self, place: Place) -> dict[str, Any]:
        [(blob,)] = self.sql(f"SELECT checkpoint FROM checkpoints WHERE {_ROW}", *place)
        return ormsgpack.unpackb(blob, ext_hook=ormsgpack.Ext)

    def store_checkpoint(self, place: Place, checkpoint: dict[str, Any]) -> None:
        self.sql(f"UPDATE checkpoints SET checkpoint = ? WHERE {_ROW}", ormsgpack.packb(checkpoint), *place)

    def store_metadata(self, place: Place, metadata: Any) -> None:
        self.sql(f"UPDATE checkpoints SET metadata = ? WHERE {_ROW}", json.dumps(metadata).encode(), *place)

    def retype(self, place: Place, channel: str, type_tag: str) -> None:
        self.sql(f"UPDATE checkpoints SET type = ? WHERE {_ROW}", type_tag, *place)


class PostgresDatabase(Database):
    writes, value = "checkpoint_writes", "blob"
    tables = ("checkpoints", "checkpoint_blobs", "checkpoint_writes")
    _BLOB = "thread_id = ? AND checkpoint_ns = ? AND channel = ? AND version = ?"

    def __init__(self, dsn: str) -> None:
        super().__init__(psycopg.connect(dsn, autocommit=True, prepare_threshold=0, row_factory=dict_row))

    def plain(self, **options: Any) -> PostgresSaver:
        return PostgresSaver(self.connection, **options)

    def sql(self, statement: str, *parameters: Any) -> list[tuple]:
        with self.connection.cursor(row_factory=psycopg.rows.tuple_row) as cursor:
            cursor.execute(re.sub(r"\?", "%s", _named(self, statement)), parameters)
            return cursor.fetchall() if cursor.description else []

    def checkpoint(self, place: Place) -> dict[str, Any]:
        [(document,)] = self.sql(f"SELECT checkpoint FROM checkpoints WHERE {_ROW}", *place)
        return document

    def store_checkpoint(self, place: Place, checkpoint: dict[str, Any]) -> None:
        self.sql(f"UPDATE checkpoints SET checkpoint = ? WHERE {_ROW}", Jsonb(checkpoint), *place)

    def store_metadata(self, place: Place, metadata: Any) -> None:
        self.sql(f"UPDATE checkpoints SET metadata = ? WHERE {_ROW}", Jsonb(metadata), *place)

    def sealed(self, place: Place, channel: str) -> Any:
        document = self.checkpoint(place)
        if channel in document["channel_values"]:
            return document["channel_values"][channel]
        [(blob,)] = self.sql(f"SELECT blob FROM checkpoint_blobs WHERE {self._BLOB}", *self._blob(place, channel))
        return blob

    def store_sealed(self, place: Place, channel: str, value: Any) -> None:
        if isinstance(value, bytes):
            self.sql(f"UPDATE checkpoint_blobs SET blob = ? WHERE {self._BLOB}", value, *self._blob(place, channel))
        else:
            super().store_sealed(place, channel, value)

    def retype(self, place: Place, channel: str, type_tag: str) -> None:
        self.sql(f"UPDATE checkpoint_blobs SET type = ? WHERE {self._BLOB}", type_tag, *self._blob(place, channel))

    def _blob(self, place: Place, channel: str) -> tuple[str, str, str, str]:
        return place.thread_id, place.checkpoint_ns, channel, self.checkpoint(place)["channel_versions"][channel]


def _named(database: Database, statement: str) -> str:
    return statement.replace("{writes}", database.writes).replace("{value}", database.value)
