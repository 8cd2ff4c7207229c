"""What is known of the savers that are wrapped. A saver that is not listed here gets the cautious treatment."""

from __future__ import annotations

from typing import Any, NamedTuple

from langgraph.checkpoint.base import BaseCheckpointSaver

from .filters import CONTAINMENT, EQUALITY, JSON_PATH, Semantics


class Habits(NamedTuple):
    """How a saver treats what it is handed.

    Attributes:
        asks_serde: It gets the bytes of every value from its ``serde``, when it stores it. Values may be handed over
            unsealed then, to be sealed when asked for. Otherwise they are sealed beforehand.
        inlines_scalars: It stores str, int, float and bool channels in JSON, beside the checkpoint. They are handed over as
            sealed text then, so that they stay where they were and none is lost.
        is_shallow: It keeps one checkpoint per thread, with no parent, and rewrites pending sends.
        stores_all_values: It stores the value of every channel with every checkpoint, not only the new ones.
        newest_first: ``list`` gives rows in descending order of their checkpoint id, whatever thread and namespace.
        filters: What ``list(filter=)`` means.
        prunes: It has ``prune``, which may leave a checkpoint without its parent.
    """

    asks_serde: bool = False
    inlines_scalars: bool = True
    is_shallow: bool = False
    stores_all_values: bool = False
    newest_first: bool = False
    filters: Semantics = EQUALITY
    prunes: bool = False


_MEMORY = Habits(asks_serde=True, inlines_scalars=False)
_SQLITE = Habits(asks_serde=True, inlines_scalars=False, stores_all_values=True, newest_first=True, filters=JSON_PATH)
_POSTGRES = Habits(asks_serde=True, newest_first=True, filters=CONTAINMENT)
_SHALLOW = Habits(asks_serde=True, inlines_scalars=False, is_shallow=True, filters=CONTAINMENT)

_KNOWN = {
    "langgraph.checkpoint.memory.InMemorySaver": _MEMORY,
    "langgraph.checkpoint.sqlite.SqliteSaver": _SQLITE,
    "langgraph.checkpoint.sqlite.aio.AsyncSqliteSaver": _SQLITE,
    "langgraph.checkpoint.postgres.PostgresSaver": _POSTGRES,
    "langgraph.checkpoint.postgres.aio.AsyncPostgresSaver": _POSTGRES,
    "langgraph.checkpoint.postgres.shallow.ShallowPostgresSaver": _SHALLOW,
    "langgraph.checkpoint.postgres.shallow.AsyncShallowPostgresSaver": _SHALLOW,
}


def habits_of(saver: BaseCheckpointSaver[Any]) -> Habits:
    """Finds the habits of a saver by its class, or by the nearest known class it inherits from."""
    names = (f"{cls.__module__}.{cls.__qualname__}" for cls in type(saver).__mro__)
    known = next((_KNOWN[name] for name in names if name in _KNOWN), Habits())
    return known._replace(prunes=overrides(type(saver), "prune") or overrides(type(saver), "aprune"))


def overrides(cls: type[Any], name: str) -> bool:
    """Says whether a saver's class has a method of its own, as LangGraph and Agent Server find it out."""
    return getattr(cls, name, None) is not getattr(BaseCheckpointSaver, name, None)
