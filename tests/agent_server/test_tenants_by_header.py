"""The real server without users, tenants by a header that a gateway is to set."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from langgraph_sdk.errors import InternalServerError

from tests.agent_server.rows import context_header, tenant_of
from tests.agent_server.server import WHOLE_ROWS, AgentServer, needs_server

pytestmark = needs_server

TENANTS = "header"
CONFIG: dict[str, object] = {}

ACME, GLOBEX = context_header({"tenant_id": "acme"}), context_header({"tenant_id": "globex"})


async def test_two_tenants_share_a_row_and_a_reader_without_the_header_reads_it(server: AgentServer) -> None:
    async with server.client(**ACME) as acme, server.client(**GLOBEX) as globex, server.client() as nobody:
        thread_id = (await acme.threads.create(metadata={"a": "1"}))["thread_id"]
        await globex.threads.update(thread_id, metadata={"b": [2]})
        await nobody.threads.update(thread_id, metadata={"c": {"d": 3}})
        row = server.get(f"/stored/threads/{thread_id}")
        assert [tenant_of(row[name]) for name in "abc"] == ([None] * 3 if WHOLE_ROWS else ["acme", "globex", None])
        for client in (acme, globex, nobody):
            assert (await client.threads.get(thread_id))["metadata"] == {"a": "1", "b": [2], "c": {"d": 3}}


async def test_a_run_keeps_the_tenant_of_the_request_that_made_it(server: AgentServer) -> None:
    async with server.client(**GLOBEX) as globex, server.client() as nobody:
        thread_id = (await globex.threads.create())["thread_id"]
        run = await globex.runs.create(thread_id, "agent", input={"text": "later", "log": []})
        async with asyncio.timeout(30):
            while (await nobody.runs.get(thread_id, run["run_id"]))["status"] != "success":
                await asyncio.sleep(0.1)
        assert (await nobody.threads.get_state(thread_id))["values"]["log"] == ["LATER", "tenant globex"]


@pytest.mark.parametrize("context", [{"tenant_id": 7}, {"tenant_id": ""}, {"tenant_id": "a\0b"}, {"tenant_id": "x" * 1025}])
async def test_a_context_that_is_none_is_refused_without_a_word_about_it(
    server: AgentServer, context: dict[str, object]
) -> None:
    async with server.client(**context_header(context)) as client:
        with pytest.raises(InternalServerError) as caught:
            await client.threads.create(metadata={"a": 1})
    assert caught.value.response.text == "Internal Server Error"


async def test_other_names_in_the_header_are_dropped(server: AgentServer) -> None:
    async with server.client(**context_header({"tenant_id": "acme", "Role": ["admin"]})) as client:
        thread = await client.threads.create(metadata={"a": 1})
    assert tenant_of(server.get(f"/stored/threads/{thread['thread_id']}")["a"]) == "acme"


def test_a_header_that_is_no_json_never_reaches_us(server: AgentServer) -> None:
    answer = httpx.post(f"{server.url}/threads", json={}, headers={"X-Encryption-Context": "?"})
    assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY


async def test_only_a_waiting_run_holds_a_token_and_no_client_is_its_tenant_by_it(server: AgentServer) -> None:
    async with server.client(**ACME) as acme:
        thread_id = (await acme.threads.create(metadata={"a": 1}))["thread_id"]
        assert server.get(f"/stored/threads/{thread_id}")["__encryption_context__"] == {"tenant_id": "acme", "__es1__": "none"}
        await acme.runs.create(thread_id, "agent", input={"text": "x", "log": []}, after_seconds=3600)
    token = server.get(f"/stored_config/runs/{thread_id}")["__encryption_context__"]["__es1__"]
    assert token.startswith("es1.")
    async with server.client(**context_header({"tenant_id": "globex", "__es1__": token})) as thief:
        stored = await thief.threads.create(metadata={"a": 1})
    assert tenant_of(server.get(f"/stored/threads/{stored['thread_id']}")["a"]) == "globex"
