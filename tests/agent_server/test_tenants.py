"""One key per tenant in a key service, on the real server: nothing blocks it, one keyring serves all, and clients get words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.pregel.remote import RemoteGraph
from langgraph_sdk import get_client, get_sync_client
from langgraph_sdk.errors import APIStatusError

from encrypted_serde import Key
from tests.agent_server.rows import context_header, is_sealed
from tests.agent_server.server import ENCRYPTION, HERE, AgentServer, needs_server, start
from tests.agent_server.tenants import answer, client_of, said, tenants_server

pytestmark = needs_server

THREADS = {"checkpointer": {"path": "./checkpointer.py:checkpointer"}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentServer]:
    """Tenants by header, all that can be required is; keys that are too old after half a second, and nodes that take longer."""
    directory = tmp_path_factory.mktemp("server")
    with tenants_server(directory, "header", REQUIRED="tenant_id", ONLY_OWN="1", AGE="0.5", NAP="1") as running:
        yield running


@pytest.mark.parametrize("tenant", ["first", "second"])
async def test_no_key_call_blocks_the_server_at_a_cache_age_below_the_time_of_a_node(server: AgentServer, tenant: str) -> None:
    async with client_of(server, "header", tenant) as client:
        thread = (await client.threads.create())["thread_id"]
        state = await client.runs.wait(thread, "agent", input=said("a secret"))
        assert state["log"] == ["a secret", "A SECRET"]
        assert (await client.runs.wait(thread, "agent", input=said("more")))["log"][-1] == "MORE"
        assert len(await client.threads.get_history(thread)) == 6
    assert "BlockingError" not in server.printed
    assert server.get("/key_calls")[f"unwrap {tenant}"] > 1, "the cache was not too old: this proves nothing"


async def test_remote_graphs_run_as_their_tenant(server: AgentServer) -> None:
    headers = context_header({"tenant_id": "acme"})
    async with (
        client_of(server, "header", "acme") as client,
        client_of(server, "header", "globex") as another,
        get_client(url=server.url, headers=headers) as of_graph,
    ):
        config: Any = {"configurable": {"thread_id": (await client.threads.create())["thread_id"]}}
        with get_sync_client(url=server.url, headers=headers) as sync_client:
            graph = RemoteGraph("agent", client=of_graph, sync_client=sync_client)
            assert (await graph.ainvoke(said("one"), config))["log"] == ["one", "ONE"]
            assert graph.invoke(said("two"), config)["log"][-1] == "TWO"
            assert [part async for part in graph.astream(said("three"), config)]
            assert (await graph.aget_state(config)).values["log"][-1] == "THREE"
            await graph.aupdate_state(config, said("four"), as_node="act")
            other = RemoteGraph("agent", client=another, sync_client=sync_client)
            for call in (other.aget_state(config), other.aupdate_state(config, said("five"), as_node="act")):
                assert await answer(call) == 403


async def test_store_items_are_their_tenants(server: AgentServer) -> None:
    async with (
        client_of(server, "header", "acme") as acme,
        client_of(server, "header", "globex") as globex,
        client_of(server, "header", None) as nobody,
    ):
        await acme.store.put_item(["notes"], "k", {"text": "dear diary"})
        assert (await acme.store.get_item(["notes"], "k"))["value"] == {"text": "dear diary"}
        assert is_sealed((await globex.store.get_item(["notes"], "k"))["value"]["text"])
        assert await answer(nobody.store.get_item(["notes"], "k")) == 403
        assert await answer(nobody.store.put_item(["notes"], "k2", {"text": "mine"})) == 403
        assert await answer(globex.store.put_item(["others"], "k", {"text": "mine"})) == 200


async def test_a_refusal_is_told_in_words_without_the_tenant(server: AgentServer) -> None:
    async with client_of(server, "header", "acme-9183") as owner, client_of(server, "header", "globex-5521") as other:
        thread = (await owner.threads.create(graph_id="agent"))["thread_id"]
        await owner.threads.update_state(thread, said("secret"), as_node="act")
        with pytest.raises(APIStatusError) as caught:
            await other.threads.get_state(thread)
    response = caught.value.response
    assert (response.status_code, "another encryption context" in response.json()["detail"]) == (403, True)
    assert "acme-9183" not in response.text + json.dumps(dict(response.headers))
    assert "WrongContext: " in server.printed
    assert "acme-9183" not in server.printed


def two_keyrings(directory: Path) -> None:
    (directory / "checkpointer.py").write_text(
        "from tenant_keys import TenantKeyring, store, wrapper\n"
        "from encrypted_serde.agent_server import encrypted_saver\n"
        "def checkpointer():\n"
        "    return encrypted_saver('checkpoints.sqlite', TenantKeyring(store, wrapper))\n"
    )


def two_requirements(directory: Path) -> None:
    (directory / "checkpointer.py").write_text(
        "from tenant_keys import keys\n"
        "from encrypted_serde.agent_server import encrypted_saver\n"
        "def checkpointer():\n"
        "    return encrypted_saver('checkpoints.sqlite', keys)\n"
    )


@pytest.mark.parametrize(
    ("change", "said_at_start"), [(two_keyrings, "two key providers"), (two_requirements, "different required_context")]
)
def test_a_server_whose_handlers_and_checkpointer_differ_does_not_start(
    tmp_path: Path, change: Any, said_at_start: str
) -> None:
    app = tmp_path / "app"
    app.mkdir()
    for file in (HERE / "tenants_app").glob("*.py"):
        (app / file.name).write_text(file.read_text())
    change(app)
    environ = {"LANGGRAPH_ENCRYPTION": ENCRYPTION, "ENCRYPTED_SERDE_KEY": Key.generate().to_text(), "SOURCE": "header"}
    server = start(tmp_path / "run", {**environ, "REQUIRED": "tenant_id"}, app, **THREADS)
    try:
        assert server.process.wait(240) != 0
    finally:
        server.stop()
    assert said_at_start in server.printed
