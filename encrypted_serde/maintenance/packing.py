"""Taking msgpack apart and putting it together without building a single object of the application.

Extension objects, which is what LangGraph makes of messages, dates and classes, stay the raw bytes they are. A value that is
taken out of a packed checkpoint is therefore, byte for byte, what stood in it.
"""

from __future__ import annotations

from typing import Any

import ormsgpack

from ..wrapping.inert import Inert
from .model import Unconvertible

DELTA_SNAPSHOT = 7
"""Code of the extension object that LangGraph makes of a `_DeltaSnapshot`."""

_OPTION = ormsgpack.OPT_NON_STR_KEYS
_EXTENSIONS = frozenset({0xC7, 0xC8, 0xC9, *range(0xD4, 0xD9)})  # first bytes of an extension object


def pack(value: Any) -> bytes:
    """Packs what `unpack` gave, and plain values.

    Raises:
        Unconvertible: If msgpack cannot express it, e.g. an integer of more than 64 bits.
    """
    try:
        return ormsgpack.packb(value, default=_extension, option=_OPTION)
    except (TypeError, ValueError):
        raise Unconvertible("the value cannot be expressed in msgpack") from None


def unpack(packed: bytes) -> Any:
    """Unpacks one value; extension objects stay raw.

    Raises:
        Unconvertible: If it is no msgpack, or not what `pack` would write, so that parts of it would not be what they were.
    """
    try:
        value = ormsgpack.unpackb(packed, ext_hook=Inert, option=_OPTION)
    except (TypeError, ValueError, RecursionError):
        raise Unconvertible("the value is no msgpack that could be taken apart") from None
    if pack(value) != packed:
        raise Unconvertible("the value is msgpack of an unusual encoding, which cannot be taken apart without changing it")
    return value


def _extension(value: object) -> ormsgpack.Ext:
    if isinstance(value, Inert):
        return ormsgpack.Ext(value.code, value.data)
    raise TypeError


def delta_snapshot(packed: bytes) -> bytes | None:
    """Gives what a `_DeltaSnapshot` holds, packed; None if the value is something else."""
    if not packed or packed[0] not in _EXTENSIONS:
        return None
    value: Inert = unpack(packed)
    return value.data if value.code == DELTA_SNAPSHOT else None


def as_msgpack(inner_type: str, data: bytes) -> bytes:
    """Gives a serialized value as msgpack, so that it can be part of a packed checkpoint.

    Raises:
        Unconvertible: If the value is of a type (json, pickle, a serializer's own) that only its serializer can read.
    """
    if inner_type == "msgpack":
        return data
    if inner_type == "null":
        return pack(None)
    if inner_type in ("bytes", "bytearray"):
        return pack(data)
    raise Unconvertible(f"a value of type {inner_type!r} cannot be put into a packed checkpoint")
