"""The example of an agent with a memory does what it says."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.test_examples import run


def test_the_agent_remembers_in_a_second_process_and_refuses_swapped_memories(tmp_path: Path) -> None:
    if not hasattr(sqlite3.Connection, "enable_load_extension"):
        pytest.importorskip("pysqlite3")
    shown = run("memory.py", tmp_path)
    assert "You told me: I live in Lisbon with two cats." in shown
    assert "You told me: I am allergic to penicillin." in shown
    assert "'maria' is in it: False" in shown
    assert "refused: AuthenticationFailed" in shown
    processes = {line.split()[2].rstrip(":") for line in shown.splitlines() if line.startswith(("1. Process", "2. Process"))}
    assert len(processes) == 2
