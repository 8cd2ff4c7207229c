"""One value as it is stored in a row, parsed once: from its type and its first and last bytes, without a key."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import NamedTuple

from ..core.context import EncryptionContext
from ..core.format import FLAG_BOUND, FLAG_ZSTD, Head, Sealed, find_sealed
from ..core.opaque import opaque
from ..errors import EncryptedSerdeError, MalformedEnvelope
from ..wrapping.inert import FOREIGN, Inert, pack, unpack
from ..wrapping.legacy import CIPHER as LEGACY_CIPHER
from ..wrapping.serialize import JSON
from ..wrapping.upstream import DELTA_SNAPSHOT

HEAD = 512
"""So many first bytes of a value say that it is sealed, and under which key."""

PLAINTEXT, LEGACY, SEALED, NONE = "plaintext", "legacy", "sealed", "none"
UNVOUCHED, UNDECODABLE = "no manifest", "undecodable"


_LEGACY_MINIMUM = 32
_TEXT = re.compile(rb"(?:[\xa0-\xbf]|\xd9.|\xda..|\xdb....)(?=es1\.)", re.DOTALL)
# The extension object that a snapshot of a delta channel is packed as, and bytes in it, with their lengths.
_SNAPSHOT = re.compile(rb"(?:\xc7(.)|\xc8(..)|\xc9(....))\x07", re.DOTALL)
_BYTES = re.compile(rb"(?:\xc4(.)|\xc5(..)|\xc6(....))(?=\xc1ES1)", re.DOTALL)


class Form(NamedTuple):
    """How one value is stored, as its type and header say. Nothing of it is authenticated.

    Attributes:
        kind: `PLAINTEXT`, `LEGACY` (langgraph's own ``+aes``), `SEALED`, `NONE` (a stored None), `UNVOUCHED` (a checkpoint
            without a manifest, whose readable part is not authenticated) or `UNDECODABLE`.
        cipher: Of sealed values.
        key_id: Of sealed values.
        bound: Whether it belongs to one place.
        compressed: Whether its plaintext is compressed.
        context: Of sealed values.
    """

    kind: str
    cipher: str = ""
    key_id: bytes = b""
    bound: bool = False
    compressed: bool = False
    context: EncryptionContext | None = None


_PLAIN, _NONE = Form(PLAINTEXT), Form(NONE)


class Stored(NamedTuple):
    """A value as it is stored in a row.

    Attributes:
        form: How it is stored.
        type_tag: As stored; of a part of a packed or JSON value the one that it would have alone.
        data: As stored, without the snapshot of a delta channel around it; perhaps cut.
        sealed: It, parsed, where we sealed it.
        is_delta: Whether it is stored in the snapshot of a delta channel.
        error: What is wrong with it, where it cannot be made out.
    """

    form: Form
    type_tag: str
    data: bytes
    sealed: Sealed | None = None
    is_delta: bool = False
    error: EncryptedSerdeError | None = None

    def __repr__(self) -> str:
        return opaque(self)

    @property
    def is_bound(self) -> bool:
        """Whether its header says that `EncryptedSaver` sealed it for one place."""
        return self.form.bound


def find_typed(type_tag: object, data: bytes, size: int) -> Stored:
    """Finds a value beside its type.

    Args:
        type_tag: As stored.
        data: The value, or its first and last bytes, as a scan reads them.
        size: Of the whole value.
    """
    if not isinstance(type_tag, str):
        return _broken("", data, MalformedEnvelope("the value has no type"))
    inner_type, plus, cipher = type_tag.rpartition("+")
    if plus and cipher == LEGACY_CIPHER and inner_type:
        if size >= _LEGACY_MINIMUM:
            return Stored(Form(LEGACY), type_tag, data)
        return _broken(type_tag, data, MalformedEnvelope("a legacy value is shorter than its nonce and tag"))
    if plus:
        try:
            return _sealed(type_tag, Sealed.of_blob(type_tag, data, size))
        except EncryptedSerdeError as error:
            return _broken(type_tag, data, error)
    if type_tag == "null":
        return Stored(_NONE, type_tag, data)
    if type_tag == "bytes":
        return _recognised(type_tag, data, size) or Stored(_PLAIN, type_tag, data)
    if type_tag == "msgpack" and (found := _in_text(data, size)):
        return found
    if type_tag == "msgpack" and (snapshot := _SNAPSHOT.match(data)) and _length(snapshot) == size - snapshot.end():
        return _in_snapshot(data[snapshot.end() :], size - snapshot.end())
    return Stored(_PLAIN, type_tag, data)


def find_part(value: object) -> Stored:
    """Finds a value that is part of a checkpoint which was taken apart, or which JSON gave."""
    if value is None:
        return Stored(_NONE, "null", b"")
    if isinstance(value, (bytes, str)) and (found := _recognised("bytes", value)):
        return found
    if isinstance(value, Inert):
        if value.code == DELTA_SNAPSHOT:
            return _in_snapshot(value.data, len(value.data))
        if value.code == FOREIGN:
            return _foreign(value.data)
    try:
        return Stored(_PLAIN, "msgpack", pack(value))
    except (TypeError, ValueError, OverflowError):  # JSON has integers beyond 64 bits, and lone surrogates
        return Stored(_PLAIN, JSON, json.dumps(value).encode("ascii"))


def _in_snapshot(data: bytes, size: int) -> Stored:
    match = _BYTES.match(data)
    if match and _length(match) == size - match.end():
        found = _recognised("bytes", data[match.end() :], size - match.end())
        if found is not None:
            return found._replace(is_delta=True)
    return Stored(_PLAIN, "msgpack", data, is_delta=True)


def _in_text(data: bytes, size: int) -> Stored | None:
    """Finds sealed text that a saver packed, which was handed it for a scalar that it may keep in JSON."""
    match = _TEXT.match(data)
    if match is None:
        return None
    whole, text = size - match.end(), data[match.end() :]
    if len(data) < size:  # the text of whole groups of bytes is a text by itself
        before, behind = text[: HEAD - match.end()], text[HEAD - match.end() :]
        text = before[: len(before) // 4 * 4] + behind[(len(behind) - whole) % 4 :]
    return _recognised("bytes", text.decode("ascii", "replace"), (whole - 4) * 3 // 4)


def _length(match: re.Match[bytes]) -> int:
    return int.from_bytes(next(group for group in match.groups() if group is not None), "big")


def _recognised(type_tag: str, value: bytes | str, size: int = 0) -> Stored | None:
    try:
        sealed = find_sealed(value, size)
        return None if sealed is None else _sealed(type_tag, sealed)
    except EncryptedSerdeError as error:
        return _broken(type_tag, value if isinstance(value, bytes) else value.encode("utf-8", "replace"), error)


def _sealed(type_tag: str, sealed: Sealed) -> Stored:
    return Stored(_form(sealed.head), type_tag, sealed.data, sealed)


@lru_cache(maxsize=1024)
def _form(head: Head) -> Form:
    bound, compressed = bool(head.flags & FLAG_BOUND), bool(head.flags & FLAG_ZSTD)
    return Form(SEALED, head.cipher.NAME, head.key_id, bound, compressed, head.context)


def _broken(type_tag: str, data: bytes, error: EncryptedSerdeError) -> Stored:
    return Stored(Form(UNDECODABLE), type_tag, data, error=error)


def _foreign(packed: bytes) -> Stored:
    """Finds a value that was not sealed and that an inner saver packed again."""
    try:
        type_tag, data = unpack(packed)
        if isinstance(type_tag, str) and isinstance(data, bytes):
            return find_typed(type_tag, data, len(data))
    except (EncryptedSerdeError, TypeError, ValueError):
        pass
    return _broken("", packed, MalformedEnvelope("a value that was kept as it was is nothing that we wrote"))
