"""What happens in a step of a life: each is drawn from its own seed, so that others can be left out and it stays the same."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

from langgraph.graph import END, START
from langgraph.types import Command, StateUpdate

from tests.lives import shapes, values
from tests.lives.shapes import Graph, Script
from tests.lives.worlds import OPERATIONS, World

Act = Callable[[World], Any]


class Step(NamedTuple):
    """A step of a life.

    Attributes:
        kind: One of `KINDS`.
        seed: What everything in it is drawn from.
    """

    kind: str
    seed: int


class Now:
    """Where a life is.

    Attributes:
        graph: The release that is deployed.
        threads: Threads that there are.
        thread: The one of this step.
        plain: The world of the plain saver, which says what there is to choose from.
    """

    def __init__(self, graph: Graph, plain: World) -> None:
        self.graph = graph
        self.threads = ["t1"]
        self.thread = "t1"
        self.plain = plain

    def config(self, thread: str | None = None, **more: Any) -> dict[str, Any]:
        return {"configurable": {"thread_id": thread or self.thread, **more}}


def draw(rng: Random) -> Step:
    return Step(rng.choice(WEIGHTED), rng.randrange(2**32))


def act(step: Step, now: Now) -> tuple[Act, Script]:
    """Draws what happens in a step.

    Returns:
        What to do in each world, and what nodes do meanwhile.
    """
    rng = Random(step.seed)
    if rng.random() < 0.15 and len(now.threads) < 3:
        now.threads.append(f"t{len(now.threads) + 1}")
    now.thread = rng.choice(now.threads)
    eager = rng.choice(
        (
            {},
            {"interrupt": 0.4},
            {"fail": 0.3},
            {"goto": 0.3},
            {"interrupt": 0.4, "goto": 0.2},
            {"interrupt": 0.3, "fail": 0.2, "goto": 0.2},
        )
    )
    return KINDS[step.kind](rng, now), Script(step.seed, eager)


# --- runs


class _Run(NamedTuple):
    """How a graph is called; everything but the input."""

    config: dict[str, Any]
    options: dict[str, Any]


def _how(rng: Random, now: Now, **configurable: Any) -> _Run:
    if rng.random() < 0.5:
        configurable["run_id"] = f"run-{rng.randint(1, 2)}"
    if rng.random() < 0.3:
        configurable["author"] = rng.choice(values.METADATA)
    config = {
        **now.config(**configurable),
        "metadata": values.metadata(rng),
        "recursion_limit": rng.choice((4, 8, 12)),
    }
    options: dict[str, Any] = {"durability": rng.choice(("sync", "async", "exit"))}
    # LangGraph hands over the set of a join that waits, and fills it while a thread stores it.
    # A shallow saver deletes writes of all checkpoints but the one it stores and its parent: stored late, of the next one, too.
    if options["durability"] == "async" and (now.graph.form == "fan" or now.plain.home.is_shallow):
        options["durability"] = "sync"
    for moment in ("interrupt_before", "interrupt_after"):
        if rng.random() < 0.15:
            options[moment] = rng.choice(("*", [rng.choice(now.graph.nodes)]))
    return _Run(config, options)


def _given(rng: Random, now: Now) -> Any:
    return values.update(rng, dict(now.graph.keys)) or {now.graph.keys[0][0]: values.value(rng, now.graph.keys[0][1])}


def _invoke(world: World, graph: Any, given: Any, how: _Run) -> Any:
    return world.calls.one(graph, "invoke", given, how.config, **how.options)


def _run(rng: Random, now: Now) -> Act:
    given, how = _given(rng, now), _how(rng, now)
    return lambda world: _invoke(world, world.graph, given, how)


def _go_on(rng: Random, now: Now) -> Act:
    how = _how(rng, now)
    return lambda world: _invoke(world, world.graph, None, how)


def _answer(rng: Random, now: Now) -> Act:
    form = rng.choice(("value", "value", "one by id", "all by id", "with update", "with goto", "goto alone", "update alone"))
    value, how, which = values.anything(rng), _how(rng, now), rng.randint(0, 3)
    update, goto = _given(rng, now), rng.choice([*now.graph.nodes, END])

    def resume(world: World) -> Any:
        if form not in ("one by id", "all by id"):
            return value
        state = world.calls.one(world.graph, "get_state", now.config(), subgraphs=True)
        asked = [found.id for found in state.interrupts]
        if not asked:
            return value
        return dict.fromkeys(asked, value) if form == "all by id" else {asked[which % len(asked)]: value}

    def do(world: World) -> Any:
        command: dict[str, Any] = {"resume": resume(world)} if not form.endswith("alone") else {}
        if "update" in form:
            command["update"] = update
        if "goto" in form:
            command["goto"] = goto
        return _invoke(world, world.graph, Command(**command), how)

    return do


# --- forks and updates


def _place(rng: Random, now: Now) -> Callable[[World], dict[str, Any]]:
    """Draws a checkpoint of the thread, or its newest."""
    if rng.random() < 0.5:
        return lambda world: now.config()
    which = rng.randint(0, 30)

    def find(world: World) -> dict[str, Any]:
        listed = world.calls.all(world.saver, "list", now.config(checkpoint_ns=""))
        return dict(listed[which % len(listed)].config) if listed else now.config()

    return find


def _fork(rng: Random, now: Now) -> Act:
    find, how, given = _place(rng, now), _how(rng, now), rng.choice((None, _given(rng, now)))

    def do(world: World) -> Any:
        found = find(world)["configurable"]
        config = {**how.config, "configurable": {**how.config["configurable"], **found}}
        return _invoke(world, world.graph, given, how._replace(config=config))

    return do


def _update(rng: Random, now: Now) -> Act:
    find, node, given = _place(rng, now), _as_node(rng, now), _given(rng, now)
    given = None if node in (END, "__copy__") and rng.random() < 0.8 else given
    run = rng.choice((None, "run-1"))

    def do(world: World) -> Any:
        config = find(world)
        config = {"configurable": {**config["configurable"], **({"run_id": run} if run else {})}}
        world.calls.one(world.graph, "update_state", config, given, as_node=node)

    return do


def _as_node(rng: Random, now: Now) -> str | None:
    nodes = (
        ["flow"]
        if now.graph.form == "entrypoint"
        else [*now.graph.nodes, *now.graph.nodes, START, END, "__copy__", "__input__"]
    )
    return rng.choice([None, *nodes])


def _bulk(rng: Random, now: Now) -> Act:
    nodes = now.graph.nodes
    supersteps = [
        [StateUpdate(_given(rng, now), rng.choice(nodes)) for _ in range(rng.choice((1, 1, 2)))]
        for _ in range(rng.randint(1, 3))
    ]
    find = _place(rng, now)

    def do(world: World) -> Any:
        world.calls.one(world.graph, "bulk_update_state", find(world), supersteps)

    return do


def _update_inside(rng: Random, now: Now) -> Act:
    given = values.update(rng, dict(now.graph.inside)) or {"a": 1}
    node = rng.choice((None, "in1", "in2"))

    def do(world: World) -> Any:
        state = world.calls.one(world.graph, "get_state", now.config())
        inside = [task.state for task in state.tasks if isinstance(task.state, dict)]
        if inside:
            world.calls.one(world.graph, "update_state", inside[0], given, as_node=node)

    return do


# --- releases, threads, operators


def _release(rng: Random, now: Now) -> Act:
    now.graph = shapes.changed(rng, now.graph)
    return World.reopen


def _other_graph(rng: Random, now: Now) -> Act:
    now.graph, old = shapes.draw(rng), now.graph
    run = _run(rng, now)
    other = now.graph

    def do(world: World) -> Any:
        world.graph = world.build(other)
        return run(world)

    now.graph = old
    return do


def _copy(rng: Random, now: Now) -> Act:
    target = f"copy-{rng.randrange(10**6)}"
    source = now.thread
    if now.plain.home.copies and len(now.threads) < 5:
        now.threads.append(target)
        return lambda world: world.calls.one(world.saver, "copy_thread", source, target)
    return lambda world: None


def _prune(rng: Random, now: Now) -> Act:
    strategy = rng.choice(("keep_latest", "keep_latest", "delete"))
    thread = now.thread
    return lambda world: world.calls.one(world.saver, "prune", [thread], strategy=strategy)


def _delete(rng: Random, now: Now) -> Act:
    thread = now.thread
    return lambda world: world.calls.one(world.saver, "delete_thread", thread)


def _reopen(rng: Random, now: Now) -> Act:
    return World.reopen


def _operate(rng: Random, now: Now) -> Act:
    what, seed = rng.choice(OPERATIONS), rng.randrange(2**32)
    return lambda world: world.operate(what, Random(seed))


KINDS: dict[str, Callable[[Random, Now], Act]] = {
    "run": _run,
    "go on": _go_on,
    "answer": _answer,
    "fork": _fork,
    "update": _update,
    "bulk": _bulk,
    "update inside": _update_inside,
    "release": _release,
    "other graph": _other_graph,
    "copy": _copy,
    "prune": _prune,
    "delete": _delete,
    "reopen": _reopen,
    "operate": _operate,
}
WEIGHTED = (
    *("run",) * 6,
    *("go on",) * 3,
    *("answer",) * 4,
    *("fork",) * 3,
    *("update",) * 3,
    "bulk",
    "update inside",
    *("release",) * 5,
    *("other graph",) * 2,
    "copy",
    "prune",
    "delete",
    "reopen",
    *("operate",) * 4,
)
