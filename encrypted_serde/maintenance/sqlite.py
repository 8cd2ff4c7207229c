"""SQLite, as SqliteSaver and AsyncSqliteSaver fill it: a checkpoint with all its channel values is one packed value."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from langgraph.checkpoint.serde.types import TASKS

from ..core.binding import Place, version_text
from ..errors import MalformedEnvelope
from ..wrapping.inert import Inert
from . import recognise
from .coder import SAVER, VALUE, WRITE, Coder, Opened, as_text, location
from .database import MetadataKeys, Page, Row
from .model import (
    CHECKPOINT,
    INTERRUPTED,
    METADATA,
    NONE,
    PLAINTEXT,
    SEALED,
    UNDECODABLE,
    UNVOUCHED,
    WHOLE,
    DatabaseFailed,
    Form,
    Seen,
    Unconvertible,
)
from .packing import DELTA_SNAPSHOT, as_msgpack, pack, unpack
from .rows import SPECIAL_CHANNELS, OrdinaryWrites, WriteRow, is_none, recode_write
from .vouching import Identity, Vouched, check_channels, open_metadata, plain_metadata, sealed_metadata

LOCK_TIMEOUT = 30.0
"""Seconds to wait for another writer."""

PAGE_BYTES = 8 << 20
"""A page ends when its values are larger together."""

_CHECKPOINT = "rowid, thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata"
_WRITE = "rowid, thread_id, checkpoint_ns, checkpoint_id, task_id, idx, {task_path}, channel, type, value"
_COUNT = (
    "SELECT count(*) FROM writes WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ? AND task_id = ? "  # noqa: S608
    f"AND channel NOT IN ({', '.join(repr(name) for name in SPECIAL_CHANNELS)})"
)
_UPDATES = {
    "checkpoints": "UPDATE checkpoints SET type = ?, checkpoint = ?, metadata = ? "
    "WHERE rowid = ? AND type IS ? AND checkpoint IS ? AND metadata IS ?",
    "writes": "UPDATE writes SET type = ?, value = ? WHERE rowid = ? AND type IS ? AND value IS ?",
}


class _Checkpoint(NamedTuple):
    rowid: int
    thread_id: str
    checkpoint_ns: str
    checkpoint_id: str
    parent_id: str | None
    type_tag: str | None
    packed: bytes
    metadata: bytes | str | None


class SqliteDatabase:
    """A SQLite file. Rows are paged by rowid: what is written meanwhile comes behind all that was there.

    Args:
        connection: In autocommit mode.
        label: The path.
    """

    tables = ("checkpoints", "writes")

    def __init__(self, connection: sqlite3.Connection, label: str) -> None:
        self._connection = connection
        self.label = label
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not names.issuperset(self.tables):
            raise DatabaseFailed(f"{label}: no database of a checkpointer: it has no tables checkpoints and writes")
        columns = {column[1] for column in connection.execute("PRAGMA table_info(writes)")}
        path = "task_path" if "task_path" in columns else "''"  # added in 2024, by the saver itself
        self._ordinary = OrdinaryWrites(lambda task: int(connection.execute(_COUNT, task).fetchone()[0]))
        self._columns = {"checkpoints": _CHECKPOINT, "writes": _WRITE.format(task_path=path)}

    @classmethod
    @contextmanager
    def open(cls, path: str, *, write: bool) -> Iterator[SqliteDatabase]:
        """Opens a file that exists; errors of SQLite leave the context as `DatabaseFailed`."""
        with _failing_clearly(path, write):
            uri = f"{Path(path).absolute().as_uri()}?mode={'rw' if write else 'ro'}"
            connection = sqlite3.connect(uri, uri=True, timeout=LOCK_TIMEOUT, isolation_level=None)
            with closing(connection):
                yield cls(connection, path)

    def check_writable(self) -> None:
        """Takes the write lock once, and lets go of it."""
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.execute("ROLLBACK")

    def count(self, table: str, threads: Sequence[str]) -> int:
        """Counts the rows."""
        where, parameters = _of(threads)
        [(number,)] = self._connection.execute(f"SELECT count(*) FROM {table} WHERE {where}", parameters)  # noqa: S608
        return int(number)

    def read(self, table: str, threads: Sequence[str]) -> Iterator[Row]:
        """Gives every row. No read transaction stays open between pages: that would keep the WAL from being cleared."""
        after = -(1 << 63)
        while rows := self._rows(table, threads, after, 256):
            yield from rows
            after = rows[-1].stored.rowid if table == "checkpoints" else rows[-1].stored[0]

    def pages(
        self, table: str, threads: Sequence[str], size: int, coder: Coder, *, lock: bool, hurried: bool
    ) -> Iterator[AbstractContextManager[Page]]:
        """Gives all rows in pages. They are not locked, nor passed over: `Page.store` compares."""
        after = -(1 << 63)
        while rows := self._rows(table, threads, after, size):
            yield self._page(table, rows)
            after = rows[-1].stored.rowid if table == "checkpoints" else rows[-1].stored[0]

    def _rows(self, table: str, threads: Sequence[str], after: int, limit: int) -> list[Row]:
        where, parameters = _of(threads)
        query = f"SELECT {self._columns[table]} FROM {table} WHERE rowid > ? AND {where} ORDER BY rowid LIMIT ?"  # noqa: S608
        rows: list[Row] = []
        size = 0
        with closing(self._connection.execute(query, (after, *parameters, limit))) as cursor:
            for found in cursor:
                rows.append(_checkpoint_row(found) if table == "checkpoints" else _write_row(found))
                size += rows[-1].size
                if size > PAGE_BYTES:
                    break
        return rows

    @contextmanager
    def _page(self, table: str, rows: list[Row]) -> Iterator[Page]:
        yield _SqlitePage(self._connection, table, rows)

    # --- looking

    def look(self, table: str, row: Row, readable_keys: Collection[str]) -> Iterator[Seen]:
        """Finds the values in a row."""
        if table == "writes":
            write: WriteRow = row.stored[1]
            form = recognise.recognise_typed(write.type_tag, write.value, len(write.value))
            if form.kind == NONE:  # EncryptedSaver seals a None that is written
                form = Form(PLAINTEXT)
            yield Seen("writes.value", "pending write", form, len(write.value), write.value)
            return
        found: _Checkpoint = row.stored
        form = recognise.recognise_typed(found.type_tag, found.packed, len(found.packed))
        metadata = _parse(found.metadata)
        inside = list(recognise.in_metadata(METADATA, metadata, readable_keys))
        if form.kind != PLAINTEXT or found.type_tag != "msgpack":
            yield Seen(CHECKPOINT, WHOLE, form, len(found.packed), found.packed)
        else:
            if not inside or inside[0].what != "manifest":
                yield Seen(CHECKPOINT, WHOLE, Form(UNVOUCHED), len(found.packed), found.packed)
            try:
                yield from recognise.in_document(CHECKPOINT, unpack(found.packed), "channel value")
            except Unconvertible:
                yield Seen(CHECKPOINT, WHOLE, Form(UNDECODABLE), len(found.packed), found.packed)
        yield from inside

    # --- changing

    def recode(self, table: str, row: Row, coder: Coder, metadata_keys: MetadataKeys) -> tuple[Any, ...]:
        """Gives the new columns of a row."""
        if table == "writes":
            return recode_write(coder, row.stored[1], self._ordinary)
        return _recode_checkpoint(coder, row.stored, metadata_keys)


class _SqlitePage:
    def __init__(self, connection: sqlite3.Connection, table: str, rows: list[Row]) -> None:
        self.rows = rows
        self._connection = connection
        self._table = table

    def store(self, changes: Sequence[tuple[Row, tuple[Any, ...]]]) -> int:
        """Writes all changes in one transaction, each where type, value and metadata are still those that were read."""
        statement = _UPDATES[self._table]
        parameters = [(*new, *_old(self._table, row)) for row, new in changes]
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            written = self._connection.executemany(statement, parameters).rowcount
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # where the disk is full SQLite has rolled back already
                self._connection.execute("ROLLBACK")
            raise
        return written


def _old(table: str, row: Row) -> tuple[Any, ...]:
    if table == "writes":
        rowid, write, value = row.stored
        return rowid, write.type_tag, value
    found: _Checkpoint = row.stored
    return found.rowid, found.type_tag, found.packed, found.metadata


@contextmanager
def _failing_clearly(path: str, write: bool) -> Iterator[None]:
    """Turns errors of SQLite into `DatabaseFailed`."""
    try:
        yield
    except sqlite3.Error as error:
        raise DatabaseFailed(f"{path}: SQLite says: {error}{INTERRUPTED if write else ''}") from error


def _of(threads: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    if not threads:
        return "1", ()
    return f"thread_id IN ({', '.join('?' * len(threads))})", tuple(threads)


def _checkpoint_row(found: tuple[Any, ...]) -> Row:
    checkpoint = _Checkpoint(*found)
    key = dict(zip(("thread_id", "checkpoint_ns", "checkpoint_id"), found[1:4], strict=True))
    if not isinstance(checkpoint.packed, bytes):
        checkpoint = checkpoint._replace(type_tag=None, packed=b"")
    return Row(key, len(checkpoint.packed) + len(checkpoint.metadata or b""), checkpoint)


def _write_row(found: tuple[Any, ...]) -> Row:
    rowid, *columns, value = found
    write = WriteRow._make((*columns, value if isinstance(value, bytes) else b""))
    return Row(write.key, len(write.value), (rowid, write, value))


def _parse(metadata: bytes | str | None) -> Any:
    if metadata is None:
        return {}
    try:
        return json.loads(metadata)
    except ValueError:
        return None


# --- checkpoints ----------------------------------------------------------------------------------------------------


def _recode_checkpoint(coder: Coder, row: _Checkpoint, keys: MetadataKeys) -> tuple[str, bytes, bytes | str | None]:
    """Gives type, checkpoint and metadata of a row in the form that is asked for."""
    place = Place.of(row.thread_id, row.checkpoint_ns)
    whole = coder.open_typed(row.type_tag, row.packed, place, VALUE, "", {})
    if coder.target != SAVER and (whole.form.kind != PLAINTEXT or whole.inner_type != "msgpack"):  # it is, and stays, one value
        return (*coder.unbound(whole, coder.context_of(row.thread_id)), row.metadata)
    document = unpack(as_msgpack(whole.inner_type, whole.data))
    if not _is_checkpoint(document):
        raise MalformedEnvelope("the row holds no checkpoint")
    identity = Identity(place, row.checkpoint_id, row.parent_id or None, may_be_pruned=False)
    vouched = open_metadata(coder, identity, document, _parse(row.metadata))
    if coder.target == SAVER:
        return _bound(coder, identity, document, vouched, whole.form, keys)
    return _unbound(coder, identity, document, vouched, row)


def _is_checkpoint(document: Any) -> bool:
    parts = [document.get(name) for name in ("channel_values", "channel_versions")] if isinstance(document, dict) else [None]
    return all(isinstance(part, dict) and all(isinstance(name, str) for name in part) for part in parts)


def _known(document: Mapping[str, Any], channel: str) -> dict[str, str]:
    versions = document["channel_versions"]
    return {"version": version_text(versions[channel])} if channel in versions else {}


def _open_channels(
    coder: Coder, place: Place, document: Mapping[str, Any], whole: Form
) -> tuple[dict[str, Opened | None], list[Opened]]:
    """Opens channel values and pending sends. What a sealed whole contains is plaintext, whatever it looks like."""

    def opened(value: Any, channel: str) -> Opened | None:
        if value is None:
            return None
        if whole.kind != PLAINTEXT:
            is_delta = isinstance(value, Inert) and value.code == DELTA_SNAPSHOT
            return Opened("msgpack", value.data if is_delta else pack(value), whole, is_delta=is_delta)
        return coder.open_part(value, place, channel, _known(document, channel))

    values = {channel: opened(value, channel) for channel, value in document["channel_values"].items()}
    if whole.kind != PLAINTEXT:
        return values, [Opened("msgpack", pack(send), whole) for send in _sends(document)]
    claims = [_claims_of_send(document, number) for number in range(len(_sends(document)))]
    return values, [coder.open_send(send, place, known) for send, known in zip(_sends(document), claims, strict=True)]


def _sends(document: Mapping[str, Any]) -> list[Any]:
    return document.get("pending_sends") or []


def _claims_of_send(document: Mapping[str, Any], number: int) -> dict[str, str]:
    return {"checkpoint_id": document["id"], "size": str(len(document["pending_sends"])), "idx": str(number)}


def _bound(
    coder: Coder, row: Identity, document: dict[str, Any], vouched: Vouched, whole: Form, keys: MetadataKeys
) -> tuple[str, bytes, bytes]:
    values, sends = _open_channels(coder, row.place, document, whole)
    present = {channel: value for channel, value in values.items() if value is not None and not is_none(value)}
    nones = [channel for channel in values if channel not in present]
    check_channels(vouched, present, nones)
    context = coder.context_beside(whole, row.place.thread_id)
    sealed: dict[str, Any] = dict.fromkeys(values)
    for channel, value in present.items():
        data = coder.seal_value(value, row.place, channel, _known(document, channel), context)
        sealed[channel] = Inert(DELTA_SNAPSHOT, pack(data)) if value.is_delta else data
    result = {**document, "channel_values": sealed}
    if sends:
        where = location(row.place, WRITE, TASKS)
        result["pending_sends"] = [
            as_text(coder.seal_bound(send, where, _claims_of_send(document, number), context))
            for number, send in enumerate(sends)
        ]
    metadata = sealed_metadata(coder, row, result, vouched, ([*present], nones), context, *keys)
    return "msgpack", pack(result), _as_json(metadata)


def _unbound(
    coder: Coder, row: Identity, document: dict[str, Any], vouched: Vouched, stored: _Checkpoint
) -> tuple[str, bytes, bytes | str | None]:
    values, sends = _open_channels(coder, row.place, document, Form(PLAINTEXT))
    present = {channel: value for channel, value in values.items() if value is not None}
    check_channels(vouched, present, [channel for channel in values if channel not in present])
    result = {**document, "channel_values": {channel: _part(value) for channel, value in values.items()}}
    if sends:
        result["pending_sends"] = [_part(send) for send in sends]
    forms = [value.form for value in present.values() if value.form.kind == SEALED]
    form = vouched.form if vouched.manifest is not None else forms[0] if forms else Form(PLAINTEXT)
    whole = Opened("msgpack", pack(result), form)
    metadata = stored.metadata if vouched.manifest is None else _as_json(plain_metadata(vouched))
    return (*coder.unbound(whole, coder.context_of(row.place.thread_id)), metadata)


def _part(opened: Opened | None) -> Any:
    if opened is None:
        return None
    packed = as_msgpack(opened.inner_type, opened.data)
    return Inert(DELTA_SNAPSHOT, packed) if opened.is_delta else unpack(packed)


def _as_json(metadata: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(metadata, ensure_ascii=False).encode("utf-8", "ignore")
    except TypeError:
        raise Unconvertible("the private metadata holds something that is no JSON") from None
