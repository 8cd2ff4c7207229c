"""The server must not start when its handlers are configured and not called."""

from __future__ import annotations

from pathlib import Path

import pytest

from encrypted_serde import Key
from tests.agent_server.server import ENCRYPTION, WHOLE_ROWS, agent_server, needs_server, start

pytestmark = needs_server

CONFIG = {"encryption": {"path": "./encryption.py:encryption"}}


@pytest.fixture
def environ() -> dict[str, str]:
    return {"ENCRYPTED_SERDE_KEY": Key.generate().to_text(), "TENANTS": "user"}


def test_a_server_that_ignores_the_handlers_does_not_start(tmp_path: Path, environ: dict[str, str]) -> None:
    server = start(tmp_path, environ, **CONFIG)
    try:
        assert server.process.wait(240) != 0
    finally:
        server.stop()
    assert "the encryption handlers are not called" in server.printed


def test_langgraph_json_can_set_the_environment_itself_and_keys_can_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(Key.generate().to_text(), encoding="ascii")
    environ = {"ENCRYPTED_SERDE_KEY_FILE": str(file), "TENANTS": "user"}
    with agent_server(tmp_path / "server", environ, **CONFIG, env={"LANGGRAPH_ENCRYPTION": ENCRYPTION}) as server:
        assert server.get("/calls") == dict.fromkeys(("encrypt.json", "decrypt.json"), 1 + WHOLE_ROWS)  # of the check
    assert '" 500' not in server.printed
    assert "Internal Server Error" not in server.printed
