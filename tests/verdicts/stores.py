"""Databases of the kinds that keep rows differently: their rows are loaded as data and stored again."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import ormsgpack
import pytest
from psycopg.types.json import Jsonb

from encrypted_serde import EncryptedSaver, Key, Keyring
from encrypted_serde.maintenance import reencrypt
from tests.lives.worlds import homes
from tests.verdicts.rows import PLACE, Extension, Row, Rows

OPTIONS: dict[str, Any] = {"searchable_metadata": ("user",), "readable_metadata": ("author",)}


class Store:
    """A database under attack.

    Attributes:
        home: The database.
        key, new: What is sealed with, and what is re-encrypted to.
        names: The table of each of `Rows.tables`.
        stored: What was stored last, where rows have fewer columns than these.
        loops_for_ever: Whether the inner saver follows parents that go round, and never comes back.
    """

    names: Mapping[str, str] = MappingProxyType({})
    loops_for_ever = False
    stored: Rows

    def __init__(self, home: Any) -> None:
        self.home = home
        self.key, self.new = Key.generate(), Key.generate()

    @property
    def address(self) -> str | None:
        return self.home.address

    def saver(self, *, rotated: bool = False, **options: Any) -> EncryptedSaver:
        """Returns a new wrapped saver: what it knows it read from the database."""
        keys = Keyring(primary=self.new, decrypt_only=[self.key]) if rotated else self.key
        return EncryptedSaver(self.home.inner(), keys, **{**OPTIONS, **options})

    def load(self) -> Rows:
        raise NotImplementedError

    def store(self, rows: Rows) -> None:
        """Replaces all rows."""
        raise NotImplementedError


class MemoryStore(Store):
    loops_for_ever = True

    def load(self) -> Rows:
        saver = self.home._saver
        rows = Rows(values=[])
        for thread, spaces in saver.storage.items():
            for space, stored in spaces.items():
                for name, (checkpoint, metadata, parent) in stored.items():
                    place = dict(zip(PLACE, (thread, space, name), strict=True))
                    rows.checkpoints.append(
                        {
                            **place,
                            "parent_checkpoint_id": parent,
                            "type": checkpoint[0],
                            "document": _unpacked(checkpoint[1]),
                            "metadata": _unpacked(metadata[1]),
                        }
                    )
        for (thread, space, channel, version), (type_tag, blob) in saver.blobs.items():
            found = {"thread_id": thread, "checkpoint_ns": space, "channel": channel, "version": version}
            rows.values.append({**found, "type": type_tag, "blob": blob})  # type: ignore[union-attr]
        for key, writes in saver.writes.items():
            for (task, idx), (_, channel, (type_tag, blob), path) in writes.items():
                place = dict(zip(PLACE, key, strict=True))
                found = {"task_id": task, "task_path": path, "idx": idx, "channel": channel}
                rows.writes.append({**place, **found, "type": type_tag, "blob": blob})
        return rows

    def store(self, rows: Rows) -> None:
        saver = self.home._saver
        for table in (saver.storage, saver.blobs, saver.writes):
            table.clear()
        for row in rows.checkpoints:
            packed = (row["type"], _packed(row["document"])), ("msgpack", _packed(row["metadata"]))
            saver.storage[row["thread_id"]][row["checkpoint_ns"]][row["checkpoint_id"]] = (*packed, row["parent_checkpoint_id"])
        for row in rows.values or ():
            key = tuple(row[name] for name in ("thread_id", "checkpoint_ns", "channel", "version"))
            saver.blobs[key] = (row["type"], row["blob"])
        for row in rows.writes:
            written = saver.writes[tuple(row[name] for name in PLACE)]
            typed = (row["type"], row["blob"])
            written[row["task_id"], row["idx"]] = (row["task_id"], row["channel"], typed, row["task_path"])


class SqliteStore(Store):
    names = MappingProxyType({"checkpoints": "checkpoints", "writes": "writes"})
    _CHECKPOINTS = (*PLACE, "parent_checkpoint_id", "type", "checkpoint", "metadata")
    _WRITES = (*PLACE, "task_id", "task_path", "idx", "channel", "type", "value")

    def load(self) -> Rows:
        rows = Rows()
        for *key, type_tag, checkpoint, metadata in self.home.sql(f"SELECT {', '.join(self._CHECKPOINTS)} FROM checkpoints"):
            found = dict(zip(self._CHECKPOINTS, key, strict=False))
            rows.checkpoints.append(
                {**found, "type": type_tag, "document": _unpacked(checkpoint), "metadata": json.loads(metadata)}
            )
        for found in self.home.sql(f"SELECT {', '.join(self._WRITES)} FROM writes"):
            *key, blob = found
            rows.writes.append({**dict(zip(self._WRITES, key, strict=False)), "blob": blob})
        return rows

    def store(self, rows: Rows) -> None:
        connection = self.home._connection
        connection.execute("BEGIN")
        try:
            connection.execute("DELETE FROM checkpoints")
            connection.execute("DELETE FROM writes")
            marks = ", ".join("?" * len(self._CHECKPOINTS))
            connection.executemany(
                f"INSERT OR REPLACE INTO checkpoints ({', '.join(self._CHECKPOINTS)}) VALUES ({marks})",
                [
                    (
                        *(row[name] for name in (*PLACE, "parent_checkpoint_id", "type")),
                        _packed(row["document"]),
                        _as_json(row["metadata"]),
                    )
                    for row in rows.checkpoints
                ],
            )
            marks = ", ".join("?" * len(self._WRITES))
            connection.executemany(
                f"INSERT OR REPLACE INTO writes ({', '.join(self._WRITES)}) VALUES ({marks})",
                [(*(row[name] for name in self._WRITES[:-1]), row["blob"]) for row in rows.writes],
            )
        finally:
            connection.execute("COMMIT")


class SqlStore(Store):
    """Postgres, and MariaDB with a hash of the namespace in every key."""

    names = MappingProxyType({"checkpoints": "checkpoints", "writes": "checkpoint_writes", "values": "checkpoint_blobs"})
    loops_for_ever = True
    _CHECKPOINTS = (*PLACE, "parent_checkpoint_id", "type", "checkpoint", "metadata")
    _WRITES = (*PLACE, "task_id", "task_path", "idx", "channel", "type", "blob")
    _VALUES = ("thread_id", "checkpoint_ns", "channel", "version", "type", "blob")
    quote = '"'
    hashed = False

    def load(self) -> Rows:
        rows = Rows(values=[], inlines=True)
        rows.checkpoints = self._selected("checkpoints", self._CHECKPOINTS)
        for row in rows.checkpoints:
            for name, column in (("document", "checkpoint"), ("metadata", "metadata")):
                cell = row.pop(column)
                row[name] = json.loads(cell) if self.hashed else cell
        rows.values = self._selected("checkpoint_blobs", self._VALUES)
        rows.writes = self._selected("checkpoint_writes", self._WRITES)
        return rows

    def _selected(self, table: str, columns: tuple[str, ...]) -> list[Row]:
        found = self.home.sql(f"SELECT {self._listed(columns)} FROM {table}")
        return [dict(zip(columns, row, strict=True)) for row in found]

    def _listed(self, columns: tuple[str, ...]) -> str:
        return ", ".join(f"{self.quote}{name}{self.quote}" for name in columns)

    def store(self, rows: Rows) -> None:
        with self._transaction() as cursor:
            for table in self.names.values():
                cursor.execute(f"DELETE FROM {table}")
            checkpoints = [
                {**row, "checkpoint": self.json(row["document"]), "metadata": self.json(row["metadata"])}
                for row in rows.checkpoints
            ]
            for table, columns, stored in (
                ("checkpoints", self._CHECKPOINTS, checkpoints),
                ("checkpoint_blobs", self._VALUES, rows.values or []),
                ("checkpoint_writes", self._WRITES, rows.writes),
            ):
                self._insert(cursor, table, columns, stored)

    def _insert(self, cursor: Any, table: str, columns: tuple[str, ...], rows: list[Row]) -> None:
        names = (*columns, "checkpoint_ns_hash") if self.hashed else columns
        values = [
            (*(row[name] for name in columns), *([hashlib.md5(row["checkpoint_ns"].encode()).digest()] if self.hashed else []))
            for row in rows
        ]
        marks = ", ".join(["%s"] * len(names))
        if values:
            cursor.executemany(f"INSERT INTO {table} ({self._listed(names)}) VALUES ({marks})", values)

    def json(self, document: Any) -> Any:
        return Jsonb(document)

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        with self.home._connection.transaction(), self.home._connection.cursor() as cursor:
            yield cursor


class ShallowStore(SqlStore):
    """Shallow savers: one checkpoint for each thread and namespace, and one value for each channel, whatever its version.

    What has no column here is read from the document, so that rows look as elsewhere.
    """

    _CHECKPOINTS = ("thread_id", "checkpoint_ns", "checkpoint", "metadata")
    _VALUES = ("thread_id", "checkpoint_ns", "channel", "type", "blob")

    def load(self) -> Rows:
        return _as_shallow(super().load())

    def store(self, rows: Rows) -> None:
        self.stored = _as_shallow(rows)
        super().store(rows)


def _as_shallow(rows: Rows) -> Rows:
    rows.inlines, rows.only_bytes = False, True
    rows.checkpoints[:] = {_space(row): row for row in rows.checkpoints}.values()
    rows.values = [*{(*_space(row), row["channel"]): row for row in rows.values or ()}.values()]
    versions: dict[Any, Any] = {}
    for row in rows.checkpoints:
        document = row["document"] if isinstance(row["document"], dict) else {}
        row.update(checkpoint_id=document.get("id"), parent_checkpoint_id=None, type=None)
        versions[_space(row)] = document.get("channel_versions")
    for row in rows.values:
        found = versions.get(_space(row))
        row["version"] = found.get(row["channel"]) if isinstance(found, dict) else None
    return rows


def _space(row: Row) -> tuple[Any, Any]:
    return row["thread_id"], row["checkpoint_ns"]


class MariaDbStore(SqlStore):
    quote = "`"
    hashed = True

    def json(self, document: Any) -> Any:
        return json.dumps(document)

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        connection = self.home._connection
        connection.begin()
        try:
            with connection.cursor() as cursor:
                yield cursor
        except BaseException:
            connection.rollback()
            raise
        connection.commit()


class ShallowMariaDbStore(ShallowStore, MariaDbStore):
    """The shallow savers of MySQL."""


_STORES: dict[str, type[Store]] = {
    "memory": MemoryStore,
    "sqlite": SqliteStore,
    "postgres": SqlStore,
    "mariadb": MariaDbStore,
    "shallow-postgres": ShallowStore,
    "shallow-mariadb": ShallowMariaDbStore,
}
SAVERS = tuple(_STORES)


@contextmanager
def opened(kind: str, folder: Path) -> Iterator[Store]:
    """Opens an empty database of a kind."""
    with homes(kind, folder) as (home, _):
        yield _STORES[kind](home)


@contextmanager
def no_pauses() -> Iterator[None]:
    """Re-encryption waits for nobody: nobody else writes to these databases."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys.modules[reencrypt.__module__], "_PAUSE", 0)
        yield


def _unpacked(packed: bytes) -> Any:
    return ormsgpack.unpackb(packed, ext_hook=Extension)


def _packed(document: Any) -> Any:
    if isinstance(document, bytes):
        return document
    return ormsgpack.packb(document, default=lambda found: ormsgpack.Ext(found.code, found.data))


def _as_json(document: Any) -> Any:
    return document if isinstance(document, bytes) else json.dumps(document).encode()
