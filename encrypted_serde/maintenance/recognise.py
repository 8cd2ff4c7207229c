"""Saying how a value is stored, from its type and its first bytes, without a key."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from typing import Any

import ormsgpack

from ..core.ciphers import TAG_SIZE
from ..core.format import Sealed, bytes_of_text, find_sealed, is_sealed, nonce_size
from ..errors import EncryptedSerdeError
from ..saver.manifest import KEY, LANGGRAPH_KEYS
from ..wrapping.inert import Inert
from ..wrapping.legacy import CIPHER as LEGACY_CIPHER
from ..wrapping.search import PREFIX as TOKEN_PREFIX
from .model import LEGACY, NONE, PLAINTEXT, SEALED, UNDECODABLE, Form, Seen
from .packing import DELTA_SNAPSHOT, pack

HEAD = 1 << 15
"""So many first bytes of a value are enough to recognise it: the longest header is shorter."""

EMPTY = "empty"
"""Type of a row of `checkpoint_blobs` that stands for no value."""

FOREIGN = 100
"""Code of the extension object in which an inner saver, that packed it again, keeps a value that was not sealed."""

_LEGACY_MINIMUM = 32
_IS_PLAIN = Form(PLAINTEXT)
_IS_UNDECODABLE = Form(UNDECODABLE)
# A packed _DeltaSnapshot that holds bytes which begin like sealed ones.
_SEALED_DELTA = re.compile(rb"(?:\xc7.|\xc8..|\xc9....)\x07(?:\xc4.|\xc5..|\xc6....)(?=\xc1ES1)", re.DOTALL)
_BIN = re.compile(rb"(?:\xc4.|\xc5..|\xc6....)(?=\xc1ES1)", re.DOTALL)


def recognise_typed(type_tag: object, head: bytes, size: int) -> Form:
    """Recognises a value that stands beside its type.

    Args:
        type_tag: As stored.
        head: The value, or its first `HEAD` bytes.
        size: Of the whole value.
    """
    if not isinstance(type_tag, str):
        return _IS_UNDECODABLE
    inner_type, plus, cipher = type_tag.rpartition("+")
    if plus:
        if cipher == LEGACY_CIPHER and inner_type:
            return Form(LEGACY) if size >= _LEGACY_MINIMUM else _IS_UNDECODABLE
        return _blob(type_tag, head, 0, size)
    if type_tag == "null":
        return Form(NONE)
    start = 0
    if type_tag == "msgpack" and (match := _SEALED_DELTA.match(head)):
        start = match.end()
    elif type_tag != "bytes":
        return _IS_PLAIN
    return _sealed(head[start:], size - start) or _IS_PLAIN


def recognise_part(value: object) -> Form:
    """Recognises a value that is part of a checkpoint that `packing.unpack` took apart."""
    if value is None:
        return Form(NONE)
    if isinstance(value, bytes):
        return _sealed(value, len(value)) or _IS_PLAIN
    if isinstance(value, str):
        return recognise_text(value)
    if isinstance(value, Inert):
        if value.code == DELTA_SNAPSHOT and (match := _BIN.match(value.data)):
            return _sealed(value.data[match.end() :], len(value.data) - match.end()) or _IS_PLAIN
        if value.code == FOREIGN:
            return _foreign(value.data)
    return _IS_PLAIN


def recognise_text(value: object) -> Form:
    """Recognises a value that stands in JSON."""
    sealed = sealed_in(value)
    return _IS_PLAIN if sealed is None else _sealed(sealed, len(sealed)) or _IS_PLAIN


def sealed_in(value: object) -> bytes | None:
    """Gives the sealed bytes of sealed text; None if the value is something else."""
    return _parsed(value) if isinstance(value, str) else None


@lru_cache(maxsize=64)
def _parsed(text: str) -> bytes | None:  # a text is recognised first, and opened soon after
    data = bytes_of_text(text)
    return data if is_sealed(data) else None


def _foreign(packed: bytes) -> Form:
    try:
        type_tag, data = ormsgpack.unpackb(packed)
    except (TypeError, ValueError):
        return _IS_UNDECODABLE
    return recognise_typed(type_tag, data, len(data)) if isinstance(data, bytes) else _IS_UNDECODABLE


def _sealed(data: bytes, size: int) -> Form | None:
    try:
        sealed = find_sealed(data)
    except EncryptedSerdeError:
        return _IS_UNDECODABLE
    return None if sealed is None else _form(sealed, size)


def _blob(type_tag: str, head: bytes, start: int, size: int) -> Form:
    try:
        return _form(Sealed.of_blob(type_tag, head), size)
    except EncryptedSerdeError:
        return _IS_UNDECODABLE


def _form(sealed: Sealed, size: int) -> Form:
    head = sealed.head
    if size < sealed.nonce + nonce_size(head.cipher) + TAG_SIZE:
        return _IS_UNDECODABLE
    return Form(SEALED, head.cipher.NAME, head.key_id, head.context.encoded, sealed.is_bound, sealed.is_compressed)


def in_metadata(column: str, metadata: object, readable_keys: Collection[str]) -> Iterator[Seen]:
    """Finds what is in the metadata of a checkpoint: its manifest, and keys that are readable and need not be.

    Args:
        column: Its table and column.
        metadata: As JSON gave it.
        readable_keys: Keys that may be readable, besides those that LangGraph needs.
    """
    if not isinstance(metadata, Mapping):
        yield Seen(column, "metadata", _IS_UNDECODABLE, 0, metadata)
        return
    form = recognise_text(metadata.get(KEY))
    has_manifest = form.kind != PLAINTEXT
    if has_manifest:
        yield Seen(column, "manifest", form, len(metadata[KEY]), metadata[KEY])
    for name, value in metadata.items():
        if name in LANGGRAPH_KEYS or name in readable_keys or (name == KEY and has_manifest):
            continue
        if has_manifest and isinstance(value, str) and value.startswith(TOKEN_PREFIX):
            continue
        yield Seen(column, f"metadata key {name}", _IS_PLAIN, len(json.dumps(value)), value)


def in_document(column: str, document: Any, what: str) -> Iterator[Seen]:
    """Finds the values in a checkpoint that was taken apart, or that JSON gave.

    Args:
        column: Its table and column.
        document: The checkpoint.
        what: What its channel values are called.
    """
    values = document.get("channel_values") if isinstance(document, Mapping) else None
    if not isinstance(values or {}, Mapping):
        yield Seen(column, "whole checkpoint", _IS_UNDECODABLE, 0, document)
        return
    for value in (values or {}).values():
        if value is not None:
            yield Seen(column, what, recognise_part(value), _size(value), value)
    for send in document.get("pending_sends") or ():
        yield Seen(column, "pending send", recognise_part(send), _size(send), send)


def _size(value: Any) -> int:
    if isinstance(value, (bytes, str)):
        return len(value)
    return len(value.data) if isinstance(value, Inert) else len(pack(value))
