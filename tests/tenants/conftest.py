"""Fixtures for tenants' keys."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore

from encrypted_serde.tenants import cache as key_cache
from encrypted_serde.tenants import fetching
from encrypted_serde.tenants import keyring as tenants
from encrypted_serde.tenants.keyring import TenantKeyring
from tests.tenants.services import CountingWrapper
from tests.tenants.stores import KINDS, open_store


class Clock:
    """The monotonic clock of the key cache, moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(key_cache, "monotonic", clock)
    monkeypatch.setattr(tenants, "monotonic", clock)
    monkeypatch.setattr(fetching, "monotonic", clock)
    return clock


@pytest.fixture
def wrapper() -> CountingWrapper:
    return CountingWrapper()


@pytest.fixture
def keyring(wrapper: CountingWrapper) -> TenantKeyring:
    """A keyring on a store in memory. The calls of its trial are not counted."""
    keyring = TenantKeyring(InMemoryStore(), wrapper)
    wrapper.calls.clear()
    return keyring


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BaseStore]:
    """Each kind of store in turn."""
    kind = request.param
    place = request.getfixturevalue("postgres_database") if "Postgres" in kind else tmp_path / "keys.sqlite"
    with open_store(kind, place) as opened:
        yield opened
