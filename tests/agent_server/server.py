"""Runs the real ``langgraph dev`` on loopback, in a directory of its own, with the application in ``app/``."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client

HERE = Path(__file__).parent
ENCRYPTION = json.dumps({"path": "./encryption.py:encryption"})

HAS_SERVER = sys.version_info >= (3, 11)
needs_server = pytest.mark.skipif(not HAS_SERVER, reason="langgraph-api needs Python 3.11")

WHOLE_ROWS = HAS_SERVER and tuple(map(int, version("langgraph-api").split(".")[:2])) >= (0, 18)
"""Whether this release of the server seals and opens whole rows: searching opens first, a PATCH seals the row anew."""

_QUIET = {
    "LANGSMITH_TRACING": "false",
    "LANGGRAPH_CLI_NO_ANALYTICS": "1",
    "LANGGRAPH_NO_VERSION_CHECK": "true",
    "NO_COLOR": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "CRON_SCHEDULER_SLEEP_TIME": "1",
}


@dataclass
class AgentServer:
    """A server, running or stopped.

    Attributes:
        url: Where it listens.
        directory: Where it runs and stores.
        log: What it printed.
    """

    url: str
    directory: Path
    log: Path
    process: subprocess.Popen[bytes]

    def client(self, user: str | None = None, **headers: str) -> Any:
        """Makes an SDK client of a user, ``name@tenant``, with further headers."""
        authorization = {"authorization": f"Bearer {user}"} if user else {}
        # The server closes a connection behind an error 500; without keep-alive no client runs into that.
        return get_client(url=self.url, headers={"connection": "close", **authorization, **headers})

    def get(self, path: str) -> Any:
        return httpx.get(self.url + path).raise_for_status().json()

    def patch(self, path: str, body: Any) -> None:
        httpx.patch(self.url + path, json=body).raise_for_status()

    def stop(self) -> None:
        """Stops it as Ctrl-C does, which writes what it holds in memory to disk."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    @property
    def printed(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    @property
    def egress(self) -> list[str]:
        """Hosts other than loopback that it tried to reach."""
        file = self.directory / "egress.log"
        return file.read_text(encoding="utf-8").splitlines() if file.exists() else []


@contextmanager
def agent_server(directory: Path, environ: dict[str, str], app: Path = HERE / "app", **config: Any) -> Iterator[AgentServer]:
    """Starts a server and waits until it answers; stops it at the end.

    Args:
        directory: An empty one.
        environ: Added to the environment.
        app: The application, which is copied.
        **config: Added to ``langgraph.json``, where the application has none of its own.
    """
    server = start(directory, environ, app, **config)
    try:
        _wait_until_it_answers(server)
        yield server
    finally:
        server.stop()


def start(directory: Path, environ: dict[str, str], app: Path = HERE / "app", **config: Any) -> AgentServer:
    """Starts a server and does not wait."""
    shutil.copytree(app, directory, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__", ".langgraph_api"))
    settings = {"dependencies": ["."], "graphs": {"agent": "./graph.py:graph"}, "http": {"app": "./http_app.py:app"}, **config}
    file = directory / "langgraph.json"
    if not file.exists():
        file.write_text(json.dumps(settings), encoding="utf-8")
    log = directory / "server.log"
    port = _free_port()
    command = [sys.executable, "-m", "langgraph_cli", "dev", "--no-browser", "--no-reload", "--port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=directory, env=environment(directory, environ), stdout=output, stderr=subprocess.STDOUT
        )
    return AgentServer(f"http://127.0.0.1:{port}", directory, log, process)


def environment(directory: Path, environ: dict[str, str]) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("LANG", "ENCRYPTED_SERDE"))}
    path = os.pathsep.join([str(HERE / "loopback_only"), os.environ.get("PYTHONPATH", "")])
    guard = {"PYTHONPATH": path, "EGRESS_LOG": str(directory / "egress.log")}
    return {**inherited, **_QUIET, **guard, **environ}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_it_answers(server: AgentServer) -> None:
    deadline = time.monotonic() + 240  # on a machine that is busy with other things
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            break
        try:
            if httpx.get(f"{server.url}/ok").status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise RuntimeError(f"the server did not start:\n{server.printed[-5000:]}")
