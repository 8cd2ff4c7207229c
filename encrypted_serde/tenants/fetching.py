"""Fetching what is not in memory, so that no tenant waits for another.

* One lock per tenant: what is fetched or changed of a tenant is fetched or changed by one thread at a time. Threads are
  scarce, so at most two wait longer than a second for the fetch of one tenant: a service that hangs must not take them all.
* A pool of threads for callers on an event loop. Of each tenant one fetch runs at a time, and every caller that needs the same
  tenant waits for that one, without a thread.
* A failure counts for a second: hundreds of requests of a tenant whose service hangs ask it once, not one after the other.
"""

from __future__ import annotations

import asyncio
import contextvars
import copy
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from time import monotonic
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

from ..core.bounded import Bounded
from ..core.forks import start_anew_in_children
from ..errors import EncryptedSerdeError, KeyServiceError

THREADS = 32
"""How many tenants are fetched at once for those who wait on an event loop, and ahead of time."""

REMEMBERED = 1.0
"""Seconds for which a failure counts."""

PATIENT, PATIENCE = 2, 1.0
"""How many threads wait for one tenant however long it takes, and for how many seconds the others do."""

_FAILURES = 4096


class TenantLocks:
    """A lock for each tenant that is being worked on."""

    def __init__(self) -> None:
        self.after_fork()
        start_anew_in_children(self)

    def after_fork(self) -> None:
        """Begins anew: the threads that held a lock are not there in a child process."""
        self._locks: WeakValueDictionary[bytes, _TenantLock] = WeakValueDictionary()
        self._guard = threading.Lock()

    @contextmanager
    def held(self, tenant: bytes, *, to_fetch: bool = False) -> Iterator[None]:
        """Holds the lock of a tenant, to change something or to fetch something.

        Raises:
            KeyServiceError: If another fetch takes long, and enough threads wait for it.
        """
        with self._guard:
            lock = self._locks.get(tenant)
            if lock is None:
                lock = self._locks[tenant] = _TenantLock()
        if not lock.acquire(blocking=not to_fetch) and not lock.wait():
            raise KeyServiceError(
                "a key of this tenant is being fetched, which takes long, and others wait for it; a retry may help",
                retryable=True,
            )
        try:
            yield
        finally:
            lock.release()


class _TenantLock:
    __slots__ = ("__weakref__", "_waiting", "acquire", "release")

    def __init__(self) -> None:
        lock = threading.Lock()
        self.acquire, self.release = lock.acquire, lock.release
        self._waiting: set[int] = set()

    def wait(self) -> bool:
        me = threading.get_ident()
        is_patient = len(self._waiting) < PATIENT
        self._waiting.add(me)
        try:
            return self.acquire(timeout=-1 if is_patient else PATIENCE)
        finally:
            self._waiting.discard(me)


class Failures:
    """What went wrong just now, by tenant and by what was wanted. A service that may answer later fails the whole tenant."""

    def __init__(self) -> None:
        self._known: Bounded[tuple[bytes, bytes | None], tuple[EncryptedSerdeError, float]] = Bounded(_FAILURES)

    def check(self, tenant: bytes, wanted: bytes) -> None:
        """Raises what was raised for the same less than a second ago."""
        for slot in ((tenant, None), (tenant, wanted)):
            found = self._known.get(slot)
            if found is not None and found[1] > monotonic():
                raise copy.copy(found[0])

    def remember(self, tenant: bytes, wanted: bytes, error: EncryptedSerdeError) -> None:
        """Notes a failure."""
        whole = isinstance(error, KeyServiceError) and error.retryable
        self._known[tenant, None if whole else wanted] = (copy.copy(error), monotonic() + REMEMBERED)

    def forget(self, tenant: bytes) -> None:
        """Forgets what failed of a tenant."""
        for slot in [slot for slot in [*self._known] if slot[0] == tenant]:
            self._known.pop(slot, None)


class _Fetch(NamedTuple):
    """One fetch: of which tenant, for what, and what it came to once it is over: an exception or None."""

    tenant: bytes
    wanted: bytes
    run: Callable[[], Any]
    outcome: Future[BaseException | None]


class Fetches:
    """Fetches that are running or waiting for a thread, one per tenant."""

    def __init__(self) -> None:
        self.after_fork()
        start_anew_in_children(self)

    def after_fork(self) -> None:
        """Begins anew, in a child process."""
        self._guard = threading.Lock()
        self._running: dict[bytes, _Fetch] = {}
        self._waiting: deque[_Fetch] = deque()
        self._threads = 0

    async def join(self, tenant: bytes, wanted: bytes, work: Callable[[], Any]) -> bool:
        """Fetches something of a tenant, or waits for what is being fetched of it. Holds no thread.

        Returns:
            Whether it was what is wanted. If not, look again whether that is there by now.

        Raises:
            EncryptedSerdeError: What the fetch raised, if it was for the same.
        """
        fetch = self.start(tenant, wanted, work)
        outcome = await asyncio.shield(asyncio.wrap_future(fetch.outcome))
        if fetch.wanted != wanted:
            return False
        if outcome is not None:
            raise copy.copy(outcome) if isinstance(outcome, EncryptedSerdeError) else outcome
        return True

    def start(self, tenant: bytes, wanted: bytes, work: Callable[[], Any]) -> _Fetch:
        """Starts a fetch, unless one of the same tenant is under way, and returns the one that is."""
        with self._guard:
            if (running := self._running.get(tenant)) is not None:
                return running
            fetch = _Fetch(tenant, wanted, _in_this_context(work), Future())
            self._running[tenant] = fetch
            self._waiting.append(fetch)
            if is_needed := self._threads < THREADS:
                self._threads += 1
        if is_needed:
            threading.Thread(target=self._serve, name="encrypted-serde-keys", daemon=True).start()
        return fetch

    def _serve(self) -> None:
        while (fetch := self._next()) is not None:
            outcome: BaseException | None = None
            try:
                fetch.run()
            except BaseException as error:  # noqa: BLE001  # every waiter is told
                outcome = error
            with self._guard:
                self._running.pop(fetch.tenant, None)
            fetch.outcome.set_result(outcome)

    def _next(self) -> _Fetch | None:
        with self._guard:
            if self._waiting:
                return self._waiting.popleft()
            self._threads -= 1
            return None


def _in_this_context(work: Callable[[], Any]) -> Callable[[], Any]:
    """Who is at work (`audit`) is said by context variables."""
    context = contextvars.copy_context()
    return lambda: context.run(work)
