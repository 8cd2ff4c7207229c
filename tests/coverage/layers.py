"""A stored record taken apart down to its leaves, through JSON, msgpack, base64 and gzip, and put together again.

The tamper pass edits what the savers stored without knowing any of them, and the leak scan looks inside what they wrapped.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import ormsgpack

SEALED = b"\xc1ES1"
SEALED_TEXT = "es1."
REMOVED = object()
"""Put in place of a leaf, it takes the entry out of the container."""

Put = Callable[[Any], Any]


class Extension(NamedTuple):
    """A msgpack extension object, not interpreted."""

    code: int
    data: bytes


class Leaf(NamedTuple):
    """A value that is no container.

    Attributes:
        value: As it stands there.
        put: Gives the whole record with another value in its place.
    """

    value: Any
    put: Put

    @property
    def is_sealed(self) -> bool:
        return is_sealed(self.value)


def is_sealed(value: object) -> bool:
    return (isinstance(value, bytes) and value.startswith(SEALED)) or (isinstance(value, str) and value.startswith(SEALED_TEXT))


def leaves(record: Any, put: Put = lambda value: value) -> Iterator[Leaf]:
    """Gives every leaf of a record; what is wrapped in an encoding is unwrapped."""
    if isinstance(record, Extension):
        inside = _msgpack(record.data, lambda packed: Extension(record.code, packed))
        if inside is None:
            yield Leaf(record.data, _then(put, lambda data: Extension(record.code, data)))
        else:
            yield from leaves(inside[0], _then(put, inside[1]))
    elif isinstance(record, dict):
        for name, value in record.items():
            yield from leaves(value, _then(put, partial(_with_entry, record, name)))
    elif isinstance(record, (list, tuple)):
        for position, value in enumerate(record):
            yield from leaves(value, _then(put, partial(_with_item, record, position)))
    elif is_sealed(record):
        yield Leaf(record, put)
    elif (inside := _unwrapped(record)) is not None:
        value, wrap = inside
        yield from leaves(value, _then(put, wrap))
    else:
        yield Leaf(record, put)


def _then(put: Put, step: Callable[[Any], Any]) -> Put:
    return lambda value: put(step(value))


def _with_entry(record: dict[Any, Any], name: Any, value: Any) -> dict[Any, Any]:
    return {each: value if each == name else kept for each, kept in record.items() if each != name or value is not REMOVED}


def _with_item(record: list[Any] | tuple[Any, ...], position: int, value: Any) -> Any:
    before, after = record[:position], record[position + 1 :]
    middle = [] if value is REMOVED else [value]
    return type(record)([*before, *middle, *after])


def _unwrapped(value: Any) -> tuple[Any, Callable[[Any], Any]] | None:
    """Gives what an encoding holds and how it is wrapped again, if it holds a container or something sealed."""
    if isinstance(value, str):
        return _json(value, str) or _base64(value.encode(), bytes.decode) if value.isascii() else _json(value, str)
    if isinstance(value, bytes) and value:
        if value.startswith(b"\x1f\x8b"):
            return gzip.decompress(value), gzip.compress
        return _json(value, str.encode) or _msgpack(value, bytes) or _base64(value, bytes)
    return None


def _json(text: str | bytes, encode: Callable[[str], Any]) -> tuple[Any, Callable[[Any], Any]] | None:
    if text[:1] not in ("{", "[", b"{", b"["):
        return None
    try:
        return json.loads(text), lambda value: encode(json.dumps(value))
    except ValueError:
        return None


def _msgpack(packed: bytes, wrap: Callable[[bytes], Any]) -> tuple[Any, Callable[[Any], Any]] | None:
    try:
        value = ormsgpack.unpackb(packed, ext_hook=Extension, option=ormsgpack.OPT_NON_STR_KEYS)
    except ValueError:
        return None
    if not isinstance(value, (dict, list, Extension)):
        return None
    return value, lambda changed: wrap(_packed(changed))


def _packed(value: Any) -> bytes:
    return ormsgpack.packb(_extended(value), option=ormsgpack.OPT_NON_STR_KEYS)


def _extended(value: Any) -> Any:
    if isinstance(value, Extension):
        return ormsgpack.Ext(value.code, value.data)
    if isinstance(value, dict):
        return {name: _extended(item) for name, item in value.items()}
    return [_extended(item) for item in value] if isinstance(value, list) else value


def _base64(text: bytes, wrap: Callable[[bytes], Any]) -> tuple[Any, Callable[[Any], Any]] | None:
    try:
        inside = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    if not is_sealed(inside) and _unwrapped(inside) is None:
        return None
    return inside, lambda value: wrap(base64.b64encode(value))
