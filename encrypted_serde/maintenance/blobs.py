"""The rows of channel values in Postgres and MySQL: those that a checkpoint does not hold itself."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from ..core.binding import Place
from ..rows.parts import Opened, channel
from ..rows.write import MetadataKeys
from ..wrapping.inert import Inert, pack
from ..wrapping.upstream import DELTA_SNAPSHOT
from .codec import SAVER, Blocked, RowCodec, out_of_snapshot
from .database import Database
from .json_checkpoints import JsonCheckpoints
from .report import Seen
from .table import Column, Row, Table

_MAYBE_TEXT, _BYTES = (str, type(None)), (bytes, type(None))


class Blobs(Table):
    """Channel values."""

    name = "checkpoint_blobs"
    changed = ("type", "blob")
    has_checkpoint_id = False

    def __init__(self, database: Database, columns: Collection[str]) -> None:
        super().__init__(database, columns)
        names = ("thread_id", "checkpoint_ns", "channel")
        self.key = database.key(names if database.is_shallow else (*names, "version"), columns)
        shallow = database.shallow_version.format(channel="t.channel") if database.is_shallow else ""
        self.columns = (
            *database.hidden(),
            *(Column(name) for name in names),
            Column("version", _MAYBE_TEXT, sql=shallow),
            Column("type"),
            Column("blob", _BYTES, is_large=True),
        )
        self._place: tuple[str, str] = ("", "")
        self._unvouched: set[tuple[str, str]] | None = None

    def look(self, row: Row, readable_keys: Collection[str] | None) -> Iterator[Seen]:
        """Says how the value is stored; a row without a value has none."""
        cells = self.checked(row)
        if cells["type"] != "empty":
            found = row.value("blob")
            yield Seen("checkpoint_blobs.blob", "channel value", found.form, row.size, found.data)

    def open(self, row: Row, codec: RowCodec) -> Opened | None:
        """Opens the value."""
        cells = self.checked(row)
        if cells["type"] == "empty":
            return None
        place = Place.of(cells["thread_id"], cells["checkpoint_ns"])
        found = row.value("blob")
        return out_of_snapshot(codec.open(found, channel(place, cells["channel"], cells["version"])))

    def recode(self, row: Row, codec: RowCodec, metadata_keys: MetadataKeys) -> tuple[Any, ...]:
        """Returns type and value in the form that is asked for."""
        opened, cells = self.open(row, codec), row.cells
        if opened is None:
            return cells["type"], cells["blob"]
        context = codec.context_of(cells["thread_id"])
        if codec.form != SAVER:
            return codec.unbound(opened, context)
        if opened.is_none:  # EncryptedSaver leaves None readable, and its manifests count on that
            return "null", b""
        if not opened.form.bound:
            self._require_vouched(cells, codec, metadata_keys)
        place = Place.of(cells["thread_id"], cells["checkpoint_ns"])
        where = channel(place, cells["channel"], cells["version"])(opened.is_delta)
        sealed = codec.seal(opened, where, context)
        return ("msgpack", pack(Inert(DELTA_SNAPSHOT, pack(sealed)))) if opened.is_delta else ("bytes", sealed)

    def forget(self) -> None:
        """Forgets which checkpoints were unvouched: a new pass begins."""
        self._unvouched = None

    def _require_vouched(self, cells: dict[str, Any], codec: RowCodec, metadata_keys: MetadataKeys) -> None:
        """Refuses to bind a value that a checkpoint without a manifest refers to."""
        place = (cells["thread_id"], cells["checkpoint_ns"])
        if self._unvouched is None or place != self._place:
            [checkpoints] = [table for table in self.database.tables if isinstance(table, JsonCheckpoints)]
            self._place, self._unvouched = place, checkpoints.unvouched(place, codec, metadata_keys)
        if (cells["channel"], cells["version"]) in self._unvouched:
            raise Blocked("a checkpoint that refers to this value has no manifest, and was given none")
