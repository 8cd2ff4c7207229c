"""Msgpack taken apart and put together without building a single object of the application.

Extension objects, which is what LangGraph makes of messages, dates and classes, stay the raw bytes they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ormsgpack

from ..errors import MalformedEnvelope

FOREIGN = 100
"""Code of the extension object in which a value that was not sealed is kept when an inner saver packs it again."""

MAX_DEPTH = 1024
"""Levels of a value that is taken apart or deserialised without having been sealed."""

_OPTION = ormsgpack.OPT_NON_STR_KEYS


class Inert:
    """A msgpack extension object that was not interpreted.

    Raises:
        ValueError: If the code is negative: msgpack keeps these to itself, and nothing here could pack them again.
    """

    __slots__ = ("code", "data")

    def __init__(self, code: int, data: bytes) -> None:
        if code < 0:
            raise ValueError("a msgpack extension of the specification's own")
        self.code, self.data = code, data

    def __repr__(self) -> str:
        return f"<Inert {self.code}, {len(self.data)} bytes>"


def pack(value: Any, default: Callable[[Any], Any] | None = None) -> bytes:
    """Packs plain values and what `unpack` gave.

    Args:
        value: What to pack.
        default: Gives what is packed in place of an object that is neither.

    Raises:
        TypeError: If something is left that msgpack cannot express. An exception of ``default`` is raised as it is.
    """
    failed: list[Exception] = []

    def plain(item: Any) -> Any:
        if isinstance(item, Inert):
            return ormsgpack.Ext(item.code, item.data)
        if default is None:
            raise TypeError
        try:
            return default(item)
        except Exception as error:  # ormsgpack puts a TypeError of its own in its place, which names the wrong type
            failed.append(error)
            raise

    try:
        return ormsgpack.packb(value, default=plain, option=_OPTION)
    except TypeError:
        if failed:
            raise failed[0] from None
        raise


def check_depth(packed: bytes) -> None:
    """Refuses msgpack that is nested more deeply than `MAX_DEPTH`, extension objects and what they hold included.

    A deserialiser calls itself for each extension object inside another, and counts the levels anew each time: a value of a
    few kilobytes ends the process. Here every level is taken apart by itself.

    Raises:
        MalformedEnvelope: If it is, or is no msgpack.
    """
    if len(packed) <= MAX_DEPTH:  # every level takes a byte
        return
    left: list[tuple[Any, int]] = [(unpack(packed), 1)]
    while left:
        value, depth = left.pop()
        if depth > MAX_DEPTH:
            raise MalformedEnvelope("the value is nested too deeply")
        if isinstance(value, Inert):
            if len(value.data) + depth > MAX_DEPTH:
                left.append((_inside(value), depth + 1))
        else:
            parts = (*value.values(), *value) if isinstance(value, dict) else value
            left += [(part, depth + 1) for part in parts if isinstance(part, (dict, list, tuple, Inert))]


def _inside(value: Inert) -> Any:
    """Takes apart what an extension object holds; nothing, if that is no msgpack (an array's raw numbers)."""
    try:
        inside = unpack(value.data)
    except MalformedEnvelope:
        return ()
    return inside if isinstance(inside, (dict, list, tuple, Inert)) else ()


_SIZES = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xC7: 1, 0xC8: 2, 0xC9: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
_EXTENSIONS = range(0xC7, 0xCA)
_FIXED_TEXT = range(0xA0, 0xC0)


def has_more(packed: bytes) -> bool:
    """Says whether something follows packed text, bytes or an extension object, which ormsgpack passes over."""
    first = packed[0]
    if first in _FIXED_TEXT:
        return len(packed) != first - 0x9F
    size = _SIZES.get(first, 0)
    return size == 0 or len(packed) != 1 + size + (first in _EXTENSIONS) + int.from_bytes(packed[1 : 1 + size], "big")


def unpack(packed: bytes, ext_hook: Callable[[int, bytes], Any] = Inert) -> Any:
    """Unpacks one value; extension objects stay raw.

    Raises:
        MalformedEnvelope: If it is no msgpack, or nested too deeply.
    """
    try:
        return ormsgpack.unpackb(packed, ext_hook=ext_hook, option=_OPTION)
    except (TypeError, ValueError, RecursionError):
        raise MalformedEnvelope("the value is no msgpack that could be taken apart") from None
