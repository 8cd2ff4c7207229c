"""Runs a few store operations as one, under the lock that a LangGraph store brings along.

A `BaseStore` has no compare-and-swap. Where the database behind it has a lock of its own, two processes that create a
tenant's first key take turns: an advisory lock in Postgres, ``BEGIN IMMEDIATE`` in SQLite. A store in memory needs no more
than a lock of this process. On any other store the operations simply follow one another, and `key_store` is made so that
nothing is lost by that.

The operations come as a generator that yields lists of operations and is sent their results. That way one description
serves the stores whose methods block and those that live on an event loop.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from hashlib import sha256
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from langgraph.store.base import BaseStore, Op
from langgraph.store.base.batch import AsyncBatchedBaseStore

from ..errors import KeyServiceError

T = TypeVar("T")
StoreSteps = Generator[list[Op], list[Any], T]
"""Store operations that belong together, and what comes of them."""

_process_locks: WeakKeyDictionary[BaseStore, threading.Lock] = WeakKeyDictionary()
_process_locks_guard = threading.Lock()


def run(store: BaseStore, steps: StoreSteps[T]) -> T:
    """Runs steps one after the other. Other processes may come in between.

    Raises:
        KeyServiceError: If the store lives on the running event loop, which would wait for itself.
    """
    refuse_own_loop(store)
    if _kind(store) in _SYNC or _kind(store) in _ASYNC:
        return _drive(store.batch, steps)
    with _process_lock(store):  # a store in memory is not made for being searched and changed at the same time
        return _drive(store.batch, steps)


def run_exclusively(store: BaseStore, name: str, steps: StoreSteps[T]) -> T:
    """Runs steps under the store's own lock, where it has one.

    Args:
        store: The store that runs them. A subclass of a store with a lock runs them without, since what it changes about
            the operations is not known.
        name: What the lock is for. StoreSteps under different names may run at the same time.
        steps: What to do. On Postgres and SQLite it is one transaction: all of it happens, or nothing.

    Raises:
        KeyServiceError: If the store lives on the running event loop.
    """
    refuse_own_loop(store)
    kind = _kind(store)
    if kind in _SYNC:
        with _SYNC[kind](store, name) as locked:
            return _drive(locked.batch, steps)
    if kind in _ASYNC:
        loop: asyncio.AbstractEventLoop = store._loop  # type: ignore[attr-defined]  # these stores have one
        return asyncio.run_coroutine_threadsafe(_drive_async(_ASYNC[kind](store, name), steps), loop).result()
    with _process_lock(store):
        return _drive(store.batch, steps)


def refuse_own_loop(store: BaseStore) -> None:
    """Refuses to wait for a store that lives on the event loop of this thread."""
    if isinstance(store, AsyncBatchedBaseStore):
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            return
        if running is store._loop:
            raise KeyServiceError(
                f"keys in {type(store).__name__} cannot be fetched from its own event loop: await keyring.prefetch(context) "
                "before the context is used, and call rotate, rewrap and erase through asyncio.to_thread",
                retryable=False,
            )


def _kind(store: BaseStore) -> str:
    """Names the exact class of a store, which need not be installed for this."""
    return f"{type(store).__module__}.{type(store).__qualname__}"


def _process_lock(store: BaseStore) -> threading.Lock:
    with _process_locks_guard:
        return _process_locks.setdefault(store, threading.Lock())


def _drive(batch: Callable[[list[Op]], list[Any]], steps: StoreSteps[T]) -> T:
    try:
        operations = next(steps)
        while True:
            operations = steps.send(batch(operations))
    except StopIteration as done:
        result: T = done.value
        return result


def _advisory_lock(name: str) -> tuple[int]:
    return (int.from_bytes(sha256(name.encode()).digest()[:8], "big", signed=True),)


_READ_COMMITTED = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED"  # what was committed while we waited must be seen
_LOCK = "SELECT pg_advisory_xact_lock(%s)"


@contextmanager
def _locked_postgres(store: Any, name: str) -> Iterator[BaseStore]:
    # The steps use the very connection that holds the lock: a pool may have no second one to give.
    pool = hasattr(store.conn, "getconn")
    with (
        nullcontext() if pool else store.lock,
        store.conn.connection() if pool else nullcontext(store.conn) as connection,
        connection.transaction(),
    ):
        connection.execute(_READ_COMMITTED)
        connection.execute(_LOCK, _advisory_lock(name))
        yield type(store)(connection, deserializer=store._deserializer)


@contextmanager
def _locked_sqlite(store: Any, name: str) -> Iterator[BaseStore]:
    store.setup()
    with store.lock:
        store.conn.execute("BEGIN IMMEDIATE")
        try:
            locked = type(store)(_Joined(store.conn), deserializer=store._deserializer)
            locked.is_setup = True
            yield locked
        except BaseException:
            store.conn.execute("ROLLBACK")
            raise
        store.conn.execute("COMMIT")


class _Joined:
    """A SQLite connection that is inside a transaction of ours: the store's own BEGIN and COMMIT do nothing."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, sql: str, *parameters: Any) -> Any:
        return self._connection.cursor() if sql in ("BEGIN", "COMMIT") else self._connection.execute(sql, *parameters)


# --- stores that live on an event loop --------------------------------------------------------------------------------


async def _drive_async(locked: AbstractAsyncContextManager[BaseStore], steps: StoreSteps[T]) -> T:
    async with locked as store:
        batch: Callable[[list[Op]], Awaitable[list[Any]]] = store.abatch
        try:
            operations = next(steps)
            while True:
                operations = steps.send(await batch(operations))
        except StopIteration as done:
            result: T = done.value
            return result


@asynccontextmanager
async def _locked_async_postgres(store: Any, name: str) -> AsyncIterator[BaseStore]:
    pool = hasattr(store.conn, "getconn")
    async with (
        nullcontext() if pool else store.lock,
        store.conn.connection() if pool else nullcontext(store.conn) as connection,
        connection.transaction(),
    ):
        await connection.execute(_READ_COMMITTED)
        await connection.execute(_LOCK, _advisory_lock(name))
        yield type(store)(connection, deserializer=store._deserializer)


@asynccontextmanager
async def _locked_async_sqlite(store: Any, name: str) -> AsyncIterator[BaseStore]:
    await store.setup()
    async with store.lock:
        await store.conn.execute("BEGIN IMMEDIATE")
        try:
            locked = type(store)(_AsyncJoined(store.conn), deserializer=store._deserializer)
            locked.is_setup = True
            yield locked
        except BaseException:
            await store.conn.execute("ROLLBACK")
            raise
        await store.conn.execute("COMMIT")


class _AsyncJoined(_Joined):
    """The same for a connection of aiosqlite."""

    async def execute(self, sql: str, *parameters: Any) -> Any:
        return None if sql in ("BEGIN", "COMMIT") else await self._connection.execute(sql, *parameters)


_SYNC: dict[str, Callable[[Any, str], AbstractContextManager[BaseStore]]] = {
    "langgraph.store.postgres.base.PostgresStore": _locked_postgres,
    "langgraph.store.sqlite.base.SqliteStore": _locked_sqlite,
}
_ASYNC: dict[str, Callable[[Any, str], AbstractAsyncContextManager[BaseStore]]] = {
    "langgraph.store.postgres.aio.AsyncPostgresStore": _locked_async_postgres,
    "langgraph.store.sqlite.aio.AsyncSqliteStore": _locked_async_sqlite,
}
