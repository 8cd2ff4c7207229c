"""The graph that the tests run: it shouts, and says which tenant it runs for."""

import base64
import json
import operator
from typing import Annotated

from langgraph.config import get_store
from langgraph.graph import END, START, StateGraph
from langgraph_api.encryption.context import get_encryption_context
from langgraph_sdk import get_client
from typing_extensions import TypedDict


class State(TypedDict):
    text: str
    action: str
    log: Annotated[list[str], operator.add]


async def act(state: State):
    context = get_encryption_context()
    if state.get("action") == "store":
        await get_store().aput(("graph",), "item", {"text": state["text"]})
    if state.get("action") == "loopback":
        header = base64.b64encode(json.dumps(context).encode()).decode()
        async with get_client(url=None, headers={"X-Encryption-Context": header}) as client:
            await client.threads.create(metadata={"owner": "graph", "text": state["text"]})
    return {"log": [state["text"].upper(), f"tenant {context.get('tenant_id')}"]}


builder = StateGraph(State)
builder.add_node(act)
builder.add_edge(START, "act")
builder.add_edge("act", END)
graph = builder.compile()
