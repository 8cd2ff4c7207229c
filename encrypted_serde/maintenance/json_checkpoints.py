"""The checkpoints of Postgres and MySQL: JSON with scalars inlined; other values have rows of their own."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from ..core.binding import Place
from ..core.format import sealed_text
from ..errors import PlaintextRefused
from ..rows.manifest import KEY
from ..rows.parts import Opened, Parts, check_document, find_manifest
from ..rows.stored import NONE, PLAINTEXT, SEALED, UNDECODABLE, UNVOUCHED, Form, Stored
from ..wrapping.serialize import JSON
from ..wrapping.upstream import TASKS
from .blobs import Blobs, references
from .checkpoints import CHECKPOINT, MAYBE_TEXT, WHOLE, Checkpoints, OpenedCheckpoint, is_before_sends_moved, without_sends
from .classify import in_document, in_metadata
from .codec import INLINED, METADATA, READABLE_PART, SAVER, RowCodec, as_msgpack, unpack_exactly
from .database import Database
from .json_columns import as_json, parse_json
from .report import Seen, Unconvertible
from .table import OPEN, VERIFY, Column, Row

BOUND = "bound"
"""Type that databases report for a value in a row of its own that `EncryptedSaver` sealed."""


class JsonCheckpoints(Checkpoints):
    """Checkpoints of Postgres and MySQL: JSON with scalars inlined; other values have rows of their own."""

    stores_all_values = False

    def __init__(self, database: Database, columns: Collection[str]) -> None:
        super().__init__(database, columns)
        is_shallow = database.is_shallow
        self.has_checkpoint_id = not is_shallow
        names = ("thread_id", "checkpoint_ns")
        self.key = database.key(names if is_shallow else (*names, "checkpoint_id"), columns)
        version = "" if is_shallow else f"AND b.version = {database.version}"
        bound = database.is_bound("b.type", "b." + database.quoted("blob"))
        self.columns = (
            *database.hidden(),
            *(Column(name) for name in names),
            Column("checkpoint_id", MAYBE_TEXT, sql=database.checkpoint_id()),
            Column("parent_checkpoint_id", MAYBE_TEXT, sql="NULL" if is_shallow else ""),
            Column("checkpoint", sql=database.json_text("t.checkpoint")),
            Column("metadata", sql=database.json_text("t.metadata")),
            Column("types", MAYBE_TEXT, sql=database.types.format(version=version, bound=bound)),
            Column("has_unbound_writes", (int, bool), sql=self.unbound_writes(), reading=OPEN),
            Column("is_cut", (int, bool), sql="0" if is_shallow else database.is_cut(), reading=VERIFY),
        )

    def look(self, row: Row, readable_keys: Collection[str] | None) -> Iterator[Seen]:
        """Says how the values are stored."""
        cells = self.checked(row)
        inside = [*in_metadata(row, METADATA, self.json(row, "metadata"), readable_keys)]
        if not inside or inside[0].what != "manifest":
            yield Seen(CHECKPOINT, READABLE_PART, Form(UNVOUCHED), 0)
        document = self.json(row, "checkpoint")
        if not isinstance(document, dict):
            yield Seen(CHECKPOINT, WHOLE, Form(UNDECODABLE), row.size, document)
        elif isinstance(values := document.get("channel_values") or {}, dict):
            types = parse_json(cells["types"])
            inlined = {name: value for name, value in values.items() if not (value is True and name in types)}
            yield from in_document(row, CHECKPOINT, {**document, "channel_values": inlined}, INLINED)
        else:
            yield from in_document(row, CHECKPOINT, document, INLINED)
        yield from inside

    def parts(self, row: Row, codec: RowCodec) -> Parts:
        """Takes a row apart."""
        cells = self.checked(row)
        document = self.json(row, "checkpoint")
        if isinstance(document, dict) and (self.database.is_shallow or not document.get("channel_values")):
            document = {
                **document,
                "channel_values": {},
            }  # savers read anything empty as no values, and shallow ones never look
        document = check_document(document)
        metadata = self.metadata(row)
        types = parse_json(cells["types"])
        if codec.form == SAVER and KEY not in metadata and is_before_sends_moved(document):
            document = self._without_sends(document, types, row, codec)
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

    def _without_sends(self, document: dict[str, Any], types: Mapping[str, str], row: Row, codec: RowCodec) -> dict[str, Any]:
        """Moves the sends to the channel of tasks, which for formats below 4 are among the writes of the parent."""
        parent_id = row.cells["parent_checkpoint_id"]
        sends = [*(document.get("pending_sends") or ())]
        if parent_id and TASKS not in types:
            place = (row.cells["thread_id"], row.cells[self.database.namespace], parent_id)
            opened = self._writes().sends(place, codec)
            sends += [unpack_exactly(as_msgpack(send.inner_type, send.data)) for send in opened]
        return without_sends(document, sends)

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
        if codec.form == SAVER or codec.admission.plaintext or BOUND not in parse_json(row.cells["types"]).values():
            return super().mended(row, codec)
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
    is_json = value is None or type(value) in (int, bool) or (type(value) is float and math.isfinite(value))
    if not is_json and not (type(value) is str and "\0" not in value):
        raise Unconvertible("an inlined value is nothing that JSON in this database could hold")
    return value
