"""The leak scan on a row: what of the planted secrets stands readable in the raw cells, by what it was to the application."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Iterator
from typing import Any, TypedDict

from langgraph.graph import END, START, StateGraph

from tests.coverage.layers import leaves
from tests.coverage.row import ASYNC, Place
from tests.saver.leak_scan import SECRETS, flatten, found_in, steps

KINDS: dict[str, tuple[str, ...]] = {
    "scalars": ("str", "int", "float", "enum", "update-state", "command-update"),
    "metadata": ("metadata",),
    "configurable": ("configurable",),
}
"""What a secret was; all others are values."""

NAMES = {"thread id": "thread-Zx81qW", "node": "node-Zx81qW", "channel": "channel-Zx81qW"}
"""Readable by nature, and counted apart."""


def kind_of(secret: str) -> str:
    return next((kind for kind, secrets in KINDS.items() if secret in secrets), "values")


def planted() -> dict[str, int]:
    """How many secrets of each kind there are."""
    kinds = [kind_of(secret) for secret in SECRETS]
    return {kind: kinds.count(kind) for kind in ("values", *KINDS)}


async def run_and_scan(saver: Any, place: Place, mode: str) -> dict[str, Any]:
    """Runs the graphs that plant the secrets, and counts those that are found, by kind; ``names`` apart.

    A step may fail in the saver itself; what it ``raised`` is noted, and what is stored by then is scanned all the same.
    """
    named = {NAMES["channel"]: 1}, {"configurable": {"thread_id": NAMES["thread id"]}}
    raised = [
        await _run(graph, name, arguments, mode)
        for graph, name, arguments in (*steps(saver), (_named_graph(saver), "invoke", named))
    ]
    cells = [*_cells(place.dump())]
    found = [kind_of(secret) for secret in found_in(cells)]
    counts = {kind: found.count(kind) for kind in ("values", *KINDS)}
    return {**counts, "names": len(found_in(cells, NAMES)), "raised": [each for each in raised if each]}


async def _run(graph: Any, name: str, arguments: tuple[Any, ...], mode: str) -> str:
    call: Callable[..., Any] = getattr(graph, f"a{name}" if mode == ASYNC else name)
    try:
        await (call(*arguments) if mode == ASYNC else asyncio.to_thread(call, *arguments))
    except Exception as error:  # noqa: BLE001  # each saver has errors of its own
        # One of the steps is meant to fail, so that its error is stored.
        return "" if str(error) == SECRETS["error"] else type(error).__name__
    return ""


def _named_graph(saver: Any) -> Any:
    state = TypedDict("State", {NAMES["channel"]: int})  # type: ignore[misc]
    builder = StateGraph(state)
    builder.add_node(NAMES["node"], lambda state: {NAMES["channel"]: 2})
    builder.add_edge(START, NAMES["node"])
    builder.add_edge(NAMES["node"], END)
    return builder.compile(checkpointer=saver)


def _cells(stored: dict[Hashable, Any]) -> Iterator[Any]:
    """Everything that is stored, as it stands there and once more unwrapped: a compressed secret is readable too."""
    yield from flatten(stored)
    for record in stored.values():
        for leaf in leaves(record):
            yield leaf.value
