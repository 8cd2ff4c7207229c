"""Who gets what: a tenant, another tenant, and somebody without one, on a thread of the tenant; and nobody spoils it.

Four servers: tenants by header, without and with a required context and with ``require_context_to_read``; and tenants of
authenticated users, whose Auth handlers filter. docs/agent-server.md has this as a table.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, NamedTuple

import pytest

from tests.agent_server.rows import is_sealed
from tests.agent_server.server import WHOLE_ROWS, AgentServer, needs_server
from tests.agent_server.tenants import FAILED, answer, client_of, run_cron, said, tenants_server, update_once_idle

pytestmark = needs_server

REQUIRED = {"REQUIRED": "tenant_id"}
ONLY_OWN = {**REQUIRED, "ONLY_OWN": "1"}
MODES: dict[str, tuple[str, dict[str, str]]] = {
    "header": ("header", {}),
    "header, required": ("header", REQUIRED),
    "header, required to read": ("header", ONLY_OWN),
    "user, required to read": ("user", ONLY_OWN),
}


class Running(NamedTuple):
    mode: str
    source: str
    server: AgentServer

    def client(self, tenant: str | None) -> Any:
        return client_of(self.server, self.source, tenant)


@pytest.fixture(scope="module", params=MODES)
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    source, environ = MODES[request.param]
    with tenants_server(tmp_path_factory.mktemp("server"), source, **environ) as server:
        yield Running(request.param, source, server)
        # Of all that was asked for, nothing was an error of the server, and nothing blocked its event loop.
        assert "BlockingError" not in server.printed
        assert "Internal Server Error" not in server.printed


Operation = Callable[[Any, str], Awaitable[Any]]
OPERATIONS: dict[str, Operation] = {
    "get": lambda client, thread: client.threads.get(thread),
    "search": lambda client, thread: client.threads.search(),
    "get_state": lambda client, thread: client.threads.get_state(thread),
    "get_history": lambda client, thread: client.threads.get_history(thread),
    "run": lambda client, thread: client.runs.wait(thread, "agent", input=said("mine?")),
    "update_state": lambda client, thread: client.threads.update_state(thread, said("mine?"), as_node="act"),
    "update": lambda client, thread: client.threads.update(thread, metadata={"note": "mine?"}),
    "copy": lambda client, thread: client.threads.copy(thread),
    "cron": run_cron,
    "stateless": lambda client, thread: client.runs.wait(None, "agent", input=said("just so")),
    "delete": lambda client, thread: client.threads.delete(thread),
}

ALL = dict.fromkeys(OPERATIONS, 200)
EXPECTED: dict[str, dict[str | None, dict[str, int | str]]] = {
    "header": {
        "acme": ALL,
        # The handlers read with the context that is stored; the checkpointer keeps tenants apart.
        "globex": {
            **ALL,
            **dict.fromkeys(("get_state", "get_history", "update_state", "copy", "delete"), 403),
            "run": FAILED,
            "cron": FAILED,
        },
        None: {**ALL, **dict.fromkeys(("update_state", "copy", "delete"), 403), "run": FAILED, "cron": FAILED},
    },
    "header, required": {
        "acme": ALL,
        "globex": {
            **ALL,
            **dict.fromkeys(("get_state", "get_history", "update_state", "copy", "delete"), 403),
            "run": FAILED,
            "cron": FAILED,
        },
        None: {**ALL, **dict.fromkeys(("run", "update_state", "update", "copy", "cron", "stateless", "delete"), 403)},
    },
    "header, required to read": {
        "acme": ALL,
        # What is another tenant's stays sealed; and 0.18 would seal it anew with the metadata that is added.
        "globex": {
            **ALL,
            **dict.fromkeys(("get_state", "get_history", "run", "update_state", "copy", "delete"), 403),
            "update": 403 if WHOLE_ROWS else 200,
            "cron": FAILED,
        },
        None: dict.fromkeys(OPERATIONS, 403),
    },
    "user, required to read": {
        "acme": ALL,
        "globex": {**dict.fromkeys(OPERATIONS, 404), "search": 200, "copy": 409, "stateless": 200},
        None: dict.fromkeys(OPERATIONS, 401),
    },
}


@pytest.mark.parametrize("tenant", ["acme", "globex", None])
@pytest.mark.parametrize("operation", OPERATIONS)
async def test_what_each_gets_on_a_thread_of_a_tenant(running: Running, operation: str, tenant: str | None) -> None:
    async with running.client("acme") as owner, running.client(tenant) as other:
        thread = (await owner.threads.create(graph_id="agent", metadata={"subject": "private"}))["thread_id"]
        await owner.threads.update_state(thread, said("secret"), as_node="act")
        got = await answer(OPERATIONS[operation](other, thread))
        assert got == EXPECTED[running.mode][tenant][operation]
        if operation == "delete" and got == 200:
            return
        # Whatever it was: the owner still reads all of it, and goes on.
        await update_once_idle(owner, thread, "more")
        log = (await owner.threads.get_state(thread))["values"]["log"]
        assert (log[0], log[-1]) == ("secret", "more")
        assert (await owner.threads.get(thread))["metadata"]["subject"] == "private"


async def test_nobody_reads_what_another_tenant_wrote_if_a_context_is_required_to_read(running: Running) -> None:
    async with running.client("acme") as owner, running.client("globex") as other:
        thread = (await owner.threads.create(graph_id="agent", metadata={"subject": "of acme alone"}))["thread_id"]
        found = [row for row in await other.threads.search(limit=1000) if row["thread_id"] == thread]
    seen = [row["metadata"].get("subject") for row in found]
    if running.source == "user":
        assert seen == []
    else:
        assert (seen == ["of acme alone"]) == ("read" not in running.mode)


async def test_a_run_of_another_tenant_leaves_a_thread_on_which_its_owner_can_run(running: Running) -> None:
    async with running.client("acme") as owner:
        thread = (await owner.threads.create())["thread_id"]
        await owner.runs.wait(thread, "agent", input=said("secret"))
        for tenant in ("globex", None):
            async with running.client(tenant) as other:
                assert await answer(OPERATIONS["run"](other, thread)) != 200
        assert (await owner.runs.wait(thread, "agent", input=said("more")))["log"] == ["secret", "SECRET", "more", "MORE"]


@pytest.mark.parametrize("tenant", ["globex", None])
async def test_what_a_finished_run_returned_is_joined_by_others_unless_auth_handlers_refuse(
    running: Running, tenant: str | None
) -> None:
    """Documented: the server replays what it keeps of a run, or of the thread, and asks neither handlers nor checkpointer."""
    async with running.client("acme") as owner, running.client(tenant) as other:
        thread = (await owner.threads.create())["thread_id"]
        await owner.runs.wait(thread, "agent", input=said("secret"))
        [run] = await owner.runs.list(thread)
        join = other.runs.join(thread, run["run_id"])
        if running.source == "user":
            assert await answer(join) == (404 if tenant else 401)
        elif WHOLE_ROWS and "to read" in running.mode:  # the row of the thread is opened for it, when the head is sent already
            if tenant:
                assert is_sealed((await join)["log"])
            else:
                with pytest.raises(json.JSONDecodeError):  # it breaks off
                    await join
        else:
            assert (await join)["log"] == ["secret", "SECRET"]


async def test_a_thread_without_checkpoints_is_run_on_by_others_unless_its_row_or_auth_handlers_refuse(
    running: Running,
) -> None:
    """Documented: only what was stored says whose a thread is."""
    async with running.client("acme") as owner, running.client("globex") as other:
        thread = (await owner.threads.create(graph_id="agent", metadata={"subject": "private"}))["thread_id"]
        got = await answer(other.runs.wait(thread, "agent", input=said("first")))
        assert got == (404 if running.source == "user" else 403 if "to read" in running.mode else 200)
        if got == 200:
            assert await answer(owner.threads.get_state(thread)) == 403
