"""The example does what its README says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from encrypted_serde import Key
from tests.agent_server.server import agent_server, needs_server, start

pytestmark = needs_server

EXAMPLE = Path(__file__).parents[2] / "examples" / "agent_server"


@pytest.fixture
def environ() -> dict[str, str]:
    return {"ENCRYPTED_SERDE_KEY": Key.generate().to_text()}


def test_two_tenants_talk_to_it_and_the_disk_holds_nothing(tmp_path: Path, environ: dict[str, str]) -> None:
    with agent_server(tmp_path, environ, EXAMPLE) as server:
        done = subprocess.run(
            [sys.executable, "talk.py", server.url], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
    assert done.returncode == 0, done.stderr + server.printed[-3000:]
    assert "Hello. That was message 1, and I have all of them." in done.stdout
    assert "{'subject': 'my account', 'owner': 'acme/alice'" in done.stdout
    assert "bob finds:   []" in done.stdout
    assert "bob reads:   404" in done.stdout
    assert "3 checkpoints; the account number is in one of them: False" in done.stdout
    assert server.egress == []


def test_it_does_not_start_without_the_environment_variable(tmp_path: Path, environ: dict[str, str]) -> None:
    changed = tmp_path / "changed"
    changed.mkdir()
    for file in EXAMPLE.iterdir():
        if file.is_file():
            (changed / file.name).write_bytes(file.read_bytes())
    settings = json.loads((changed / "langgraph.json").read_text(encoding="utf-8"))
    del settings["env"]
    (changed / "langgraph.json").write_text(json.dumps(settings), encoding="utf-8")
    server = start(tmp_path / "run", environ, changed)
    try:
        assert server.process.wait(240) != 0
    finally:
        server.stop()
    assert "the encryption handlers are not called" in server.printed
