"""What differs between two values, or between the channels of two checkpoints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from .values import Fields, Object, Scalar, Sequence, Value

MAX_CHANGES = 500
"""So many changes are listed."""


@dataclass(frozen=True, slots=True)
class Change:
    """One difference.

    Attributes:
        path: Where: the channel, then keys and positions.
        before: What was there; None if nothing was.
        after: What is there; None if nothing is.
    """

    path: tuple[str, ...]
    before: Value | None
    after: Value | None

    @property
    def kind(self) -> str:
        """``added``, ``removed`` or ``changed``."""
        return "added" if self.before is None else "removed" if self.after is None else "changed"


def compare(before: Mapping[str, Value], after: Mapping[str, Value]) -> tuple[Change, ...]:
    """Returns what differs between the channels of two checkpoints, at most `MAX_CHANGES` differences."""
    names = sorted({*before, *after})
    found = (change for name in names for change in _between((name,), before.get(name), after.get(name)))
    return tuple(islice(found, MAX_CHANGES))


def _between(path: tuple[str, ...], before: Value | None, after: Value | None) -> Iterator[Change]:
    if before == after:
        return
    if isinstance(before, Fields) and isinstance(after, Fields):
        yield from _fields(path, before, after)
    elif isinstance(before, Sequence) and isinstance(after, Sequence):
        yield from _items(path, before.items, after.items)
    elif isinstance(before, Object) and isinstance(after, Object) and before.name == after.name:
        yield from _between(path, before.content, after.content)
    else:
        yield Change(path, before, after)


def _fields(path: tuple[str, ...], before: Fields, after: Fields) -> Iterator[Change]:
    old, new = dict(before.pairs), dict(after.pairs)
    for key in dict.fromkeys((*old, *new)):
        yield from _between((*path, _name(key)), old.get(key), new.get(key))


def _name(key: Value) -> str:
    return str(key.value) if isinstance(key, Scalar) else key.kind


def _items(path: tuple[str, ...], before: tuple[Value, ...], after: tuple[Value, ...]) -> Iterator[Change]:
    """Compares lists: what both begin and end with is left out, what is between them position by position."""
    start = 0
    shorter = min(len(before), len(after))
    while start < shorter and before[start] == after[start]:
        start += 1
    end = 0
    while end < shorter - start and before[-1 - end] == after[-1 - end]:
        end += 1
    for number in range(start, max(len(before), len(after)) - end):
        old = before[number] if number < len(before) - end else None
        new = after[number] if number < len(after) - end else None
        yield from _between((*path, str(number)), old, new)
