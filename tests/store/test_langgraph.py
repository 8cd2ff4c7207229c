"""What LangGraph, LangMem and deepagents ask of a store, asked of ours."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import InjectedStore, ToolNode
from langgraph.runtime import Runtime
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore

from encrypted_serde import Key
from encrypted_serde.store import EncryptedStore

from .embedding import DIMS, WordEmbeddings
from .places import ASYNC, any_async_store, bytes_of


def test_runtime_store_remembers_across_threads(inner: BaseStore, key: Key) -> None:
    def remember(state: MessagesState, runtime: Runtime) -> dict[str, Any]:
        assert runtime.store is not None
        before = [item.value["text"] for item in runtime.store.search(("users", "alice"))]
        runtime.store.put(("users", "alice"), "name", {"text": state["messages"][-1].content})
        return {"messages": [AIMessage(f"I know: {before}")]}

    builder = StateGraph(MessagesState)
    builder.add_node("remember", remember)
    builder.add_edge(START, "remember")
    graph = builder.compile(store=EncryptedStore(inner, key))
    graph.invoke({"messages": [HumanMessage("call me Ali")]})
    result = graph.invoke({"messages": [HumanMessage("who am I?")]})
    assert result["messages"][-1].content == "I know: ['call me Ali']"
    assert b"call me" not in bytes_of(inner)


@pytest.mark.parametrize("kind", ASYNC)
async def test_runtime_store_works_asynchronously(kind: str, key: Key, store_place: Callable[[str], Any]) -> None:
    async with any_async_store(kind, store_place(kind)) as inner:

        async def remember(state: MessagesState, runtime: Runtime) -> dict[str, Any]:
            assert runtime.store is not None
            await asyncio.gather(*(runtime.store.aput(("users",), str(n), {"n": n}) for n in range(5)))
            found = await asyncio.gather(*(runtime.store.aget(("users",), str(n)) for n in range(5)))
            return {"messages": [AIMessage(str([item.value["n"] for item in found if item]))]}

        builder = StateGraph(MessagesState)
        builder.add_node("remember", remember)
        builder.add_edge(START, "remember")
        graph = builder.compile(store=EncryptedStore(inner, key))
        result = await graph.ainvoke({"messages": [HumanMessage("hello")]})
        assert result["messages"][-1].content == "[0, 1, 2, 3, 4]"


@tool
def note(text: str, store: Annotated[BaseStore, InjectedStore()]) -> str:
    """Notes something."""
    store.put(("notes",), "last", {"text": text})
    item = store.get(("notes",), "last")
    return "" if item is None else str(item.value["text"])


def test_a_tool_gets_the_store_injected(inner: BaseStore, key: Key) -> None:
    builder = StateGraph(MessagesState)
    builder.add_node("tools", ToolNode([note]))
    builder.add_edge(START, "tools")
    graph = builder.compile(store=EncryptedStore(inner, key))
    call = AIMessage("", tool_calls=[{"name": "note", "args": {"text": "buy milk"}, "id": "1", "type": "tool_call"}])
    assert graph.invoke({"messages": [call]})["messages"][-1].content == "buy milk"


async def test_what_langmem_asks(key: Key) -> None:
    embedder = WordEmbeddings()
    inner = InMemoryStore(index={"dims": DIMS, "embed": embedder, "fields": ["content"]})
    store = EncryptedStore(inner, key, readable_embeddings=True, searchable=("kind",))
    space = ("memories", "alice")
    for number, text in enumerate(["likes tea", "plays chess", "hates rain"]):
        await store.aput(space, str(number), {"kind": "Memory", "content": {"content": text}})
    await store.aput(space, "raw", {"kind": "Profile", "content": "x"}, index=False)
    searches = [
        store.asearch(space, query=query, filter={"kind": "Memory"}, limit=2, offset=0) for query in ("tea", "chess", "rain")
    ]
    found = await asyncio.gather(*searches)
    assert [items[0].key for items in found] == ["0", "1", "2"]
    assert await store.aget(space, "0", refresh_ttl=False) is not None
    await store.adelete(space, "0")
    assert {item.key for item in await store.asearch(space)} == {"1", "2", "raw"}


def test_what_deepagents_asks(inner: BaseStore, key: Key) -> None:
    store = EncryptedStore(inner, key)
    space, size = ("assistant", "filesystem"), 100
    names = [f"/memories/{number}.md" for number in range(250)]
    for name in names:
        store.put(space, name, {"content": [f"# {name}", "text"], "created_at": "2026-01-01", "modified_at": "2026-01-01"})
    found: list[str] = []
    while page := store.search(space, limit=size, offset=len(found)):
        found += [item.key for item in page]
        if len(page) < size:
            break
    assert sorted(found) == sorted(names)
    item = store.get(space, names[7])
    assert item is not None
    store.put(space, names[7], {**item.value, "content": ["edited"]})
    edited = store.get(space, names[7])
    assert edited is not None
    assert edited.value["content"] == ["edited"]
