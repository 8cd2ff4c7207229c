"""The rows of channel values in Postgres and MySQL: those that a checkpoint does not hold itself."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from ..core import binding
from ..core.binding import Place
from ..errors import EncryptedSerdeError, MalformedEnvelope
from ..rows.manifest import KEY
from ..rows.parts import Opened, channel
from ..wrapping.inert import Inert, pack
from ..wrapping.upstream import DELTA_SNAPSHOT
from .checkpoints import Checkpoints
from .codec import SAVER, Blocked, RowCodec, out_of_snapshot
from .database import Database
from .json_columns import parse_json
from .report import Seen
from .table import Column, Row, Table

Value = tuple[str, str]
"""A value in a row of its own: its channel and version."""

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
        self.begin(is_first=True)

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

    def recode(self, row: Row, codec: RowCodec) -> tuple[Any, ...]:
        """Returns type and value in the form that is asked for."""
        opened, cells = self.open(row, codec), row.cells
        if opened is None:
            return cells["type"], cells["blob"]
        context = codec.context_of(cells["thread_id"])
        place = Place.of(cells["thread_id"], cells["checkpoint_ns"])
        if codec.form == SAVER and opened.is_none:  # EncryptedSaver leaves None readable, and its manifests count on that
            return "null", b""
        if opened.form.bound != (codec.form == SAVER):
            self._require_finished(place, cells, codec)
        if codec.form != SAVER:
            return codec.unbound(opened, context)
        where = channel(place, cells["channel"], cells["version"])(opened.is_delta)
        sealed = codec.seal(opened, where, context)
        return ("msgpack", pack(Inert(DELTA_SNAPSHOT, pack(sealed)))) if opened.is_delta else ("bytes", sealed)

    def begin(self, *, is_first: bool) -> None:
        """Forgets what it knows of a namespace."""
        super().begin(is_first=is_first)
        self._refusals: tuple[Place | None, dict[Value, EncryptedSerdeError]] = None, {}
        self._unfinished: tuple[Place | None, set[Value]] = None, set()

    def refusals(self, place: Place, codec: RowCodec) -> dict[Value, EncryptedSerdeError]:
        """Opens every value of a thread and namespace. Returns what was raised for those that are refused."""
        if self._refusals[0] != place:
            found: dict[Value, EncryptedSerdeError] = {}
            for row in _in_namespace(self, place):
                try:
                    self.open(row, codec)
                except EncryptedSerdeError as error:
                    found[row.cells["channel"], row.cells["version"]] = error
            self._refusals = place, found
        return self._refusals[1]

    def _require_finished(self, place: Place, cells: dict[str, Any], codec: RowCodec) -> None:
        """Refuses to write a value anew while a checkpoint that refers to it is not in the form that is asked for.

        To seal it takes checkpoints that have a manifest; to leave, those that have none. In a dry run those do not count that
        would have been written anew.

        Raises:
            Blocked: If one is not.
        """
        if self._unfinished[0] != place:
            checkpoints = self.database.find(Checkpoints)
            is_wrong = f"AND {'NOT ' if codec.form == SAVER else ''}{self.database.has_metadata(KEY)}"
            found: set[Value] = set().union(*checkpoints.kept.get(place[:2], {}).values())
            for row in _in_namespace(checkpoints, place, is_wrong):
                if not (codec.dry_run and checkpoints.converts(row, codec)):
                    found |= references(row)
            self._unfinished = place, found
        if (cells["channel"], cells["version"]) in self._unfinished[1]:
            raise Blocked("a checkpoint that refers to this value is not in the form that is asked for, and could not be")


def _in_namespace(table: Table, place: Place, condition: str = "") -> Iterator[Row]:
    cells = {"thread_id": place.thread_id, "checkpoint_ns": place.checkpoint_ns}
    return table.database.at(table, cells, condition)


def references(row: Row) -> set[Value]:
    """Returns the values in rows of their own that a checkpoint refers to; none if it is nothing that a saver could load."""
    try:
        document = parse_json(row.cells["checkpoint"])
    except MalformedEnvelope:
        return set()
    versions = document.get("channel_versions") if isinstance(document, dict) else None
    found = versions.items() if isinstance(versions, dict) else ()
    return {(name, binding.version_text(version)) for name, version in found}
