"""The examples do what they say, and the pages lead somewhere. Their code: `test_docs`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

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


def test_rollback_is_accepted_without_an_anchor_and_refused_with_one(tmp_path: Path) -> None:
    shown = run("rollback.py", tmp_path).splitlines()
    without = [line for line in shown if "without an anchor" in line]
    with_one = [line for line in shown if "with an anchor" in line]
    assert [line for line in without if "accepted" not in line] == []
    assert ["refused" in line for line in with_one] == [True, True, True, True, False]
    assert "paid 2 times" in without[3]
    assert with_one[-1].endswith("accepted, paid 1 times")


def test_the_quickstart_resumes_in_a_second_process_and_refuses_tampering(tmp_path: Path) -> None:
    shown = run("quickstart.py", tmp_path)
    assert "last message: Done: 250 EUR were sent to DE89370400440532013000." in shown
    assert "the account number is in them: False" in shown
    assert "refused: AuthenticationFailed" in shown
    assert "refused: PlaintextRefused" in shown
    processes = {line.split()[2] for line in shown.splitlines() if line.startswith(("1. Process", "2. Process"))}
    assert len(processes) == 2


def test_the_support_reads_a_thread_and_leaves_a_line_in_the_audit(tmp_path: Path) -> None:
    shown = run("support.py", tmp_path)
    assert "can read of it: nothing" in shown
    assert "shipped, bill to [email]" in shown
    assert "ann@example.org" not in shown
    assert "{'$class': '__main__.Order', 'fields': {'number': 4711, 'paid': True}}" in shown
    assert "hidden: WrongContext" in shown
    assert "hidden: WrongLocation" in shown
    assert '"actor": "dana"' in shown


def test_the_quickstart_removes_its_file(tmp_path: Path) -> None:
    run("quickstart.py", tmp_path)
    assert list((tmp_path / "temporary").iterdir()) == []


def test_ci_runs_the_commands_of_the_readme() -> None:
    commands = re.findall(r"^python -m pip install -e .* && .*$", README, re.MULTILINE)
    assert len(commands) == 2
    steps = (ROOT / ".ci" / "run").read_text().splitlines()
    assert [command for command in commands if command not in steps] == []


@pytest.mark.parametrize("page", PAGES)
def test_links_within_the_repository_lead_somewhere(page: str) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / page).read_text())
    assert [target for target in targets if not (ROOT / page).parent.joinpath(target).exists()] == []
