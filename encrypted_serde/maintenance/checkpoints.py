"""The rows of checkpoints: packed with all their values in SQLite, JSON in Postgres and MySQL.

Both are taken apart into `Parts`, and from there on the rules are the same. A row that carries proof that we sealed it (a
manifest that opens, a bound value) is held to it under every switch: plaintext beside it, channels that its manifest does not
list, a manifest that is missing are failures. A manifest is made only for a row that carries no such proof.
"""

from __future__ import annotations

import json
import math
from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

from ..core import binding
from ..core.binding import Place
from ..core.context import EncryptionContext
from ..core.format import sealed_text
from ..core.opaque import opaque
from ..errors import Incomplete, MalformedEnvelope, PlaintextRefused, WrongLocation
from ..rows import manifest as manifests
from ..rows.manifest import KEY, LANGGRAPH_KEYS, Manifest, digest, hides_metadata, split_metadata
from ..wrapping.inert import Inert, pack
from ..wrapping.search import is_searchable, search_token
from ..wrapping.serialize import JSON
from ..wrapping.upstream import DELTA_SNAPSHOT
from .classify import Found, find_part, find_typed, in_document, in_metadata
from .codec import INLINED, METADATA, READABLE_PART, SAVER, Blocked, Opened, RowCodec, as_msgpack, channel, unpack_exactly
from .database import OPEN, VERIFY, Column, Database, MetadataKeys, Paging, Row, Selection, Table
from .report import NONE, PLAINTEXT, SEALED, UNDECODABLE, UNVOUCHED, Form, HiddenMetadata, Seen, Unconvertible
from .writes import Writes

CHECKPOINT = "checkpoints.checkpoint"
WHOLE = "whole checkpoint"
BOUND = "bound"
"""Type that databases report for a value in a row of its own that `EncryptedSaver` sealed."""

_MAYBE_TEXT, _JSON = (str, type(None)), (str, bytes, type(None))


class Parts(NamedTuple):
    """A row of a checkpoint, taken apart.

    Attributes:
        place: Thread and namespace.
        checkpoint_id: What the row says it is.
        parent_id: Its parent, or None.
        document: The checkpoint.
        metadata: The metadata, manifest included.
        whole: How the whole checkpoint is stored, where it is one value.
        values: Its channel values, but for those in rows of their own; of a sealed whole they are plaintext.
        elsewhere: Channels whose value stands in a row of its own, and its type.
        sends: Its pending sends.
    """

    place: Place
    checkpoint_id: str
    parent_id: str | None
    document: dict[str, Any]
    metadata: Mapping[str, Any]
    whole: Form
    values: dict[str, Found]
    elsewhere: Mapping[str, str]
    sends: list[Found]

    def __repr__(self) -> str:
        return opaque(self)

    def version(self, channel_name: str) -> object:
        """Gives the version of a channel, or None."""
        return self.document["channel_versions"].get(channel_name)

    @property
    def carries_proof(self) -> bool:
        """Whether a value of the row says that `EncryptedSaver` sealed it."""
        return any(found.is_bound for found in (*self.values.values(), *self.sends)) or BOUND in self.elsewhere.values()

    def with_value(self) -> list[str]:
        """Gives the channels that have a value, and not None."""
        inside = [name for name, found in self.values.items() if found.form.kind != NONE]
        return [*inside, *(name for name, type_tag in self.elsewhere.items() if type_tag.partition("+")[0] != "null")]


class Checkpoint(NamedTuple):
    """A checkpoint, verified and opened.

    Attributes:
        parts: What it was taken apart into.
        manifest: Its manifest; None for a row from before `EncryptedSaver`.
        manifest_form: How that is sealed.
        values: Its channel values.
        sends: Its pending sends.
    """

    parts: Parts
    manifest: Manifest | None
    manifest_form: Form
    values: dict[str, Opened]
    sends: list[Opened]

    def __repr__(self) -> str:
        return opaque(self)


class Checkpoints(Table):
    """Rows of checkpoints, however they are stored."""

    name = "checkpoints"
    changed: tuple[str, ...] = ("checkpoint", "metadata")
    prunes = False

    @abstractmethod
    def parts(self, row: Row, codec: RowCodec) -> Parts:
        """Takes a row apart.

        Raises:
            EncryptedSerdeError: If it holds no checkpoint, or none that opens or is admitted.
        """

    def open(self, row: Row, codec: RowCodec) -> Checkpoint:
        """Verifies a row and opens all of it."""
        opened = self._open(self.parts(row, codec), codec)
        if row.cells.get("is_cut"):
            raise Incomplete("the parent of the checkpoint is missing, although older ones of the thread are there")
        if "is_cut" in row.cells and opened.manifest is not None and hides_metadata(opened.parts.metadata):
            hidden, _ = split_metadata(_private(opened.manifest) or {}, LANGGRAPH_KEYS)
            if hidden:
                names = ", ".join(sorted(hidden))
                raise HiddenMetadata(f"the metadata {names}, which LangGraph reads in the database, are sealed: run reencrypt")
        return opened

    def mended(self, row: Row, codec: RowCodec, metadata_keys: MetadataKeys) -> tuple[Any, ...] | None:
        """Returns the new values of a row whose metadata are sealed although LangGraph reads them; None if they are not."""
        stored = _parse_metadata(row.cells["metadata"])
        if codec.form != SAVER or not hides_metadata(stored):
            return None
        new = self.recode(row, codec, metadata_keys)
        return new if parse_json(new[-1]).keys() != stored.keys() else None

    def _open(self, parts: Parts, codec: RowCodec) -> Checkpoint:
        if parts.document.get("id") != parts.checkpoint_id:
            raise WrongLocation("the checkpoint in this row is another one than the row says")
        manifest, form = self._manifest(parts, codec)
        is_proven = manifest is not None
        if manifest is not None:
            self._verify(parts, manifest, codec)
        elif parts.carries_proof:
            raise PlaintextRefused("the checkpoint has values that were sealed for it, and no manifest: it was stripped of it")
        elif codec.form == SAVER and not codec.admission:
            raise PlaintextRefused("the checkpoint has no manifest: EncryptedSaver did not write it, or it was stripped of it")
        if parts.whole.kind != PLAINTEXT:  # opened already
            values = {name: _inside(found, parts.whole) for name, found in parts.values.items()}
            return Checkpoint(parts, manifest, form, values, [_inside(found, parts.whole) for found in parts.sends])
        values = {
            name: codec.open(found, channel(parts.place, name, parts.version(name)), is_proven=is_proven)
            for name, found in parts.values.items()
        }
        sends = []
        for idx, found in enumerate(parts.sends):
            where = binding.send(parts.place, parts.checkpoint_id, idx, len(parts.sends))
            sends.append(codec.open(found, lambda _, where=where: where, is_proven=is_proven))  # type: ignore[misc]
        return Checkpoint(parts, manifest, form, values, sends)

    def _manifest(self, parts: Parts, codec: RowCodec) -> tuple[Manifest | None, Form]:
        found = find_part(parts.metadata.get(KEY))
        if found.sealed is None and found.error is None:
            return None, Form(PLAINTEXT)
        where = binding.manifest(parts.place, parts.checkpoint_id)
        return Manifest.unpack(codec.open(found, lambda _: where).data), found.form

    def _verify(self, parts: Parts, manifest: Manifest, codec: RowCodec) -> None:
        """Compares a row with its manifest."""
        manifest.verify(
            manifests.Found(
                checkpoint_id=parts.checkpoint_id,
                parent_id=parts.parent_id,
                checkpoint=parts.document,
                readable={name: value for name, value in parts.metadata.items() if name != KEY},
                loses_parent=self.prunes or self.database.is_shallow,
            )
        )
        present = parts.with_value()
        nones = [name for name in (*parts.values, *parts.elsewhere) if name not in present]
        manifest.check_channels(present, nones, lambda name: parts.elsewhere.get(name) == BOUND)
        if parts.sends and not manifests.is_before_v4(parts.document):
            raise WrongLocation("a checkpoint of format 4 has no pending sends: these were put there")

    def require_writes(self, opened: Checkpoint, row: Row, codec: RowCodec, metadata_keys: MetadataKeys) -> None:
        """Refuses to give a checkpoint a manifest while it has pending writes that are not ours: nobody would read them."""
        if not row.cells["is_ahead"]:
            return
        place = (row.cells["thread_id"], row.cells[self.database.namespace], opened.parts.checkpoint_id)
        if not codec.dry_run or self._writes().are_pending(place, codec, metadata_keys):
            raise Blocked("pending writes of the checkpoint are not sealed, and could not be")

    def _writes(self) -> Writes:
        return next(table for table in self.database.tables if isinstance(table, Writes))

    def is_ahead(self) -> str:
        """Gives SQL that says whether a checkpoint has no manifest, and pending writes that are not ours."""
        database, writes = self.database, self._writes()
        checkpoint_id = database.shallow_id if database.is_shallow else "t.checkpoint_id"
        return f"""(NOT {database.has_metadata(KEY)} AND EXISTS (SELECT 1 FROM {writes.name} AS w
            WHERE w.thread_id = t.thread_id AND w.{database.namespace} = t.{database.namespace}
            AND w.checkpoint_id = {checkpoint_id} AND {writes.unbound("w")}))"""  # noqa: S608

    # --- as EncryptedSaver writes it

    def sealed(self, opened: Checkpoint, codec: RowCodec, metadata_keys: MetadataKeys) -> tuple[dict[str, Any], dict[str, Any]]:
        """Gives the document with its values sealed (bytes in `Inert` for a snapshot, None for None), and the metadata."""
        parts = opened.parts
        context = codec.context_beside(parts.whole, parts.place.thread_id)
        values: dict[str, Any] = {}
        for name, value in opened.values.items():
            if value.is_none:
                values[name] = None
                continue
            where = channel(parts.place, name, parts.version(name))(value.is_delta)
            data = codec.seal(value, where, context)
            values[name] = Inert(DELTA_SNAPSHOT, pack(data)) if value.is_delta else data
        document = {**parts.document, "channel_values": values}
        if opened.sends:
            document["pending_sends"] = [
                sealed_text(codec.seal(send, binding.send(parts.place, parts.checkpoint_id, idx, len(opened.sends)), context))
                for idx, send in enumerate(opened.sends)
            ]
        return document, self._sealed_metadata(opened, document, codec, metadata_keys, context)

    def _sealed_metadata(
        self,
        opened: Checkpoint,
        document: Mapping[str, Any],
        codec: RowCodec,
        metadata_keys: MetadataKeys,
        context: EncryptionContext,
    ) -> dict[str, Any]:
        parts, old = opened.parts, opened.manifest
        readable_keys, searchable_keys = metadata_keys
        readable = {name: value for name, value in parts.metadata.items() if name != KEY}
        under = codec.context_beside(opened.manifest_form, parts.place.thread_id) if old is not None else context
        kept = {} if old is None else _private(old)
        if old is not None and kept is None:  # of another serializer: it can be copied, but not looked into
            manifest = old
        else:
            before = kept or {}
            tokens = readable.keys() & before.keys()  # what is both is a token of a value that is private
            given = {name: value for name, value in readable.items() if name not in tokens}
            readable, private = split_metadata({**before, **given}, LANGGRAPH_KEYS.union(readable_keys))
            for name in sorted({*tokens, *searchable_keys}):
                if is_searchable(value := private.get(name)):
                    readable[name] = search_token(codec.keys.encryption_key(under.pairs), name, under, value)
            manifest = self._new_manifest(opened, private)
        packed = manifest._replace(digest=digest(document, readable)).pack()
        where = binding.manifest(parts.place, parts.checkpoint_id)
        sealed = codec.seal(Opened("msgpack", packed, opened.manifest_form), where, under)
        return {**readable, KEY: sealed_text(sealed)}

    def _new_manifest(self, opened: Checkpoint, private: dict[str, Any]) -> Manifest:
        parts, old = opened.parts, opened.manifest
        packed = _packed(private)
        if old is not None:
            return old._replace(private=packed)
        values = [name for name in parts.with_value() if name not in opened.values or not opened.values[name].is_none]
        nones = [name for name in {**parts.values, **parts.elsewhere} if name not in values]
        return Manifest(parts.checkpoint_id, parts.parent_id, [*dict.fromkeys(values)], nones, packed, b"")

    def plain_metadata(self, opened: Checkpoint) -> dict[str, Any]:
        """Gives the metadata as a saver without `EncryptedSaver` writes it."""
        private = {} if opened.manifest is None else _private(opened.manifest)
        if private is None:
            raise Unconvertible("the private metadata is nothing that could be taken apart")
        return {**{name: value for name, value in opened.parts.metadata.items() if name != KEY}, **private}


def _inside(found: Found, whole: Form) -> Opened:
    """Gives a part of a value that was sealed as a whole: it is as authentic as that, and plaintext whatever it looks like."""
    if found.form.kind == NONE:
        return Opened("null", b"", whole)
    return Opened(found.type_tag, found.data, whole, is_delta=found.is_delta)


def _private(manifest: Manifest) -> dict[str, Any] | None:
    """Gives the private metadata; None if it is of a serializer that is not ours."""
    inner_type, packed = manifest.private
    value = json.loads(packed) if inner_type == JSON else unpack_exactly(packed) if inner_type == "msgpack" else None
    return value if isinstance(value, dict) else None


def _packed(private: dict[str, Any]) -> tuple[str, bytes]:
    found = find_part(private)
    return found.type_tag, found.data


def check_document(document: Any) -> dict[str, Any]:
    """Refuses what is no checkpoint.

    Raises:
        MalformedEnvelope: If it is none.
    """
    parts = [document.get(name) for name in ("channel_values", "channel_versions")] if isinstance(document, dict) else [None]
    if not all(isinstance(part, dict) and all(isinstance(name, str) for name in part) for part in parts):
        raise MalformedEnvelope("the row holds no checkpoint")
    if not isinstance(document.get("pending_sends") or [], list):
        raise MalformedEnvelope("the checkpoint's pending sends are no list")
    return document  # type: ignore[no-any-return]


def parse_json(cell: str | bytes | None) -> Any:
    """Reads a JSON column.

    Raises:
        MalformedEnvelope: If it is no JSON.
    """
    try:
        return {} if cell is None else json.loads(cell)
    except (ValueError, RecursionError):
        raise MalformedEnvelope("a column that should hold JSON does not") from None


def _parse_metadata(cell: str | bytes | None) -> dict[str, Any]:
    metadata = parse_json(cell)
    if not isinstance(metadata, dict):
        raise MalformedEnvelope("the metadata is no mapping")
    return metadata


def _as_json(value: Any) -> str:
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        raise Unconvertible("something in it cannot be expressed in JSON") from None


# --- SQLite -----------------------------------------------------------------------------------------------------------


class PackedCheckpoints(Checkpoints):
    """Checkpoints of SQLite: each one packed value, metadata beside it as JSON."""

    changed: tuple[str, ...] = ("type", "checkpoint", "metadata")

    def __init__(self, database: Database, columns: Collection[str]) -> None:
        super().__init__(database, columns)
        self.key = ("thread_id", "checkpoint_ns", "checkpoint_id")
        self.columns = (
            *(Column(name) for name in self.key),
            Column("parent_checkpoint_id", _MAYBE_TEXT),
            Column("type", _MAYBE_TEXT),
            Column("checkpoint", (bytes, type(None))),
            Column("metadata", _JSON),
            Column("is_ahead", (int,), sql=self.is_ahead(), reading=OPEN),
            Column("is_cut", (int,), sql=database.is_cut(), reading=VERIFY),
        )

    def look(self, row: Row, readable_keys: Collection[str] | None) -> Iterator[Seen]:
        """Says how the values are stored."""
        cells = self.checked(row)
        packed = cells["checkpoint"] or b""
        found = find_typed(cells["type"], packed, len(packed))
        try:
            metadata = parse_json(cells["metadata"])
        except MalformedEnvelope:
            metadata = None
        inside = [*in_metadata(METADATA, metadata, readable_keys)]
        if found.form.kind != PLAINTEXT or found.type_tag != "msgpack":
            yield Seen(CHECKPOINT, WHOLE, found.form, len(packed), packed)
        else:
            if not inside or inside[0].what != "manifest":
                yield Seen(CHECKPOINT, WHOLE, Form(UNVOUCHED), len(packed), packed)
            try:
                document = check_document(unpack_exactly(packed))
            except (MalformedEnvelope, Unconvertible):
                yield Seen(CHECKPOINT, WHOLE, Form(UNDECODABLE), len(packed), packed)
            else:
                yield from in_document(CHECKPOINT, document, "channel value")
        yield from inside

    def parts(self, row: Row, codec: RowCodec) -> Parts:
        """Takes a row apart."""
        cells = self.checked(row)
        place = Place.of(cells["thread_id"], cells["checkpoint_ns"])
        packed = cells["checkpoint"] or b""
        found = find_typed(cells["type"], packed, len(packed))
        metadata = _parse_metadata(cells["metadata"])
        is_packed = found.form.kind == PLAINTEXT and found.type_tag == "msgpack"
        if is_packed:  # its values are judged one by one
            document = check_document(unpack_exactly(packed))
        else:
            whole = codec.open(found, channel(place, "", None), is_proven=find_part(metadata.get(KEY)).is_bound)
            document = check_document(unpack_exactly(as_msgpack(whole.inner_type, whole.data)))
        return Parts(
            place,
            cells["checkpoint_id"],
            cells["parent_checkpoint_id"] or None,
            document,
            metadata,
            Form(PLAINTEXT) if is_packed else found.form,
            {name: find_part(value) for name, value in document["channel_values"].items()},
            {},
            [find_part(send) for send in document.get("pending_sends") or ()],
        )

    def recode(self, row: Row, codec: RowCodec, metadata_keys: MetadataKeys) -> tuple[Any, ...]:
        """Gives type, checkpoint and metadata in the form that is asked for."""
        opened = self.open(row, codec)
        parts = opened.parts
        if codec.form == SAVER:
            self.require_writes(opened, row, codec, metadata_keys)
            document, metadata = self.sealed(opened, codec, metadata_keys)
            return "msgpack", pack(document), _as_json(metadata).encode()
        result = {**parts.document, "channel_values": {name: _part(value) for name, value in opened.values.items()}}
        if opened.sends:
            result["pending_sends"] = [_part(send) for send in opened.sends]
        forms = [parts.whole, opened.manifest_form, *(value.form for value in opened.values.values())]
        form = next((form for form in forms if form.kind == SEALED), parts.whole)
        typed = codec.unbound(Opened("msgpack", pack(result), form), codec.context_of(parts.place.thread_id))
        unchanged = row.cells["metadata"]
        return (*typed, unchanged if opened.manifest is None else _as_json(self.plain_metadata(opened)).encode())


def _part(opened: Opened) -> Any:
    packed = as_msgpack(opened.inner_type, opened.data)
    return Inert(DELTA_SNAPSHOT, packed) if opened.is_delta else unpack_exactly(packed)


# --- Postgres and MySQL -----------------------------------------------------------------------------------------------


class JsonCheckpoints(Checkpoints):
    """Checkpoints of Postgres and MySQL: JSON with scalars inlined; other values have rows of their own."""

    prunes = True

    def __init__(self, database: Database, columns: Collection[str]) -> None:
        super().__init__(database, columns)
        is_shallow = database.is_shallow
        self.has_checkpoint_id = not is_shallow
        names = ("thread_id", "checkpoint_ns")
        self.key = database.key(names if is_shallow else (*names, "checkpoint_id"), columns)
        version = "" if is_shallow else f"AND b.version = {database.version}"
        bound = database.is_bound("b.type", "b." + database.quoted("blob"))
        self.columns = (
            *database.hidden(self.key),
            *(Column(name) for name in names),
            Column("checkpoint_id", _MAYBE_TEXT, sql=database.shallow_id if is_shallow else ""),
            Column("parent_checkpoint_id", _MAYBE_TEXT, sql="NULL" if is_shallow else ""),
            Column("checkpoint", sql=database.json_text("t.checkpoint")),
            Column("metadata", sql=database.json_text("t.metadata")),
            Column("types", _MAYBE_TEXT, sql=database.types.format(version=version, bound=bound)),
            Column("is_ahead", (int, bool), sql=self.is_ahead(), reading=OPEN),
            Column("is_cut", (int, bool), sql="0" if is_shallow else database.is_cut(), reading=VERIFY),
        )

    def look(self, row: Row, readable_keys: Collection[str] | None) -> Iterator[Seen]:
        """Says how the values are stored."""
        cells = self.checked(row)
        inside = [*in_metadata(METADATA, parse_json(cells["metadata"]), readable_keys)]
        if not inside or inside[0].what != "manifest":
            yield Seen(CHECKPOINT, READABLE_PART, Form(UNVOUCHED), 0)
        document = parse_json(cells["checkpoint"])
        if not isinstance(document, dict):
            yield Seen(CHECKPOINT, WHOLE, Form(UNDECODABLE), row.size, document)
        elif isinstance(values := document.get("channel_values") or {}, dict):
            inlined = _without_markers(values, parse_json(cells["types"]))
            yield from in_document(CHECKPOINT, {**document, "channel_values": inlined}, INLINED)
        else:
            yield from in_document(CHECKPOINT, document, INLINED)
        yield from inside

    def parts(self, row: Row, codec: RowCodec) -> Parts:
        """Takes a row apart."""
        cells = self.checked(row)
        document = parse_json(cells["checkpoint"])
        if isinstance(document, dict):
            document.setdefault("channel_values", {})  # older releases left it out
        document = check_document(document)
        if document.get("pending_sends"):
            raise Unconvertible("the checkpoint has pending sends inlined, which no release of its saver writes")
        types = parse_json(cells["types"])
        inlined = _without_markers(document["channel_values"], types)
        return Parts(
            Place.of(cells["thread_id"], cells["checkpoint_ns"]),
            str(cells["checkpoint_id"]),
            cells["parent_checkpoint_id"] or None,
            document,
            _parse_metadata(cells["metadata"]),
            Form(PLAINTEXT),
            {name: find_part(value) for name, value in inlined.items()},
            types,
            [],
        )

    def weight(self, row: Row) -> int:
        """Gives the size of channel values and metadata."""
        values = parse_json(row.cells["checkpoint"]).get("channel_values") or {}
        return len(_as_json(values)) + len(_as_json(parse_json(row.cells["metadata"])))

    def recode(self, row: Row, codec: RowCodec, metadata_keys: MetadataKeys) -> tuple[Any, ...]:
        """Gives channel values and metadata, as JSON, in the form that is asked for."""
        opened = self.open(row, codec)
        parts = opened.parts
        if codec.form == SAVER:
            self.require_writes(opened, row, codec, metadata_keys)
            document, metadata = self.sealed(opened, codec, metadata_keys)
            sealed = {name: data and sealed_text(data) for name, data in document["channel_values"].items()}
        else:
            metadata = self.plain_metadata(opened)
            sealed = {name: _scalar(value) for name, value in opened.values.items()}
        values = {name: sealed.get(name, value) for name, value in parts.document["channel_values"].items()}
        return _as_json(values), _as_json(metadata)

    def unvouched(self, place: tuple[str, str], codec: RowCodec, metadata_keys: MetadataKeys) -> set[tuple[str, str]]:
        """Gives channel and version of each value of a thread and namespace that a checkpoint without a manifest refers to.

        In a dry run those checkpoints do not count that would have been given one.
        """
        paging = Paging(self, Selection(), OPEN)
        mark = self.database.mark
        paging.condition = (
            f"t.thread_id = {mark} AND t.checkpoint_ns = {mark} AND NOT {self.database.has_metadata(KEY)}",
            place,
        )
        found: set[tuple[str, str]] = set()
        while not paging.finished:
            for row in self.database.fetch(paging):
                if not (codec.dry_run and self.converts(row, codec, metadata_keys)):
                    found |= self._references(row)
        return found

    def _references(self, row: Row) -> set[tuple[str, str]]:
        try:
            document = check_document(parse_json(row.cells["checkpoint"]))
        except MalformedEnvelope:  # nothing that a saver could load, so nothing that it would find
            return set()
        return {(name, binding.version_text(version)) for name, version in document["channel_versions"].items()}


def _without_markers(values: Mapping[str, Any], types: Mapping[str, str]) -> dict[str, Any]:
    """Gives inlined values without the ``true`` that stands for a snapshot in a row of its own."""
    return {name: value for name, value in values.items() if not (value is True and name in types)}


def _scalar(opened: Opened) -> Any:
    if opened.inner_type == JSON:
        return json.loads(opened.data)
    value = unpack_exactly(as_msgpack(opened.inner_type, opened.data))
    is_json = value is None or type(value) in (int, bool) or (type(value) is float and math.isfinite(value))
    if not is_json and not (type(value) is str and "\0" not in value):
        raise Unconvertible("an inlined value is nothing that JSON in this database could hold")
    return value
