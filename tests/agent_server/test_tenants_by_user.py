"""The real server, tenants by authenticated user, `EncryptedSaver` on SQLite as its checkpointer."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from langgraph_sdk.errors import InternalServerError

from encrypted_serde import Key
from encrypted_serde.core.context import EncryptionContext
from encrypted_serde.core.encoding import b64url_encode
from encrypted_serde.core.format import SEALED_TEXT_PREFIX, bytes_of_text
from encrypted_serde.core.sealer import Sealer
from tests.agent_server.rows import context_header, is_sealed, tenant_of
from tests.agent_server.server import WHOLE_ROWS, AgentServer, needs_server
from tests.places import at

pytestmark = needs_server

TENANTS = "user"
CONFIG = {"auth": {"path": "./auth.py:auth"}, "checkpointer": {"path": "./checkpointer.py:checkpointer"}}

ALICE, BOB, BROKEN = "alice@acme", "bob@globex", "eve@broken"
METADATA = {"owner": "alice", "ssn": "078-05-1120", "count": 3, "nested": {"a": [1, None, "ü"]}, "nothing": None, "flag": False}


def stored(server: AgentServer, thread: Any) -> dict[str, Any]:
    return server.get(f"/stored/threads/{thread['thread_id']}")


@asynccontextmanager
async def refused() -> Any:
    """Expects a plain 500 whose body says nothing."""
    with pytest.raises(InternalServerError) as caught:
        yield
    assert caught.value.response.status_code == httpx.codes.INTERNAL_SERVER_ERROR
    assert caught.value.response.text == "Internal Server Error"


async def test_every_value_is_sealed_but_for_none_and_skipped_keys(server: AgentServer) -> None:
    async with server.client(ALICE) as alice:
        thread = await alice.threads.create(metadata=METADATA)
        assert thread["metadata"] == METADATA
        row = stored(server, thread)
        assert {name for name, value in row.items() if is_sealed(value)} == {"ssn", "count", "nested", "flag"}
        assert row.keys() - {"__encryption_context__"} == METADATA.keys()
        assert (row["owner"], row["nothing"]) == ("alice", None)
        assert (await alice.threads.get(thread["thread_id"]))["metadata"] == METADATA


async def test_search_finds_by_skipped_keys_only(server: AgentServer) -> None:
    async with server.client(ALICE) as alice:
        thread = await alice.threads.create(metadata={"owner": "searcher", "ssn": "1"})
        found = await alice.threads.search(metadata={"owner": "searcher"})
        assert [row["thread_id"] for row in found] == [thread["thread_id"]]
        assert found[0]["metadata"]["ssn"] == "1"
        by_sealed = await alice.threads.search(metadata={"owner": "searcher", "ssn": "1"})
        assert len(by_sealed) == (1 if WHOLE_ROWS else 0)


async def test_a_row_that_two_tenants_wrote_stays_readable(server: AgentServer) -> None:
    async with server.client(ALICE) as alice, server.client(BOB) as bob:
        thread = await alice.threads.create(metadata={"ssn": "of acme"})
        await bob.threads.update(thread["thread_id"], metadata={"note": "of globex"})
        row = stored(server, thread)
        assert (tenant_of(row["ssn"]), tenant_of(row["note"])) == ("globex" if WHOLE_ROWS else "acme", "globex")
        assert row["__encryption_context__"]["tenant_id"] == "globex"
        for client in (alice, bob):
            assert (await client.threads.get(thread["thread_id"]))["metadata"] == {"ssn": "of acme", "note": "of globex"}


async def test_a_run_is_written_and_read_under_its_tenant(server: AgentServer) -> None:
    async with server.client(ALICE) as alice:
        thread_id = (await alice.threads.create())["thread_id"]
        values = await alice.runs.wait(thread_id, "agent", input={"text": "quiet", "log": []}, metadata={"trip": "secret"})
        assert values["log"] == ["QUIET", "tenant acme"]
        [run] = await alice.runs.list(thread_id)
        assert run["metadata"]["trip"] == "secret"
        assert run["kwargs"]["input"]["text"] == "quiet"
        assert (await alice.threads.get_state(thread_id))["values"]["text"] == "quiet"
        await alice.threads.update_state(thread_id, {"text": "changed"})
        history = await alice.threads.get_history(thread_id)
        assert [state["values"].get("text") for state in history] == ["changed", "quiet", "quiet", None]
        copied = await alice.threads.copy(thread_id)
        assert (await alice.threads.get_state(copied["thread_id"]))["values"]["text"] == "changed"
        await alice.threads.delete(copied["thread_id"])


async def test_a_tenant_cannot_read_the_checkpoints_of_another(server: AgentServer) -> None:
    async with server.client(ALICE) as alice, server.client(BOB) as bob:
        thread_id = (await alice.threads.create())["thread_id"]
        await alice.runs.wait(thread_id, "agent", input={"text": "ours", "log": []})
        async with refused():
            await bob.threads.get_state(thread_id)


async def test_store_items_of_clients_are_sealed(server: AgentServer) -> None:
    async with server.client(ALICE) as alice:
        await alice.store.put_item(["notes"], "k", {"text": "dear diary"})
        assert (await alice.store.get_item(["notes"], "k"))["value"] == {"text": "dear diary"}
        [item] = (await alice.store.search_items(["notes"]))["items"]
        assert item["value"] == {"text": "dear diary"}


async def test_assistants_are_sealed(server: AgentServer) -> None:
    async with server.client(ALICE) as alice:
        assistant = await alice.assistants.create("agent", metadata={"team": "x"}, config={"configurable": {"api_key": "k-1"}})
        row = server.get(f"/stored/assistants/{assistant['assistant_id']}")
        assert is_sealed(row["team"])
        again = await alice.assistants.get(assistant["assistant_id"])
        assert (again["metadata"]["team"], again["config"]["configurable"]["api_key"]) == ("x", "k-1")
        await alice.assistants.update(assistant["assistant_id"], metadata={"team": "y"})
        assert (await alice.assistants.get(assistant["assistant_id"]))["metadata"]["team"] == "y"


# With metadata the in-memory server before 0.18 never starts the run: see docs/agent-server.md.
@pytest.mark.parametrize("metadata", [None, {"note": "of a cron"}] if WHOLE_ROWS else [None])
async def test_a_cron_runs_under_the_tenant_that_made_it(server: AgentServer, metadata: Any) -> None:
    async with server.client(ALICE) as alice:
        thread_id = (await alice.threads.create())["thread_id"]
        # The server's croniter takes a sixth field: every second.
        cron = await alice.crons.create_for_thread(
            thread_id, "agent", schedule="* * * * * *", input={"text": "tick", "log": []}, metadata=metadata
        )
        row = server.get(f"/stored/crons/{cron['cron_id']}")
        assert row.keys() - {"__encryption_context__"} == (metadata or {}).keys()
        assert not [name for name in metadata or () if not is_sealed(row[name])]
        [found] = [found for found in await alice.crons.search() if found["cron_id"] == cron["cron_id"]]
        assert found["payload"]["input"]["text"] == "tick"
        async with asyncio.timeout(30):
            while not [run for run in await alice.runs.list(thread_id) if run["status"] == "success"]:
                await asyncio.sleep(0.2)
        await alice.crons.delete(cron["cron_id"])
        assert (await alice.threads.get_state(thread_id))["values"]["log"][:2] == ["TICK", "tenant acme"]


async def test_a_graph_hands_its_context_on_when_it_calls_the_server_itself(server: AgentServer) -> None:
    async with server.client(BOB) as bob:
        await bob.runs.wait(None, "agent", input={"text": "inner", "action": "loopback", "log": []})
        [thread] = await bob.threads.search(metadata={"owner": "graph"})
        assert thread["metadata"]["text"] == "inner"
        assert tenant_of(stored(server, thread)["text"]) == "globex"


# --- clients that lie -------------------------------------------------------------------------------------------------


async def test_text_of_a_client_that_looks_sealed_comes_back_as_it_was(server: AgentServer) -> None:
    async with server.client(ALICE) as alice, server.client(BOB) as bob:
        victim = stored(server, await alice.threads.create(metadata={"ssn": "of acme"}))["ssn"]
        texts = {"ssn": victim, "hello": "es1.hello", "owner": victim, "task_id": victim, "aes": "encrypted.aes:AAAA"}
        thread = await bob.threads.create(metadata=texts)
        assert (await bob.threads.get(thread["thread_id"]))["metadata"] == texts


async def test_a_skipped_value_that_would_make_its_row_unreadable_is_not_written(server: AgentServer) -> None:
    async with server.client(ALICE) as alice:
        async with refused():
            await alice.threads.create(metadata={"owner": "encrypted.aes:AAAA"})
        await alice.threads.search()


async def test_the_servers_own_marker_from_a_client_is_refused(server: AgentServer) -> None:
    async with server.client(ALICE) as alice:
        async with refused():
            await alice.threads.create(metadata={"__encryption_context__": {"tenant_id": "globex"}, "x": 1})
        await alice.threads.search()


async def test_a_client_cannot_name_the_tenant_of_its_run(server: AgentServer) -> None:
    lie = {"tenant_id": "globex"}
    async with server.client(ALICE, **context_header(lie)) as alice:
        thread_id = (await alice.threads.create(metadata={"a": 1}))["thread_id"]
        assert tenant_of(server.get(f"/stored/threads/{thread_id}")["a"]) == "acme"
        config = {"__blob_encryption_context__": lie, "configurable": {"__blob_encryption_context__": lie}}
        run = alice.runs.wait(thread_id, "agent", input={"text": "x", "log": []}, config=config)
        if WHOLE_ROWS:  # the server believes the client, and we do not
            with pytest.raises(Exception, match="UntrustedContext"):
                await run
        else:
            assert (await run)["log"][1] == "tenant acme"


async def test_nothing_is_written_when_the_context_handler_fails(server: AgentServer) -> None:
    before = server.get("/calls")["encrypt.json"]
    async with server.client(BROKEN, **context_header({"tenant_id": "acme"})) as broken, server.client(ALICE) as alice:
        async with refused():
            await broken.threads.create(metadata={"owner": "eve", "x": "y"})
        async with refused():
            await broken.store.put_item(["broken"], "k", {"x": "y"})
        thread = await alice.threads.create(metadata={"x": "y"})
        assert (await broken.threads.get(thread["thread_id"]))["metadata"] == {"x": "y"}  # reading needs no tenant
        assert await alice.threads.search(metadata={"owner": "eve"}) == []
    assert server.get("/calls")["encrypt.json"] >= before + 3


# --- rows that were changed -------------------------------------------------------------------------------------------


def seal(key: Key, name: str, text: str, tenant: str) -> str:
    context = EncryptionContext.of({"tenant_id": tenant})
    sealed = Sealer(key).seal_bound("json", text.encode(), at("json", name), context=context)
    return sealed_text(sealed)


def sealed_text(sealed: bytes) -> str:
    return SEALED_TEXT_PREFIX + b64url_encode(sealed)


@pytest.mark.parametrize(
    "change",
    [
        lambda value, key: value[:-2] + ("AA" if value[-2:] != "AA" else "BA"),
        lambda value, key: sealed_text((bytes_of_text(value) or b"").replace(b"acme", b"acmf")),
        lambda value, key: seal(key, "other", '"moved"', "acme"),
        lambda value, key: seal(Key.generate(), "ssn", '"missing key"', "acme"),
    ],
    ids=["ciphertext", "tenant", "moved from another key", "under a key we do not have"],
)
async def test_a_changed_value_is_refused(server: AgentServer, server_key: Key, change: Any) -> None:
    async with server.client(ALICE) as alice:
        thread = await alice.threads.create(metadata={"ssn": "078-05-1120"})
        value = stored(server, thread)["ssn"]
        server.patch(f"/stored/threads/{thread['thread_id']}", {"ssn": change(value, server_key)})
        assert stored(server, thread)["ssn"] != value
        async with refused():
            await alice.threads.get(thread["thread_id"])
        server.patch(f"/stored/threads/{thread['thread_id']}", {"ssn": value})
        await alice.threads.delete(thread["thread_id"])


async def test_a_value_of_ours_opens_wherever_its_key_is_the_same(server: AgentServer, server_key: Key) -> None:
    async with server.client(ALICE) as alice:
        thread = await alice.threads.create(metadata={"ssn": "1"})
        server.patch(f"/stored/threads/{thread['thread_id']}", {"ssn": seal(server_key, "ssn", '{"lc": 1}', "globex")})
        assert (await alice.threads.get(thread["thread_id"]))["metadata"] == {"ssn": {"lc": 1}}


# --- the server as a whole: these look back at what the tests above made it do ------------------------------------------


async def test_all_json_handlers_and_no_blob_handler_were_called(server: AgentServer) -> None:
    calls = server.get("/calls")
    assert calls.keys() == {"context", "encrypt.json", "decrypt.json"}


async def test_the_audit_names_the_user_of_requests_and_runs(server: AgentServer) -> None:
    async with server.client("auditor@acme") as client:
        before = len(server.printed)
        thread = (await client.threads.create(metadata={"ssn": "1"}))["thread_id"]
        created = len(server.printed)
        await client.runs.wait(thread, "agent", input={"text": "x", "log": []})
    for part in (server.printed[before:created], server.printed[created:]):
        assert "actor='auditor'" in part
        assert "action='seal'" in part


async def test_the_log_names_no_plaintext_and_nothing_was_sent_anywhere(server: AgentServer) -> None:
    for secret in ("078-05-1120", "dear diary", "k-1", json.dumps(METADATA["nested"], ensure_ascii=False)):
        assert secret not in server.printed
    assert server.egress == []
