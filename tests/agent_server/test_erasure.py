"""A tenant is erased while its rows are still there: nobody else's lists break, and its rows can be deleted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.agent_server.rows import is_sealed
from tests.agent_server.server import AgentServer, needs_server
from tests.agent_server.tenants import answer, client_of, said, tenants_server

pytestmark = needs_server


@pytest.fixture(scope="module", params=["", "1"], ids=["", "required to read"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentServer]:
    directory = tmp_path_factory.mktemp("server")
    with tenants_server(directory, "header", REQUIRED="tenant_id", ONLY_OWN=request.param) as running:
        yield running


async def test_after_an_erasure_lists_are_read_and_rows_are_deleted(server: AgentServer) -> None:
    async with client_of(server, "header", "acme") as acme, client_of(server, "header", "globex") as globex:
        threads: dict[str, Any] = {}
        for name, client in (("acme", acme), ("globex", globex)):
            threads[name] = (await client.threads.create(metadata={"note": f"of {name}"}))["thread_id"]
            await client.runs.wait(threads[name], "agent", input=said("secret"))
            await client.assistants.create("agent", metadata={"note": f"of {name}"})
        assert httpx.post(f"{server.url}/erase/acme").status_code == 200

        for client in (globex, acme):
            found = {row["thread_id"]: row["metadata"]["note"] for row in await client.threads.search()}
            assert found.keys() == set(threads.values())
            assert is_sealed(found[threads["acme"]])
            assert (found[threads["globex"]] == "of globex") or (client is acme and is_sealed(found[threads["globex"]]))
            assert len(await client.assistants.search()) == 3
            assert await answer(client.runs.list(threads["acme"])) == 200
        assert await answer(acme.threads.get_state(threads["acme"])) == 410
        assert await answer(globex.threads.get_state(threads["acme"])) in (403, 410)
        assert await answer(acme.threads.delete(threads["acme"])) == 200
        assert (await globex.runs.wait(threads["globex"], "agent", input=said("more")))["log"][-1] == "MORE"
        # A tenant that was erased may come back, with a new key.
        again = (await acme.threads.create(metadata={"note": "new"}))["thread_id"]
        assert (await acme.runs.wait(again, "agent", input=said("new")))["log"] == ["new", "NEW"]
