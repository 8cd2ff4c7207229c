"""The rows of checkpoints: packed with all their values in SQLite, JSON in Postgres and MySQL.

Both are taken apart into `rows.parts.Parts`, and `rows.verify` judges them as it does for the saver. A manifest is made only
for a row that carries no proof that we sealed it.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

from ..core import binding
from ..core.context import EncryptionContext
from ..core.opaque import opaque
from ..errors import Incomplete, MalformedEnvelope
from ..rows.listed import Listed
from ..rows.manifest import KEY, LANGGRAPH_KEYS, Manifest, digest, hides_metadata, split_metadata
from ..rows.parts import Opened, Parts, channel, is_none
from ..rows.stored import Form, find_part
from ..rows.verify import Rules, open_value, verify_row
from ..rows.write import MetadataKeys, Writer, beside, readable_and_manifest
from ..wrapping.inert import Inert, pack
from ..wrapping.search import search_token
from ..wrapping.serialize import JSON
from ..wrapping.upstream import DELTA_SNAPSHOT, TASKS
from .codec import SAVER, Blocked, RowCodec, unpack_exactly
from .json_columns import parse_json
from .report import HiddenMetadata, Unconvertible
from .table import Row, Table
from .writes import Writes

CHECKPOINT = "checkpoints.checkpoint"
WHOLE = "whole checkpoint"

MAYBE_TEXT, JSON_CELL = (str, type(None)), (str, bytes, type(None))

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

    @abstractmethod
    def parts(self, row: Row, codec: RowCodec) -> Parts:
        """Takes a row apart.

        Raises:
            EncryptedSerdeError: If it holds no checkpoint, or none that opens or is admitted.
        """

    def json(self, row: Row, column: str) -> Any:
        """Returns what a JSON column holds."""
        return row.once(column, lambda: parse_json(row.cells[column]))

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
        verified = verify_row(parts, codec, self._rules(codec))
        values = {name: open_value(verified, name, found, codec, in_row=True) for name, found in parts.values.items()}
        opened = OpenedCheckpoint(parts, verified.manifest, verified.form, values)
        if row.cells.get("is_cut"):
            raise Incomplete("the parent of the checkpoint is missing, although older ones of the thread are there")
        if "is_cut" in row.cells and opened.manifest is not None and hides_metadata(opened.parts.metadata):
            hidden, _ = split_metadata(_private(opened.manifest) or {}, LANGGRAPH_KEYS)
            if hidden:
                names = ", ".join(sorted(hidden))
                raise HiddenMetadata(f"the metadata {names}, which LangGraph reads in the database, are sealed: run reencrypt")
        return opened

    def mended(self, row: Row, codec: RowCodec) -> tuple[Any, ...] | None:
        """Returns the new values of a row whose metadata are sealed although LangGraph reads them; None if they are not."""
        stored = self.metadata(row)
        if codec.form != SAVER or not hides_metadata(stored):
            return None
        new = self.recode(row, codec)
        return new if parse_json(new[-1]).keys() != stored.keys() else None

    def _rules(self, codec: RowCodec) -> Rules:
        return Rules(
            stores_all_values=self.stores_all_values,
            prunes=self.database.prunes,
            has_no_parents=self.database.is_shallow,
            gathers_sends=self.database.is_shallow,
            admits=codec.form != SAVER or bool(codec.admission),
            admits_plaintext=codec.admission.plaintext,
        )

    def require_writes(self, opened: OpenedCheckpoint, row: Row, codec: RowCodec) -> None:
        """Refuses to give a checkpoint a manifest while it has pending writes that are not ours: nobody would read them."""
        if opened.manifest is not None or not row.cells["has_unbound_writes"]:
            return
        if not codec.dry_run or self._writes().are_pending(self._place(opened, row), codec):
            raise Blocked("pending writes of the checkpoint are not sealed, and could not be")

    def require_accepted(self, opened: OpenedCheckpoint, row: Row, codec: RowCodec) -> None:
        """Refuses to take the manifest from a checkpoint beside which something is stored that `verify` refuses.

        Raises:
            EncryptedSerdeError: What `verify` says of it.
        """
        if opened.manifest is not None:
            for write in self._writes().of(self._place(opened, row)):
                self._writes().open(write, codec)

    def _place(self, opened: OpenedCheckpoint, row: Row) -> tuple[Any, ...]:
        return row.cells["thread_id"], row.cells[self.database.namespace], opened.parts.checkpoint_id

    def _writes(self) -> Writes:
        writes: Writes = self.database.find(Writes)
        return writes

    def unbound_writes(self) -> str:
        """Returns SQL that says whether a checkpoint has pending writes that are not ours."""
        database, writes = self.database, self._writes()
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


def without_sends(document: dict[str, Any], sends: list[Any]) -> dict[str, Any]:
    """Moves the pending sends of a format below 4 to the channel of tasks, as LangGraph does when it loads them.

    The format stays where it is below 3: LangGraph renames channels of these when it knows the graph.
    """
    versions = document["channel_versions"]
    moved = {name: part for name, part in document.items() if name != "pending_sends"}
    if sends and versions:
        moved["channel_values"] = {**document["channel_values"], TASKS: sends}
        moved["channel_versions"] = {**versions, TASKS: max(versions.values())}
    return {**moved, "v": 4} if sends or moved.get("v") == _FORMAT_OF_SENDS else moved


def is_before_sends_moved(document: Mapping[str, Any]) -> bool:
    """Says whether a checkpoint is of a format whose sends are no channel."""
    version = document.get("v")
    return type(version) is int and version <= _FORMAT_OF_SENDS


def _private(manifest: Manifest) -> dict[str, Any] | None:
    """Returns the private metadata; None if it is of a serializer that is not ours."""
    inner_type, packed = manifest.private
    value = json.loads(packed) if inner_type == JSON else unpack_exactly(packed) if inner_type == "msgpack" else None
    return value if isinstance(value, dict) else None


def _packed(private: dict[str, Any]) -> tuple[str, bytes]:
    found = find_part(private)
    return found.type_tag, found.data
