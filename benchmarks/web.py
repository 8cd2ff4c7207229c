"""What encryption costs a web service: 200 requests of 20 tenants at once, on a pool of Postgres connections.

    python -m benchmarks.web [ROUNDS]

The service of examples/fastapi_tenants.py, with `EncryptedSaver` and a key for each tenant, and with the plain saver, in turns.
"""

from __future__ import annotations

import asyncio
import importlib.util
import statistics
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import httpx
from langgraph.store.memory import InMemoryStore

from encrypted_serde import EncryptedSaver, Key, LocalKeyWrapper, TenantKeyring
from tests.postgres import running_postgres, temporary_database
from tests.web.test_fastapi import ENDPOINTS, pooled_saver

EXAMPLE = Path(__file__).parents[1] / "examples" / "fastapi_tenants.py"
TENANTS, REQUESTS = 20, 200


def _example() -> Any:
    specification = importlib.util.spec_from_file_location("fastapi_tenants", EXAMPLE)
    if specification is None or specification.loader is None:
        raise FileNotFoundError(EXAMPLE)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


async def _seconds(app: Any, turn: str) -> tuple[float, float]:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://service", timeout=300) as client:

        async def one(number: int) -> None:
            tenant = f"t{number % TENANTS}"
            path = f"{ENDPOINTS[number % len(ENDPOINTS)]}/{turn}-{number}"
            text = f"a question of {tenant} " * 20
            headers = {"authorization": f"Bearer user@{tenant}"}
            (await client.post(path, params={"text": text}, content=text, headers=headers)).raise_for_status()

        start, worked = perf_counter(), process_time()
        await asyncio.gather(*map(one, range(REQUESTS)))
        return perf_counter() - start, process_time() - worked


async def _measure(dsns: list[str], rounds: int) -> list[tuple[float, float]]:
    """Gives, for each pair of turns, throughput of encrypted to plain, and the same by processor time of this process."""
    example = _example()
    async with AsyncExitStack() as stack:
        plain, inner = [await stack.enter_async_context(pooled_saver(dsn)) for dsn in dsns]
        keys = TenantKeyring(InMemoryStore(), LocalKeyWrapper(Key.generate()))
        savers = {"plain": plain, "encrypted": EncryptedSaver(inner, keys, required_context=("tenant_id",))}
        apps = {name: example.create_app(example.build_agent(saver)) for name, saver in savers.items()}
        ratios = []
        for turn in range(rounds + 1):  # the first warms up
            order = list(apps) if turn % 2 else list(reversed(apps))
            seconds = {name: await _seconds(apps[name], f"{turn}") for name in order}
            if turn:
                (plainly, cpu), (sealed, sealed_cpu) = seconds["plain"], seconds["encrypted"]
                ratios.append((plainly / sealed, cpu / sealed_cpu))
        return ratios


def main(rounds: int) -> None:
    """Measures and prints."""
    with running_postgres() as server, temporary_database(server) as one, temporary_database(server) as two:
        ratios = asyncio.run(_measure([one, two], rounds))
    for what, found in zip(("throughput", "by processor time of the service"), zip(*ratios, strict=True), strict=True):
        each = ", ".join(f"{ratio:.2f}" for ratio in found)
        print(f"encrypted to plain, {what}: {statistics.median(found):.2f} ({each})")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 9)
