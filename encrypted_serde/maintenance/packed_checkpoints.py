"""The checkpoints of SQLite: each one packed value, metadata beside it as JSON."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from ..core.binding import Place
from ..errors import MalformedEnvelope
from ..rows.manifest import KEY
from ..rows.parts import Opened, Parts, channel, check_document, find_manifest
from ..rows.stored import PLAINTEXT, SEALED, UNDECODABLE, UNVOUCHED, Form
from ..wrapping.inert import Inert, pack, unpack
from ..wrapping.upstream import DELTA_SNAPSHOT
from .checkpoints import CHECKPOINT, WHOLE, Checkpoints, look_at_values
from .codec import SAVER, RowCodec, as_msgpack, unpack_exactly
from .database import Database
from .report import Seen, Unconvertible
from .table import MAYBE_BYTES, MAYBE_TEXT, OPEN, VERIFY, Column, Row, as_json

_NO_CHECKPOINT = ("bytes", "null")  # types that savers read without asking anybody


class PackedCheckpoints(Checkpoints):
    """Checkpoints of SQLite: each one packed value, metadata beside it as JSON."""

    changed: tuple[str, ...] = ("type", "checkpoint", "metadata")

    def __init__(self, database: Database, columns: Collection[str]) -> None:
        super().__init__(database, columns)
        self.lay_out(
            ("thread_id", "checkpoint_ns", "checkpoint_id"),
            columns,
            Column("parent_checkpoint_id", MAYBE_TEXT),
            Column("type", MAYBE_TEXT),
            Column("checkpoint", MAYBE_BYTES),
            Column("metadata", (*MAYBE_TEXT, bytes)),
            Column("has_unbound_writes", (int,), sql=self.unbound_writes(), reading=OPEN),
            Column("is_cut", (int,), sql=database.is_cut(), reading=VERIFY),
        )

    def any_metadata(self, row: Row) -> Any:
        """Returns the metadata of a row; None where they are no JSON."""
        try:
            return self.json(row, "metadata")
        except MalformedEnvelope:
            return None

    def look_inside(self, row: Row, *, has_manifest: bool) -> Iterator[Seen]:
        """Says how the checkpoint and the values in it are stored."""
        packed = row.cells["checkpoint"] or b""
        form = row.value("checkpoint", len(packed)).form
        is_apart = row.cells["type"] == "msgpack" and form.kind == PLAINTEXT  # its values are stored one by one
        if row.cells["type"] in _NO_CHECKPOINT:
            form = Form(UNDECODABLE)
        if not is_apart or not has_manifest:
            yield Seen(CHECKPOINT, WHOLE, Form(UNVOUCHED) if is_apart else form, len(packed))
        if is_apart:
            try:
                document = check_document(_document(row, packed, self.any_metadata(row)))
            except (MalformedEnvelope, Unconvertible):
                yield Seen(CHECKPOINT, WHOLE, Form(UNDECODABLE), len(packed))
            else:
                yield from look_at_values(row, document, "channel value")

    def parts(self, row: Row, codec: RowCodec) -> Parts:
        """Takes a row apart."""
        cells = self.checked(row)
        place = Place.of(cells["thread_id"], cells["checkpoint_ns"])
        packed = cells["checkpoint"] or b""
        found, metadata = row.value("checkpoint", len(packed)), self.metadata(row)
        manifest = find_manifest(metadata, row.part)
        if cells["type"] in _NO_CHECKPOINT:
            raise MalformedEnvelope("the row holds no checkpoint")
        value = _document(row, packed, metadata) if cells["type"] == "msgpack" else None
        if value is not None:  # its values are judged one by one
            whole, document = Form(PLAINTEXT), check_document(value)
        else:
            opened = codec.open(found, channel(place, "", None), is_proven=manifest is not None and manifest.is_bound)
            whole, document = found.form, check_document(unpack_exactly(as_msgpack(opened.inner_type, opened.data)))
        document = self.with_sends(document, row, codec)
        values = {name: row.part(value) for name, value in document["channel_values"].items()}
        parent_id = cells["parent_checkpoint_id"]
        return Parts(place, cells["checkpoint_id"], parent_id, document, metadata, values, {}, manifest, whole)

    def recode(self, row: Row, codec: RowCodec) -> tuple[Any, ...]:
        """Returns type, checkpoint and metadata in the form that is asked for."""
        opened = self.open(row, codec)
        parts = opened.parts
        if codec.form == SAVER:
            self.require_writes(opened, row, codec)
            document, metadata = self.sealed(opened, codec)
            return "msgpack", pack(document), as_json(metadata).encode()
        self.require_accepted(opened, row, codec)
        result = {**parts.document, "channel_values": {name: _part(value) for name, value in opened.values.items()}}
        forms = [parts.whole, opened.manifest_form, *(value.form for value in opened.values.values())]
        form = next((form for form in forms if form.kind == SEALED), parts.whole)
        typed = codec.unbound(Opened("msgpack", pack(result), form), codec.context_of(parts.place.thread_id))
        unchanged = row.cells["metadata"]
        return (*typed, unchanged if opened.manifest is None else as_json(self.plain_metadata(opened)).encode())


def _document(row: Row, packed: bytes, metadata: Any) -> Any:
    """Takes a checkpoint apart; None if savers do not read it as what it is, but as a value that nobody sealed.

    Beside a manifest it is what that covers, in whatever encoding.
    """
    take_apart = unpack if isinstance(metadata, dict) and KEY in metadata else unpack_exactly

    def read() -> Any:
        try:
            value = take_apart(packed)
        except MalformedEnvelope:
            return None
        return None if isinstance(value, (bytes, Inert)) else value

    return row.once("document", read)


def _part(opened: Opened) -> Any:
    packed = as_msgpack(opened.inner_type, opened.data)
    return Inert(DELTA_SNAPSHOT, packed) if opened.is_delta else unpack_exactly(packed)
