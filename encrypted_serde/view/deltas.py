"""Delta channels: a checkpoint seldom holds their value, which is a snapshot of an older one and the writes since then.

LangGraph puts them together with the application's reducer. Here lists are joined, messages by their id, and dicts are merged.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..wrapping.upstream import DELTA_COUNTERS
from .model import Refused, Spot
from .source import Source
from .stored import StoredHead, StoredValue
from .values import NONE, Fields, Object, Scalar, Value
from .values import Sequence as SequenceValue

MAX_STEPS = 5000
"""LangGraph writes a snapshot after so many steps at the latest."""

_BATCH = 50
_REMOVE, _REMOVE_ALL, _OVERWRITE = "RemoveMessage", "__remove_all__", "langgraph.types.Overwrite"


@dataclass(frozen=True, slots=True)
class Replayed:
    """A delta channel, put together.

    Attributes:
        value: What it holds, or why nobody can tell.
        writes: How many writes were added to the snapshot.
    """

    value: Value | Refused
    writes: int


def names_of(head: StoredHead) -> list[str]:
    """Returns the delta channels whose value a checkpoint does not hold."""
    counters = head.metadata.get(DELTA_COUNTERS)
    names = [key.value for key, _ in counters.pairs if isinstance(key, Scalar)] if isinstance(counters, Fields) else []
    return [name for name in names if isinstance(name, str) and name not in head.inside and name not in head.elsewhere]


def replay(source: Source, thread_id: str, ancestors: Sequence[Spot], names: Iterable[str]) -> dict[str, Replayed]:
    """Puts channels together.

    Args:
        source: The database.
        thread_id: The thread.
        ancestors: Parent, grandparent and so on of the checkpoint.
        names: The channels.
    """
    waiting: dict[str, list[Value]] = {name: [] for name in names}
    found: dict[str, Replayed] = {}
    for start in range(0, min(len(ancestors), MAX_STEPS), _BATCH):
        spots = ancestors[start : start + _BATCH]
        heads, writes = source.heads(thread_id, spots), source.writes(thread_id, spots, [*waiting])
        for spot in spots:
            head = heads.get(spot)
            if not isinstance(head, StoredHead):
                reason = head or Refused("Incomplete", "a checkpoint that the value is made of is missing")
                return {**found, **{name: Replayed(reason, 0) for name in waiting}}
            for write in reversed(writes.get(spot, [])):
                if write.channel not in waiting:
                    continue
                if isinstance(write.value, Refused):
                    found[write.channel] = Replayed(write.value, 0)
                    del waiting[write.channel]
                else:
                    waiting[write.channel].append(write.value.read())
            for name in [name for name in waiting if name in head.inside or name in head.elsewhere]:
                seed = source.values(thread_id, spot, head, [name])[name]
                found[name] = _put_together(seed, waiting.pop(name))
            if not waiting:
                return found
    return {**found, **{name: _put_together(None, written) for name, written in waiting.items() if written}}


def _put_together(seed: StoredValue | Refused | None, newest_first: list[Value]) -> Replayed:
    if isinstance(seed, Refused):
        return Replayed(seed, 0)
    value: Value | None = None if seed is None else seed.read()
    for write in reversed(newest_first):
        value = _added(value, write)
    return Replayed(NONE if value is None else value, len(newest_first))


def _added(value: Value | None, write: Value) -> Value:
    if isinstance(write, Object) and write.name == _OVERWRITE:
        return (write.content.get("value") if isinstance(write.content, Fields) else None) or write.content
    if value is None or value == NONE:
        return write if isinstance(write, (Fields, SequenceValue)) else SequenceValue((write,))
    if isinstance(value, Fields) and isinstance(write, Fields):
        return Fields(tuple({**dict(value.pairs), **dict(write.pairs)}.items()))
    if isinstance(value, SequenceValue):
        return SequenceValue(_joined(value.items, write.items if isinstance(write, SequenceValue) else (write,)))
    return write


def _joined(items: tuple[Value, ...], more: tuple[Value, ...]) -> tuple[Value, ...]:
    """Joins lists; a message replaces the one with its id, or removes it."""
    found: dict[object, Value] = {_id_of(item) or number: item for number, item in enumerate(items)}
    for number, item in enumerate(more, len(items)):
        name = _id_of(item)
        if isinstance(item, Object) and item.short_name == _REMOVE:
            found = {} if name == _REMOVE_ALL else {key: value for key, value in found.items() if key != name}
        else:
            found[name or number] = item
    return tuple(found.values())


def _id_of(item: Value) -> str | None:
    content = item.content if isinstance(item, Object) else item
    name = content.get("id") if isinstance(content, Fields) else None
    return name.value if isinstance(name, Scalar) and isinstance(name.value, str) else None
