"""What a warm tenant notices while another tenant's key service hangs: ``python -m benchmarks.hanging_tenant``.

In turn: the warm tenant alone, and beside a hundred requests of the other tenant that wait for its key. Printed is the 99th
percentile of the warm tenant's calls in both, as the median of all turns, and their ratio.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import threading
import time
from collections.abc import Mapping

from langgraph.store.memory import InMemoryStore

from encrypted_serde import EncryptedStore, Key, KeyServiceError, LocalKeyWrapper, TenantKeyring, encryption_context
from encrypted_serde.kms.per_tenant import PerTenantWrapper

WARM, HANGING = {"tenant_id": "warm"}, {"tenant_id": "hanging"}


class HangingWrapper(LocalKeyWrapper):
    """A key service that does not answer until it is released."""

    def __init__(self) -> None:
        super().__init__(Key.generate())
        self.released = threading.Event()
        self.is_away = self.is_asked = False

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        if self.is_away:
            self.is_asked = True
            self.released.wait()
            raise KeyServiceError("no answer", retryable=True)
        return super().unwrap(wrapped, context)


async def percentile(store: EncryptedStore, calls: int) -> float:
    """Returns the 99th percentile of so many calls of the warm tenant, in seconds."""
    took = []
    with encryption_context(WARM):
        for number in range(calls):
            start = time.perf_counter()
            await store.aput(("notes",), str(number % 50), {"text": "what the user said"})
            await store.aget(("notes",), str(number % 50))
            took.append(time.perf_counter() - start)
            await asyncio.sleep(0)
    return statistics.quantiles(took, n=100)[98]


async def waiting(store: EncryptedStore) -> None:
    """A request of the tenant whose key service hangs."""
    try:
        with encryption_context(HANGING):
            await store.aput(("notes",), "x", {"text": "waits"})
    except KeyServiceError:
        pass


async def turn(requests: int, calls: int) -> tuple[float, float]:
    """Measures once alone and once beside the waiting requests."""
    good, bad = LocalKeyWrapper(Key.generate()), HangingWrapper()
    keys, wrapper = InMemoryStore(), PerTenantWrapper(lambda context: bad if context == HANGING else good)
    before = TenantKeyring(keys, wrapper)
    for tenant in (WARM, HANGING):
        before.encryption_key(tenant)
    bad.is_away = True
    store = EncryptedStore(InMemoryStore(), TenantKeyring(keys, wrapper))
    await percentile(store, calls)
    alone = await percentile(store, calls)
    tasks = [asyncio.create_task(waiting(store)) for _ in range(requests)]
    while not bad.is_asked:  # then all of them wait for the one that asked
        await asyncio.sleep(0.01)
    await percentile(store, calls // 10)
    beside = await percentile(store, calls)
    bad.released.set()
    await asyncio.gather(*tasks)
    return alone, beside


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--turns", type=int, default=15)
    options = parser.parse_args(arguments)
    pairs = [asyncio.run(turn(options.requests, options.calls)) for _ in range(options.turns)]
    alone, beside = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(beside / alone for alone, beside in pairs)
    print(f"p99 of a warm tenant: {alone * 1e6:.0f} us alone, {beside * 1e6:.0f} us beside {options.requests} waiting requests")
    print(f"ratio, median of {options.turns} turns: {ratio:.2f} (target: at most 1.2)")


if __name__ == "__main__":
    main()
