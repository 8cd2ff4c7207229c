"""Fixtures for stores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.store.base import BaseStore

from .places import SYNC, any_store


@pytest.fixture
def store_place(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Any]:
    """Gives the `place` argument of `any_store` for a kind of store; Postgres starts only if it is asked for."""

    def place(kind: str) -> Any:
        return request.getfixturevalue("postgres_database") if "Postgres" in kind else tmp_path / "store.sqlite"

    return place


@pytest.fixture(params=SYNC)
def inner(request: pytest.FixtureRequest, store_place: Callable[[str], Any]) -> Iterator[BaseStore]:
    """A plain store of each kind in turn, empty and set up."""
    with any_store(request.param, store_place(request.param)) as store:
        yield store
