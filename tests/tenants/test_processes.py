"""Many processes on one key store: one key each where the store has a lock, none lost where it has not, none half erased."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.processes import Worker

SHARED = ["SqliteStore", "PostgresStore", "LocklessStore"]

Run = Callable[..., Any]

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="these tests fork")


@pytest.fixture
def worker(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """Runs tests/tenants/worker.py on a fresh database."""

    def run(command: str, kind: str, *arguments: object) -> Any:
        place = request.getfixturevalue("postgres_database") if "Postgres" in kind else str(tmp_path / "keys.sqlite")
        code, out, errors = Worker("tests.tenants.worker", command, kind, place, *map(str, arguments)).finish()
        assert code == 0, errors
        return json.loads(out)

    return run


@pytest.mark.parametrize("kind", SHARED)
def test_first_use_of_300_tenants_by_8_processes(worker: Run, kind: str) -> None:
    report = worker("first-use", kind, 300, 8)
    assert report["rows"] == 300 * 8
    assert report["lost"] == 0
    assert report["one primary each"]
    if kind == "LocklessStore":
        assert max(report["keys in use per tenant"]) > 1, "nobody came in between: this proves nothing"
    else:
        assert report["keys in use per tenant"] == [1] * 300


@pytest.mark.parametrize("operation", ["rotate", "rewrap", "erase"])
@pytest.mark.parametrize("kind", SHARED)
def test_a_process_that_dies_at_any_step_leaves_every_row_readable_or_erased(worker: Run, kind: str, operation: str) -> None:
    reports = worker("kill", kind, operation)
    assert len(reports) >= 5
    assert not reports[-1]["killed"]
    finished = {"erased"} if operation == "erase" else {"readable"}
    for report in reports:
        assert len(report["after"]) == 3
        assert set(report["after"]) in ({"readable"}, finished), report
        assert set(report["again"]) == finished, report
    if operation == "erase":
        assert reports[0]["after"] == ["readable"] * 3
        assert reports[-2]["after"] == ["erased"] * 3 or kind != "LocklessStore"
