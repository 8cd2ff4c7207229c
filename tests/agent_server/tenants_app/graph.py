"""The graph that the tests run: it repeats what it is told, and sleeps as long as ``NAP`` says."""

import asyncio
import operator
import os
from typing import Annotated

from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict


class State(TypedDict):
    log: Annotated[list[str], operator.add]


async def act(state: State):
    await asyncio.sleep(float(os.environ.get("NAP", "0")))
    return {"log": [state["log"][-1].upper()]}


graph = StateGraph(State).add_node(act).add_edge(START, "act").compile()
