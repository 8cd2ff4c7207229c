"""What is run: whole graphs, from one that does nothing to one that carries a large state."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages

from .payloads import words


class AgentState(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]
    turn: int


class WorkingState(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]
    step: int
    documents: list[str]


class EmptyState(TypedDict):
    value: int


def _agent() -> StateGraph:
    """Five turns of model and tool, as a chat agent takes them."""
    thought, answer = words(400), words(800)

    def model(state: AgentState) -> dict[str, Any]:
        turn = state["turn"] + 1
        calls = [{"name": "search", "args": {"query": thought[:40]}, "id": f"call-{turn}"}] if turn <= 5 else []
        return {"messages": AIMessage(thought, tool_calls=calls), "turn": turn}

    def tools(state: AgentState) -> dict[str, Any]:
        call = state["messages"][-1].tool_calls[0]
        return {"messages": ToolMessage(answer, tool_call_id=call["id"])}

    graph = StateGraph(AgentState)
    graph.add_node("model", model)
    graph.add_node("tools", tools)
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", lambda state: "tools" if state["turn"] <= 5 else END, ["tools", END])
    graph.add_edge("tools", "model")
    return graph


def _working() -> StateGraph:
    """Twenty steps that each add a message of 2 kB, beside 256 kB of documents that do not change."""
    text = words(2000)

    def work(state: WorkingState) -> dict[str, Any]:
        return {"messages": AIMessage(text), "step": state["step"] + 1}

    graph = StateGraph(WorkingState)
    graph.add_node("work", work)
    graph.add_edge(START, "work")
    graph.add_conditional_edges("work", lambda state: "work" if state["step"] < 20 else END, ["work", END])
    return graph


def _empty() -> StateGraph:
    """Five nodes in a row that do nothing: all there is to see is the cost of checkpoints."""
    graph = StateGraph(EmptyState)
    graph.add_sequence([(f"node{number}", lambda state: {}) for number in range(1, 6)])
    graph.add_edge(START, "node1")
    return graph


@dataclass(frozen=True)
class Graph:
    """A graph to run.

    Attributes:
        build: Makes it, to be compiled with a checkpointer.
        inputs: What it is started with.
    """

    build: Callable[[], StateGraph]
    inputs: dict[str, Any]

    def runner(self, saver: BaseCheckpointSaver) -> Callable[[], str]:
        """Compiles the graph and gives a call that runs it in a new thread, whose id it returns."""
        app = self.build().compile(checkpointer=saver)
        numbers = itertools.count()

        def run() -> str:
            thread = f"thread-{next(numbers)}"
            app.invoke(self.inputs, {"configurable": {"thread_id": thread}, "recursion_limit": 50})
            return thread

        return run


AGENT, WORKING, EMPTY = "agent", "20 steps, 256 kB", "5 empty nodes"

GRAPHS: dict[str, Graph] = {
    AGENT: Graph(_agent, {"messages": [HumanMessage(words(200))], "turn": 0}),
    WORKING: Graph(
        _working,
        {"messages": [HumanMessage("go")], "step": 0, "documents": [words(4000, seed) for seed in range(64)]},
    ),
    EMPTY: Graph(_empty, {"value": 1}),
}
"""Every graph by name."""
