"""Everything that LangGraph and its users can read of a thread, without what differs between two savers: ids and times."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum
from random import Random
from typing import Any

from langchain_core.messages import BaseMessage
from langgraph.checkpoint.serde.types import _DeltaSnapshot
from langgraph.types import Interrupt, Send, StateSnapshot

from tests.lives import values
from tests.lives.worlds import World

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_HASH = re.compile(r"\b[0-9a-f]{32}\b")
_VERSION = re.compile(r"^(\d{32})\.\S+$")


def outcome(run: Callable[[], Any], world: World) -> Any:
    """Returns what something gave, or the class of what it raised."""
    try:
        return normal(run(), world.ids)
    except Exception as error:  # noqa: BLE001  # whatever the plain saver raises, ours raises too
        world.complaint = f"{type(error).__name__}: {str(error)[:300]}"
        return ("raised", type(error).__name__)


def seen(world: World, graph: Any, threads: list[str], rng: Random, thorough: bool) -> list[tuple[str, Any]]:
    """Reads everything there is of the threads, with a few filters, or with all of them.

    Returns:
        What was read, with what it is.
    """
    found: list[tuple[str, Any]] = []
    calls, saver = world.calls, world.saver

    def look(what: str, run: Callable[[], Any]) -> None:
        found.append((what, outcome(run, world)))

    _number(world, threads)
    for thread in threads:
        config: dict[str, Any] = {"configurable": {"thread_id": thread}}
        root = {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}
        look(f"rows of {thread}", lambda c=config: rows(_by_namespace(world, calls.all(saver, "list", c))))
        look(f"newest row of {thread}", lambda c=root: rows([calls.one(saver, "get_tuple", c)]))
        look(f"state of {thread}", lambda c=config: calls.one(graph, "get_state", c, subgraphs=True))
        look(f"history of {thread}", lambda c=config: calls.all(graph, "get_state_history", c))
        filters = FILTERS if thorough else rng.sample(FILTERS, 2)
        for wanted in filters:
            look(
                f"history of {thread} where {wanted}",
                lambda c=config, w=wanted: calls.all(graph, "get_state_history", c, filter=w),
            )
        wanted, limit = rng.choice(FILTERS), rng.choice((None, 1, 3))
        look(
            f"rows of {thread} where {wanted}, {limit} at most",
            lambda c=root, w=wanted, n=limit: rows(calls.all(saver, "list", c, filter=w, limit=n)),
        )
        look(f"rows of {thread} before its third", lambda c=root: _before(world, c))
    wanted = rng.choice(FILTERS)
    look(
        f"all rows where {wanted}",
        lambda: sorted(map(repr, normal(rows(calls.all(saver, "list", None, filter=wanted)), world.ids))),
    )
    return found


FILTERS: list[dict[str, Any]] = [
    *({"source": source} for source in ("input", "loop", "update", "fork")),
    *({"step": step} for step in (-1, 0, 2)),
    {"run_id": "run-1"},
    {"source": "loop", "step": 1},
    *({"author": value} for value in ("alice", "", "es1.text", 1, True, 1.5)),
    {"team": "bob"},
    {"topic": "alice", "author": "alice"},
    {"nothing": "of this name"},
]
assert values.METADATA


def _before(world: World, config: dict[str, Any]) -> Any:
    found = world.calls.all(world.saver, "list", config)
    return rows(world.calls.all(world.saver, "list", config, before=found[2].config)) if len(found) > 2 else None


def _number(world: World, threads: list[str]) -> None:
    """Numbers the checkpoints that are new, in the order of their ids."""
    try:
        for thread in threads:
            listed = world.calls.all(world.saver, "list", {"configurable": {"thread_id": thread}})
            for name in sorted(row.checkpoint["id"] for row in listed):
                world.ids.setdefault(name, len(world.ids))
    except Exception:  # noqa: BLE001  # what is looked at next says it
        pass


def _by_namespace(world: World, found: list[Any]) -> list[Any]:
    """Savers order rows of several namespaces each in its own way, and namespaces hold ids of tasks."""
    return sorted(
        found, key=lambda row: (_UUID.sub("", row.config["configurable"]["checkpoint_ns"]), world.ids[row.checkpoint["id"]])
    )


def rows(found: list[Any]) -> Any:
    """Returns rows of a saver as plain data."""
    return [None if row is None else _row(row) for row in found]


def _row(row: Any) -> Any:
    left_out = ("ts", "pending_sends") if row.checkpoint.get("v") == 4 else ("ts",)  # sends mean nothing in format 4
    checkpoint = {name: value for name, value in row.checkpoint.items() if name not in left_out}
    parent = row.parent_config and row.parent_config["configurable"]["checkpoint_id"]
    writes = sorted((repr(write[1]), _Write(*write[1:])) for write in row.pending_writes or [])
    configurable = row.config["configurable"]
    where = (configurable["thread_id"], configurable.get("checkpoint_ns", ""), configurable.get("checkpoint_id"))
    return {"where": where, "parent": parent, "checkpoint": checkpoint, "metadata": row.metadata, "writes": writes}


class _Write:
    """A pending write; where two are of one channel their order is that of what they say."""

    def __init__(self, channel: str, value: Any) -> None:
        self.channel, self.value = channel, value

    def __lt__(self, other: _Write) -> bool:
        return repr(normal(self, {})) < repr(normal(other, {}))


def normal(found: Any, ids: dict[str, int]) -> Any:
    """Returns what is equal for two savers exactly when they hold the same."""
    if found is None or isinstance(found, bytes):
        return found
    if isinstance(found, bool):
        return ("bool", found)
    if isinstance(found, str):
        return _text(found, ids)
    if isinstance(found, (int, float)):
        return found
    if isinstance(found, dict):
        if isinstance(
            found.get("__interrupt__"), (list, tuple)
        ):  # of parallel nodes, in the order in which they happened to stop
            found = {**found, "__interrupt__": sorted(found["__interrupt__"], key=lambda one: repr(one.value))}
        parts = [(normal(name, ids), normal(part, ids)) for name, part in found.items()]
        is_by_name = all(type(name) is str for name in found) and len({str(name) for name, _ in parts}) == len(parts)
        return {"dict": sorted(parts, key=_name if is_by_name else repr)}
    if isinstance(found, BaseMessage):
        return ("message", found.type, normal(found.id, ids), normal(found.content, ids), normal(found.additional_kwargs, ids))
    if isinstance(found, StateSnapshot):
        return _snapshot(found, ids)
    if isinstance(found, Interrupt):
        return ("interrupt", normal(found.value, ids))
    if isinstance(found, Send):
        return ("send", found.node, normal(found.arg, ids))
    if isinstance(found, _DeltaSnapshot):
        return ("snapshot", normal(found.value, ids))
    if isinstance(found, _Write):
        return (found.channel, normal(found.value, ids))
    if isinstance(found, (set, frozenset)):
        return (type(found).__name__, sorted((normal(part, ids) for part in found), key=repr))
    if isinstance(found, tuple) and hasattr(found, "_fields"):
        return (type(found).__name__, *(normal(part, ids) for name, part in found._asdict().items() if name != "id"))
    if isinstance(found, (list, tuple)):
        if all(isinstance(part, Interrupt) for part in found):  # of parallel nodes: in the order in which they happened to stop
            found = type(found)(sorted(found, key=_question))
        return (type(found).__name__, *(normal(part, ids) for part in found))
    if isinstance(found, (BaseException, Enum)):
        return repr(found)
    return (type(found).__name__, _text(repr(found), ids))


def _name(part: tuple[Any, Any]) -> str:
    return str(part[0])


def _question(asked: Interrupt) -> str:
    return repr(asked.value)


def _text(found: str, ids: dict[str, int]) -> str:
    if len(found) < 32:
        return found
    if version := _VERSION.match(found):
        return version[1]
    return _HASH.sub("#", _UUID.sub(lambda match: f"#{ids[match[0]]}" if match[0] in ids else "#", found))


def _snapshot(found: StateSnapshot, ids: dict[str, int]) -> Any:
    parent = found.parent_config and found.parent_config["configurable"].get("checkpoint_id")
    own = (found.config or {}).get("configurable", {})
    return {
        "id": normal(own.get("checkpoint_id"), ids),
        "ns": normal(own.get("checkpoint_ns"), ids),
        "parent": normal(parent, ids),
        "values": normal(found.values, ids),
        "next": normal(found.next, ids),
        "metadata": normal(found.metadata, ids),
        "tasks": normal([task._replace(id="") for task in found.tasks], ids),
        "interrupts": normal(found.interrupts, ids),
    }
