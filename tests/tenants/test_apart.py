"""Tenants apart: a tenant whose key service hangs, fails or is revoked is noticed by nobody else."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Any

import pytest
from langgraph.cache.memory import InMemoryCache
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.store.base import PutOp
from langgraph.store.memory import InMemoryStore

from encrypted_serde import (
    EncryptedCache,
    EncryptedSaver,
    EncryptedStore,
    Key,
    KeyErased,
    KeyServiceError,
    UnknownKey,
    encryption_context,
)
from encrypted_serde.core.waiting import KeyNotHere, PromptKeyProvider, aside, promptly
from encrypted_serde.kms.local import LocalKeyWrapper
from encrypted_serde.kms.per_tenant import PerTenantWrapper
from encrypted_serde.tenants import fetching
from encrypted_serde.tenants.fetching import REMEMBERED
from encrypted_serde.tenants.keyring import CacheLimits, TenantKeyring
from tests.tenants.conftest import Clock
from tests.tenants.services import CountingWrapper

ACME, MALLORY = {"tenant_id": "acme"}, {"tenant_id": "mallory"}


class HangingWrapper(LocalKeyWrapper):
    """A key service that does not answer until it is told to; then it says that it is away."""

    def __init__(self) -> None:
        super().__init__(Key.generate())
        self.hangs = False
        self.answers = threading.Event()
        self.calls = 0

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        if self.hangs:
            self.calls += 1
            self.answers.wait()
            raise KeyServiceError("no answer; a retry may help", retryable=True)
        return super().unwrap(wrapped, context)


class Two:
    """A process that was just started: acme's key is in memory, mallory's is not, and mallory's key service hangs."""

    def __init__(self) -> None:
        good, self.bad = LocalKeyWrapper(Key.generate()), HangingWrapper()
        self.store = InMemoryStore()
        self.wrapper = PerTenantWrapper(lambda context: self.bad if context == MALLORY else good)
        first = TenantKeyring(self.store, self.wrapper)
        for tenant in (ACME, MALLORY):
            first.encryption_key(tenant)
        self.keys = TenantKeyring(self.store, self.wrapper)
        self.keys.encryption_key(ACME)
        self.bad.hangs = True


@pytest.fixture
def two() -> Iterator[Two]:
    made = Two()
    yield made
    made.bad.answers.set()


async def no_threads(*_: Any, **__: Any) -> Any:
    raise RuntimeError("a thread was taken")


async def use_store(keys: TenantKeyring) -> None:
    store = EncryptedStore(InMemoryStore(), keys)
    await store.aput(("n",), "k", {"a": 1})
    assert (await store.aget(("n",), "k")).value == {"a": 1}  # type: ignore[union-attr]
    assert [item.value for item in await store.asearch(("n",))] == [{"a": 1}]


async def use_saver(keys: TenantKeyring) -> None:
    config: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": ""}}
    saver = EncryptedSaver(InMemorySaver(), keys)
    checkpoint: Any = {**empty_checkpoint(), "v": 4, "channel_values": {"a": "x"}, "channel_versions": {"a": "1"}}
    stored = await saver.aput(config, checkpoint, {"source": "loop", "step": 1}, {"a": "1"})
    await saver.aput_writes(stored, [("a", 1)], "task")
    found = await saver.aget_tuple(config)
    assert found is not None
    assert found.checkpoint["channel_values"] == {"a": "x"}
    assert len([row async for row in saver.alist(config)]) == 1


async def use_cache(keys: TenantKeyring) -> None:
    cache = EncryptedCache(InMemoryCache(), keys)
    await cache.aset({(("n",), "k"): (1, None)})
    assert await cache.aget([(("n",), "k")]) == {(("n",), "k"): 1}


@pytest.mark.parametrize("use", [use_store, use_saver, use_cache])
async def test_a_warm_tenant_needs_no_thread(
    two: Two, monkeypatch: pytest.MonkeyPatch, use: Callable[[TenantKeyring], Any]
) -> None:
    monkeypatch.setattr(asyncio, "to_thread", no_threads)
    with encryption_context(ACME):
        await use(two.keys)


async def test_a_hundred_requests_of_a_tenant_whose_service_hangs_take_no_thread_from_others(two: Two) -> None:
    store = EncryptedStore(InMemoryStore(), two.keys)

    async def request() -> None:
        with encryption_context(MALLORY):
            await store.aput(("n",), "m", {"a": 1})

    waiting = [asyncio.create_task(request()) for _ in range(100)]
    while not two.bad.calls:
        await asyncio.sleep(0)
    with encryption_context(ACME):
        await asyncio.wait_for(use_store(two.keys), 30)
        assert await asyncio.wait_for(asyncio.to_thread(lambda: "free"), 30) == "free"
    assert not any(task.done() for task in waiting)
    two.bad.answers.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(result) for result in results} == {KeyServiceError}
    assert two.bad.calls == 1  # the service was asked once for all of them


async def test_a_cold_tenant_does_not_wait_for_one_whose_service_hangs(two: Two) -> None:
    waiting = asyncio.create_task(two.keys.prefetch(MALLORY))
    while not two.bad.calls:
        await asyncio.sleep(0)
    await asyncio.wait_for(two.keys.prefetch({"tenant_id": "new"}), 30)
    assert not waiting.done()
    two.bad.answers.set()
    with pytest.raises(KeyServiceError):
        await waiting


async def test_a_request_that_is_cancelled_ends_the_wait_of_no_other(two: Two) -> None:
    one, other = (asyncio.create_task(two.keys.prefetch(MALLORY)) for _ in range(2))
    while not two.bad.calls:
        await asyncio.sleep(0)
    one.cancel()
    two.bad.answers.set()
    with pytest.raises(asyncio.CancelledError):
        await one
    with pytest.raises(KeyServiceError):
        await other


def test_threads_that_wait_for_one_tenant_ask_its_service_once_when_it_fails(two: Two) -> None:
    with ThreadPoolExecutor(16) as pool:
        asked = [pool.submit(two.keys.encryption_key, dict(MALLORY)) for _ in range(16)]
        while not two.bad.calls:
            pass
        assert two.keys.encryption_key(dict(ACME))
        two.bad.answers.set()
        assert {type(each.exception()) for each in asked} == {KeyServiceError}
    assert two.bad.calls == 1


def test_a_service_that_hangs_does_not_take_all_threads(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "PATIENCE", 0.05)
    with ThreadPoolExecutor(20) as pool:
        asked = [pool.submit(two.keys.encryption_key, dict(MALLORY)) for _ in range(20)]
        at_once, waiting = wait(asked, return_when=FIRST_EXCEPTION)
        while len(at_once) < 17:  # one fetches, two wait for it
            at_once, waiting = wait(asked, timeout=0.1)
        assert len(waiting) == 3
        assert {each.exception().retryable for each in at_once} == {True}  # type: ignore[union-attr]
        two.bad.answers.set()
    assert two.bad.calls == 1


def test_a_failure_counts_for_a_second(keyring: TenantKeyring, wrapper: CountingWrapper, clock: Clock) -> None:
    wrapper.down = True
    for _ in range(10):
        with pytest.raises(KeyServiceError):
            keyring.encryption_key(ACME)
    assert wrapper.total == 1
    wrapper.down = False
    with pytest.raises(KeyServiceError):
        keyring.encryption_key(ACME)
    assert keyring.encryption_key({"tenant_id": "other"})
    clock.now += REMEMBERED
    assert keyring.encryption_key(ACME)


async def test_a_key_that_another_process_added_is_fetched_without_holding_the_loop(
    keyring: TenantKeyring, wrapper: CountingWrapper
) -> None:
    inner = InMemoryStore()
    store = EncryptedStore(inner, keyring)
    with encryption_context(ACME):
        await store.aput(("n",), "old", {"a": 1})
        other = TenantKeyring(keyring._store.base, wrapper)
        await asyncio.to_thread(other.rotate, ACME)
        await EncryptedStore(inner, other).aput(("n",), "new", {"a": 2})
        wrapper.on_loop = 0
        assert sorted(item.value["a"] for item in await store.asearch(("n",))) == [1, 2]
        mixed = await store.abatch([PutOp(("n",), "more", {"a": 3}), *[PutOp(("n",), "old", None)]])
    assert mixed == [None, None]
    assert wrapper.on_loop == 0


async def test_an_answer_is_not_asked_for_twice_because_a_key_had_to_be_fetched(keyring: TenantKeyring) -> None:
    class Counting(InMemoryStore):
        __slots__ = ("asked",)
        asked: int

        async def abatch(self, ops: Any) -> Any:
            self.asked = getattr(self, "asked", 0) + 1
            return await super().abatch(ops)

    inner = Counting()
    with encryption_context(ACME):
        await EncryptedStore(inner, keyring).aput(("n",), "k", {"a": 1})
        cold = TenantKeyring(keyring._store.base, keyring._wrappers._wrapper)
        inner.asked = 0
        assert await EncryptedStore(inner, cold).aget(("n",), "k")
    assert inner.asked == 1


def test_whoever_must_not_wait_is_told_what_to_await(keyring: TenantKeyring) -> None:
    assert isinstance(keyring, PromptKeyProvider)
    with pytest.raises(KeyNotHere):
        promptly(keyring.encryption_key, ACME)
    assert not issubclass(KeyNotHere, Exception)
    key = keyring.encryption_key(ACME)
    assert promptly(keyring.encryption_key, ACME) is key
    assert promptly(keyring.decryption_key, key.id, ACME) is key


async def test_what_cannot_be_had_is_an_error_and_no_endless_wait(keyring: TenantKeyring) -> None:
    unknown = Key.generate().id
    with pytest.raises(UnknownKey):
        await aside(False, keyring.decryption_key, unknown, ACME)
    key = await aside(False, keyring.encryption_key, ACME)
    await asyncio.to_thread(keyring.erase, ACME)
    with pytest.raises(KeyErased):
        await aside(False, keyring.decryption_key, key.id, ACME)


async def test_a_cache_that_is_too_small_for_its_tenants_still_serves_them(wrapper: CountingWrapper) -> None:
    keys = TenantKeyring(InMemoryStore(), wrapper, limits=CacheLimits(tenants=1))
    tenants = [{"tenant_id": name} for name in "abc"] * 5
    assert len({*await asyncio.gather(*(aside(False, keys.encryption_key, tenant) for tenant in tenants))}) == 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_process_is_not_kept_waiting_by_a_lock_that_was_held_when_it_was_made(two: Two) -> None:
    pool = ThreadPoolExecutor(1)
    held = pool.submit(two.keys.encryption_key, dict(MALLORY))
    while not two.bad.calls:
        pass
    child = os.fork()
    if not child:
        two.bad.hangs = False
        os._exit(0 if two.keys.encryption_key(dict(MALLORY)) else 1)
    two.bad.answers.set()
    assert isinstance(held.exception(), KeyServiceError)
    pool.shutdown()
    assert os.waitpid(child, 0)[1] == 0
