"""The key service is away in the middle of runs: clients are told to come again, and after it everything goes on."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from langgraph_sdk.errors import APIStatusError
from moto.server import ThreadedMotoServer

from tests.agent_server.rows import context_header
from tests.agent_server.server import AgentServer, needs_server
from tests.agent_server.tenants import answer, client_of, said, tenants_server

pytestmark = [needs_server, pytest.mark.slow]

AGE = 1.0
AWS = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}


class Kms:
    """A key service on loopback that can be stopped and started; its keys outlive that."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self.start()
        client = boto3.client(
            "kms", endpoint_url=self.url, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
        )
        self.key = client.create_key()["KeyMetadata"]["Arn"]

    def start(self) -> None:
        self._server = ThreadedMotoServer("127.0.0.1", self._port, verbose=False)
        self._server.start()

    def stop(self) -> None:
        self._server.stop()


@pytest.fixture(scope="module")
def kms() -> Iterator[Kms]:
    service = Kms()
    yield service
    service.stop()


@pytest.fixture(scope="module", params=["", "1"], ids=["", "required to read"])
def server(request: pytest.FixtureRequest, kms: Kms, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentServer]:
    options = {"REQUIRED": "tenant_id", "ONLY_OWN": request.param, "NAP": "2", "AGE": str(AGE)}
    directory: Path = tmp_path_factory.mktemp("server")
    with tenants_server(directory, "header", **options, **AWS, KMS=kms.url, KMS_KEY=kms.key) as running:
        yield running


async def ended(client: Any, thread: str, run: str) -> str:
    """Waits for a run, and comes again where it is told to: that there was no key is remembered for a moment."""
    status = "pending"
    async with asyncio.timeout(90):
        while status in ("pending", "running"):
            await asyncio.sleep(0.2)
            try:
                status = (await client.runs.get(thread, run))["status"]
            except APIStatusError as error:
                if error.response.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                    raise
    return status


async def test_an_outage_is_503_with_retry_after_and_afterwards_everything_goes_on(server: AgentServer, kms: Kms) -> None:
    async with client_of(server, "header", "acme") as acme, client_of(server, "header", "globex") as globex:
        threads = [(await client.threads.create(metadata={"note": "before"}))["thread_id"] for client in (acme, globex)]
        idle = (await acme.threads.create(graph_id="agent"))["thread_id"]
        assert (await acme.runs.wait(threads[0], "agent", input=said("before")))["log"] == ["before", "BEFORE"]

        # One run is in the middle of its node when it goes away, another waits; both need their keys again before it is back.
        runs = [
            (client, thread, (await client.runs.create(thread, "agent", input=said("meanwhile")))["run_id"])
            for client, thread in ((acme, threads[0]), (globex, threads[1]))
        ]
        async with asyncio.timeout(60):
            while not [run for run in await acme.runs.list(threads[0]) if run["status"] == "running"]:
                await asyncio.sleep(0.05)
        kms.stop()
        await asyncio.sleep(AGE)
        headers = {**context_header({"tenant_id": "acme"}), "connection": "close"}
        async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=60) as client:
            for response in (
                await client.post("/threads", json={"metadata": {"note": "meanwhile"}}),
                await client.get(f"/threads/{threads[0]}/state"),
                await client.post(f"/threads/{idle}/state", json={"values": said("meanwhile"), "as_node": "act"}),
            ):
                assert response.status_code == httpx.codes.SERVICE_UNAVAILABLE, response.text
                assert int(response.headers["retry-after"]) > 0
        new: Any = client_of(server, "header", "initech")
        assert await answer(new.threads.create(metadata={"note": "a tenant that was never seen"})) == 503
        kms.start()

        for client, thread, run in runs:
            assert await ended(client, thread, run) == "success"
        logs = [(await client.threads.get_state(thread))["values"]["log"] for client, thread, _ in runs]
        assert logs == [["before", "BEFORE", "meanwhile", "MEANWHILE"], ["meanwhile", "MEANWHILE"]]
        for log, client, thread in zip(logs, (acme, globex), threads, strict=True):
            assert (await client.threads.get(thread))["metadata"]["note"] == "before"
            assert (await client.runs.wait(thread, "agent", input=said("after")))["log"] == [*log, "after", "AFTER"]
            assert len(await client.threads.get_history(thread)) >= 6
        assert await answer(new.threads.create(metadata={"note": "now it has a key"})) == 200
        await new.aclose()
    assert "BlockingError" not in server.printed
