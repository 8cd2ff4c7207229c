"""A call is cancelled as asyncio means it, at every await, and leaves the store as it was or as it was to be."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from langgraph.cache.memory import InMemoryCache
from langgraph.store.base import BaseStore, GetOp, ListNamespacesOp, Op, PutOp, SearchOp
from langgraph.store.memory import InMemoryStore

from encrypted_serde import EncryptedCache, EncryptedStore, Key, Keyring
from encrypted_serde.errors import MalformedEnvelope

from .embedding import DIMS, WordEmbeddings
from .places import ASYNC, any_async_store

NOTES = ("notes",)


class Waiting:
    """A provider that makes its callers wait, until it is told to go on."""

    def __init__(self, key: Key) -> None:
        self._ring = Keyring(primary=key)
        self.asked, self.go_on = threading.Event(), threading.Event()

    def encryption_key(self, context: Any) -> Key:
        self._wait()
        return self._ring.encryption_key(context)

    def decryption_key(self, key_id: bytes, context: Any) -> Key:
        self._wait()
        return self._ring.decryption_key(key_id, context)

    def search_keys(self, context: Any) -> list[Key]:
        self._wait()
        return self._ring.search_keys(context)

    def _wait(self) -> None:
        self.asked.set()
        self.go_on.wait(5)


def waiting_store(inner: BaseStore, key: Key) -> tuple[EncryptedStore, Waiting]:
    provider = Waiting(key)
    return EncryptedStore(inner, provider), provider


STORE_CALLS: dict[str, Callable[[EncryptedStore], Awaitable[Any]]] = {
    "aget": lambda store: store.aget(NOTES, "k"),
    "aput": lambda store: store.aput(NOTES, "new", {"a": 1}),
    "asearch": lambda store: store.asearch(NOTES, filter={"a": 1}),
    "abatch": lambda store: store.abatch([GetOp(NOTES, "k"), PutOp(NOTES, "new", {"a": 2})]),
}


SOON = 0.2
"""Seconds after which a call is cancelled. A thread is at work long before, also on a busy machine."""


async def by_task(call: Awaitable[Any]) -> None:
    task = asyncio.ensure_future(call)
    await asyncio.sleep(SOON)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def by_wait_for(call: Awaitable[Any]) -> None:
    with pytest.raises((asyncio.TimeoutError, TimeoutError)):
        await asyncio.wait_for(call, SOON)


async def by_timeout(call: Awaitable[Any]) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(SOON):
            await call


async def by_anyio(call: Awaitable[Any]) -> None:
    with anyio.move_on_after(SOON) as scope:
        await call
    assert scope.cancelled_caught


@pytest.mark.parametrize("cancel", [by_task, by_wait_for, by_anyio, *([by_timeout] if hasattr(asyncio, "timeout") else ())])
@pytest.mark.parametrize("name", STORE_CALLS)
async def test_a_call_is_cancelled_while_a_thread_works_for_it(name: str, cancel: Any, key: Key) -> None:
    inner = InMemoryStore()
    EncryptedStore(inner, key).put(NOTES, "k", {"a": 1})
    store, provider = waiting_store(inner, key)
    await cancel(STORE_CALLS[name](store))
    assert provider.asked.is_set()
    provider.go_on.set()
    assert await store.aget(NOTES, "new") is None, "what was cancelled before it was sealed is not written"


class Turns:
    """An awaitable that takes so many turns of the event loop."""

    def __init__(self, coroutine: Any) -> None:
        self._coroutine = coroutine

    async def cancelled_after(self, turns: int) -> bool:
        """Cancels after so many turns. Says whether it had ended before."""
        task = asyncio.ensure_future(self._coroutine)
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            return False
        return True


OPS: dict[str, list[Op]] = {
    "get": [GetOp(NOTES, "k")],
    "put": [PutOp(NOTES, "k", {"a": "new"}, index=False)],
    "delete": [PutOp(NOTES, "k", None)],
    "search": [SearchOp(NOTES, filter={"a": {"$ne": 5}})],
    "list": [ListNamespacesOp()],
    "batch": [GetOp(NOTES, "k"), PutOp(NOTES, "k", {"a": "new"}, index=False), SearchOp(NOTES, filter={"a": "x"})],
}


@pytest.mark.parametrize("options", [{}, {"pseudonymous_names": True, "searchable": ("a",)}])
@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize("kind", ASYNC)
async def test_a_call_may_be_cancelled_at_every_await(
    kind: str, name: str, options: dict[str, Any], key: Key, store_place: Callable[[str], Any]
) -> None:
    async with any_async_store(kind, store_place(kind)) as inner:
        for turns in range(200):
            store = EncryptedStore(inner, key, **options)
            await store.aput(NOTES, "k", {"a": "old"})
            ended = await Turns(EncryptedStore(inner, key, **options).abatch(OPS[name])).cancelled_after(turns)
            await store.abatch([GetOp(NOTES, "other")])  # what was left in the store's queue runs before this
            item = await store.aget(NOTES, "k")
            assert item is None or item.value["a"] in ("old", "new")
            if ended:
                break
        assert ended or kind != "InMemory"


async def test_a_text_waits_for_its_embedding_though_its_caller_is_gone(
    key: Key, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The operation of a cancelled caller stays in the queue of the store, and is embedded later."""
    embeddings = Slow()
    if not await can_load_vectors():
        monkeypatch.setattr("aiosqlite.core.sqlite3", pytest.importorskip("pysqlite3.dbapi2"))
    index = {"dims": DIMS, "embed": embeddings, "fields": ["text"]}
    async with any_async_store("AsyncSqlite", tmp_path / "store.sqlite", index=index) as inner:
        store = EncryptedStore(inner, key, readable_embeddings=True)
        task = asyncio.ensure_future(store.aput(NOTES, "k", {"text": "a ship at sea"}))
        await embeddings.asked_for.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        embeddings.go_on.set()
        await store.aput(NOTES, "other", {"text": "bread"})
        found = await store.asearch(NOTES, query="ship sea")
        assert [item.key for item in found] == ["k", "other"]
        assert any("a ship at sea" in text for text in embeddings.asked)


async def can_load_vectors() -> bool:
    import sqlite3

    return hasattr(sqlite3.Connection, "enable_load_extension")


class Slow(WordEmbeddings):
    def __init__(self) -> None:
        super().__init__()
        self.asked_for, self.go_on = asyncio.Event(), asyncio.Event()

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        self.asked_for.set()
        await self.go_on.wait()
        return self.embed_documents(texts)


def test_a_handle_that_nobody_knows_is_never_embedded(key: Key) -> None:
    embeddings = WordEmbeddings()
    inner = InMemoryStore(index={"dims": DIMS, "embed": embeddings, "fields": ["text"]})
    store = EncryptedStore(inner, key, readable_embeddings=True)
    store.put(NOTES, "k", {"text": "a ship at sea"})
    stored = inner._data[NOTES]["k"].value
    embeddings.asked.clear()
    with pytest.raises(MalformedEnvelope, match="not known any more"):
        inner.put(NOTES, "copy", stored, index=[f"es1v.{name}" for name in stored["es1v"]])
    assert embeddings.asked == []


@pytest.mark.parametrize("name", ["aget", "aset"])
async def test_a_call_of_a_cache_is_cancelled_while_a_thread_works_for_it(name: str, key: Key) -> None:
    provider = Waiting(key)
    cache = EncryptedCache(InMemoryCache(), provider)
    call = cache.aget([(NOTES, "k")]) if name == "aget" else cache.aset({(NOTES, "k"): (1, None)})
    await by_task(call)
    provider.go_on.set()
    assert await cache.aget([(NOTES, "k")]) == {}
