"""The asynchronous face: the same answers and refusals, and nothing left open behind an abandoned list."""

from __future__ import annotations

import asyncio

import pytest
from langgraph.types import Command

from encrypted_serde import AuthenticationFailed, EncryptedSaver, WrongContext, WrongLocation, encryption_context
from tests.saver.graphs import whole_graph
from tests.saver.threads import make_checkpoint
from tests.savers import ASYNC_SAVERS, any_saver, needs_async_interrupt


def _config(thread, **more):
    return {"configurable": {"thread_id": thread, **more}}


async def _whole_run(saver, config):
    first = await whole_graph(saver).ainvoke({"question": "why", "log": []}, config)
    await whole_graph(saver).ainvoke(Command(resume="yes"), config)
    final = await whole_graph(saver).ainvoke(Command(resume="no"), config)
    history = [(state.values, state.next) async for state in whole_graph(saver).aget_state_history(config)]
    return first["__interrupt__"][0].value, final, history


@needs_async_interrupt
@pytest.mark.parametrize("kind", ASYNC_SAVERS)
async def test_a_whole_graph_runs_as_with_the_plain_saver(kind, saver_place, key):
    async with any_saver(kind, saver_place(kind), None) as inner:
        plain = await _whole_run(inner, _config("plain"))
        assert await _whole_run(EncryptedSaver(inner, key), _config("sealed")) == plain


@needs_async_interrupt
@pytest.mark.parametrize("kind", ASYNC_SAVERS)
async def test_many_threads_at_once(kind, saver_place, key):
    async with any_saver(kind, saver_place(kind), None) as inner:
        graph = whole_graph(EncryptedSaver(inner, key))
        configs = [_config(f"t{number}") for number in range(8)]
        await graph.abatch([{"question": str(number), "log": []} for number in range(8)], configs)
        states = await asyncio.gather(*[graph.aget_state(config) for config in configs])
        assert [state.values["question"] for state in states] == [str(number) for number in range(8)]


@pytest.mark.parametrize("kind", ASYNC_SAVERS)
async def test_a_list_that_is_left_early_holds_nothing(kind, saver_place, key):
    async with any_saver(kind, saver_place(kind), None) as inner:
        saver = EncryptedSaver(inner, key)
        for step in range(30):
            config = _config("t", checkpoint_ns="")
            await saver.aput(config, make_checkpoint(step, {}, {}), {"source": "loop", "mark": step % 3}, {})
        for options in ({}, {"limit": 20}, {"filter": {"mark": 1}}, {"filter": {"mark": 1}, "limit": 2}):
            rows = saver.alist(_config("t"), **options)
            async for found in rows:
                assert found.metadata["mark"] in (0, 1, 2)
                break
            await rows.aclose()
            assert await asyncio.wait_for(saver.aget_tuple(_config("t")), 10)
        assert [found.metadata["mark"] async for found in saver.alist(_config("t"), filter={"mark": 1}, limit=3)] == [1, 1, 1]


@pytest.mark.parametrize("kind", ASYNC_SAVERS)
async def test_a_large_value_is_sealed_and_opened_whole(kind, saver_place, key):
    async with any_saver(kind, saver_place(kind), None) as inner:
        saver = EncryptedSaver(inner, key)
        values = {"log": ["x" * 1_000_000, "y" * 300_000], "note": "z" * 400_000}
        versions = {channel: saver.get_next_version(None, None) for channel in values}
        stored = await saver.aput(_config("t", checkpoint_ns=""), make_checkpoint(0, values, versions), {}, versions)
        await saver.aput_writes(stored, [("log", ["w" * 500_000])], "00000000-0000-4000-8000-00000000000a")
        found = await EncryptedSaver(inner, key).aget_tuple(stored)
        assert found.checkpoint["channel_values"] == values
        assert found.pending_writes[0][2] == ["w" * 500_000]


@pytest.mark.parametrize("kind", ASYNC_SAVERS)
async def test_refusals_are_the_same(kind, saver_place, key):
    async with any_saver(kind, saver_place(kind), None) as inner:
        saver = EncryptedSaver(inner, key)
        with encryption_context(tenant_id="a"):
            stored = await saver.aput(_config("t", checkpoint_ns=""), make_checkpoint(0, {}, {}), {"source": "loop"}, {})
        with encryption_context(tenant_id="b"):
            with pytest.raises(WrongContext):
                await saver.aget_tuple(stored)
            with pytest.raises(WrongContext):
                [found async for found in saver.alist(stored)]
        forged = EncryptedSaver(inner, key)
        gated = forged._wiring.gated
        row = await gated.aget_tuple(stored)
        await gated.aput(_config("other", checkpoint_ns=""), row.checkpoint, row.metadata, {})
        with pytest.raises(AuthenticationFailed):
            await saver.aget_tuple(_config("other"))
        changed = {**row.checkpoint, "updated_channels": ["note"]}
        await gated.aput(_config("t", checkpoint_ns=""), changed, row.metadata, {})
        with pytest.raises(WrongLocation):
            await saver.aget_tuple(stored)
        await saver.adelete_thread("t")
        assert await saver.aget_tuple(stored) is None
