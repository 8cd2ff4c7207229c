"""Runs a few store operations as one, under the lock that a LangGraph store brings along.

A `BaseStore` has no compare-and-swap. Where the database behind it has a lock of its own, two processes that create a
tenant's first key take turns: an advisory lock in Postgres, ``BEGIN IMMEDIATE`` in SQLite. A store in memory needs no more
than a lock of this process. On any other store the operations simply follow one another, and `key_store` is made so that
nothing is lost by that.

The operations come as a generator that yields lists of operations and is sent their results. Stores that live on an event loop
are asked from a thread, one call after the other, so that one description serves them and those whose methods block.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from hashlib import sha256
from typing import Any, TypeVar, cast
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
    # A store in memory is not made for being searched and changed at the same time.
    with _process_lock(store) if _lock_of(store) is None else nullcontext():
        return _drive(store, steps)


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
    if (lock := _lock_of(store)) is not None:
        with lock(store, name) as locked:
            return _drive(locked, steps)
    with _process_lock(store):
        return _drive(store, steps)


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


def _process_lock(store: BaseStore) -> threading.Lock:
    with _process_locks_guard:
        return _process_locks.setdefault(store, threading.Lock())


def _drive(store: BaseStore, steps: StoreSteps[T]) -> T:
    try:
        operations = next(steps)
        while True:
            operations = steps.send(store.batch(operations))
    except StopIteration as done:
        result: T = done.value
        return result


# --- the locks of databases ---------------------------------------------------------------------------------------------


def _wait(store: Any, result: Any) -> Any:
    """Waits for what a method of a store or of its connection returned, if that is on an event loop."""
    if not isinstance(store, AsyncBatchedBaseStore):
        return result
    future = asyncio.run_coroutine_threadsafe(result, store._loop)
    try:
        return future.result()
    finally:
        future.cancel()  # of a thread that was interrupted while it waited; else it is over


@contextmanager
def _entered(store: Any, manager: Any) -> Iterator[Any]:
    """Enters a context manager of a store or of its connection, on the event loop where that is on one."""
    if not isinstance(store, AsyncBatchedBaseStore):
        with manager as entered:
            yield entered
        return
    entered = _wait(store, manager.__aenter__())
    try:
        yield entered
    except BaseException as error:
        _wait(store, manager.__aexit__(type(error), error, error.__traceback__))
        raise
    _wait(store, manager.__aexit__(None, None, None))


def _on(store: Any, connection: Any) -> BaseStore:
    """Returns a store of the same kind on a connection that is inside a transaction of ours."""

    async def made() -> Any:
        return type(store)(connection, deserializer=store._deserializer)

    if isinstance(store, AsyncBatchedBaseStore):  # such a store is made on its event loop
        return cast("BaseStore", _wait(store, made()))
    return cast("BaseStore", type(store)(connection, deserializer=store._deserializer))


@contextmanager
def _locked_postgres(store: Any, name: str) -> Iterator[BaseStore]:
    # The steps use the very connection that holds the lock: a pool may have no second one to give.
    pool = hasattr(store.conn, "getconn")
    lock_id = int.from_bytes(sha256(name.encode()).digest()[:8], "big", signed=True)
    with (
        nullcontext() if pool else _entered(store, store.lock),
        _entered(store, store.conn.connection()) if pool else nullcontext(store.conn) as connection,
        _entered(store, connection.transaction()),
    ):
        # What was committed while we waited must be seen.
        _wait(store, connection.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED"))
        _wait(store, connection.execute("SELECT pg_advisory_xact_lock(%s)", (lock_id,)))
        yield _on(store, connection)


@contextmanager
def _locked_sqlite(store: Any, name: str) -> Iterator[BaseStore]:
    _wait(store, store.setup())
    with _entered(store, store.lock):
        _wait(store, store.conn.execute("BEGIN IMMEDIATE"))
        try:
            locked: Any = _on(store, _Joined(store.conn))
            locked.is_setup = True
            yield locked
        except BaseException:
            _wait(store, store.conn.execute("ROLLBACK"))
            raise
        _wait(store, store.conn.execute("COMMIT"))


class _Joined:
    """A SQLite connection that is inside a transaction of ours: the store's own BEGIN and COMMIT do nothing."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, sql: str, *parameters: Any) -> Any:
        return self._connection.cursor() if sql in ("BEGIN", "COMMIT") else self._connection.execute(sql, *parameters)


_Lock = Callable[[Any, str], AbstractContextManager[BaseStore]]

_LOCKS: dict[str, _Lock] = {
    "langgraph.store.postgres.base.PostgresStore": _locked_postgres,
    "langgraph.store.postgres.aio.AsyncPostgresStore": _locked_postgres,
    "langgraph.store.sqlite.base.SqliteStore": _locked_sqlite,
    "langgraph.store.sqlite.aio.AsyncSqliteStore": _locked_sqlite,
}


def _lock_of(store: BaseStore) -> _Lock | None:
    """Finds the lock of a store by its exact class, which need not be installed for this."""
    return _LOCKS.get(f"{type(store).__module__}.{type(store).__qualname__}")
