"""Graphs that change between the runs of one thread, and what is seen of it."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

from langgraph.channels import EphemeralValue, UntrackedValue
from langgraph.channels.delta import DeltaChannel
from langgraph.graph import START, StateGraph

from encrypted_serde import EncryptedSerdeError


def config_of(thread: str = "1") -> dict[str, Any]:
    return {"configurable": {"thread_id": thread}}


def _fold(before: Any, writes: Any) -> list:
    found = list(before or [])
    for write in writes:
        found += write if isinstance(write, list) else [write]
    return found


LIST = Annotated[list, operator.add]
DELTA = Annotated[list, DeltaChannel(_fold)]
KINDS: dict[str, dict[str, Any]] = {
    "with": {"n": int, "notes": LIST, "text": str, "maybe": str | None},
    "without": {"n": int},
    "delta": {"n": int, "notes": DELTA, "text": str, "maybe": str | None},
    "untracked": {"n": int, "notes": Annotated[list, UntrackedValue(list)], "text": str, "maybe": str | None},
    "ephemeral": {"n": int, "notes": Annotated[list, EphemeralValue(list)], "text": str, "maybe": str | None},
    "other": {"n": int, "notes": Annotated[int, operator.add], "text": list, "maybe": LIST},
}
LIVES = [
    ["with", "without", "without", "without", "with", "with"],
    ["with", "delta", "delta", "with", "with"],
    ["with", "untracked", "untracked", "with"],
    ["untracked", "with", "untracked", "with"],
    ["ephemeral", "with", "with", "ephemeral"],
    ["with", "delta", "without", "delta", "untracked", "with"],
    ["without", "with", "without", "delta"],
    ["with", "other", "without", "other"],
]


def graph_of(kind: str, saver: Any) -> Any:
    keys = KINDS[kind]
    given: dict[str, Any] = {"notes": 1 if kind == "other" else ["a"], "text": [] if kind == "other" else "t", "maybe": None}
    if kind == "other":
        given["maybe"] = ["m"]
    first = {name: value for name, value in given.items() if name in keys}
    builder = StateGraph(TypedDict("State", keys, total=False))  # type: ignore[operator]
    builder.add_node("a", lambda state: first or {"n": 5})
    builder.add_node("b", lambda state: {"n": 1})
    builder.add_edge(START, "a")
    builder.add_edge("a", "b")
    return builder.compile(checkpointer=saver)


def lived(life: list[str], saver: Any, thread: str = "1") -> list[Any]:
    """Lives, and returns all that was seen: state after each turn, history, and a fork from the middle of it."""
    seen: list[Any] = []
    config = config_of(thread)

    def look(what: Callable[[], Any]) -> None:
        try:
            seen.append(what())
        except EncryptedSerdeError:
            raise
        except Exception as error:  # noqa: BLE001  # a list where a number was: the plain saver fails alike
            seen.append(type(error).__name__)

    for kind in life:
        graph = graph_of(kind, saver)
        for _ in range(2):
            look(lambda: graph.invoke({"n": 7}, config))  # noqa: B023
            look(lambda: graph.get_state(config).values)  # noqa: B023
        look(lambda: [(state.values, state.next) for state in graph.get_state_history(config)])  # noqa: B023
        look(lambda: _fork(graph, config))  # noqa: B023
    look(lambda: [found.checkpoint["channel_values"] for found in saver.list(config)])
    return seen


def _fork(graph: Any, config: Any) -> Any:
    history = [*graph.get_state_history(config)]
    graph.update_state(history[len(history) // 2].config, {"n": 9})
    return graph.get_state(config).values
