"""The wrapper has what the store it wraps has, sync and async, and no more."""

from __future__ import annotations

import asyncio
import copy
import datetime
import inspect
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from langgraph.store.base import BaseStore, Item
from langgraph.store.base.batch import AsyncBatchedBaseStore
from langgraph.store.memory import InMemoryStore
from langgraph.store.sqlite import SqliteStore

from encrypted_serde import ConfigurationError, EncryptedSaver, Key, Keyring, encryption_context
from encrypted_serde.store import EncryptedStore

from .places import ASYNC, Rows, any_async_store, any_store

# From Python 3.12 on, sqlite3 warns of dates that SqliteStore binds.
sqlite_dates = pytest.mark.filterwarnings("ignore:The default datetime adapter is deprecated:DeprecationWarning")

NOTES = ("notes",)
FOLLOWED = ("setup", "sweep_ttl", "start_ttl_sweeper", "stop_ttl_sweeper", "__enter__", "__exit__", "__aenter__", "__aexit__")


def test_it_has_the_methods_of_the_inner_store(inner: BaseStore, key: Key) -> None:
    store = EncryptedStore(inner, key)
    assert isinstance(store, EncryptedStore)
    assert type(store).__name__ == "EncryptedStore"
    assert [name for name in FOLLOWED if hasattr(store, name)] == [name for name in FOLLOWED if hasattr(inner, name)]
    assert store.supports_ttl == inner.supports_ttl


@pytest.mark.parametrize("kind", ASYNC[1:])
async def test_async_stores_are_followed_as_they_are(kind: str, key: Key, store_place: Callable[[str], Any]) -> None:
    opened = any_async_store(kind, store_place(kind), ttl={"default_ttl": 10})
    async with opened as inner, EncryptedStore(inner, key) as store:
        await store.setup()
        assert store.ttl_config == {"default_ttl": 10}
        task = await store.start_ttl_sweeper()
        assert await store.stop_ttl_sweeper()
        assert task.done()
        assert await store.sweep_ttl() == 0


@pytest.mark.parametrize("kind", ASYNC)
async def test_all_methods_work_asynchronously(kind: str, key: Key, store_place: Callable[[str], Any]) -> None:
    async with any_async_store(kind, store_place(kind)) as inner:
        store = EncryptedStore(inner, key, searchable=("city",), pseudonymous_names=True)
        await asyncio.gather(*(store.aput(NOTES, str(n), {"city": f"{n % 3}", "n": n}) for n in range(30)))
        found = await asyncio.gather(*(store.aget(NOTES, str(n)) for n in range(30)))
        assert [item.value["n"] for item in found if item] == list(range(30))
        assert len(await store.asearch(NOTES, filter={"city": "1"}, limit=100)) == 10
        assert [item.key for item in await store.asearch(NOTES, filter={"n": 7})] == ["7"]
        await store.adelete(NOTES, "7")
        assert await store.aget(NOTES, "7") is None
        assert await store.alist_namespaces() == [NOTES]


@pytest.mark.parametrize("kind", ASYNC[1:])
async def test_an_async_store_is_called_from_other_threads_and_not_from_its_own(
    kind: str, key: Key, store_place: Callable[[str], Any]
) -> None:
    async with any_async_store(kind, store_place(kind)) as inner:
        store = EncryptedStore(inner, key)
        await asyncio.to_thread(store.put, NOTES, "k", {"a": 1})
        item = await asyncio.to_thread(store.get, NOTES, "k")
        assert item is not None
        assert item.value == {"a": 1}
        with pytest.raises(asyncio.InvalidStateError):
            store.get(NOTES, "k")


async def test_operations_of_one_tick_travel_together_each_under_its_own_context(key: Key) -> None:
    class Counting(AsyncBatchedBaseStore):
        def __init__(self) -> None:
            super().__init__()
            self.memory, self.calls = InMemoryStore(), 0

        def batch(self, ops: Any) -> Any:
            raise NotImplementedError

        async def abatch(self, ops: Any) -> Any:
            self.calls += 1
            return self.memory.batch(ops)

    inner = Counting()
    store = EncryptedStore(inner, key)

    async def put(tenant: str) -> None:
        with encryption_context(tenant_id=tenant):
            await store.aput(NOTES, tenant, {"tenant": tenant})

    await asyncio.gather(*map(put, ["acme", "globex", "initech"]))
    assert inner.calls == 1
    with encryption_context(tenant_id="acme"):
        item = await store.aget(NOTES, "acme")
    assert item is not None
    assert item.value == {"tenant": "acme"}


async def test_a_provider_that_may_ask_a_service_is_never_asked_on_the_event_loop(key: Key) -> None:
    class Remote:
        def encryption_key(self, context: Mapping[str, str]) -> Key:
            self._refuse_loop()
            return key

        def decryption_key(self, key_id: bytes, context: Mapping[str, str]) -> Key:
            self._refuse_loop()
            return key

        def search_keys(self, context: Mapping[str, str]) -> list[Key]:
            self._refuse_loop()
            return [key]

        def _refuse_loop(self) -> None:
            with pytest.raises(RuntimeError):
                asyncio.get_running_loop()

    store = EncryptedStore(InMemoryStore(), Remote(), pseudonymous_names=True, searchable=("a",))
    await store.aput(NOTES, "k", {"a": "x"})
    assert await store.aget(NOTES, "k") is not None
    assert len(await store.asearch(NOTES, filter={"a": "x"})) == 1
    assert await store.alist_namespaces() == [NOTES]


def test_values_that_json_does_not_hold_survive_where_objects_are_asked_for(inner: BaseStore, key: Key) -> None:
    value = {
        "bytes": b"\0\1",
        "date": datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc),
        "id": uuid.UUID(int=1),
        "set": {1, 2},
        "nul": "a\0b",
        "big": 1e300,
        "deep": {"list": [{"a": None}]},
    }
    store = EncryptedStore(inner, key, values="objects")
    store.put(NOTES, "k", value)
    item = store.get(NOTES, "k")
    assert item is not None
    assert item.value == value


def test_ints_beyond_64_bits_are_stored_all_the_same(inner: BaseStore, key: Key) -> None:
    store = EncryptedStore(inner, key, values="objects")
    store.put(NOTES, "k", {"n": 1 << 70})
    item = store.get(NOTES, "k")
    assert item is not None
    assert item.value == {"n": 1 << 70}


def test_what_is_handed_out_is_not_what_is_stored(inner: BaseStore, key: Key) -> None:
    store = EncryptedStore(inner, key)
    store.put(NOTES, "k", {"list": []})
    for _ in range(2):
        item = store.get(NOTES, "k")
        assert item is not None
        assert item.value == {"list": []}
        item.value["list"].append(1)


def test_times_and_scores_are_those_of_the_inner_store(inner: BaseStore, key: Key) -> None:
    store = EncryptedStore(inner, key)
    store.put(NOTES, "k", {"a": 1})
    theirs = inner.get(NOTES, "k")
    ours, (found,) = store.get(NOTES, "k"), store.search(NOTES)
    assert theirs is not None
    assert ours is not None
    for item in (ours, found):
        assert (item.created_at, item.updated_at) == (theirs.created_at, theirs.updated_at)
    assert found.score is None
    assert type(ours) is Item


@sqlite_dates
def test_expiry_is_that_of_the_inner_store(key: Key, store_place: Callable[[str], Any]) -> None:
    ttl = {"default_ttl": 5, "refresh_on_read": True}
    with any_store("Sqlite", store_place("Sqlite"), ttl=ttl) as inner:
        store = EncryptedStore(inner, key)
        store.put(NOTES, "default", {"n": 1})
        store.put(NOTES, "never", {"n": 2}, ttl=None)
        store.put(NOTES, "soon", {"n": 3}, ttl=0.001)
        expiries = dict(inner.conn.execute("SELECT key, ttl_minutes FROM store").fetchall())
        assert expiries == {"default": 5.0, "never": None, "soon": 0.001}


@sqlite_dates
def test_a_search_pushes_back_the_expiry_of_what_it_returns_and_of_nothing_else(
    key: Key, store_place: Callable[[str], Any]
) -> None:
    ttl = {"default_ttl": 5, "refresh_on_read": True}
    with any_store("Sqlite", store_place("Sqlite"), ttl=ttl) as inner:
        store = EncryptedStore(inner, key)
        for number in range(3):
            store.put(NOTES, str(number), {"n": number})
        inner.conn.execute("UPDATE store SET expires_at = '2030-01-01 00:00:00'")
        assert [item.key for item in store.search(NOTES, filter={"n": 1})] == ["1"]
        left = inner.conn.execute("SELECT key FROM store WHERE expires_at = '2030-01-01 00:00:00'").fetchall()
        assert sorted(left) == [("0",), ("2",)]
        store.search(NOTES, filter={"n": 2}, refresh_ttl=False)
        assert len(inner.conn.execute("SELECT key FROM store WHERE expires_at = '2030-01-01 00:00:00'").fetchall()) == 2


def test_a_store_without_expiry_refuses_one(key: Key) -> None:
    with pytest.raises(NotImplementedError):
        EncryptedStore(InMemoryStore(), key).put(NOTES, "k", {}, ttl=5)


async def test_a_store_that_is_only_synchronous_stays_so(key: Key, store_place: Callable[[str], Any]) -> None:
    with any_store("Sqlite", store_place("Sqlite")) as inner:
        assert isinstance(inner, SqliteStore)
        with pytest.raises(NotImplementedError):
            await EncryptedStore(inner, key).aget(NOTES, "k")


def test_a_copy_works_as_the_original_does(inner: BaseStore, key: Key) -> None:
    store = EncryptedStore(inner, key)
    store.put(NOTES, "k", {"a": 1})
    assert copy.copy(store).get(NOTES, "k") == store.get(NOTES, "k")


@pytest.mark.parametrize("wrong", [None, "store", InMemoryStore, EncryptedSaver])
def test_only_a_store_is_wrapped(wrong: Any, key: Key) -> None:
    with pytest.raises(TypeError):
        EncryptedStore(wrong, key)


def test_a_store_is_not_wrapped_twice(key: Key) -> None:
    with pytest.raises(TypeError):
        EncryptedStore(EncryptedStore(InMemoryStore(), key), key)


def test_the_inner_store_is_told_nothing_in_clear_when_sealing_fails(inner: BaseStore, key: Key) -> None:
    store = EncryptedStore(inner, key)
    with pytest.raises(TypeError):
        store.put(NOTES, "k", {"a": object()})
    with pytest.raises(ConfigurationError):
        store.put(NOTES, "k\ud800", {"a": 1})
    assert Rows(inner).all() == {}


def test_items_of_old_keys_are_read(inner: BaseStore) -> None:
    old, new = Key.generate(), Key.generate()
    EncryptedStore(inner, old).put(NOTES, "k", {"a": 1})
    item = EncryptedStore(inner, Keyring(primary=new, decrypt_only=[old])).get(NOTES, "k")
    assert item is not None
    assert item.value == {"a": 1}


def test_every_public_method_is_documented() -> None:
    for name, member in inspect.getmembers(EncryptedStore):
        if not name.startswith("_") and callable(member):
            assert member.__doc__, name
