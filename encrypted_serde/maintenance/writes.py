"""The rows of pending writes."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from functools import partial
from typing import Any

from langgraph.checkpoint.base import WRITES_IDX_MAP

from ..core import binding
from ..core.binding import Binding, Place, WriteClaims
from ..core.encoding import lps
from ..errors import WrongLocation
from ..rows.manifest import KEY
from ..rows.parts import Opened, bound_to
from ..rows.stored import NONE, PLAINTEXT, Form
from ..rows.verify import open_write
from ..wrapping.upstream import NULL_TASK, TASKS
from .codec import SAVER, Blocked, RowCodec
from .database import Database
from .report import Seen, Unconvertible
from .table import MAYBE_BYTES, MAYBE_TEXT, OPEN, Column, Row, Table

_BATCH_DIGITS = 16
_SPECIAL = ", ".join(f"'{name}'" for name in WRITES_IDX_MAP)


class Writes(Table):
    """Pending writes."""

    name = "checkpoint_writes"
    value = "blob"
    changed = ("type", "blob")

    def __init__(self, database: Database, columns: Collection[str]) -> None:
        super().__init__(database, columns)
        path = "" if "task_path" in columns else "''"  # added in 2024, by the savers themselves
        self.lay_out(
            ("thread_id", "checkpoint_ns", "checkpoint_id", "task_id", "idx"),
            columns,
            Column("idx", (int,)),
            Column("task_path", sql=path),
            Column("channel"),
            Column("type", MAYBE_TEXT),
            Column(self.value, MAYBE_BYTES, is_large=True),
            Column("has_manifest", (int, bool), sql=self._has_manifest(), reading=OPEN),
        )
        self._task: tuple[Any, ...] = ()
        self._ordinary: dict[str, int] = {}

    def unbound(self, alias: str) -> str:
        """Returns SQL that says whether `EncryptedSaver` did not seal a write, which it never does in a snapshot."""
        value = f"{alias}.{self.database.quoted(self.value)}"
        bound = f"{alias}.type = 'bytes' AND {self.database.is_bound(f'{alias}.type', value)}"
        return f"NOT coalesce({bound}, false)"

    def _has_manifest(self) -> str:
        database = self.database
        return f"""EXISTS (SELECT 1 FROM checkpoints AS c WHERE c.thread_id = t.thread_id AND c.{database.namespace} =
            t.{database.namespace} AND {database.checkpoint_id("c")} = t.checkpoint_id AND {database.has_metadata(KEY, "c")})"""  # noqa: S608

    def look(self, row: Row, readable_keys: Collection[str] | None) -> Iterator[Seen]:
        """Says how the value is stored."""
        self.checked(row)
        found = row.value(self.value)
        if found.form.kind == NONE:  # EncryptedSaver seals a None that is written
            found = found._replace(form=Form(PLAINTEXT))
        yield Seen(f"{self.name}.{self.value}", "pending write", found.form, row.size)

    def open(self, row: Row, codec: RowCodec) -> Opened:
        """Opens the value."""
        cells = self.checked(row)
        place = Place.of(cells["thread_id"], cells["checkpoint_ns"])
        known = WriteClaims(cells["task_id"], cells["checkpoint_id"])
        bind = partial(_as_write, place, cells["channel"], known)
        # Beside a manifest nothing but bound writes is read, under every switch.
        found = row.value(self.value)
        opened = open_write(found, bind, codec, is_proven=bool(cells["has_manifest"]))
        if opened.form.bound and WriteClaims.read(opened.claims).idx != cells["idx"]:
            self._require_alone(cells, WriteClaims.read(opened.claims))
        return opened

    def _require_alone(self, cells: dict[str, Any], claims: WriteClaims) -> None:
        """Refuses a write that is stored twice. The position that is sealed counts, and not the one of its row.

        Raises:
            WrongLocation: If it is.
        """
        task = {name: cells[name] for name in self.key[:4]}
        for other in self.database.at(self, task, f"AND t.idx <> {self.database.mark}", (cells["idx"],)):
            found = other.value(self.value)
            if found.sealed is not None and found.is_bound and found.sealed.claims.get("idx") == claims.idx:
                raise WrongLocation(f"write {claims.idx} of task {claims.task_id} is stored twice")

    def of(self, place: tuple[Any, ...], condition: str = "") -> Iterator[Row]:
        """Returns the writes of a checkpoint, or those that meet a condition.

        Args:
            place: Thread, namespace as a key holds it, and checkpoint id.
            condition: SQL.
        """
        names = ("thread_id", self.database.namespace, "checkpoint_id")
        return self.database.at(self, dict(zip(names, place, strict=True)), condition)

    def sends(self, place: tuple[Any, ...], codec: RowCodec) -> list[Opened]:
        """Opens the sends among the writes of a checkpoint, in their order."""
        rows = [row for row in self.of(place) if row.cells["channel"] == TASKS]
        rows.sort(key=lambda row: (row.cells["task_path"], row.cells["task_id"], row.cells["idx"]))
        return [self.open(row, codec) for row in rows]

    def recode(self, row: Row, codec: RowCodec) -> tuple[Any, ...]:
        """Returns type and value in the form that is asked for."""
        opened, cells = self.open(row, codec), row.cells
        context = codec.context_of(cells["thread_id"])
        if codec.form != SAVER:
            self._require_usable(opened, row, codec)
            return codec.unbound(opened, context)
        claims = WriteClaims(task_id=cells["task_id"], checkpoint_id=cells["checkpoint_id"], idx=cells["idx"])
        if not opened.form.bound:
            claims = self._with_batch(claims, row)
        place = Place.of(cells["thread_id"], cells["checkpoint_ns"])
        return "bytes", codec.seal(opened, binding.write(place, cells["channel"], claims), context)

    def mended(self, row: Row, codec: RowCodec) -> tuple[Any, ...] | None:
        """Refuses a write that is not sealed beside a manifest, where nothing would be changed about it."""
        if codec.form != SAVER and row.cells["has_manifest"] and not codec.dry_run:
            self.open(row, codec)
        return None

    def _require_usable(self, opened: Opened, row: Row, codec: RowCodec) -> None:
        """Refuses to give back a write that a saver without `EncryptedSaver` would take otherwise than it.

        Raises:
            Blocked: If its checkpoint is still sealed.
            Unconvertible: If it is stored at another position, or writes of its task are missing: the saver counts those that
                are left as absent.
        """
        if not opened.form.bound:
            return
        if row.cells["has_manifest"] and not codec.dry_run:
            raise Blocked("the checkpoint of this write is still sealed, and could not be opened")
        claims = WriteClaims.read(opened.claims)
        if claims.idx != row.cells["idx"]:
            raise Unconvertible("the write is stored at another position than it was written at")
        if claims.size and row.cells["task_id"] != NULL_TASK and sum(self._ordinary_of(row).values()) < claims.size:
            raise Unconvertible("writes of its task are missing, so that it counts as absent; delete it")

    def are_pending(self, place: tuple[Any, ...], codec: RowCodec) -> bool:
        """Says whether a checkpoint has writes that are not bound; in a dry run, that would not be bound either.

        Args:
            place: Thread, namespace and checkpoint id.
            codec: Has the keys.
        """
        unbound = self.of(place, f"AND {self.unbound('t')}")
        return any(not (codec.dry_run and self.converts(row, codec)) for row in unbound)

    def _with_batch(self, claims: WriteClaims, row: Row) -> WriteClaims:
        """Adds the batch of a write from before `EncryptedSaver`: the ordinary writes that its task has now.

        The id follows from the task, so that another process, or the same after a crash, gives its next write
        the same one.
        """
        cells = row.cells
        names = (cells["thread_id"], cells["checkpoint_ns"], cells["checkpoint_id"], cells["task_id"])
        call = hashlib.sha256(lps(("batch", *names))).hexdigest()[:_BATCH_DIGITS]
        claims = claims._replace(task_path=cells["task_path"])
        if cells["channel"] in WRITES_IDX_MAP:
            return claims._replace(alone=call)
        ordinary = self._ordinary_of(row)
        return claims._replace(batch=call, size=sum(ordinary.values()), of=ordinary.get(cells["channel"], 1))

    def _ordinary_of(self, row: Row) -> dict[str, int]:
        """Counts the ordinary writes of a task, by channel."""
        task = tuple(row.cells[name] for name in self.key[:4])
        if task != self._task:  # the writes of a task come one after the other
            where = f"{self.database.same(self.key[:4])} AND t.channel NOT IN ({_SPECIAL})"
            found = self.database.execute(f"SELECT t.channel, count(*) FROM {self.name} AS t WHERE {where} GROUP BY 1", task)  # noqa: S608
            self._task, self._ordinary = task, {name: int(number) for name, number in found}
        return self._ordinary


def _as_write(place: Place, name: str, known: WriteClaims, _: bool) -> Binding:
    return bound_to(binding.write, place, name, known)


class SqliteWrites(Writes):
    """Pending writes, as SQLite's table calls them."""

    name = "writes"
    value = "value"
    changed = ("type", "value")
