"""What stands readable on the disk of ``langgraph dev``: the coverage table of docs/agent-server.md, row by row."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from encrypted_serde import Key
from tests.agent_server.server import ENCRYPTION, AgentServer, agent_server, needs_server

pytestmark = needs_server

USER = "alice@acme"
SAVER = {"checkpointer": {"path": "./checkpointer.py:checkpointer"}}

SECRETS = {
    "thread metadata": "of-thread",
    "assistant metadata": "of-assistant",
    "assistant config": "of-config",
    "store item of a client": "of-client-item",
    "store item of a graph": "of-graph",
    "cron input": "of-cron",
    "run input": "of-run-input",
    "run metadata": "of-run-metadata",
    "thread state": "OF-RUN-INPUT",
}
"""Kind of row -> a text that only such a row holds; the graph's item repeats its input."""

READABLE_IN_MEMORY = {"run input", "thread state", "store item of a graph", "run metadata"}
"""What the in-memory server keeps readable whatever the handlers do."""


async def live_a_little(server: AgentServer) -> None:
    async with server.client(USER) as client:
        await client.threads.create(metadata={"a": SECRETS["thread metadata"]})
        await client.assistants.create(
            "agent", metadata={"a": SECRETS["assistant metadata"]}, config={"configurable": {"a": SECRETS["assistant config"]}}
        )
        await client.store.put_item(["a"], "k", {"a": SECRETS["store item of a client"]})
        await client.crons.create("agent", schedule="0 0 1 1 *", input={"text": SECRETS["cron input"], "log": []})
        thread_id = (await client.threads.create())["thread_id"]
        await client.runs.wait(
            thread_id, "agent", input={"text": SECRETS["store item of a graph"], "action": "store", "log": []}
        )
        await client.runs.wait(
            thread_id,
            "agent",
            input={"text": SECRETS["run input"], "log": []},
            metadata={"m": SECRETS["run metadata"]},
        )


def run_and_stop(directory: Path, **config: Any) -> AgentServer:
    environ = {"LANGGRAPH_ENCRYPTION": ENCRYPTION, "ENCRYPTED_SERDE_KEY": Key.generate().to_text(), "TENANTS": "user"}
    with agent_server(directory, environ, auth={"path": "./auth.py:auth"}, **config) as server:
        asyncio.run(live_a_little(server))
    return server


@pytest.fixture(scope="module")
def in_memory(tmp_path_factory: pytest.TempPathFactory) -> AgentServer:
    return run_and_stop(tmp_path_factory.mktemp("memory"))


@pytest.fixture(scope="module")
def with_saver(tmp_path_factory: pytest.TempPathFactory) -> AgentServer:
    return run_and_stop(tmp_path_factory.mktemp("saver"), **SAVER)


def files_with(server: AgentServer, secret: str, pattern: str) -> set[str]:
    files = [file for file in server.directory.glob(pattern) if file.is_file()]
    assert files, f"the server stored nothing in {pattern}"
    return {file.name for file in files if secret.encode() in file.read_bytes()}


@pytest.mark.parametrize("kind", sorted(SECRETS))
def test_rows_of_the_in_memory_server_are_sealed_as_documented(in_memory: AgentServer, kind: str) -> None:
    found = files_with(in_memory, SECRETS[kind], ".langgraph_api/*")
    assert bool(found) == (kind in READABLE_IN_MEMORY), found


@pytest.mark.parametrize("kind", sorted(SECRETS))
def test_the_custom_checkpointer_stores_nothing_readable(with_saver: AgentServer, kind: str) -> None:
    assert files_with(with_saver, SECRETS[kind], "checkpoints.sqlite*") == set()
    assert files_with(with_saver, SECRETS[kind], ".langgraph_api/.langgraph_checkpoint*") == set()


def test_the_custom_checkpointer_is_the_one_that_was_used(with_saver: AgentServer) -> None:
    with closing(sqlite3.connect(with_saver.directory / "checkpoints.sqlite")) as connection:
        assert connection.execute("SELECT count(*) FROM checkpoints").fetchone()[0] >= 4
