"""A graph with nothing to hide from its own server: it greets, and remembers."""

from __future__ import annotations

from langgraph.graph import START, MessagesState, StateGraph


async def greet(state: MessagesState) -> dict[str, list[tuple[str, str]]]:
    said = len(state["messages"])
    return {"messages": [("ai", f"Hello. That was message {said}, and I have all of them.")]}


graph = StateGraph(MessagesState).add_node(greet).add_edge(START, "greet").compile()
