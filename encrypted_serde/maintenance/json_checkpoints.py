"""The checkpoints of Postgres and MySQL: JSON with scalars inlined; other values have rows of their own."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator
from typing import Any

from ..core import binding
from ..core.binding import Place
from ..core.format import sealed_text
from ..errors import EncryptedSerdeError, MalformedEnvelope, PlaintextRefused
from ..rows.manifest import KEY
from ..rows.parts import Opened, Parts, channel, check_document, find_manifest
from ..rows.stored import NONE, PLAINTEXT, SEALED, UNVOUCHED, Form, Stored
from ..wrapping.inert import Inert, pack
from ..wrapping.serialize import JSON
from ..wrapping.upstream import DELTA_SNAPSHOT, ONE_ARGUMENT, TASKS
from .checkpoints import CHECKPOINT, Checkpoints, OpenedCheckpoint, look_at_values
from .codec import INLINED, READABLE_PART, SAVER, Blocked, RowCodec, as_msgpack, out_of_snapshot, unpack_exactly
from .database import Database
from .report import Seen, Unconvertible
from .table import MAYBE_BYTES, MAYBE_TEXT, OPEN, VERIFY, Column, Row, Table, as_json, parse_json

Value = tuple[str, str]
"""A value in a row of its own: its channel and version."""

BOUND = "bound"
"""Type that databases report for a value in a row of its own that `EncryptedSaver` sealed."""


class JsonCheckpoints(Checkpoints):
    """Checkpoints of Postgres and MySQL: JSON with scalars inlined; other values have rows of their own."""

    stores_all_values = False

    def __init__(self, database: Database, columns: Collection[str]) -> None:
        super().__init__(database, columns)
        is_shallow = database.is_shallow
        self.has_checkpoint_id = not is_shallow
        version = "" if is_shallow else f"AND b.version = {database.channel_version}"
        bound = database.is_bound("b.type", "b." + database.quoted("blob"))
        self.lay_out(
            ("thread_id", "checkpoint_ns", "checkpoint_id"),
            columns,
            Column("checkpoint_id", MAYBE_TEXT, sql=database.checkpoint_id()),
            Column("parent_checkpoint_id", MAYBE_TEXT, sql="NULL" if is_shallow else ""),
            Column("checkpoint", sql=database.json_text("t.checkpoint")),
            Column("metadata", sql=database.json_text("t.metadata")),
            Column("types", MAYBE_TEXT, sql=database.types.format(version=version, bound=bound)),
            Column("has_unbound_writes", (int, bool), sql=self.unbound_writes(), reading=OPEN),
            Column("is_cut", (int, bool), sql="0" if is_shallow else database.is_cut(), reading=VERIFY),
        )

    def look_inside(self, row: Row, *, has_manifest: bool) -> Iterator[Seen]:
        """Says how the inlined values are stored."""
        if not has_manifest:
            yield Seen(CHECKPOINT, READABLE_PART, Form(UNVOUCHED), 0)
        yield from look_at_values(row, self.json(row, "checkpoint"), INLINED, self.json(row, "types"))

    def parts(self, row: Row, codec: RowCodec) -> Parts:
        """Takes a row apart."""
        cells = self.checked(row)
        document = self.json(row, "checkpoint")
        if isinstance(document, dict) and (self.database.is_shallow or not document.get("channel_values")):
            # Savers read anything empty as no values, and shallow ones never look.
            document = {**document, "channel_values": {}}
        document = self.with_sends(check_document(document), row, codec)
        metadata, types = self.metadata(row), self.json(row, "types")
        return Parts(
            Place.of(cells["thread_id"], cells["checkpoint_ns"]),
            str(cells["checkpoint_id"]),
            cells["parent_checkpoint_id"],
            document,
            metadata,
            {name: row.part(value) for name, value in document["channel_values"].items() if name not in types},
            {name: _apart(type_tag) for name, type_tag in types.items()},
            find_manifest(metadata, row.part),
        )

    def sends_elsewhere(self, row: Row, codec: RowCodec) -> list[Any]:
        """Returns the sends that are among the writes of the parent, where formats below 4 keep them."""
        parent_id = row.cells["parent_checkpoint_id"]
        if not parent_id or TASKS in self.json(row, "types"):
            return []
        opened = self.writes.sends((row.cells["thread_id"], row.cells[self.database.namespace], parent_id), codec)
        return [unpack_exactly(as_msgpack(send.inner_type, send.data)) for send in opened]

    def weight(self, row: Row) -> int:
        """Returns the size of channel values and metadata."""
        values = self.json(row, "checkpoint").get("channel_values") or {}
        return len(as_json({"channel_values": values})) + len(as_json(self.json(row, "metadata")))

    def recode(self, row: Row, codec: RowCodec) -> tuple[Any, ...]:
        """Returns channel values and metadata, as JSON, in the form that is asked for."""
        opened = self.open(row, codec)
        parts = opened.parts
        if codec.form == SAVER:
            self.require_writes(opened, row, codec)
            document, metadata = self.sealed(opened, codec)
            sealed = {name: data and sealed_text(data) for name, data in document["channel_values"].items()}
        else:
            self.require_accepted(opened, row, codec)
            metadata = self.plain_metadata(opened)
            sealed = {name: _scalar(value) for name, value in opened.values.items()}
        # Savers never return a value of the document that one in a row of its own replaces: it is not written again.
        values: dict[str, Any] = {name: True for name in parts.apart if parts.document["channel_values"].get(name) is True}
        changed = {"channel_values": {**values, **sealed}}
        if codec.form == SAVER and parts.document.get("v") != self.json(row, "checkpoint").get("v"):
            if not self.database.takes_parts:
                raise Unconvertible("a checkpoint with pending sends cannot be moved in here: run its thread once")
            changed = {**changed, "v": parts.document["v"], "channel_versions": parts.document["channel_versions"]}
        return as_json(changed), as_json(metadata)

    def begin(self, *, is_first: bool) -> None:
        """Forgets which checkpoints are kept, but those of the first pass: later on we may have taken a manifest."""
        super().begin(is_first=is_first)
        if is_first:
            self.kept = {}

    def mended(self, row: Row, codec: RowCodec) -> tuple[Any, ...] | None:
        """Refuses, for leaving, to take a checkpoint for plaintext that somebody stripped of its manifest."""
        if codec.form == SAVER or codec.admission.plaintext or BOUND not in self.json(row, "types").values():
            return None
        place = row.cells["thread_id"], row.cells["checkpoint_ns"]
        if self.is_first_pass:
            self.kept.setdefault(place, {})[row.cells["checkpoint_id"]] = references(row)
        if row.cells["checkpoint_id"] in self.kept.get(place, ()):
            raise PlaintextRefused(
                "the checkpoint has values that were sealed for it, and no manifest: it was stripped of it, or an earlier run "
                "was interrupted, which allow_plaintext=True goes on with"
            )
        return None

    def require_accepted(self, opened: OpenedCheckpoint, row: Row, codec: RowCodec) -> None:
        """Refuses it for its values in rows of their own, too."""
        super().require_accepted(opened, row, codec)
        if opened.manifest is not None:
            refusals = self.database.find(Blobs).refusals(opened.parts.place, codec)
            for value in references(row) & refusals.keys():
                raise refusals[value]


def _apart(type_tag: str) -> Stored:
    """Returns what the type alone says of a value in a row of its own."""
    if type_tag == BOUND:
        return Stored(Form(SEALED, bound=True), "bytes", b"")
    return Stored(Form(NONE if type_tag == "null" else PLAINTEXT), type_tag, b"")


def _scalar(opened: Opened) -> Any:
    if opened.inner_type == JSON:
        return json.loads(opened.data)
    value = unpack_exactly(as_msgpack(opened.inner_type, opened.data))
    if isinstance(value, Inert) and value.code == ONE_ARGUMENT:  # an enum that is a str or an int, of which JSON keeps that
        module_name_argument = unpack_exactly(value.data)
        value = module_name_argument[-1] if isinstance(module_name_argument, list) else value
    is_json = value is None or type(value) in (int, bool) or (type(value) is float and math.isfinite(value))
    if not is_json and not (type(value) is str and "\0" not in value):
        raise Unconvertible("an inlined value is nothing that JSON in this database could hold")
    return value


class Blobs(Table):
    """Channel values."""

    name = "checkpoint_blobs"
    changed = ("type", "blob")
    has_checkpoint_id = False

    def __init__(self, database: Database, columns: Collection[str]) -> None:
        super().__init__(database, columns)
        shallow = database.shallow_version.format(channel="t.channel") if database.is_shallow else ""
        self.lay_out(
            ("thread_id", "checkpoint_ns", "channel", "version"),
            columns,
            Column("version", MAYBE_TEXT, sql=shallow),
            Column("type"),
            Column("blob", MAYBE_BYTES, is_large=True),
        )
        self.begin(is_first=True)

    def look(self, row: Row, readable_keys: Collection[str] | None) -> Iterator[Seen]:
        """Says how the value is stored; a row without a value has none."""
        cells = self.checked(row)
        if cells["type"] != "empty":
            found = row.value("blob")
            yield Seen("checkpoint_blobs.blob", "channel value", found.form, row.size)

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
