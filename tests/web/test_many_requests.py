"""200 requests of 20 tenants at once, through async, sync and streaming endpoints, on a pool of Postgres connections."""

from __future__ import annotations

import asyncio
from types import ModuleType

from langgraph.store.memory import InMemoryStore

from encrypted_serde import EncryptedSaver
from encrypted_serde.tenants.keyring import TenantKeyring
from tests.tenants.services import CountingWrapper
from tests.web.rows import contexts_by_thread
from tests.web.test_fastapi import ENDPOINTS, _post, example, pooled_saver  # noqa: F401

TENANTS, REQUESTS = 20, 200


async def test_no_row_is_under_a_wrong_or_no_context(postgres_database: str, example: ModuleType) -> None:  # noqa: F811
    wrapper = CountingWrapper()
    keys = TenantKeyring(InMemoryStore(), wrapper)
    wrapper.calls.clear()
    wrapper.on_loop = 0
    async with pooled_saver(postgres_database) as inner:
        app = example.create_app(example.build_agent(EncryptedSaver(inner, keys, required_context=("tenant_id",))))

        async def one(number: int) -> int:
            tenant = f"t{number % TENANTS}"
            path = ENDPOINTS[number % len(ENDPOINTS)]
            headers = {"authorization": f"Bearer user@{tenant}"}
            return (await _post(app, path, f"{tenant}-{number}", f"a secret of {tenant}", headers)).status_code

        assert await asyncio.gather(*map(one, range(REQUESTS))) == [200] * REQUESTS
    stored = contexts_by_thread(postgres_database)
    assert len({thread for thread, _ in stored}) == REQUESTS
    assert {(thread, tenant) for thread, tenant in stored if thread.partition("-")[0] != tenant} == set()
    assert wrapper.calls == {"wrap": TENANTS}
