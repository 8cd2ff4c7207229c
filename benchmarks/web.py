"""What encryption costs a web service: 200 requests of 20 tenants at once, on a pool of Postgres connections.

The service of examples/fastapi_tenants.py, with `EncryptedSaver` and a key for each tenant, and with the plain saver.
"""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import httpx
from langgraph.store.memory import InMemoryStore

from encrypted_serde import EncryptedSaver, Key, LocalKeyWrapper, TenantKeyring
from tests.web.test_fastapi import ENDPOINTS, pooled_saver

from .pairs import Sample
from .places import Places

EXAMPLE = Path(__file__).parents[1] / "examples" / "fastapi_tenants.py"
TENANTS, REQUESTS = 20, 200


def _example() -> Any:
    specification = importlib.util.spec_from_file_location("fastapi_tenants", EXAMPLE)
    if specification is None or specification.loader is None:
        raise FileNotFoundError(EXAMPLE)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


async def _seconds(app: Any, turn: int) -> float:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://service", timeout=300) as client:

        async def one(number: int) -> None:
            tenant = f"t{number % TENANTS}"
            path = f"{ENDPOINTS[number % len(ENDPOINTS)]}/{turn}-{number}"
            text = f"a question of {tenant} " * 20
            headers = {"authorization": f"Bearer user@{tenant}"}
            (await client.post(path, params={"text": text}, content=text, headers=headers)).raise_for_status()

        start = perf_counter()
        await asyncio.gather(*map(one, range(REQUESTS)))
        return perf_counter() - start


@contextmanager
def web_samples(places: Places) -> Iterator[tuple[Sample, Sample]]:
    """Opens both services, and gives samples of the time that all requests take: encrypted, and plain."""
    loop, opened, example, turns = asyncio.new_event_loop(), AsyncExitStack(), _example(), itertools.count()

    def sample(app: Any) -> Sample:
        return lambda: loop.run_until_complete(_seconds(app, next(turns)))

    with ExitStack() as stack:
        dsns = [stack.enter_context(places.place("Postgres")) for _ in range(2)]
        try:
            inner, plain = [loop.run_until_complete(opened.enter_async_context(pooled_saver(dsn))) for dsn in dsns]
            keys = TenantKeyring(InMemoryStore(), LocalKeyWrapper(Key.generate()))
            saver = EncryptedSaver(inner, keys, required_context=("tenant_id",))
            yield tuple(sample(example.create_app(example.build_agent(one))) for one in (saver, plain))
        finally:
            loop.run_until_complete(opened.aclose())
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()
