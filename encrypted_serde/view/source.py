"""Rows of a database, verified and opened: all that the view asks of `maintenance` goes through here."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from ..core.binding import WriteClaims, version_text
from ..core.keys import Key, KeyProvider
from ..maintenance.checkpoints import Checkpoints, OpenedCheckpoint
from ..maintenance.codec import RowCodec, Switches
from ..maintenance.database import Database
from ..maintenance.items import OpenedItem, StoreItems
from ..maintenance.json_checkpoints import Blobs
from ..maintenance.opening import open_database
from ..maintenance.report import DatabaseFailed, Failure
from ..maintenance.selection import Selection
from ..maintenance.table import OPEN, Paging, Row, Table, fenced
from ..maintenance.writes import Writes
from ..rows.manifest import KEY as MANIFEST
from ..wrapping.search import PREFIX as TOKEN_PREFIX
from ..wrapping.stored_item import DICTIONARY, without_names
from .model import Refused, Spot
from .stored import StoredHead, StoredItem, StoredValue, StoredWrite, arranged
from .values import Fields, Scalar, Value, of_plain, read_value

_PSEUDONYM = re.compile("[a-z2-7]{26}")


class Source:
    """A database that was opened for reading.

    Args:
        database: The database.
        codec: Has the keys.
    """

    def __init__(self, database: Database, codec: RowCodec) -> None:
        self._database, self._codec = database, codec
        self._id = database.checkpoint_id()
        self.label, self.server = database.label, database.server

    @property
    def has_threads(self) -> bool:
        """Whether it is the database of a checkpointer."""
        return self._database.find(Checkpoints) is not None

    @property
    def has_items(self) -> bool:
        """Whether it is the database of a store."""
        return self._database.find(StoreItems) is not None

    # --- threads

    def threads(self, like: Mapping[str, str], after: Sequence[str], limit: int) -> list[tuple[str, int, str]]:
        """Returns id, number of checkpoints and newest id of threads, the newest first."""
        where, having, parameters = self._thread_conditions(like)
        newest = f"coalesce(max({self._id}), '')"
        if after:
            having.append(f"({newest}, t.thread_id) < ({self._mark}, {self._mark})")
            parameters += after
        sql = (
            f"SELECT t.thread_id, count(*), {newest} FROM checkpoints AS t WHERE {' AND '.join(where)} GROUP BY t.thread_id "  # noqa: S608
            f"{'HAVING ' + ' AND '.join(having) if having else ''} ORDER BY 3 DESC, 1 DESC LIMIT {limit}"
        )
        return [(str(name), int(count), str(newest)) for name, count, newest in self._execute(sql, parameters)]

    def thread_ids(self) -> list[str]:
        """Returns the ids of all threads."""
        sql = f"SELECT DISTINCT t.thread_id FROM checkpoints AS t WHERE {self._database.proper_thread}"  # noqa: S608
        return [str(name) for (name,) in self._execute(sql, ())]

    def count_threads(self, like: Mapping[str, str]) -> int:
        """Returns how many threads there are."""
        where, having, parameters = self._thread_conditions(like)
        group = f"SELECT 1 FROM checkpoints AS t WHERE {' AND '.join(where)} GROUP BY t.thread_id "  # noqa: S608
        group += "HAVING " + " AND ".join(having) if having else ""
        [(number,)] = self._execute(f"SELECT count(*) FROM ({group}) AS found", parameters)  # noqa: S608
        return int(number)

    def _thread_conditions(self, like: Mapping[str, str]) -> tuple[list[str], list[str], list[Any]]:
        where, having, parameters = [self._database.proper_thread], [], list[Any]()
        if text := like.get("text"):
            escaped = "".join(f"!{character}" if character in "!%_" else character for character in text.lower())
            where.append(f"lower(t.thread_id) LIKE {self._mark} ESCAPE '!'")
            parameters.append(f"%{escaped}%")
        for name, comparison in (("since", ">="), ("until", "<")):
            if name in like:
                having.append(f"max({self._id}) {comparison} {self._mark}")
                parameters.append(like[name])
        return where, having, parameters

    # --- checkpoints

    def spots(self, thread_id: str, limit: int | None = None) -> list[Spot]:
        """Returns the checkpoints of a thread, the newest first, unverified."""
        if self._database.find(Checkpoints) is None:
            return []
        parent = "NULL" if self._database.is_shallow else "t.parent_checkpoint_id"
        sql = (
            f"SELECT t.checkpoint_ns, {self._id}, {parent} FROM checkpoints AS t WHERE t.thread_id = {self._mark} "  # noqa: S608
            f"ORDER BY 2 DESC, 1 {f'LIMIT {limit}' if limit else ''}"
        )
        return [Spot(str(ns), str(id_), str(parent or "")) for ns, id_, parent in self._execute(sql, (thread_id,))]

    def heads(self, thread_id: str, spots: Sequence[Spot]) -> dict[Spot, StoredHead | Refused]:
        """Verifies checkpoints of a thread and opens what their rows hold."""
        table = self._database.find(Checkpoints)
        if table is None or not spots:
            return {}
        ids = ", ".join([self._mark] * len(spots))
        condition = f"t.thread_id = {self._mark} AND {self._id} IN ({ids})"
        rows = self._rows(table, condition, (thread_id, *(spot.id for spot in spots)))
        by_key = {(spot.namespace, spot.id): spot for spot in spots}
        found: dict[Spot, StoredHead | Refused] = {}
        for row in rows:
            spot = by_key.get((str(row.cells["checkpoint_ns"]), str(row.cells["checkpoint_id"])))
            if spot is not None:
                found[spot] = self._head(table, row)
        return found

    def _head(self, table: Checkpoints, row: Row) -> StoredHead | Refused:
        opened = self._open(table, row)
        return opened if isinstance(opened, Refused) else _head_of(opened)

    def values(
        self, thread_id: str, spot: Spot, head: StoredHead, channels: Collection[str] = ()
    ) -> dict[str, StoredValue | Refused]:
        """Opens the channel values of a checkpoint, or some of them, wherever they are stored."""
        found: dict[str, StoredValue | Refused] = {**head.inside}
        table = self._database.find(Blobs)
        versions = head.document.get("channel_versions", {})
        names = sorted(head.elsewhere & {*channels} if channels else head.elsewhere)
        if table is None or not names:
            return found
        wanted = [(name, version_text(versions.get(name))) for name in names]
        columns = ("channel",) if self._database.is_shallow else ("channel", "version")
        pair = f"({' AND '.join(f't.{name} = {self._mark}' for name in columns)})"
        parameters = [part for each in wanted for part in each[: len(columns)]]
        condition = f"t.thread_id = {self._mark} AND t.checkpoint_ns = {self._mark} AND ({' OR '.join([pair] * len(wanted))})"
        for row in self._rows(table, condition, (thread_id, spot.namespace, *parameters)):
            opened = self._open(table, row)
            if opened is not None:
                found[str(row.cells["channel"])] = opened if isinstance(opened, Refused) else StoredValue.of(opened)
        for name in names:
            found.setdefault(name, Refused("WrongLocation", "the value is missing"))
        return found

    def writes(self, thread_id: str, spots: Sequence[Spot], channels: Collection[str] = ()) -> dict[Spot, list[StoredWrite]]:
        """Opens the pending writes of checkpoints, in the order in which LangGraph applies them.

        Args:
            thread_id: The thread.
            spots: The checkpoints.
            channels: Only those to these channels.
        """
        table = self._database.find(Writes)
        if table is None or not spots:
            return {}
        condition = f"t.thread_id = {self._mark} AND t.checkpoint_id IN ({', '.join([self._mark] * len(spots))})"
        parameters = [thread_id, *(spot.id for spot in spots)]
        if channels:
            condition += f" AND t.channel IN ({', '.join([self._mark] * len(channels))})"
            parameters += channels
        by_key = {(spot.namespace, spot.id): spot for spot in spots}
        found: dict[Spot, list[StoredWrite]] = {}
        for row in self._rows(table, condition, parameters):
            spot = by_key.get((str(row.cells["checkpoint_ns"]), str(row.cells["checkpoint_id"])))
            if spot is not None:
                found.setdefault(spot, []).append(self._write(table, row))
        return {spot: arranged(writes, is_part=bool(channels)) for spot, writes in found.items()}

    def _write(self, table: Writes, row: Row) -> StoredWrite:
        opened, cells = self._open(table, row), row.cells
        if isinstance(opened, Refused) or not opened.form.bound:
            number = cells["idx"] if isinstance(cells["idx"], int) else 0
            claims = WriteClaims(str(cells["task_id"]), task_path=str(cells["task_path"]), idx=number)
        else:
            claims = WriteClaims.read(opened.claims)
        value = opened if isinstance(opened, Refused) else StoredValue.of(opened)
        return StoredWrite(str(cells["checkpoint_id"]), claims, str(cells["channel"]), value)

    # --- items

    def prefixes(self, after: str, limit: int) -> list[tuple[str, int]]:
        """Returns namespaces as the database has them, and how many items each has."""
        if self._database.find(StoreItems) is None:
            return []
        own = DICTIONARY[0]  # the labels of pseudonyms, and below it the store's records of keys
        sql = (
            f"SELECT t.prefix, count(*) FROM store AS t WHERE t.prefix > {self._mark} AND t.prefix <> {self._mark} "  # noqa: S608
            f"AND t.prefix NOT LIKE {self._mark} GROUP BY t.prefix ORDER BY t.prefix LIMIT {limit}"
        )
        return [(str(prefix), int(count)) for prefix, count in self._execute(sql, (after, own, f"{own}.%"))]

    def labels(self, pseudonyms: Collection[str]) -> dict[str, str]:
        """Returns the label of each pseudonym, by the store's sealed dictionary; others are left out."""
        wanted = sorted(name for name in pseudonyms if _PSEUDONYM.fullmatch(name))
        found = {}
        for start in range(0, len(wanted), 500):
            for item in self.items(DICTIONARY[0], wanted[start : start + 500]):
                label = item.value.get("label") if isinstance(item.value, Fields) else None
                if isinstance(label, Scalar) and isinstance(label.value, str):
                    found[item.place[1]] = label.value
        return found

    def keys(self, prefix: str, after: str, limit: int) -> list[str]:
        """Returns the keys of a namespace, as the database has them."""
        sql = (
            f"SELECT t.key FROM store AS t WHERE t.prefix = {self._mark} AND t.key > {self._mark} ORDER BY t.key LIMIT {limit}"  # noqa: S608
        )
        return [str(key) for (key,) in self._execute(sql, (prefix, after))] if self._database.find(StoreItems) else []

    def items(self, prefix: str, keys: Sequence[str]) -> list[StoredItem]:
        """Opens items of a namespace, in the order of their keys."""
        table = self._database.find(StoreItems)
        if table is None or not keys:
            return []
        condition = f"t.prefix = {self._mark} AND t.key IN ({', '.join([self._mark] * len(keys))})"
        found = [self._item(table, row) for row in self._rows(table, condition, (prefix, *keys))]
        return sorted(found, key=lambda item: item.place)

    def _item(self, table: StoreItems, row: Row) -> StoredItem:
        opened = self._open(table, row)
        place = (str(row.cells["prefix"]), str(row.cells["key"]))
        if isinstance(opened, Refused):
            return StoredItem(place, None, opened, None)
        context = opened.opened.form.context
        names = without_names(opened.opened.inner_type, opened.opened.data)[2]
        return StoredItem(place, names, _item_value(opened), context and context.pairs)

    # --- everything

    def everything(self) -> Iterator[tuple[str, Any]]:
        """Opens every row: ``checkpoint``, ``value``, ``write`` or ``item``, its place, and what it holds or why not."""
        for table in self._database.tables:
            for row in self._rows(table, "1 = 1", ()):
                yield from self._parts(table, row)

    def _parts(self, table: Table, row: Row) -> Iterator[tuple[str, Any]]:
        cells = row.cells
        if isinstance(table, StoreItems):
            if str(cells["prefix"]).split(".")[0] != DICTIONARY[0]:
                yield "item", self._item(table, row)
            return
        thread, namespace = str(cells["thread_id"]), str(cells["checkpoint_ns"])
        if isinstance(table, Writes):
            yield "write", (thread, namespace, self._write(table, row))
        elif isinstance(table, Checkpoints):
            yield "checkpoint", (thread, Spot(namespace, str(cells["checkpoint_id"]), ""), self._head(table, row))
        elif isinstance(table, Blobs):
            opened = self._open(table, row)
            value = opened if opened is None or isinstance(opened, Refused) else StoredValue.of(opened)
            yield "value", (thread, namespace, str(cells["channel"]), str(cells["version"]), value)

    # --- how

    @property
    def _mark(self) -> str:
        return self._database.mark

    def _open(self, table: Table, row: Row) -> Any:
        opened = fenced(table, row, lambda: table.open(row, self._codec))
        return Refused(opened.error, opened.reason) if isinstance(opened, Failure) else opened

    def _rows(self, table: Table, condition: str, parameters: Sequence[Any]) -> Iterator[Row]:
        paging = Paging(table, Selection(), OPEN)
        paging.condition = (condition, tuple(parameters))
        while not paging.finished:
            with self._told():
                rows = self._database.fetch(paging)
            yield from rows

    def _execute(self, sql: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        if self._database.find(Checkpoints) is None and " checkpoints " in sql:
            return []
        with self._told():
            return self._database.execute(sql, parameters)

    @contextmanager
    def _told(self) -> Iterator[None]:
        database: Any = self._database
        try:
            yield
        except database.errors as error:
            raise DatabaseFailed(f"{self.label}: {database.says(error)}") from None


def open_source(
    stack: ExitStack, database: str | Path, keys: Key | KeyProvider, context: Mapping[str, str] | None, switches: Switches
) -> Source:
    """Opens a database for reading.

    Raises:
        DatabaseFailed: If it cannot be opened, or is none of a checkpointer or a store.
        ConfigurationError: If an argument cannot be used, or a driver is not installed.
    """
    codec = RowCodec(keys, switches, expected=context)
    return Source(stack.enter_context(open_database(database, write=False)), codec)


def _head_of(opened: OpenedCheckpoint) -> StoredHead:
    parts = opened.parts
    document = {name: part for name, part in parts.document.items() if name not in ("channel_values", "pending_sends")}
    values = {name: StoredValue.of(value) for name, value in opened.values.items()}
    return StoredHead(
        document, _metadata(opened), values, frozenset(parts.apart), opened.manifest_form, opened.manifest is None
    )


def _metadata(opened: OpenedCheckpoint) -> Fields:
    readable = {name: value for name, value in opened.parts.metadata.items() if name != MANIFEST}
    private = Fields(()) if opened.manifest is None else read_value(*opened.manifest.private)
    pairs: dict[Value, Value] = dict(private.pairs) if isinstance(private, Fields) else {of_plain("private"): private}
    for name, value in readable.items():
        if not (isinstance(value, str) and value.startswith(TOKEN_PREFIX)):
            pairs.setdefault(of_plain(name), of_plain(value))
    return Fields(tuple(sorted(pairs.items(), key=lambda pair: str(pair[0]))))


def _item_value(item: OpenedItem) -> Value:
    if item.value is not None:
        return of_plain(item.value)
    return read_value(item.opened.inner_type, item.opened.data)
