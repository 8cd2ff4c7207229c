"""When sealing or opening takes so long that it should not happen on the event loop."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable
from itertools import islice
from typing import Any

from langgraph.checkpoint.base import CheckpointTuple

from .gate import Deferred, Foreign

LARGE = 1 << 18
"""Bytes from which sealing or opening takes longer than handing it to a thread."""

_SAMPLED = 8  # parts of a container, or fields of an object, whose size is looked at


def seal_now(values: Iterable[Any]) -> None:
    """Seals what is deferred, in the thread that this is called in."""
    for value in values:
        if isinstance(value := getattr(value, "value", value), Deferred):
            value.sealed()


def is_large(value: Any) -> bool:
    """Guesses whether a value takes long to serialize and seal. Never raises: objects may answer anything, or nothing."""
    try:
        return size_guess(value) >= LARGE
    except Exception:  # noqa: BLE001  # a property or a __len__ of somebody's class
        return True


def size_guess(value: Any, depth: int = 3) -> int:
    """Guesses the size of a value in bytes, without serializing it: from its length, and that of a few of its parts."""
    if isinstance(value, (str, bytes, bytearray)):
        return len(value)
    if isinstance(value, (list, tuple, set, frozenset, deque)):
        parts: Collection[Any] = value
    else:
        parts = value.values() if isinstance(value, dict) else getattr(value, "__dict__", {}).values()
    if not parts or not depth:
        size = getattr(value, "nbytes", None)  # of an array
        return size if type(size) is int else len(parts)
    sample = [size_guess(part, depth - 1) for part in islice(parts, _SAMPLED)]
    return sum(sample) * len(parts) // len(sample)


def is_about_a_row(error: Exception) -> bool:
    """Says whether an inner store or cache failed on a row that is not what it wrote, and not on its database.

    A store that makes a ValueError of an error of its database says what it was made of. SQLite reports text that is no UTF-8
    as an OperationalError, with the text in its message.
    """
    if isinstance(error, _ON_A_ROW) and error.__cause__ is None:
        return True
    return "decode to UTF-8" in str(error.__cause__ or error)


_ON_A_ROW = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)


def is_heavy(found: CheckpointTuple) -> bool:
    """Says whether a row takes long to open."""
    values = [*(write[2] for write in found.pending_writes or ())]
    if isinstance(found.checkpoint, dict) and isinstance(channels := found.checkpoint.get("channel_values"), dict):
        values += channels.values()
    elif isinstance(found.checkpoint, Foreign):
        values.append(found.checkpoint.data)
    return sum(len(value) for value in values if isinstance(value, (bytes, str))) >= LARGE
