"""A thread that is deleted or pruned while a run goes on in it: the run goes on, and nobody is locked out."""

from __future__ import annotations

from typing import Any, TypedDict

import pytest
from langgraph.graph import START, StateGraph

from encrypted_serde import EncryptedSaver
from encrypted_serde.anchor import MemoryAnchor
from tests.savers import any_saver

CONFIG: Any = {"configurable": {"thread_id": "one"}}


class State(TypedDict, total=False):
    kept: Any
    step: Any


def graph_of(saver: Any, meanwhile: Any) -> Any:
    """A graph whose second step does something to its thread, and whose third stores what the first wrote no more."""

    async def second(state: State) -> State:
        await meanwhile()
        return {"step": 2}

    builder = StateGraph(State)
    builder.add_node("first", lambda state: {"kept": {"of": "the first"}})
    builder.add_node("second", second)
    builder.add_node("third", lambda state: {"step": 3})
    builder.add_edge(START, "first")
    builder.add_edge("first", "second")
    builder.add_edge("second", "third")
    return builder.compile(checkpointer=saver)


@pytest.mark.parametrize("kind", ["InMemory", "AsyncSqlite", "AsyncPostgres"])
@pytest.mark.parametrize("is_anchored", [False, True])
async def test_a_run_goes_on_in_a_thread_that_its_saver_deletes(kind, is_anchored, saver_place, key):
    async with any_saver(kind, saver_place(kind), None) as inner:
        options = {"anchor": MemoryAnchor()} if is_anchored else {}
        saver = EncryptedSaver(inner, key, **options)
        await _goes_on(saver, lambda: saver.adelete_thread("one"))


@pytest.mark.parametrize("kind", ["InMemory", "AsyncSqlite", "AsyncPostgres"])
async def test_with_an_anchor_a_run_goes_on_whoever_deletes_its_thread(kind, saver_place, key):
    anchor = MemoryAnchor()
    async with any_saver(kind, saver_place(kind), None) as inner:
        other = EncryptedSaver(inner, key, anchor=anchor)
        await _goes_on(EncryptedSaver(inner, key, anchor=anchor), lambda: other.adelete_thread("one"), other)


async def _goes_on(saver: EncryptedSaver, delete: Any, *others: EncryptedSaver) -> None:
    app = graph_of(saver, delete)
    assert await app.ainvoke({"step": 0}, CONFIG, durability="sync") == {"kept": {"of": "the first"}, "step": 3}
    for reader in (saver, *others):
        assert (await graph_of(reader, delete).aget_state(CONFIG)).values["step"] == 3
        assert [found async for found in reader.alist(None)]
    assert (await app.ainvoke({"step": 9}, CONFIG, durability="sync"))["step"] == 3


async def test_a_run_goes_on_beside_another_whose_thread_is_pruned(saver_place, key):
    async with any_saver("AsyncPostgres", saver_place("AsyncPostgres"), None) as inner:
        saver = EncryptedSaver(inner, key)

        async def nothing() -> None:
            pass

        async def meanwhile() -> None:
            await graph_of(saver, nothing).ainvoke({"step": 0}, CONFIG, durability="sync")
            await saver.aprune(["one"])

        await graph_of(saver, meanwhile).ainvoke({"step": 0}, CONFIG, durability="sync")
        app = graph_of(saver, nothing)
        assert (await app.aget_state(CONFIG)).values == {"kept": {"of": "the first"}, "step": 3}
        assert [found async for found in saver.alist(None)]
