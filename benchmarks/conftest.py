"""Fixtures of the benchmarks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .places import Places


@pytest.fixture(scope="session")
def places() -> Iterator[Places]:
    """Databases to measure in; Postgres starts when the first benchmark needs it."""
    with Places() as places:
        yield places
