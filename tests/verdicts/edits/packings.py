"""Edits that pack something once more or in another way: values, documents, writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ormsgpack

from encrypted_serde.wrapping.inert import FOREIGN
from tests.verdicts.edits.table import Target, edit_named, manifest_text, raw
from tests.verdicts.rows import Extension, NotHere, Rows


def _packed(rows: Rows, row: Any, value: Any) -> None:
    if rows.values is None:
        raise NotHere
    row.update(type="msgpack", blob=ormsgpack.packb(value))


@edit_named("a value packed once more")
def _packed_value(rows: Rows, t: Target) -> None:
    _packed(rows, rows.blob(t.here, "log"), raw(rows.stored(t.here, "log")))


@edit_named("a value packed as text")
def _packed_text(rows: Rows, t: Target) -> None:
    _packed(rows, rows.blob(t.here, "log"), manifest_text(raw(rows.stored(t.here, "log"))))


@edit_named("a value is a packed None")
def _packed_none(rows: Rows, t: Target) -> None:
    _packed(rows, rows.blob(t.here, "log"), None)


@edit_named("None is a packed None")
def _none_packed_none(rows: Rows, t: Target) -> None:
    _packed(rows, rows.blob(t.here, "nothing"), None)


def _foreign(type_tag: str, data: bytes) -> bytes:
    return ormsgpack.packb(ormsgpack.Ext(FOREIGN, ormsgpack.packb((type_tag, data))))


@edit_named("a value as an inner saver packs a foreign one")
def _foreign_value(rows: Rows, t: Target) -> None:
    if rows.values is None:
        rows.store(t.here, "log", Extension(FOREIGN, ormsgpack.packb(("bytes", rows.stored(t.here, "log")))))
    else:
        row = rows.blob(t.here, "log")
        row.update(type="msgpack", blob=_foreign("bytes", row["blob"]))


@edit_named("a value is a foreign None")
def _foreign_none(rows: Rows, t: Target) -> None:
    if rows.values is None:
        rows.store(t.here, "log", Extension(FOREIGN, ormsgpack.packb(("null", b""))))
    else:
        rows.blob(t.here, "log").update(type="msgpack", blob=_foreign("null", b""))


@edit_named("a write as an inner saver packs a foreign one")
def _foreign_write(rows: Rows, t: Target) -> None:
    row = rows.written(t.here, "note")[0]
    row.update(type="msgpack", blob=_foreign("bytes", row["blob"]))


@edit_named("bytes behind a packed text")
def _behind_text(rows: Rows, t: Target) -> None:
    write = rows.written(t.here, "note")[0]
    write.update(type="msgpack", blob=ormsgpack.packb(manifest_text(write["blob"])) + b"\0")


@edit_named("bytes behind a snapshot")
def _behind_snapshot(rows: Rows, t: Target) -> None:
    if rows.values is None:
        rows.store(t.first, "items", Extension(7, rows.stored(t.first, "items").data + b"\0"))
    else:
        rows.blob(t.first, "items")["blob"] += b"\0"


@edit_named("bytes behind a document")
def _behind_document(rows: Rows, t: Target) -> None:
    if rows.values is not None:
        raise NotHere
    rows.at(t.here)["document"] = pack_document(rows.at(t.here)["document"]) + b"\0"


@edit_named("a document in an extension object")
def _wrapped_document(rows: Rows, t: Target) -> None:
    _replace_document(rows, t, lambda packed: ormsgpack.packb(ormsgpack.Ext(5, packed)))


@edit_named("a document in a snapshot")
def _snapshot_document(rows: Rows, t: Target) -> None:
    _replace_document(rows, t, lambda packed: ormsgpack.packb(ormsgpack.Ext(7, packed)))


@edit_named("a document in bytes")
def _bytes_document(rows: Rows, t: Target) -> None:
    _replace_document(rows, t, ormsgpack.packb)


@edit_named("a document is a packed None")
def _none_document(rows: Rows, t: Target) -> None:
    _replace_document(rows, t, lambda packed: b"\xc0")


def _replace_document(rows: Rows, t: Target, change: Callable[[bytes], bytes]) -> None:
    if rows.values is not None:
        raise NotHere
    row = rows.at(t.here)
    row["document"] = ormsgpack.unpackb(change(pack_document(row["document"])), ext_hook=Extension)


@edit_named("a key of the document twice")
def _key_twice(rows: Rows, t: Target) -> None:
    if rows.values is not None:
        raise NotHere
    packed = pack_document(rows.at(t.here)["document"])
    rows.at(t.here)["document"] = bytes([packed[0] + 1]) + ormsgpack.packb("v") + b"\x09" + packed[1:]


def pack_document(document: Any) -> bytes:
    return ormsgpack.packb(document, default=lambda found: ormsgpack.Ext(found.code, found.data))


@edit_named("a write packed once more")
def _packed_write(rows: Rows, t: Target) -> None:
    write = rows.written(t.here, "note")[0]
    write.update(type="msgpack", blob=ormsgpack.packb(write["blob"]))


@edit_named("a write packed as text")
def _text_write(rows: Rows, t: Target) -> None:
    write = rows.written(t.here, "note")[0]
    write.update(type="msgpack", blob=ormsgpack.packb(manifest_text(write["blob"])))


@edit_named("a write is a packed None")
def _none_write(rows: Rows, t: Target) -> None:
    rows.written(t.here, "note")[0].update(type="msgpack", blob=b"\xc0")


@edit_named("a snapshot packed once more")
def _packed_snapshot(rows: Rows, t: Target) -> None:
    row = rows.blob(t.first, "items") if rows.values is not None else {}
    _packed(rows, row, row.get("blob"))
