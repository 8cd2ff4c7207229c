"""Plain threads and pools: a thread sees the context where it is given a copy of the caller's, and nothing otherwise."""

from __future__ import annotations

import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor

from encrypted_serde import encryption_context
from tests.web.test_fastapi import seen


def test_a_thread_that_runs_in_a_copy_of_the_context_sees_it() -> None:
    found: list[str] = []
    with encryption_context(tenant_id="acme"):
        thread = threading.Thread(target=contextvars.copy_context().run, args=(lambda: found.append(seen()),))
    thread.start()
    thread.join()
    assert found == ["acme"]


def test_a_pool_needs_a_copy_for_every_call() -> None:
    with ThreadPoolExecutor(4) as pool:
        futures = []
        for number in range(50):
            with encryption_context(tenant_id=f"t{number}"):
                futures.append(pool.submit(contextvars.copy_context().run, seen))
        assert [future.result() for future in futures] == [f"t{number}" for number in range(50)]
        with encryption_context(tenant_id="acme"):
            assert pool.submit(seen).result() == "nobody"
