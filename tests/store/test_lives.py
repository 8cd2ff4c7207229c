"""A share of the random lives of `lives`, in which ours answers as the plain store does. STORE_LIFE_STEPS decides how many."""

from __future__ import annotations

import os

import pytest

from .lives import KINDS, live

STEPS = int(os.environ.get("STORE_LIFE_STEPS", "2000"))


@pytest.mark.filterwarnings("ignore:The default datetime adapter is deprecated:DeprecationWarning")
@pytest.mark.parametrize("kind", KINDS)
async def test_random_lives_are_answered_as_by_the_plain_store(kind: str, request: pytest.FixtureRequest) -> None:
    dsn = request.getfixturevalue("postgres_dsn") if "Postgres" in kind else None
    assert await live(kind, seed=1, steps=STEPS // len(KINDS), dsn=dsn) > 0
