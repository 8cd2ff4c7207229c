"""The official conformance suite passes with our serializer exactly as it does with the default one."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest

from encrypted_serde import EncryptedSerializer, Key
from tests.conformance import async_view, conformance_counts
from tests.savers import any_saver

EXPECTED = {"InMemory": 58, "Sqlite": 58, "AsyncSqlite": 58, "Postgres": 66, "AsyncPostgres": 66}


async def _counts(kind, place, serde):
    @asynccontextmanager
    async def make_saver():
        async with any_saver(kind, place, serde) as saver:
            yield async_view(saver) if kind in ("Sqlite", "Postgres") else saver

    return await conformance_counts(make_saver)


@pytest.mark.parametrize("kind", EXPECTED)
async def test_a_saver_conforms_with_our_serializer_as_with_the_default_one(kind, saver_place):
    place = saver_place(kind)
    default = await _counts(kind, place, None)
    encrypted = await _counts(kind, place, EncryptedSerializer(Key.generate()))
    assert encrypted.failures == []
    assert encrypted == default
    assert encrypted.passed == encrypted.total == EXPECTED[kind]
