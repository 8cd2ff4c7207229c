"""The examples and the README do what they say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from langgraph.graph import START, MessagesState, StateGraph

from encrypted_serde import Key

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
PAGES = ["README.md", "examples/agent_server/README.md", *sorted(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md"))]
README = (ROOT / "README.md").read_text()

NO_NETWORK = """
import socket

def refuse(*args, **kwargs):
    raise OSError("no network in this test")

socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
"""


def run(example: str, tmp_path: Path) -> str:
    """Runs an example, and all processes that it starts, with every attempt to connect refused."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(NO_NETWORK)
    (tmp_path / "temporary").mkdir()
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")]),
        "TMPDIR": str(tmp_path / "temporary"),
    }
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / example)],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_the_quickstart_resumes_in_a_second_process_and_refuses_tampering(tmp_path: Path) -> None:
    shown = run("quickstart.py", tmp_path)
    assert "last message: Done: 250 EUR were sent to DE89370400440532013000." in shown
    assert "the account number is in them: False" in shown
    assert "refused: AuthenticationFailed" in shown
    assert "refused: PlaintextRefused" in shown
    processes = {line.split()[2] for line in shown.splitlines() if line.startswith(("1. Process", "2. Process"))}
    assert len(processes) == 2


def test_the_quickstart_removes_its_file(tmp_path: Path) -> None:
    run("quickstart.py", tmp_path)
    assert list((tmp_path / "temporary").iterdir()) == []


def test_the_code_in_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: Key) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ENCRYPTED_SERDE_KEY", key.to_text())
    monkeypatch.setenv("LANGGRAPH_AES_KEY", "0123456789abcdef")
    builder = StateGraph(MessagesState)
    builder.add_node("answer", lambda state: {"messages": [("ai", "hello yourself")]})
    builder.add_edge(START, "answer")
    names: dict[str, Any] = {"builder": builder}
    for code in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        exec(compile(code, "README.md", "exec"), names)
    state = builder.compile(checkpointer=names["saver"]).get_state({"configurable": {"thread_id": "1"}})
    bound = names["graph"].invoke({"messages": [("user", "hello")]}, {"configurable": {"thread_id": "1"}})
    names["saver"].conn.close()
    names["connection"].close()
    for messages in (state.values["messages"], bound["messages"]):
        assert [message.content for message in messages] == ["hello", "hello yourself"]


def test_ci_runs_the_commands_of_the_readme() -> None:
    commands = re.findall(r"^python -m pip install -e .* && .*$", README, re.MULTILINE)
    assert len(commands) == 2
    steps = (ROOT / ".ci" / "run").read_text().splitlines()
    assert [command for command in commands if command not in steps] == []


@pytest.mark.parametrize("page", PAGES)
def test_links_within_the_repository_lead_somewhere(page: str) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / page).read_text())
    assert [target for target in targets if not (ROOT / page).parent.joinpath(target).exists()] == []
