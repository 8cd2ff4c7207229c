"""The rows of pending writes."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from typing import Any

from langgraph.checkpoint.base import WRITES_IDX_MAP

from ..core import binding
from ..core.binding import Place, WriteClaims
from ..core.encoding import lps
from ..rows.manifest import KEY
from .classify import Found, find_typed
from .codec import SAVER, Opened, RowCodec
from .database import OPEN, Column, Database, MetadataKeys, Paging, Row, Selection, Table
from .report import NONE, PLAINTEXT, Form, Seen

_TEXT, _MAYBE_TEXT, _BYTES = (str,), (str, type(None)), (bytes, type(None))
_BATCH_DIGITS = 16
_SPECIAL = ", ".join(f"'{name}'" for name in WRITES_IDX_MAP)


class Writes(Table):
    """Pending writes."""

    name = "checkpoint_writes"
    value = "blob"
    changed = ("type", "blob")

    def __init__(self, database: Database, columns: Collection[str]) -> None:
        super().__init__(database, columns)
        names = ("thread_id", "checkpoint_ns", "checkpoint_id", "task_id")
        self.key = database.key((*names, "idx"), columns)
        path = "" if "task_path" in columns else "''"  # added in 2024, by the savers themselves
        self.columns = (
            *database.hidden(self.key),
            *(Column(name) for name in names),
            Column("idx", (int,)),
            Column("task_path", sql=path),
            Column("channel"),
            Column("type", _MAYBE_TEXT),
            Column(self.value, _BYTES, is_large=True),
            Column("is_vouched", (int, bool), sql=f"({self.unbound('t')} AND {self._has_manifest()})", reading=OPEN),
        )
        self._task: tuple[Any, ...] = ()
        self._ordinary: dict[str, int] = {}

    def unbound(self, alias: str) -> str:
        """Gives SQL that says whether `EncryptedSaver` did not seal a write."""
        value = f"{alias}.{self.database.quoted(self.value)}"
        return f"NOT coalesce({self.database.is_bound(f'{alias}.type', value)}, {self.database.false})"

    def _has_manifest(self) -> str:
        database = self.database
        checkpoint_id = database.shallow_id.replace("t.", "c.") if database.is_shallow else "c.checkpoint_id"
        return f"""EXISTS (SELECT 1 FROM checkpoints AS c WHERE c.thread_id = t.thread_id AND c.{database.namespace} =
            t.{database.namespace} AND {checkpoint_id} = t.checkpoint_id AND {database.has_metadata(KEY, "c")})"""  # noqa: S608

    def look(self, row: Row, readable_keys: Collection[str] | None) -> Iterator[Seen]:
        """Says how the value is stored."""
        found = self._found(row)
        yield Seen(f"{self.name}.{self.value}", "pending write", found.form, row.size, found.data)

    def open(self, row: Row, codec: RowCodec) -> Opened:
        """Opens the value."""
        cells = self.checked(row)
        place = Place.of(cells["thread_id"], cells["checkpoint_ns"])
        where = binding.write(place, cells["channel"], _claims(cells))
        found = self._found(row)
        # Beside a manifest nothing but bound writes is read, under every switch.
        return codec.open(found, lambda _: where, is_proven=codec.form == SAVER and bool(cells["is_vouched"]))

    def recode(self, row: Row, codec: RowCodec, metadata_keys: MetadataKeys) -> tuple[Any, ...]:
        """Gives type and value in the form that is asked for."""
        opened, cells = self.open(row, codec), row.cells
        context = codec.context_of(cells["thread_id"])
        if codec.form != SAVER:
            return codec.unbound(opened, context)
        claims = _claims(cells)
        if not opened.form.bound:
            claims = self._with_batch(claims, row)
        place = Place.of(cells["thread_id"], cells["checkpoint_ns"])
        return "bytes", codec.seal(opened, binding.write(place, cells["channel"], claims), context)

    def are_pending(self, place: tuple[Any, ...], codec: RowCodec, metadata_keys: MetadataKeys) -> bool:
        """Says whether a checkpoint has writes that are not bound; in a dry run, that would not be bound either.

        Args:
            place: Thread, namespace and checkpoint id.
            codec: Has the keys.
            metadata_keys: As for `recode`.
        """
        paging = Paging(self, Selection(), OPEN)
        names = ("thread_id", self.database.namespace, "checkpoint_id")
        same = " AND ".join(f"t.{name} = {self.database.mark}" for name in names)
        paging.condition = (f"{same} AND {self.unbound('t')}", place)
        while not paging.finished:
            for row in self.database.fetch(paging):
                if not (codec.dry_run and self.converts(row, codec, metadata_keys)):
                    return True
        return False

    def _found(self, row: Row) -> Found:
        cells = self.checked(row)
        found = find_typed(cells["type"], cells[self.value] or b"", row.size)
        # EncryptedSaver seals a None that is written.
        return found._replace(form=Form(PLAINTEXT)) if found.form.kind == NONE else found

    def _with_batch(self, claims: WriteClaims, row: Row) -> WriteClaims:
        """Adds the batch of a write from before `EncryptedSaver`: the ordinary writes that its task has now.

        The id follows from the task, so that whoever seals the next write of it, in another process or after a crash, gives
        the same one.
        """
        cells = row.cells
        names = (cells["thread_id"], cells["checkpoint_ns"], cells["checkpoint_id"], cells["task_id"])
        call = hashlib.sha256(lps(("batch", *names))).hexdigest()[:_BATCH_DIGITS]
        claims = claims._replace(task_path=cells["task_path"])
        if cells["channel"] in WRITES_IDX_MAP:
            return claims._replace(alone=call)
        task = tuple(cells[name] for name in self.key[:4])
        if task != self._task:  # the writes of a task come one after the other
            same = " AND ".join(f"{name} = {self.database.mark}" for name in self.key[:4])
            found = self.database.execute(
                f"SELECT channel, count(*) FROM {self.name} WHERE {same} "  # noqa: S608
                f"AND channel NOT IN ({_SPECIAL}) GROUP BY channel",
                task,
            )
            self._task, self._ordinary = task, {name: int(number) for name, number in found}
        return claims._replace(
            batch=call,
            size=sum(self._ordinary.values()),
            of=self._ordinary.get(cells["channel"], 1),
        )


def _claims(cells: dict[str, Any]) -> WriteClaims:
    return WriteClaims(task_id=cells["task_id"], checkpoint_id=cells["checkpoint_id"], idx=cells["idx"])


class SqliteWrites(Writes):
    """Pending writes, as SQLite's table calls them."""

    name = "writes"
    value = "value"
    changed = ("type", "value")
