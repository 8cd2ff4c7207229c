"""Runs the application in ``tenants_app/``, and says how the server answered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from langgraph_sdk.errors import APIStatusError, ConflictError

from encrypted_serde import Key
from tests.agent_server.rows import context_header
from tests.agent_server.server import ENCRYPTION, HERE, AgentServer, agent_server

FAILED = "the run failed"


@contextmanager
def tenants_server(directory: Path, source: str, **environ: str) -> Iterator[AgentServer]:
    """Starts it.

    Args:
        directory: An empty one.
        source: Where the tenant comes from: ``header``, or ``user``, with Auth handlers that filter.
        **environ: ``REQUIRED``, ``ONLY_OWN``, ``AGE``, ``NAP``: see ``tenants_app``.
    """
    settings: dict[str, Any] = {"auth": {"path": "./auth.py:auth"}} if source == "user" else {}
    settings["checkpointer"] = {"path": "./checkpointer.py:checkpointer"}
    variables = {"LANGGRAPH_ENCRYPTION": ENCRYPTION, "ENCRYPTED_SERDE_KEY": Key.generate().to_text(), "SOURCE": source}
    with agent_server(directory, {**variables, **environ}, HERE / "tenants_app", **settings) as server:
        yield server


def client_of(server: AgentServer, source: str, tenant: str | None) -> Any:
    """Makes a client of a tenant, or of somebody without one."""
    if source == "user":
        return server.client(f"someone@{tenant}" if tenant else None)
    return server.client(**(context_header({"tenant_id": tenant}) if tenant else {}))


async def answer(call: Awaitable[Any]) -> int | str:
    """Gives the status of an answer; `FAILED` for a run that was accepted and did not end well."""
    try:
        await call
    except APIStatusError as error:
        return error.response.status_code
    except httpx.HTTPStatusError as error:
        return error.response.status_code
    except Exception as error:  # the SDK has no class for what a failed run says
        if type(error) is not Exception:
            raise
        return FAILED
    return 200


def said(text: str) -> dict[str, list[str]]:
    return {"log": [text]}


async def run_cron(client: Any, thread_id: str) -> None:
    """Makes a cron, waits until one of its runs has ended, well or not, and until no other is under way."""
    before = {run["run_id"] for run in await client.runs.list(thread_id)}
    cron = await client.crons.create_for_thread(thread_id, "agent", schedule="* * * * * *", input=said("tick"))
    try:
        ended = await _ended(client, thread_id, before, seconds=10)
    finally:
        await client.crons.delete(cron["cron_id"])
    while [run for run in await client.runs.list(thread_id) if run["status"] in ("pending", "running")]:
        await asyncio.sleep(0.1)
    if "success" not in ended:
        raise Exception("the run of the cron failed, or was never made")


async def update_once_idle(client: Any, thread_id: str, text: str) -> None:
    """Updates the state of a thread. The server may still make a run of a cron that was just deleted: waits for its end."""
    deadline = time.monotonic() + 30
    while True:
        try:
            await client.threads.update_state(thread_id, said(text), as_node="act")
        except ConflictError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.1)
        else:
            return


async def _ended(client: Any, thread_id: str, before: set[str], seconds: float) -> list[str]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        runs = [run for run in await client.runs.list(thread_id) if run["run_id"] not in before]
        if ended := [run["status"] for run in runs if run["status"] in ("success", "error")]:
            return ended
        await asyncio.sleep(0.2)
    return []
