"""Off the event loop, and through an outage of the key service."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.store.memory import InMemoryStore

from encrypted_serde import EncryptedSerializer, KeyServiceError, encryption_context
from encrypted_serde.tenants.fetching import REMEMBERED
from encrypted_serde.tenants.keyring import CacheLimits, TenantKeyring
from tests.tenants.conftest import Clock
from tests.tenants.services import CountingWrapper
from tests.tenants.test_keyring import wait_for_refresh

ACME = {"tenant_id": "acme"}


def graph(saver: Any) -> Any:
    builder = StateGraph(MessagesState)
    builder.add_node("agent", lambda state: {"messages": [("ai", "hello")]})
    builder.add_edge(START, "agent")
    return builder.compile(checkpointer=saver)


async def test_no_key_call_blocks_the_loop_after_prefetch(keyring: TenantKeyring, wrapper: CountingWrapper) -> None:
    await asyncio.to_thread(keyring.rotate, ACME)
    await asyncio.to_thread(keyring.rotate, ACME)
    wrapper.calls.clear()
    await keyring.prefetch(ACME)
    assert wrapper.calls == {"unwrap": 2}
    with encryption_context(ACME):
        app = graph(InMemorySaver(serde=EncryptedSerializer(keyring)))
        config: Any = {"configurable": {"thread_id": "1"}}
        await app.ainvoke({"messages": [("human", "hi")]}, config)
        [_ async for _ in app.astream({"messages": [("human", "again")]}, config)]
        assert len((await app.aget_state(config)).values["messages"]) == 4
    assert wrapper.calls == {"unwrap": 2}
    assert wrapper.on_loop == 0


async def test_prefetch_fetches_older_keys_too_so_that_old_rows_do_not_block(
    keyring: TenantKeyring, wrapper: CountingWrapper
) -> None:
    old = keyring.encryption_key(ACME)
    keyring.rotate(ACME)
    wrapper.on_loop = 0
    await keyring.prefetch(ACME)
    assert keyring.decryption_key(old.id, ACME) == old
    assert wrapper.on_loop == 0


async def test_prefetching_a_warm_tenant_calls_nobody(keyring: TenantKeyring, wrapper: CountingWrapper) -> None:
    await asyncio.gather(*(keyring.prefetch(ACME) for _ in range(20)))
    assert wrapper.calls == {"wrap": 1}
    wrapper.down = True
    await keyring.prefetch(ACME)
    assert wrapper.total == 1


async def test_a_long_request_never_blocks_the_loop(keyring: TenantKeyring, wrapper: CountingWrapper, clock: Clock) -> None:
    await keyring.prefetch(ACME)
    for _ in range(40):  # ten cache ages
        clock.now += CacheLimits().age / 4
        keyring.encryption_key(ACME)
        await asyncio.to_thread(wait_for_refresh)
    assert wrapper.on_loop == 0


async def test_prefetched_keys_stay_for_half_the_cache_age(
    keyring: TenantKeyring, wrapper: CountingWrapper, clock: Clock
) -> None:
    await keyring.prefetch(ACME)
    for _ in range(10):
        clock.now += CacheLimits().age * 0.7
        await keyring.prefetch(ACME)
        clock.now += CacheLimits().age * 0.49
        wrapper.on_loop = 0
        keyring.encryption_key(ACME)
        await asyncio.to_thread(wait_for_refresh)
        assert wrapper.on_loop == 0


def test_an_outage_is_not_noticed_while_the_cache_is_warm(
    keyring: TenantKeyring, wrapper: CountingWrapper, clock: Clock
) -> None:
    with encryption_context(ACME):
        serde = EncryptedSerializer(keyring)
        sealed = serde.dumps_typed("before")
        wrapper.down = True
        for _ in range(9):  # until just before the cache is too old, with attempts to refresh it on the way
            clock.now += CacheLimits().age / 10
            assert serde.loads_typed(sealed) == "before"
            assert serde.loads_typed(serde.dumps_typed("during")) == "during"
            wait_for_refresh()
        clock.now += CacheLimits().age / 10
        for call in (lambda: serde.dumps_typed("after"), lambda: serde.loads_typed(sealed)):
            with pytest.raises(KeyServiceError) as caught:
                call()
            assert caught.value.retryable
        wrapper.down = False
        clock.now += REMEMBERED
        assert serde.loads_typed(sealed) == "before"


def test_a_service_that_fails_ahead_of_time_is_not_asked_for_every_value(
    keyring: TenantKeyring, wrapper: CountingWrapper, clock: Clock
) -> None:
    keyring.encryption_key(ACME)
    wrapper.calls.clear()
    wrapper.down = True
    clock.now += CacheLimits().age * 0.8
    for _ in range(100):
        keyring.encryption_key(ACME)
        wait_for_refresh()
    assert wrapper.total == 1


def test_an_outage_with_a_cold_cache_fails_and_writes_nothing(tmp_path: Path, wrapper: CountingWrapper) -> None:
    keyring = TenantKeyring(InMemoryStore(), wrapper)
    wrapper.down = True
    connection = sqlite3.connect(tmp_path / "checkpoints.sqlite", check_same_thread=False)
    saver = SqliteSaver(connection, serde=EncryptedSerializer(keyring, required_context=("tenant_id",)))
    config: Any = {"configurable": {"thread_id": "1"}}
    with encryption_context(ACME), pytest.raises(KeyServiceError) as caught:
        graph(saver).invoke({"messages": [("human", "a secret")]}, config)
    assert caught.value.retryable
    assert connection.execute("SELECT count(*) FROM checkpoints").fetchone() == (0,)
    assert b"a secret" not in (tmp_path / "checkpoints.sqlite").read_bytes()
    connection.close()
