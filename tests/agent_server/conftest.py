"""Fixtures of the tests with a real Agent Server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from encrypted_serde import Key
from tests.agent_server.server import ENCRYPTION, AgentServer, agent_server


@pytest.fixture(scope="module")
def server_key() -> Key:
    return Key.generate()


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest, server_key: Key, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentServer]:
    """One server for the module, with the module's ``TENANTS`` and ``CONFIG``."""
    environ = {
        "LANGGRAPH_ENCRYPTION": ENCRYPTION,
        "ENCRYPTED_SERDE_KEY": server_key.to_text(),
        "TENANTS": request.module.TENANTS,
    }
    directory: Path = tmp_path_factory.mktemp("server")
    with agent_server(directory, environ, **request.module.CONFIG) as running:
        yield running
