"""No asynchronous method asks for a key on the event loop, unless the provider is a `Keyring`, which never waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from typing import Any

import pytest
from langgraph.checkpoint.serde.types import _DeltaSnapshot

from encrypted_serde import EncryptedSaver, Key, Keyring
from tests.saver.graphs import answer, whole_graph
from tests.saver.test_interface import _Everything
from tests.saver.threads import TASKS, make_checkpoint
from tests.savers import ASYNC_SAVERS, any_saver, needs_async_interrupt

BIG = "x" * 300_000


class _Service:
    """A provider that may have to ask somewhere: it notes the threads it is called in, and may not be called on the loop."""

    def __init__(self, key: Key) -> None:
        self.key, self.calls, self.on_loop = key, 0, 0

    def _asked(self) -> Key:
        self.calls += 1
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return self.key
        self.on_loop += 1
        raise AssertionError(f"asked for a key on the event loop, in {threading.current_thread().name}")

    def encryption_key(self, context: Mapping[str, str]) -> Key:
        return self._asked()

    def decryption_key(self, key_id: bytes, context: Mapping[str, str]) -> Key:
        return self._asked()

    def search_keys(self, context: Mapping[str, str]) -> list[Key]:
        return [self._asked()]


def _config(**more: Any) -> dict[str, Any]:
    return {"configurable": {"thread_id": "one", "checkpoint_ns": "", **more}}


async def _put(saver: EncryptedSaver, step: int, config: dict[str, Any], **values: Any) -> dict[str, Any]:
    versions = {channel: saver.get_next_version(None, None) for channel in values}
    metadata = {"source": "loop", "step": step, "user": "alice", "author": "bob"}
    return await saver.aput(config, make_checkpoint(step, values, versions), metadata, versions)


@pytest.fixture
def service(key: Key) -> _Service:
    return _Service(key)


@pytest.mark.parametrize("kind", ASYNC_SAVERS)
async def test_no_method_asks_for_a_key_on_the_event_loop(kind, saver_place, service):
    async with any_saver(kind, saver_place(kind), None) as inner:
        saver = EncryptedSaver(inner, service, searchable_metadata=["user"], context={})
        config = _config()
        for step in range(3):
            config = await _put(
                saver,
                step,
                config,
                note="text",
                count=step,
                log=[step],
                big=BIG,
                many=[BIG],
                items=_DeltaSnapshot([1]),
                none=None,
            )
            before = service.calls
            await saver.aput_writes(config, [("log", [1]), ("big", BIG), ("count", 1), ("items", 2)], TASKS[0])
            assert service.calls > before
        writes = (await saver.aget_tuple(config)).pending_writes
        assert len(writes) == 4
        assert (await saver.aget_tuple(_config())).checkpoint["channel_values"]["big"] == BIG
        for options in (
            {},
            {"limit": 1},
            {"limit": -1},
            {"filter": {"user": "alice"}},
            {"filter": {"author": "bob"}, "limit": 2},
        ):
            if kind == "AsyncPostgres" and options.get("limit") == -1:
                continue  # an error there, as in the plain saver
            assert [found async for found in saver.alist(_config(), **options)] or options == {"limit": -1}
        history = await saver.aget_delta_channel_history(config=config, channels=["items"])
        assert history["items"]["seed"].value == [1]
        slow = EncryptedSaver(inner, service, verify_delta_history=True)
        assert (await slow.aget_delta_channel_history(config=config, channels=["items"])).keys() == {"items"}
        await saver.adelete_thread("one")
        assert await saver.aget_tuple(_config()) is None
    assert service.on_loop == 0
    assert service.calls > 20


async def test_copying_and_pruning_ask_for_no_key_on_the_event_loop(service):
    saver = EncryptedSaver(_Everything(), service)
    config = await _put(saver, 0, _config(), log=[1])
    await saver.aput_writes(config, [("log", [2])], TASKS[0])
    await saver.acopy_thread("one", "two")
    copied = await saver.aget_tuple({"configurable": {"thread_id": "two", "checkpoint_ns": ""}})
    assert (copied.checkpoint["channel_values"], copied.pending_writes) == ({"log": [1]}, [(TASKS[0], "log", [2])])
    await saver.aprune(["two"])
    await saver.adelete_for_runs(["none"])
    assert service.on_loop == 0


@needs_async_interrupt
@pytest.mark.parametrize("kind", ASYNC_SAVERS)
async def test_a_whole_graph_asks_for_no_key_on_the_event_loop(kind, saver_place, service):
    async with any_saver(kind, saver_place(kind), None) as inner:
        graph = whole_graph(EncryptedSaver(inner, service))
        config = {"configurable": {"thread_id": "one"}}
        await graph.ainvoke({"question": "why", "log": []}, config)
        await graph.aupdate_state(config, {"count": 7})
        assert [state async for state in graph.aget_state_history(config)]
    assert service.on_loop == 0
    assert service.calls > 10


async def test_with_a_keyring_small_values_stay_on_the_loop(key):
    """What makes the tests above able to fail: the same calls, with a provider that need not be waited for."""
    threads = set()

    class Noting(Keyring):
        def encryption_key(self, context):
            threads.add(threading.current_thread())
            return super().encryption_key(context)

    saver = EncryptedSaver(_Everything(), Noting(primary=key))
    await _put(saver, 0, _config(), log=[1])
    assert threads == {threading.main_thread()}


def test_the_synchronous_methods_ask_where_they_are_called(service):
    saver = EncryptedSaver(_Everything(), service)
    config = {"configurable": {"thread_id": "one"}}
    whole_graph(saver).invoke({"question": "why", "log": []}, config)
    assert answer(saver, config, "yes")["__interrupt__"]
