"""A FastAPI service with tenants: endpoints that are async, sync and streaming, on one checkpointer. It then talks to itself.

    python examples/fastapi_tenants.py

The tenant comes from what the service has authenticated (here a bearer token, without a password), is set once by a
middleware, and is asked for by ``required_context``: an endpoint that is reached without a tenant can store nothing. Needs
fastapi and httpx besides the package's extra ``examples``; no network, no account.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

os.environ["LANGSMITH_TRACING"] = "false"  # stays offline even where tracing is set up

import httpx
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.store.memory import InMemoryStore

from encrypted_serde import EncryptedSaver, EncryptedSerdeError, Key
from encrypted_serde.asgi import EncryptionContextMiddleware, error_response
from encrypted_serde.kms.local import LocalKeyWrapper
from encrypted_serde.tenants.keyring import TenantKeyring


def build_agent(saver: BaseCheckpointSaver[Any]) -> CompiledStateGraph:
    """An agent that knows nothing of tenants or keys."""
    builder = StateGraph(MessagesState)
    builder.add_node("answer", lambda state: {"messages": [("ai", f"noted: {state['messages'][-1].content}")]})
    builder.add_edge(START, "answer")
    return builder.compile(checkpointer=saver)


def thread(thread_id: str) -> dict[str, Any]:
    return {"configurable": {"thread_id": thread_id}}


def said(text: str) -> dict[str, Any]:
    return {"messages": [("human", text)]}


def tenant_of(scope: Any) -> dict[str, str] | None:
    """Gives the tenant of a request. In a real service: from the user that the authentication middleware put there."""
    token = dict(scope["headers"]).get(b"authorization", b"").decode()
    _, at, tenant = token.removeprefix("Bearer ").partition("@")
    return {"tenant_id": tenant} if at else None


def user_of(scope: Any) -> str | None:
    return dict(scope["headers"]).get(b"authorization", b"").decode().removeprefix("Bearer ").partition("@")[0] or None


def create_app(agent: CompiledStateGraph) -> FastAPI:
    """The service. Not one endpoint mentions a tenant."""
    app = FastAPI(exception_handlers={EncryptedSerdeError: error_response})
    app.add_middleware(EncryptionContextMiddleware, context=tenant_of, actor=user_of)

    @app.post("/async/{thread_id}")
    async def answer(thread_id: str, request: Request) -> list[str]:
        result = await agent.ainvoke(said((await request.body()).decode()), thread(thread_id))
        return [message.content for message in result["messages"]]

    @app.post("/sync/{thread_id}")
    def answer_in_a_thread(thread_id: str, text: str) -> list[str]:
        return [message.content for message in agent.invoke(said(text), thread(thread_id))["messages"]]

    @app.post("/stream/{thread_id}")
    async def stream(thread_id: str, request: Request) -> StreamingResponse:
        text = (await request.body()).decode()

        async def lines() -> AsyncIterator[str]:
            async for update in agent.astream(said(text), thread(thread_id), stream_mode="updates"):
                for node in update:
                    yield json.dumps({"node": node}) + "\n"

        return StreamingResponse(lines(), media_type="application/x-ndjson")

    @app.get("/thread/{thread_id}")
    async def read(thread_id: str) -> list[str]:
        state = await agent.aget_state(thread(thread_id))
        return [message.content for message in state.values.get("messages", [])]

    return app


@asynccontextmanager
async def sqlite_service(file: Path) -> AsyncIterator[FastAPI]:
    """Opens the database. In a service this is the lifespan of the application."""
    async with AsyncExitStack() as stack:
        inner = await stack.enter_async_context(AsyncSqliteSaver.from_conn_string(str(file)))
        await inner.setup()
        # In production: a PostgresStore of its own, and the wrapper of a key service. See docs/keys.md.
        keys = await asyncio.to_thread(TenantKeyring, InMemoryStore(), LocalKeyWrapper(Key.generate()))
        yield create_app(
            build_agent(EncryptedSaver(inner, keys, required_context=("tenant_id",), require_context_to_read=True))
        )


async def main() -> None:
    """Talks to the service as two tenants, and as nobody."""
    logging.basicConfig(stream=sys.stdout, format="   log: %(message).70s ...")
    alice, bob = {"authorization": "Bearer alice@acme"}, {"authorization": "Bearer bob@globex"}
    with tempfile.TemporaryDirectory() as directory:
        async with sqlite_service(Path(directory, "checkpoints.sqlite")) as app:
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
                await client.post("/async/1", content="one", headers=alice)
                await client.post("/sync/1", params={"text": "two"}, headers=alice)
                await client.post("/stream/1", content="three", headers=alice)
                print("alice reads:", (await client.get("/thread/1", headers=alice)).json())
                print("bob reads:", (await client.get("/thread/1", headers=bob)).status_code)
                print("bob writes:", (await client.post("/async/1", content="hi", headers=bob)).status_code)
                print("nobody reads:", (await client.get("/thread/1")).status_code)
                print("alice reads:", (await client.get("/thread/1", headers=alice)).json())


if __name__ == "__main__":
    asyncio.run(main())
