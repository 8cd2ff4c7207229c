"""The official conformance suite passes with a wrapped saver exactly as it does with the plain one."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest

from encrypted_serde import EncryptedSaver
from tests.conformance import async_view, conformance_counts
from tests.savers import ALL_SAVERS, any_saver


async def _counts(kind, place, wrap):
    @asynccontextmanager
    async def make_saver():
        async with any_saver(kind, place, None) as inner:
            saver = wrap(inner)
            yield async_view(saver) if kind in ("Sqlite", "Postgres") else saver

    return await conformance_counts(make_saver)


@pytest.mark.parametrize("kind", ALL_SAVERS)
async def test_a_wrapped_saver_conforms_as_the_plain_one_does(kind, saver_place, tmp_path, key):
    place = saver_place(kind)
    plain = await _counts(kind, place, lambda inner: inner)
    other_place = place if "Postgres" in kind else tmp_path / "wrapped.sqlite"
    wrapped = await _counts(kind, other_place, lambda inner: EncryptedSaver(inner, key))
    assert wrapped.failures == []
    assert wrapped == plain
    assert wrapped.total >= 58
