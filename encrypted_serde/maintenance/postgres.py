"""Postgres, as PostgresSaver and AsyncPostgresSaver fill it.

A checkpoint is JSON, with its scalars inlined, and every other channel value has a row of its own. The tables of the shallow
savers, which have other keys, are scanned but not re-encrypted. Needs the extra ``postgres``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from typing import Any, NamedTuple

import psycopg
from psycopg.conninfo import conninfo_to_dict

from ..core.binding import Place, version_text
from ..core.format import SEALED_MAGIC, sealed_text_prefixes
from ..core.keys import Key
from ..errors import MalformedEnvelope
from ..saver.manifest import KEY
from . import recognise
from .coder import SAVER, VALUE, Coder, Opened, as_text, location
from .database import MetadataKeys, Page, Row
from .model import (
    CHECKPOINT,
    INLINED,
    INTERRUPTED,
    METADATA,
    NONE,
    PLAINTEXT,
    READABLE_PART,
    UNVOUCHED,
    DatabaseFailed,
    Form,
    Seen,
    Unconvertible,
)
from .packing import as_msgpack, pack, unpack
from .rows import SPECIAL_CHANNELS, ChannelRow, OrdinaryWrites, WriteRow, recode_channel, recode_write
from .vouching import Identity, check_channels, open_metadata, plain_metadata, sealed_metadata

CONNECT_TIMEOUT = 30
"""Seconds to wait for the server."""

READ_ROWS = 200
"""Rows that a scan fetches at a time, of each value no more than the first `recognise.HEAD` bytes."""

PAGE_BYTES = 8 << 20
"""Pages get shorter when their values are larger together."""

_THREAD, _NS, _CHECKPOINT_ID = "thread_id", "checkpoint_ns", "checkpoint_id"
_KEYS = {
    "checkpoints": (_THREAD, _NS, _CHECKPOINT_ID),
    "checkpoint_blobs": (_THREAD, _NS, "channel", "version"),
    "checkpoint_writes": (_THREAD, _NS, _CHECKPOINT_ID, "task_id", "idx"),
}
# Which channels of a checkpoint have a row of their own, and of what type.
_TYPES = """(SELECT jsonb_object_agg(b.channel, b.type) FROM jsonb_each_text(
    CASE WHEN jsonb_typeof(t.checkpoint -> 'channel_versions') = 'object' THEN t.checkpoint -> 'channel_versions' END) AS v
    JOIN checkpoint_blobs AS b ON b.thread_id = t.thread_id AND b.checkpoint_ns = t.checkpoint_ns
    AND b.channel = v.key {version}AND b.type <> 'empty')"""
_COUNT = (
    "SELECT count(*) FROM checkpoint_writes "  # noqa: S608
    "WHERE thread_id = %s AND checkpoint_ns = %s AND checkpoint_id = %s AND task_id = %s "
    f"AND channel NOT IN ({', '.join(repr(name) for name in SPECIAL_CHANNELS)})"
)
_UPDATES = {
    "checkpoints": "checkpoint = jsonb_set(checkpoint, '{channel_values}', %s::jsonb), metadata = %s::jsonb",
    "checkpoint_blobs": "type = %s, blob = %b",
    "checkpoint_writes": "type = %s, blob = %b",
}
_SEALED_HEAD = 16  # within so many bytes a sealed value begins, in a _DeltaSnapshot or not
_KEY_ID_HEAD = 96  # and within so many its key id is over


class _Checkpoint(NamedTuple):
    thread_id: str
    checkpoint_ns: str
    checkpoint_id: str
    parent_id: str | None
    document: Any
    metadata: Any
    types: Mapping[str, str]
    row_version: str


class PostgresDatabase:
    """A Postgres database, over one connection in autocommit mode. Rows are paged by primary key.

    Args:
        connection: The connection.
        label: What to call it.
    """

    tables = ("checkpoints", "checkpoint_blobs", "checkpoint_writes")

    def __init__(self, connection: psycopg.Connection[Any], label: str) -> None:
        self._connection = connection
        self.label = label
        columns = {table: self._columns(table) for table in self.tables}
        if missing := [table for table in self.tables if not columns[table]]:
            raise DatabaseFailed(f"{label}: no database of a checkpointer: it has no tables {', '.join(missing)}")
        self._ordinary = OrdinaryWrites(self._count)
        self._is_shallow = "version" not in columns["checkpoint_blobs"]
        self._keys = {table: tuple(name for name in names if name in columns[table]) for table, names in _KEYS.items()}
        types = _TYPES.format(version="" if self._is_shallow else "AND b.version = v.value ")
        checkpoint_id, parent_id = (
            ("t.checkpoint ->> 'id'", "NULL") if self._is_shallow else ("t.checkpoint_id", "t.parent_checkpoint_id")
        )
        version = "''" if self._is_shallow else "t.version"
        path = "t.task_path" if "task_path" in columns["checkpoint_writes"] else "''"
        self._selected = {
            "checkpoints": f"t.thread_id, t.checkpoint_ns, {checkpoint_id}, {parent_id}, t.checkpoint, t.metadata, {types}",
            "checkpoint_blobs": f"t.thread_id, t.checkpoint_ns, t.channel, {version}, t.type, {{blob}}",
            "checkpoint_writes": "t.thread_id, t.checkpoint_ns, t.checkpoint_id, t.task_id, t.idx, "
            f"{path}, t.channel, t.type, {{blob}}",
        }

    def _columns(self, table: str) -> set[str]:
        query = "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped"
        return {name for (name,) in self._connection.execute(query, (table,))}

    @classmethod
    @contextmanager
    def open(cls, url: str, *, write: bool) -> Iterator[PostgresDatabase]:
        """Connects; errors of Postgres leave the context as `DatabaseFailed`."""
        with _failing_clearly("Postgres", write=False):
            parts = conninfo_to_dict(url)
            label = f"postgresql://{parts.get('host', '')}/{parts.get('dbname', '')}"
        with _failing_clearly(label, write):
            options: dict[str, Any] = {"connect_timeout": CONNECT_TIMEOUT, **parts}
            with closing(psycopg.connect(**options, autocommit=True)) as connection:
                connection.read_only = not write
                yield cls(connection, label)

    def check_writable(self) -> None:
        """Asks for the privileges that are needed, and whether the server takes writes at all."""
        if self._is_shallow:
            raise DatabaseFailed(f"{self.label}: the tables of a shallow saver can be scanned, not re-encrypted")
        [(role, standby)] = self._connection.execute("SELECT current_user, pg_is_in_recovery()")
        if standby:
            raise DatabaseFailed(f"{self.label}: this server is a standby, which takes no writes: use the primary")
        query = "SELECT has_table_privilege(%s, 'SELECT') AND has_table_privilege(%s, 'UPDATE')"
        missing = [table for table in self.tables if self._connection.execute(query, (table, table)).fetchone() != (True,)]
        if missing:
            tables = ", ".join(missing)
            raise DatabaseFailed(f"{self.label}: role {role!r} may not update: GRANT SELECT, UPDATE ON {tables} TO {role}")

    def count(self, table: str, threads: Sequence[str]) -> int | None:
        """Gives the number of rows that the server's statistics say; None where it has none, or for a few threads."""
        if threads:
            return None
        [(number,)] = self._connection.execute("SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass(%s)", (table,))
        return int(number) if number >= 0 else None

    def read(self, table: str, threads: Sequence[str]) -> Iterator[Row]:
        """Gives every row, with the first bytes of its value. Each page is a statement of its own: no long transaction."""
        blob = f"substring(t.blob FROM 1 FOR {recognise.HEAD}), octet_length(t.blob)"
        after: tuple[Any, ...] = ()
        while rows := self._rows(table, blob, threads, after, READ_ROWS):
            yield from rows
            after = tuple(rows[-1].key.values())

    def pages(
        self, table: str, threads: Sequence[str], size: int, coder: Coder, *, lock: bool, hurried: bool
    ) -> Iterator[AbstractContextManager[Page]]:
        """Gives pages whose rows are locked while their context is open; rows that others have locked are left to them."""
        condition, parameters = _not_done(table, coder.target, coder.only_key) if hurried else ("true", ())
        state = _Paging(size)
        while not state.finished:
            yield self._page(table, threads, state, condition, parameters, lock)

    @contextmanager
    def _page(
        self, table: str, threads: Sequence[str], state: _Paging, condition: str, parameters: tuple[Any, ...], lock: bool
    ) -> Iterator[Page]:
        with self._connection.transaction() if lock else nullcontext():
            suffix = "FOR UPDATE OF t SKIP LOCKED" if lock else ""
            blob = "t.blob, octet_length(t.blob)"
            rows = self._rows(table, blob, threads, state.after, state.size, condition, parameters, suffix)
            state.turn(rows)
            yield _PostgresPage(self._connection, table, self._keys[table], rows)

    def _rows(
        self,
        table: str,
        blob: str,
        threads: Sequence[str],
        after: tuple[Any, ...],
        limit: int,
        condition: str = "true",
        parameters: tuple[Any, ...] = (),
        suffix: str = "",
    ) -> list[Row]:
        keys = ", ".join(f"t.{name}" for name in self._keys[table])
        where = [condition]
        if threads:
            where.append("t.thread_id = ANY(%s)")
            parameters += (list(threads),)
        if after:
            where.append(f"({keys}) > ({', '.join(['%s'] * len(after))})")
            parameters += after
        query = (
            f"SELECT {self._selected[table].format(blob=blob)}, t.xmin::text FROM {table} AS t "  # noqa: S608
            f"WHERE {' AND '.join(where)} ORDER BY {keys} LIMIT {limit} {suffix}"
        )
        with self._connection.cursor(binary=True) as cursor:
            return [self._row(table, found) for found in cursor.execute(query, parameters)]

    def _row(self, table: str, found: tuple[Any, ...]) -> Row:
        names = self._keys[table]
        if table == "checkpoints":
            checkpoint = _Checkpoint._make((*found[:6], found[6] or {}, found[7]))
            key = dict(zip(names, found, strict=False))
            document = checkpoint.document if isinstance(checkpoint.document, dict) else {}
            return Row(key, len(_as_json(document.get("channel_values"))) + len(_as_json(checkpoint.metadata)), checkpoint)
        *columns, value, size, row_version = found
        if table == "checkpoint_blobs":
            channel = ChannelRow._make((*columns, value or b""))
            return Row({name: channel.key[name] for name in names}, size or 0, (channel, size or 0, row_version))
        write = WriteRow._make((*columns, value or b""))
        return Row(write.key, size or 0, (write, size or 0, row_version))

    # --- looking

    def look(self, table: str, row: Row, readable_keys: Collection[str]) -> Iterator[Seen]:
        """Finds the values in a row."""
        if table == "checkpoints":
            yield from self._look_at_checkpoint(row.stored, readable_keys)
            return
        value, size, _ = row.stored
        form = recognise.recognise_typed(value.type_tag, value.value, size)
        if table == "checkpoint_writes":
            if form.kind == NONE:  # EncryptedSaver seals a None that is written
                form = Form(PLAINTEXT)
            yield Seen("checkpoint_writes.blob", "pending write", form, size, value.value)
        elif value.type_tag != recognise.EMPTY:
            yield Seen("checkpoint_blobs.blob", "channel value", form, size, value.value)

    def _look_at_checkpoint(self, row: _Checkpoint, readable_keys: Collection[str]) -> Iterator[Seen]:
        inside = list(recognise.in_metadata(METADATA, row.metadata, readable_keys))
        if not inside or inside[0].what != "manifest":
            yield Seen(CHECKPOINT, READABLE_PART, Form(UNVOUCHED), 0)
        yield from recognise.in_document(CHECKPOINT, _without_markers(row), INLINED)
        yield from inside

    # --- changing

    def recode(self, table: str, row: Row, coder: Coder, metadata_keys: MetadataKeys) -> tuple[Any, ...]:
        """Gives the new columns of a row."""
        if table == "checkpoints":
            return _recode_checkpoint(coder, row.stored, metadata_keys)
        value = row.stored[0]
        if table == "checkpoint_blobs":
            return recode_channel(coder, value)
        return recode_write(coder, value, self._ordinary)

    def _count(self, task: tuple[str, ...]) -> int:
        [(number,)] = self._connection.execute(_COUNT, task)
        return int(number)


class _Paging:
    """Where the pages of a table are."""

    def __init__(self, size: int) -> None:
        self.size = self._limit = size
        self.after: tuple[Any, ...] = ()
        self.finished = False

    def turn(self, rows: list[Row]) -> None:
        self.finished = len(rows) < self.size
        if rows:
            self.after = tuple(rows[-1].key.values())
        large = sum(row.size for row in rows) > PAGE_BYTES
        self.size = max(1, self.size // 2) if large else min(self._limit, self.size * 2)


class _PostgresPage:
    def __init__(self, connection: psycopg.Connection[Any], table: str, key: tuple[str, ...], rows: list[Row]) -> None:
        self.rows = rows
        self._connection = connection
        self._table = table
        self._key = key

    def store(self, changes: Sequence[tuple[Row, tuple[Any, ...]]]) -> int:
        """Writes all changes, each where the row is still the version that was read (``xmin``); committed with the page."""
        same = " AND ".join(f"{name} = %s" for name in self._key)
        statement = f"UPDATE {self._table} SET {_UPDATES[self._table]} WHERE {same} AND xmin::text = %s"  # noqa: S608
        with self._connection.cursor() as cursor:
            cursor.executemany(statement, [(*new, *row.key.values(), row.stored[-1]) for row, new in changes])
            return cursor.rowcount


@contextmanager
def _failing_clearly(label: str, write: bool) -> Iterator[None]:
    """Turns errors of Postgres into `DatabaseFailed`. Only their first line is shown: details may hold values."""
    try:
        yield
    except psycopg.Error as error:
        message = error.diag.message_primary or str(error).partition("\n")[0]
        raise DatabaseFailed(f"{label}: Postgres says: {message}{INTERRUPTED if write else ''}") from error


def _not_done(table: str, target: str, key: Key | None) -> tuple[str, tuple[Any, ...]]:
    """Gives a condition that passes over rows which are done, so that they are neither fetched nor locked."""
    if key is None:
        return "true", ()
    if table == "checkpoints":
        if target != SAVER:
            return "true", ()
        done = f"EXISTS (SELECT FROM unnest(%s::text[]) AS p WHERE starts_with(t.metadata ->> '{KEY}', p))"
        return f"NOT coalesce({done}, false)", (sealed_text_prefixes(key.id, "msgpack"),)
    if target == SAVER:
        done = (
            f"t.type IN ('bytes', 'msgpack') AND position(%s::bytea IN substring(t.blob FROM 1 FOR {_SEALED_HEAD})) > 0 "
            f"AND position(%s::bytea IN substring(t.blob FROM 1 FOR {_KEY_ID_HEAD})) > 0"
        )
        return f"NOT coalesce({done}, false)", (SEALED_MAGIC, key.id)
    return "NOT coalesce(t.type LIKE '%%+%%' AND substring(t.blob FROM 3 FOR 32) = %s::bytea, false)", (key.id,)


# --- checkpoints ----------------------------------------------------------------------------------------------------


def _without_markers(row: _Checkpoint) -> Any:
    """Gives a checkpoint without the inlined ``true`` that stands for a `_DeltaSnapshot` in a row of its own."""
    if not isinstance(row.document, Mapping) or not isinstance(values := row.document.get("channel_values"), Mapping):
        return row.document
    inlined = {channel: value for channel, value in values.items() if not (value is True and channel in row.types)}
    return {**row.document, "channel_values": inlined}


def _recode_checkpoint(coder: Coder, row: _Checkpoint, keys: MetadataKeys) -> tuple[str, str]:
    """Gives channel values and metadata of a row, as JSON, in the form that is asked for."""
    document = row.document
    if not isinstance(document, dict) or not isinstance(document.get("channel_versions"), dict):
        raise MalformedEnvelope("the row holds no checkpoint")
    if document.get("pending_sends"):
        raise Unconvertible("the checkpoint has pending sends inlined, which no release of PostgresSaver writes")
    place = Place.of(row.thread_id, row.checkpoint_ns)
    identity = Identity(place, row.checkpoint_id, row.parent_id or None, may_be_pruned=True)
    vouched = open_metadata(coder, identity, document, row.metadata)
    values = document.get("channel_values") or {}
    inlined = _without_markers(row).get("channel_values") or {}
    present = [*(channel for channel in inlined if inlined[channel] is not None), *_with_rows(row)]
    nones = [channel for channel in {**values, **row.types} if channel not in present]
    check_channels(vouched, present, nones)
    context = coder.context_of(row.thread_id)
    versions = document["channel_versions"]
    result = {}
    for channel, value in values.items():
        if channel not in inlined or value is None:
            result[channel] = value
            continue
        known = {"version": version_text(versions[channel])} if channel in versions else {}
        opened = _open_inlined(coder, value, place, channel, known)
        sealed = coder.target == SAVER
        result[channel] = as_text(coder.seal_value(opened, place, channel, known, context)) if sealed else _scalar(opened)
    if coder.target != SAVER:
        return _as_json(result), _as_json(plain_metadata(vouched))
    metadata = sealed_metadata(coder, identity, document, vouched, (list(dict.fromkeys(present)), nones), context, *keys)
    return _as_json(result), _as_json(metadata)


def _with_rows(row: _Checkpoint) -> list[str]:
    """Gives the channels that have a value, other than None, in a row of its own."""
    return [channel for channel, type_tag in row.types.items() if type_tag.partition("+")[0] != "null"]


def _open_inlined(coder: Coder, value: Any, place: Place, channel: str, known: Mapping[str, str]) -> Opened:
    sealed = recognise.sealed_in(value)
    if sealed is None:
        return Opened("msgpack", pack(value), Form(PLAINTEXT))
    return coder.open_bound(sealed, recognise.recognise_text(value), location(place, VALUE, channel), known)


def _scalar(opened: Opened) -> Any:
    value = unpack(as_msgpack(opened.inner_type, opened.data))
    is_json = type(value) in (int, bool) or (type(value) is float and math.isfinite(value))
    if not is_json and not (type(value) is str and "\0" not in value):
        raise Unconvertible("an inlined value is nothing that JSON in Postgres could hold")
    return value


def _as_json(value: Any) -> str:
    try:
        return json.dumps(value)
    except TypeError:
        raise Unconvertible("the private metadata holds something that is no JSON") from None
