"""Fixtures that every test may use: keys, and real databases."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from encrypted_serde import EncryptedSerializer, Key
from tests import oldest
from tests.postgres import running_postgres, temporary_database
from tests.slow import SERVERS, SLOW, OneWorkerForAServer

settings.register_profile("tests", deadline=None, print_blob=True)  # a busy machine is no reason to fail
settings.load_profile("tests")


def pytest_xdist_auto_num_workers() -> int:
    """What ``-n auto`` means here: two workers a core, since half of the time of these tests is spent waiting for others."""
    return 2 * (os.cpu_count() or 1)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneWorkerForAServer:
    """Starts each server once."""
    return OneWorkerForAServer(config, log)


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by their markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what `tests.slow` and `tests.oldest` name."""
    for item in items:
        name = item.nodeid.removeprefix("tests/")
        if name.startswith(SLOW) or "[mariadb" in name or SERVERS & {*getattr(item, "fixturenames", ())}:
            item.add_marker(pytest.mark.slow)
        for mark in oldest.marks(name):
            item.add_marker(mark)


@pytest.fixture(scope="session")
def postgres_dsn() -> Iterator[str]:
    """DSN of a real Postgres server, started once for the whole run. Without one the test fails; it is not skipped."""
    with running_postgres() as dsn:
        yield dsn


@pytest.fixture
def postgres_database(postgres_dsn: str) -> Iterator[str]:
    """DSN of a database that is empty and dropped afterwards."""
    with temporary_database(postgres_dsn) as dsn:
        yield dsn


@pytest.fixture
def saver_place(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Any]:
    """Gives the `place` argument of `tests.savers.any_saver` for a kind of saver; Postgres starts only if it is asked for."""

    def place(kind: str) -> Any:
        return request.getfixturevalue("postgres_database") if "Postgres" in kind else tmp_path / "checkpoints.sqlite"

    return place


@pytest.fixture
def key() -> Key:
    return Key.generate()


@pytest.fixture
def serde(key: Key) -> EncryptedSerializer:
    return EncryptedSerializer(key)
