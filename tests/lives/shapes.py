"""Graphs, as data that can be drawn, changed and built; and what their nodes do, drawn anew in every step."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Annotated, Any, TypedDict

from langgraph.channels import EphemeralValue, UntrackedValue
from langgraph.channels.delta import DeltaChannel
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Command, Send, interrupt

from tests.lives import values

KINDS = ("last", "last", "add", "sum", "delta", "untracked", "ephemeral", "messages")
KEYS = ("a", "b", "c", "d")
NODES = ("n", "m", "p", "q")
FORMS = ("chain", "fan", "sends", "loop", "entrypoint")


class Failed(Exception):
    """A node failed, as it was told to."""


@dataclass(frozen=True)
class Graph:
    """A graph, as a release of an application defines it.

    Attributes:
        form: How its nodes are connected, one of `FORMS`.
        nodes: Their names.
        keys: Kind of each key of the state.
        inside: Kind of each key of a subgraph, which the first node is then; empty if none is.
        persistent: The ``checkpointer`` that the subgraph is compiled with.
        every: How often delta channels store a snapshot.
        deferred: Whether the last node waits for all others.
    """

    form: str
    nodes: tuple[str, ...]
    keys: tuple[tuple[str, str], ...]
    inside: tuple[tuple[str, str], ...] = ()
    persistent: bool | None = None
    every: int = 3
    deferred: bool = False


def draw_keys(rng: Random) -> tuple[tuple[str, str], ...]:
    return tuple((name, rng.choice(KINDS)) for name in rng.sample(KEYS, rng.randint(1, 3)))


def draw(rng: Random) -> Graph:
    """Draws a first release."""
    return Graph(
        rng.choice(FORMS),
        tuple(rng.sample(NODES, rng.randint(1, 3))),
        draw_keys(rng),
        draw_keys(rng) if rng.random() < 0.25 else (),
        rng.choice((None, None, True, False)),
        rng.choice((1, 2, 3, 1000)),
        rng.random() < 0.15,
    )


def changed(rng: Random, graph: Graph) -> Graph:
    """Draws the next release: one or two things are different."""
    for _ in range(rng.choice((1, 1, 2))):
        graph = rng.choice(_CHANGES)(rng, graph)
    return graph


def _key_added(rng: Random, graph: Graph) -> Graph:
    return replace(graph, keys=(*(dict(graph.keys) | {rng.choice(KEYS): rng.choice(KINDS)}).items(),))


def _key_removed(rng: Random, graph: Graph) -> Graph:
    gone = rng.choice(graph.keys)
    return replace(graph, keys=tuple(key for key in graph.keys if key != gone) or (("z", "last"),))


def _key_renamed(rng: Random, graph: Graph) -> Graph:
    old, new = rng.choice(graph.keys)[0], rng.choice(KEYS)
    return replace(graph, keys=(*{new if name == old else name: kind for name, kind in graph.keys}.items(),))


def _kind_changed(rng: Random, graph: Graph) -> Graph:
    name = rng.choice(graph.keys)[0]
    return replace(graph, keys=(*(dict(graph.keys) | {name: rng.choice(KINDS)}).items(),))


def _node_renamed(rng: Random, graph: Graph) -> Graph:
    old = rng.choice(graph.nodes)
    new = rng.choice([name for name in NODES if name not in graph.nodes] or [old])
    return replace(graph, nodes=tuple(new if name == old else name for name in graph.nodes))


def _form_changed(rng: Random, graph: Graph) -> Graph:
    return replace(graph, form=rng.choice(FORMS))


def _subgraph_changed(rng: Random, graph: Graph) -> Graph:
    return replace(graph, inside=() if graph.inside else draw_keys(rng), persistent=rng.choice((None, True, False)))


def _another(rng: Random, graph: Graph) -> Graph:
    return draw(rng)


def _snapshots_changed(rng: Random, graph: Graph) -> Graph:
    return replace(graph, every=rng.choice((1, 2, 1000)), deferred=not graph.deferred)


_CHANGES: tuple[Callable[[Random, Graph], Graph], ...] = (
    _key_added,
    _key_removed,
    _key_removed,
    _key_renamed,
    _kind_changed,
    _kind_changed,
    _node_renamed,
    _form_changed,
    _subgraph_changed,
    _another,
    _snapshots_changed,
)


# --- what nodes do


class Script:
    """What the nodes of a graph do in one step, the same in every world.

    Attributes:
        seed: Of the step.
        eagerness: How often a node interrupts, fails, goes somewhere else.
    """

    def __init__(self, seed: int, eagerness: dict[str, float]) -> None:
        self.seed = seed
        self.eagerness = eagerness
        self._calls: Counter[tuple[str, Any]] = Counter()
        self._lock = threading.Lock()

    def draw(self, node: str, part: Any = None) -> Random:
        with self._lock:
            self._calls[node, part] += 1
            return Random(f"{self.seed}/{node}/{part}/{self._calls[node, part]}")

    def wants(self, rng: Random, what: str) -> bool:
        return rng.random() < self.eagerness.get(what, 0)

    def questions(self, rng: Random, node: str) -> list[Any]:
        """Interrupts once or twice, if it wants to. Returns the answers."""
        if not self.wants(rng, "interrupt"):
            return []
        return [interrupt({"from": node, "number": number}) for number in range(rng.choice((1, 1, 2)))]


def fold(before: Any, write: Any) -> list[Any]:
    """Adds to a list, whatever the channel held when it was of another class."""
    return [*_as_list(before), *_as_list(write)]


def fold_all(before: Any, writes: Any) -> list[Any]:
    return [*_as_list(before), *(item for write in writes for item in _as_list(write))]


def total(before: Any, write: Any) -> int:
    return sum(part for part in (before, write) if type(part) is int)


def messages(before: Any, write: Any) -> Any:
    return add_messages([item for item in _as_list(before) if hasattr(item, "content")], write)


def _as_list(found: Any) -> list[Any]:
    return list(found) if isinstance(found, (list, tuple)) else [] if found is None else [found]


def annotations(keys: tuple[tuple[str, str], ...], every: int) -> dict[str, Any]:
    kinds = {
        "last": Any,
        "add": Annotated[list, fold],
        "sum": Annotated[int, total],
        "delta": Annotated[list, DeltaChannel(fold_all, snapshot_frequency=every)],
        "untracked": Annotated[Any, UntrackedValue(object)],
        "ephemeral": Annotated[Any, EphemeralValue(object, guard=False)],
        "messages": Annotated[list, messages],
    }
    return {name: kinds[kind] for name, kind in keys}


def build(graph: Graph, saver: Any, script: Script) -> Any:
    """Compiles a graph with a saver."""
    if graph.form == "entrypoint":
        return _flow(graph, saver, script)
    builder = StateGraph(TypedDict("State", annotations(graph.keys, graph.every), total=False))
    for name in graph.nodes:
        if graph.inside and name == graph.nodes[0]:
            builder.add_node(name, _subgraph(graph, script))
        else:
            last = graph.deferred and len(graph.nodes) > 1 and name == graph.nodes[-1]
            builder.add_node(name, _node(graph, script, name), defer=last)
    _connect(builder, graph, script)
    return builder.compile(checkpointer=saver)


def _connect(builder: StateGraph, graph: Graph, script: Script) -> None:
    first, *rest = graph.nodes
    builder.add_edge(START, first)
    if graph.form == "fan" and rest:
        *middle, last = rest
        for name in middle:
            builder.add_edge(START, name)
        builder.add_edge([first, *middle], last)
    elif graph.form == "sends":
        builder.add_conditional_edges(first, lambda state: _sends(graph, script))
    elif graph.form == "loop":
        builder.add_conditional_edges(first, lambda state: script.draw(f"after {first}").choice([*graph.nodes, END]))
        for name in rest:
            builder.add_edge(name, first)
    else:
        for name, following in zip(graph.nodes, rest, strict=False):
            builder.add_edge(name, following)


def _sends(graph: Graph, script: Script) -> Any:
    rng = script.draw("sends")
    targets = graph.nodes[1:]
    return [Send(rng.choice(targets), {"part": number}) for number in range(rng.randint(0, 3))] if targets else []


def _node(graph: Graph, script: Script, name: str) -> Callable[[Any], Any]:
    keys = dict(graph.keys)

    def run(state: Any) -> Any:
        part = state.get("part") if isinstance(state, dict) else None
        rng = script.draw(name, part)
        answers = script.questions(rng, name)
        if script.wants(rng, "fail"):
            raise Failed(name)
        update = values.update(rng, keys)
        for key, kind in keys.items():
            if answers and kind in ("last", "add"):
                update[key] = answers
        if script.wants(rng, "goto"):
            return Command(update=update, goto=rng.choice([*graph.nodes, END]))
        return update or None

    return run


def _subgraph(graph: Graph, script: Script) -> Any:
    shared = {name: kind for name, kind in graph.keys if is_shared(name)}
    keys = {**shared, **dict(graph.inside)}
    inner = replace(graph, keys=(*keys.items(),), inside=())
    builder = StateGraph(TypedDict("Inside", annotations(inner.keys, graph.every), total=False))
    builder.add_node("in1", _node(replace(inner, nodes=("in1", "in2")), script, "in1"))
    builder.add_node("in2", _node(replace(inner, nodes=("in1", "in2")), script, "in2"))
    builder.add_edge(START, "in1")
    builder.add_edge("in1", "in2")
    return builder.compile(checkpointer=graph.persistent)


def is_shared(name: str) -> bool:
    """Says whether a subgraph shares a key with its parent: the first two of `KEYS`."""
    return name in KEYS[:2]


def _flow(graph: Graph, saver: Any, script: Script) -> Any:
    @task
    def part(number: int) -> Any:
        rng = script.draw("part", number)
        if script.wants(rng, "fail"):
            raise Failed("part")
        return values.anything(rng)

    @entrypoint(checkpointer=saver)
    def flow(given: Any, *, previous: Any = None) -> Any:
        rng = script.draw("flow")
        parts = [part(number).result() for number in range(rng.randint(0, 2))]
        answers = script.questions(rng, "flow")
        if script.wants(rng, "fail"):
            raise Failed("flow")
        if rng.random() < 0.5:
            return entrypoint.final(value=parts, save=values.anything(rng))
        return {"parts": parts, "answers": answers, "was": previous is not None}

    return flow
