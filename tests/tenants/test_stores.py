"""TenantKeyring on the real stores: their locks, their traps, and the variants that live on an event loop."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from langgraph.store.base import BaseStore, Op, PutOp, Result, SearchOp
from langgraph.store.memory import InMemoryStore
from langgraph.store.postgres import PostgresStore
from langgraph.store.postgres.aio import AsyncPostgresStore
from langgraph.store.sqlite import SqliteStore
from langgraph.store.sqlite.aio import AsyncSqliteStore
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from encrypted_serde import Key, KeyErased, KeyServiceError
from encrypted_serde.core.context import EncryptionContext
from encrypted_serde.kms.local import LocalKeyWrapper
from encrypted_serde.tenants.keyring import TenantKeyring
from encrypted_serde.tenants.records import StoredKey
from encrypted_serde.tenants.store import KeyStore
from tests.tenants.services import CountingWrapper

ACME = {"tenant_id": "acme.example"}  # a full stop, which no label of a namespace may hold
GLOBEX = {"tenant_id": "globex"}


def stored(key_id: bytes, wrapper: str = "w") -> Callable[[int], StoredKey]:
    return lambda generation: StoredKey(key_id, generation, wrapper, b"x")


def whole_life(store: BaseStore) -> None:
    """First key, rotation, rewrapping, erasure."""
    old, new = LocalKeyWrapper(Key.generate()), LocalKeyWrapper(Key.generate())
    keyring = TenantKeyring(store, old)
    first, other = keyring.encryption_key(ACME), keyring.encryption_key(GLOBEX)
    keyring.rotate(ACME)
    second = keyring.encryption_key(ACME)
    assert TenantKeyring(store, new, unwrap_only=[old]).rewrap() == 3
    moved = TenantKeyring(store, new)
    assert moved.encryption_key(ACME) == second
    assert moved.decryption_key(first.id, ACME) == first
    assert len(moved.erase(ACME).key_ids) == 2
    cold = TenantKeyring(store, new)
    for key in (first, second):
        with pytest.raises(KeyErased):
            cold.decryption_key(key.id, ACME)
    assert cold.encryption_key(GLOBEX) == other
    assert cold.encryption_key(ACME) not in (first, second)


def test_the_whole_life_of_a_tenants_keys(store: BaseStore) -> None:
    whole_life(store)


def test_threads_that_need_many_tenants_make_one_key_each(store: BaseStore, wrapper: CountingWrapper) -> None:
    keyrings = [TenantKeyring(store, wrapper) for _ in range(4)]

    def one(number: int) -> tuple[int, Key]:
        tenant = number // 20  # all keyrings come for a tenant at once
        return tenant, keyrings[number % 4].encryption_key({"tenant_id": str(tenant)})

    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(one, range(200)))
    assert len(keys) == 10  # on the store without a lock too: within a process, threads take turns


def test_what_else_is_written_on_the_same_connection_is_not_lost(store: BaseStore, wrapper: CountingWrapper) -> None:
    keyring = TenantKeyring(store, wrapper)

    def one(number: int) -> None:
        if number % 2:
            keyring.encryption_key({"tenant_id": str(number)})
        else:
            store.put(("notes",), str(number), {"number": number})

    if isinstance(store, InMemoryStore):  # which may not be searched and changed at once: see docs/keys.md
        for number in range(60):
            one(number)
    else:
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(one, range(60)))
    assert {item.value["number"] for item in store.search(("notes",), limit=100)} == set(range(0, 60, 2))
    assert len(store.list_namespaces(prefix=("encrypted_serde_keys",), limit=100)) == 30


def test_keys_are_never_swept_and_never_embedded(tmp_path: Path, wrapper: CountingWrapper) -> None:
    seen: list[str] = []

    def embed(texts: list[str]) -> list[list[float]]:
        seen.extend(texts)
        return [[0.0, 1.0] for _ in texts]

    ttl: Any = {"default_ttl": 0.0001, "refresh_on_read": True}
    with SqliteStore.from_conn_string(str(tmp_path / "keys.sqlite"), ttl=ttl) as store:
        store.setup()
        TenantKeyring(store, wrapper).encryption_key(ACME)
        TenantKeyring(store, wrapper).erase(ACME)
        TenantKeyring(store, wrapper).encryption_key(ACME)
        expiries = store.conn.execute("SELECT expires_at, ttl_minutes FROM store").fetchall()
        assert expiries == [(None, None)] * 2
    indexed: Any = {"dims": 2, "embed": embed}
    keyring = TenantKeyring(InMemoryStore(index=indexed), wrapper)
    keyring.encryption_key(ACME)
    keyring.erase(ACME)
    assert seen == []


def test_a_transaction_that_fails_leaves_nothing_behind_and_the_store_usable(tmp_path: Path, postgres_database: str) -> None:
    with (
        SqliteStore.from_conn_string(str(tmp_path / "keys.sqlite")) as sqlite,
        PostgresStore.from_conn_string(postgres_database) as postgres,
    ):
        for store in (sqlite, postgres):
            store.setup()
            keys = KeyStore(store)
            context = EncryptionContext.of(ACME)
            unencodable = stored(bytes(32), wrapper="lone surrogate \ud800")
            with pytest.raises(KeyServiceError, match="key store") as caught:
                keys.add(context, unencodable, unless_live=True)
            assert not isinstance(caught.value, ValueError)
            assert not keys.read(context).live
            assert TenantKeyring(store, LocalKeyWrapper(Key.generate())).encryption_key(ACME)


def test_a_connection_with_stricter_isolation_still_makes_one_key(postgres_database: str, wrapper: CountingWrapper) -> None:
    dsn = f"{postgres_database} options='-c default_transaction_isolation=serializable'"
    keys = set()
    with PostgresStore.from_conn_string(dsn) as one, PostgresStore.from_conn_string(dsn) as other:
        one.setup()
        with ThreadPoolExecutor(2) as pool:
            for number in range(20):
                context = {"tenant_id": str(number)}
                rings = [TenantKeyring(store, wrapper) for store in (one, other)]
                keys |= set(pool.map(lambda ring: ring.encryption_key(context), rings))  # noqa: B023
    assert len(keys) == 20


# --- listing ----------------------------------------------------------------------------------------------------------


class ShiftingStore(InMemoryStore):
    """Orders equal items differently on every other page, as a database may."""

    __slots__ = ("turn",)
    turn: int

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        results: list[Result] = []
        for op in ops:
            if isinstance(op, SearchOp):
                self.turn = getattr(self, "turn", 0) + 1
                [everything] = super().batch([op._replace(limit=10**6, offset=0)])
                ordered = sorted(everything, key=lambda item: item.key, reverse=bool(self.turn % 2))  # type: ignore[union-attr, arg-type]
                results.append(ordered[op.offset : op.offset + op.limit])
            else:
                results += super().batch([op])
        return results


@pytest.mark.parametrize("kind", [InMemoryStore, ShiftingStore])
@pytest.mark.parametrize("count", [1, 99, 100, 101, 250])
def test_a_search_is_followed_to_its_end_and_misses_nothing(kind: type[InMemoryStore], count: int) -> None:
    keys = KeyStore(kind())
    context = EncryptionContext.of(ACME)
    for number in range(count):
        after = keys.add(context, stored(number.to_bytes(32, "big")))
    assert len(after.live) == count
    assert after.primary is not None
    assert after.primary.generation == count


def test_all_agree_on_the_primary_key_highest_generation_then_lowest_id() -> None:
    store = InMemoryStore()
    keys = KeyStore(store)
    context = EncryptionContext.of(ACME)
    keys.add(context, stored(bytes([1] * 32)))
    keys.add(context, stored(bytes([9] * 32)))
    [namespace] = store.list_namespaces(prefix=("encrypted_serde_keys",))
    [item] = [item for item in store.search(namespace) if item.value["generation"] == 2]
    store.batch([PutOp(namespace, f"key-{(bytes([5]) * 32).hex()}", item.value)])
    primary = keys.read(context).primary
    assert primary is not None
    assert (primary.id, primary.generation) == (bytes([5] * 32), 2)


# --- stores on an event loop --------------------------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", "postgres", "postgres with a pool"])
async def async_store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BaseStore]:
    if request.param == "sqlite":
        async with AsyncSqliteStore.from_conn_string(str(tmp_path / "keys.sqlite")) as store:
            await store.setup()
            yield store
        return
    dsn = request.getfixturevalue("postgres_database")
    if request.param == "postgres":
        async with AsyncPostgresStore.from_conn_string(dsn) as postgres:
            await postgres.setup()
            yield postgres
        return
    options: dict[str, Any] = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
    async with AsyncConnectionPool(dsn, min_size=1, max_size=1, kwargs=options, open=False) as pool:
        pooled = AsyncPostgresStore(pool)
        await pooled.setup()
        yield pooled


async def test_the_whole_life_of_a_tenants_keys_on_an_asynchronous_store(async_store: BaseStore) -> None:
    await asyncio.to_thread(whole_life, async_store)


async def test_many_prefetches_on_an_asynchronous_store_make_one_key_each(
    async_store: BaseStore, wrapper: CountingWrapper
) -> None:
    keyrings = [TenantKeyring(async_store, wrapper) for _ in range(3)]
    contexts = [{"tenant_id": str(number)} for number in range(10)]
    await asyncio.gather(*(ring.prefetch(context) for ring in keyrings for context in contexts))
    for context in contexts:
        assert len({ring.encryption_key(context) for ring in keyrings}) == 1


async def test_a_cold_key_on_the_loop_of_its_store_is_refused_and_not_waited_for(
    async_store: BaseStore, wrapper: CountingWrapper
) -> None:
    keyring = TenantKeyring(async_store, wrapper)
    calls = (keyring.encryption_key, keyring.rotate, keyring.erase, lambda context: keyring.decryption_key(bytes(32), context))
    for call in calls:
        with pytest.raises(KeyServiceError, match="prefetch") as caught:
            call(ACME)
        assert not caught.value.retryable
    with pytest.raises(KeyServiceError, match="to_thread"):
        keyring.rewrap()
    await keyring.prefetch(ACME)
    assert keyring.encryption_key(ACME)


async def test_an_asynchronous_store_of_another_process_takes_its_turn(tmp_path: Path, wrapper: CountingWrapper) -> None:
    path = tmp_path / "keys.sqlite"
    async with AsyncSqliteStore.from_conn_string(str(path)) as store:
        await store.setup()
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        keyring = TenantKeyring(store, wrapper)
        waiting = asyncio.create_task(keyring.prefetch(ACME))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        holder.execute("COMMIT")
        await waiting
        holder.close()
        assert keyring.encryption_key(ACME)


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no signals between threads here")
def test_a_thread_that_is_interrupted_while_it_waits_leaves_no_lock_behind(
    postgres_database: str, wrapper: CountingWrapper
) -> None:
    class Interrupted(BaseException):
        """As KeyboardInterrupt."""

    def interrupt(number: int, frame: object) -> None:
        raise Interrupted

    async def interrupt_when_somebody_waits() -> None:
        while not store.lock._waiters:
            await asyncio.sleep(0)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    def on_loop(work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop)

    loop, opening = asyncio.new_event_loop(), AsyncPostgresStore.from_conn_string(postgres_database)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        store = on_loop(opening.__aenter__()).result()
        on_loop(store.setup()).result()
        keyring = TenantKeyring(store, wrapper)
        on_loop(store.lock.acquire()).result()
        on_loop(interrupt_when_somebody_waits())
        with pytest.raises(Interrupted):
            keyring.rotate(ACME)
        loop.call_soon_threadsafe(store.lock.release)
        assert keyring.rotate(ACME) == keyring.current_key_id(ACME)
    finally:
        signal.signal(signal.SIGUSR1, before)
        on_loop(opening.__aexit__(None, None, None)).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_a_store_that_was_not_set_up_says_what_to_call(postgres_database: str) -> None:
    with (
        PostgresStore.from_conn_string(postgres_database) as empty,
        pytest.raises(KeyServiceError, match=r"setup\(\)") as caught,
    ):
        TenantKeyring(empty, LocalKeyWrapper(Key.generate())).encryption_key(ACME)
    assert not caught.value.retryable
