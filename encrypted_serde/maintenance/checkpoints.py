"""The rows of checkpoints: packed with all their values in SQLite, JSON in Postgres and MySQL.

Both are taken apart into `rows.parts.Parts`, and `rows.verify` judges them as it does for the saver. A manifest is made only
for a row that carries no proof that we sealed it.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

from ..core import binding
from ..core.context import EncryptionContext
from ..core.opaque import opaque
from ..errors import Incomplete, MalformedEnvelope
from ..rows.listed import Listed
from ..rows.manifest import KEY, LANGGRAPH_KEYS, Manifest, digest
from ..rows.parts import Opened, Parts, channel, find_manifest, is_none
from ..rows.stored import PLAINTEXT, UNDECODABLE, Form, find_part
from ..rows.verify import Rules, open_value, verify_row
from ..rows.write import MetadataKeys, Writer, beside, readable_and_manifest
from ..wrapping.inert import Inert, pack
from ..wrapping.search import PREFIX as TOKEN_PREFIX
from ..wrapping.search import search_token
from ..wrapping.serialize import JSON
from ..wrapping.upstream import DELTA_SNAPSHOT, TASKS
from .codec import METADATA, SAVER, Blocked, RowCodec, unpack_exactly
from .report import Seen, Unconvertible
from .table import Row, Table, parse_json
from .writes import Writes

CHECKPOINT, WHOLE, MANIFEST = "checkpoints.checkpoint", "whole checkpoint", "manifest"

_FORMAT_OF_SENDS = 3  # up to this format a checkpoint has pending sends


class OpenedCheckpoint(NamedTuple):
    """A checkpoint, verified and opened.

    Attributes:
        parts: What it was taken apart into.
        manifest: Its manifest; None for a row from before `EncryptedSaver`.
        manifest_form: How that is sealed.
        values: Its channel values, but for those in rows of their own.
    """

    parts: Parts
    manifest: Manifest | None
    manifest_form: Form
    values: dict[str, Opened]

    def __repr__(self) -> str:
        return opaque(self)


class Checkpoints(Table):
    """Rows of checkpoints, however they are stored.

    Attributes:
        stores_all_values: Whether they hold all values of their checkpoint.
        kept: By thread and namespace, and by id, the values of checkpoints that are refused although nothing in them is sealed.
    """

    kept: dict[tuple[str, str], dict[str, set[tuple[str, str]]]]
    name = "checkpoints"
    changed: tuple[str, ...] = ("checkpoint", "metadata")
    stores_all_values = True

    def json(self, row: Row, column: str) -> Any:
        """Returns what a JSON column holds."""
        return row.once(column, lambda: parse_json(row.cells[column]))

    # --- how it is stored, for reports: without a key

    def look(self, row: Row, readable_keys: Collection[str] | None) -> Iterator[Seen]:
        """Says how the values are stored, and which keys of the metadata are readable and need not be."""
        self.checked(row)
        beside = [*look_at_metadata(row, self.any_metadata(row), readable_keys)]
        yield from self.look_inside(row, has_manifest=any(seen.what == MANIFEST for seen in beside))
        yield from beside

    @abstractmethod
    def look_inside(self, row: Row, *, has_manifest: bool) -> Iterator[Seen]:
        """Says how the checkpoint itself is stored."""

    def any_metadata(self, row: Row) -> Any:
        """Returns the metadata of a row, whatever they are."""
        return self.json(row, "metadata")

    # --- taken apart, verified, opened

    @abstractmethod
    def parts(self, row: Row, codec: RowCodec) -> Parts:
        """Takes a row apart.

        Raises:
            EncryptedSerdeError: If it holds no checkpoint, or none that opens or is admitted.
        """

    def metadata(self, row: Row) -> dict[str, Any]:
        """Returns the metadata of a row.

        Raises:
            MalformedEnvelope: If they are no mapping.
        """
        metadata: dict[str, Any] = self.json(row, "metadata")
        if not isinstance(metadata, dict):
            raise MalformedEnvelope("the metadata is no mapping")
        return metadata

    def open(self, row: Row, codec: RowCodec) -> OpenedCheckpoint:
        """Verifies a row and opens all that it holds."""
        parts = self.parts(row, codec)
        rules = Rules(
            stores_all_values=self.stores_all_values,
            prunes=self.database.prunes,
            has_no_parents=self.database.is_shallow,
            gathers_sends=self.database.is_shallow,
            admits=codec.form != SAVER or bool(codec.admission),
            admits_plaintext=codec.admission.plaintext,
        )
        verified = verify_row(parts, codec, rules)
        values = {name: open_value(verified, name, found, codec, in_row=True) for name, found in parts.values.items()}
        if row.cells.get("is_cut"):
            raise Incomplete("the parent of the checkpoint is missing, although older ones of the thread are there")
        return OpenedCheckpoint(parts, verified.manifest, verified.form, values)

    def with_sends(self, document: dict[str, Any], row: Row, codec: RowCodec) -> dict[str, Any]:
        """Moves the pending sends of a format below 4 to the channel of tasks, as LangGraph does when it loads them.

        The format stays where it is below 3: LangGraph renames channels of these when it knows the graph.
        """
        version = document.get("v")
        if codec.form != SAVER or KEY in self.metadata(row) or type(version) is not int or version > _FORMAT_OF_SENDS:
            return document
        sends = [*(document.get("pending_sends") or ()), *self.sends_elsewhere(row, codec)]
        versions = document["channel_versions"]
        moved = {name: part for name, part in document.items() if name != "pending_sends"}
        if sends and versions:
            moved["channel_values"] = {**document["channel_values"], TASKS: sends}
            moved["channel_versions"] = {**versions, TASKS: max(versions.values())}
        return {**moved, "v": 4} if sends or version == _FORMAT_OF_SENDS else moved

    def sends_elsewhere(self, row: Row, codec: RowCodec) -> list[Any]:
        """Returns the pending sends that are stored in other rows."""
        return []

    def require_writes(self, opened: OpenedCheckpoint, row: Row, codec: RowCodec) -> None:
        """Refuses to give a checkpoint a manifest while it has pending writes that are not ours: nobody would read them."""
        if opened.manifest is not None or not row.cells["has_unbound_writes"]:
            return
        if not codec.dry_run or self.writes.are_pending(self._place(opened, row), codec):
            raise Blocked("pending writes of the checkpoint are not sealed, and could not be")

    def require_accepted(self, opened: OpenedCheckpoint, row: Row, codec: RowCodec) -> None:
        """Refuses to take the manifest from a checkpoint beside which something is stored that `verify` refuses.

        Raises:
            EncryptedSerdeError: What `verify` says of it.
        """
        if opened.manifest is not None:
            for write in self.writes.of(self._place(opened, row)):
                self.writes.open(write, codec)

    def _place(self, opened: OpenedCheckpoint, row: Row) -> tuple[Any, ...]:
        return row.cells["thread_id"], row.cells[self.database.namespace], opened.parts.checkpoint_id

    @property
    def writes(self) -> Writes:
        """The pending writes of the database."""
        writes: Writes = self.database.require(Writes, "it has checkpoints and no table of pending writes: no saver made it")
        return writes

    def unbound_writes(self) -> str:
        """Returns SQL that says whether a checkpoint has pending writes that are not ours."""
        database, writes = self.database, self.writes
        return f"""EXISTS (SELECT 1 FROM {writes.name} AS w
            WHERE w.thread_id = t.thread_id AND w.{database.namespace} = t.{database.namespace}
            AND w.checkpoint_id = {database.checkpoint_id()} AND {writes.unbound("w")})"""  # noqa: S608

    # --- as EncryptedSaver writes it

    def sealed(self, opened: OpenedCheckpoint, codec: RowCodec) -> tuple[dict[str, Any], dict[str, Any]]:
        """Returns the document with its values sealed (bytes in `Inert` for a snapshot, None for None), and the metadata."""
        parts = opened.parts
        context = codec.context_beside(parts.whole, parts.place.thread_id)
        values: dict[str, Any] = {}
        for name, value in opened.values.items():
            if value.is_none:
                values[name] = None
                continue
            data = codec.seal(value, channel(parts.place, name, parts.version(name))(value.is_delta), context)
            values[name] = Inert(DELTA_SNAPSHOT, pack(data)) if value.is_delta else data
        document = {**parts.document, "channel_values": values}
        return document, self._sealed_metadata(opened, document, codec, context)

    def _sealed_metadata(
        self, opened: OpenedCheckpoint, document: Mapping[str, Any], codec: RowCodec, context: EncryptionContext
    ) -> dict[str, Any]:
        parts, old = opened.parts, opened.manifest
        given = {name: value for name, value in parts.metadata.items() if name != KEY}
        under = codec.context_beside(opened.manifest_form, parts.place.thread_id) if old is not None else context
        before = {} if old is None else _private(old)
        if old is not None and before is None:  # of another serializer: it can be copied, but not looked into
            readable, packed = given, old._replace(digest=digest(document, given)).pack()
        else:
            private = before or {}
            tokens = given.keys() & private.keys()  # what is both is a token of a value that is private
            searchable = sorted({*tokens, *codec.metadata_keys.searchable})
            writer = Writer(MetadataKeys(codec.metadata_keys.readable, searchable), partial(_token, codec, under), _packed)
            metadata = {**private, **{name: value for name, value in given.items() if name not in tokens}}
            parent_id = parts.parent_id if old is None else old.parent_id
            readable, packed = readable_and_manifest(parent_id, _listed(opened), document, metadata, writer)
        where = binding.manifest(parts.place, parts.checkpoint_id)
        return beside(readable, codec.seal(Opened("msgpack", packed, opened.manifest_form), where, under))

    def plain_metadata(self, opened: OpenedCheckpoint) -> dict[str, Any]:
        """Returns the metadata as a saver without `EncryptedSaver` writes it."""
        private = {} if opened.manifest is None else _private(opened.manifest)
        if private is None:
            raise Unconvertible("the private metadata is nothing that could be taken apart")
        return {**{name: value for name, value in opened.parts.metadata.items() if name != KEY}, **private}


def look_at_metadata(row: Row, metadata: object, readable_keys: Collection[str] | None) -> Iterator[Seen]:
    """Says how metadata are stored, and which keys of them are readable and need not be."""
    if not isinstance(metadata, Mapping):
        yield Seen(METADATA, "metadata", Form(UNDECODABLE), 0)
        return
    found = find_manifest(metadata, row.part)
    if found is not None:
        yield Seen(METADATA, MANIFEST, found.form, len(found.data))
    if readable_keys is None:
        return
    for name in metadata.keys() - LANGGRAPH_KEYS - {*readable_keys} - ({KEY} if found else set()):
        value = metadata[name]
        if not (found and isinstance(value, str) and value.startswith(TOKEN_PREFIX)):
            yield Seen(METADATA, f"metadata key {name}", Form(PLAINTEXT), len(json.dumps(value)))


def look_at_values(row: Row, document: object, what: str, apart: Collection[str] = ()) -> Iterator[Seen]:
    """Says how the values in a checkpoint are stored.

    Args:
        row: Its row.
        document: The checkpoint.
        what: What its channel values are called.
        apart: Channels whose values are in rows of their own; in the checkpoint True takes their place.
    """
    values, sends = None, ()
    if isinstance(document, Mapping):
        values, sends = document.get("channel_values") or {}, document.get("pending_sends") or ()
    if not isinstance(values, Mapping) or not isinstance(sends, (list, tuple)):
        yield Seen(CHECKPOINT, WHOLE, Form(UNDECODABLE), 0)
        return
    inside = [value for name, value in values.items() if not (value is True and name in apart)]
    for name, parts in ((what, inside), ("pending send", sends)):
        for value in parts:
            if value is not None:
                found = row.part(value)
                yield Seen(CHECKPOINT, name, found.form, len(value) if isinstance(value, str) else len(found.data))


def _listed(opened: OpenedCheckpoint) -> Listed:
    """Returns what a manifest lists: what the old one did, or else what is stored."""
    parts, old = opened.parts, opened.manifest
    if old is not None:
        return Listed(old.values, old.nones)
    nones = [name for name, value in opened.values.items() if value.is_none]
    nones += [name for name, found in parts.apart.items() if is_none(found)]
    return Listed([name for name in {**parts.values, **parts.apart} if name not in nones], nones)


def _token(codec: RowCodec, context: EncryptionContext, name: str, value: Any) -> str:
    return search_token(codec.keys.encryption_key(context.pairs), name, context, value)


def _private(manifest: Manifest) -> dict[str, Any] | None:
    """Returns the private metadata; None if it is of a serializer that is not ours."""
    inner_type, packed = manifest.private
    value = json.loads(packed) if inner_type == JSON else unpack_exactly(packed) if inner_type == "msgpack" else None
    return value if isinstance(value, dict) else None


def _packed(private: dict[str, Any]) -> tuple[str, bytes]:
    found = find_part(private)
    return found.type_tag, found.data
