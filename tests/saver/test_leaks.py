"""Nothing that a user put into a graph stands readable in the database: not in any column, in any form."""

from __future__ import annotations

import asyncio
import base64
import sqlite3
from contextlib import closing

import psycopg
import pytest
from langgraph.checkpoint.sqlite import SqliteSaver

from encrypted_serde import EncryptedSaver, Key
from tests.saver.leak_scan import SECRETS, flatten, found_in, steps
from tests.savers import ALL_SAVERS, any_saver, needs_async_interrupt

KINDS = [pytest.param(kind, marks=needs_async_interrupt) if kind.startswith("Async") else kind for kind in ALL_SAVERS]


async def run_all_steps(saver, is_async):
    for graph, name, arguments in steps(saver):
        try:
            if is_async:
                await getattr(graph, f"a{name}")(*arguments)
            else:
                await asyncio.to_thread(getattr(graph, name), *arguments)
        except RuntimeError as error:
            assert str(error) == SECRETS["error"]  # noqa: PT017  # only one of the steps raises


def _cells(kind, place, inner):
    if kind == "InMemory":
        return list(flatten([inner.storage, inner.writes, inner.blobs]))
    if "Sqlite" in kind:
        with closing(sqlite3.connect(place)) as connection:
            tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            return [cell for table in tables for row in connection.execute(f"SELECT * FROM {table}") for cell in row]
    with psycopg.connect(place) as connection:
        tables = ("checkpoints", "checkpoint_blobs", "checkpoint_writes", "checkpoint_migrations")
        return [cell for table in tables for row in connection.execute(f"SELECT * FROM {table}") for cell in row]


async def _stored(kind, place, wrap):
    async with any_saver(kind, place, None) as inner:
        await run_all_steps(wrap(inner), kind.startswith("Async"))
        return _cells(kind, place, inner)


# rule T-6
@pytest.mark.parametrize("kind", KINDS)
async def test_no_secret_is_stored_readable(kind, saver_place):
    cells = await _stored(kind, saver_place(kind), lambda inner: EncryptedSaver(inner, Key.generate()))
    assert len(cells) > 300
    assert found_in(cells) == set()


@pytest.mark.parametrize("kind", KINDS)
async def test_the_scan_finds_every_secret_that_a_plain_saver_stores(kind, saver_place):
    cells = await _stored(kind, saver_place(kind), lambda inner: inner)
    assert found_in(cells) == set(SECRETS)


# rule T-6
@pytest.mark.parametrize("kind", [kind for kind in KINDS if "Postgres" in str(kind)])
async def test_no_scalar_is_inlined_readable(kind, saver_place):
    place = saver_place(kind)
    await _stored(kind, place, lambda inner: EncryptedSaver(inner, Key.generate()))
    with psycopg.connect(place) as connection:
        values = "SELECT value FROM checkpoints, jsonb_each(checkpoint -> 'channel_values')"
        rows = connection.execute(values).fetchall()
    values = {type(value) for (value,) in rows}
    assert values <= {str, type(None)}
    assert all(value is None or value.startswith("es1.") for (value,) in rows)
    assert len(rows) > 10


def test_a_searchable_value_is_not_readable_either(tmp_path):
    path = tmp_path / "x.sqlite"
    with closing(sqlite3.connect(path, check_same_thread=False)) as connection:
        saver = EncryptedSaver(SqliteSaver(connection), Key.generate(), searchable_metadata=["api_key", "customer"], context={})
        asyncio.run(run_all_steps(saver, is_async=False))
        assert list(saver.list(None, filter={"api_key": SECRETS["configurable"], "customer": SECRETS["metadata"]}))
    assert found_in(_cells("Sqlite", path, None)) == set()


@pytest.mark.parametrize(
    "spell",
    [
        lambda raw: raw,
        lambda raw: b"prefix" + raw.hex().encode(),
        lambda raw: b"ab" + raw.hex().upper().encode() + b"0",
        lambda raw: base64.b64encode(b"x" + raw),
        lambda raw: base64.urlsafe_b64encode(b"xx" + raw + b"yy"),
        lambda raw: b"{" + base64.b64encode(raw * 2) + b"}",
        lambda raw: {"json": [raw.decode()]},
    ],
)
def test_the_scan_sees_through_encodings(spell):
    assert found_in([spell(str(SECRETS["str"]).encode())]) == {"str"}
    assert found_in(["nothing here", b"\0" * 100, None, 5]) == set()
