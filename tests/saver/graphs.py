"""The graphs that the tests of the saver run."""

from __future__ import annotations

import operator
from typing import Annotated, Any, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, Send, interrupt


class State(TypedDict, total=False):
    """Scalars (which Postgres inlines), a list (which it does not), and a channel that is None."""

    question: str
    answer: str
    count: int
    ratio: float
    done: bool
    nothing: None
    log: Annotated[list, operator.add]


class ChildState(TypedDict, total=False):
    question: str
    log: Annotated[list, operator.add]


def _plan(state: State) -> dict[str, Any]:
    return {"count": 1, "nothing": None, "log": ["planned"]}


def _fan_out(state: State) -> list[Send]:
    return [Send("work", {"question": f"{state['question']}/{part}"}) for part in ("left", "right")]


def _work(state: State) -> dict[str, Any]:
    return {"log": [f"worked on {state['question']}"]}


def _child_step(state: ChildState) -> dict[str, Any]:
    return {"log": ["in the child"]}


def _ask(state: State) -> dict[str, Any]:
    first = interrupt({"ask": "first?"})
    second = interrupt({"ask": "second?"})
    return {"answer": f"{first}, {second}", "log": ["answered"]}


def _finish(state: State) -> dict[str, Any]:
    return {"done": True, "ratio": 0.5, "log": ["finished"]}


def whole_graph(saver: Any) -> Any:
    """Sends, a subgraph with a memory of its own, two interrupts in one node, scalars and None."""
    child = StateGraph(ChildState)
    child.add_node("step", _child_step)
    child.add_edge(START, "step")
    child.add_edge("step", END)
    builder = StateGraph(State)
    builder.add_node("plan", _plan)
    builder.add_node("work", _work)
    builder.add_node("child", child.compile(checkpointer=True))
    builder.add_node("ask", _ask)
    builder.add_node("finish", _finish)
    builder.add_edge(START, "plan")
    builder.add_conditional_edges("plan", _fan_out, ["work"])
    builder.add_edge("work", "child")
    builder.add_edge("child", "ask")
    builder.add_edge("ask", "finish")
    builder.add_edge("finish", END)
    return builder.compile(checkpointer=saver)


def run_until_asked(saver: Any, config: dict[str, Any], question: str = "why") -> dict[str, Any]:
    return whole_graph(saver).invoke({"question": question, "log": []}, config)


def answer(saver: Any, config: dict[str, Any], text: str) -> dict[str, Any]:
    return whole_graph(saver).invoke(Command(resume=text), config)
