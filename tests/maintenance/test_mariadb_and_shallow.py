"""The tables of ``langgraph-checkpoint-mysql``, on a real MariaDB, and those of the shallow savers."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timezone
from typing import Any

import psycopg
import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.mysql.pymysql import ShallowPyMySQLSaver
from langgraph.checkpoint.postgres.shallow import ShallowPostgresSaver
from psycopg.rows import dict_row

from encrypted_serde import EncryptedSaver
from encrypted_serde.maintenance import DatabaseFailed, expire, reencrypt, scan, verify
from encrypted_serde.maintenance.opening import open_database
from encrypted_serde.maintenance.selection import Selection
from encrypted_serde.maintenance.table import OPEN, Paging
from tests import mariadb
from tests.maintenance import sql
from tests.maintenance.forms import (
    BOTH,
    EVERYTHING,
    FORMS,
    NEW_KEY,
    OLD_KEY,
    assert_same,
    open_saver,
    replay,
    replay_strictly,
    write_every_form,
)
from tests.maintenance.worker import counting_graph

CONFIG = {"configurable": {"thread_id": "one"}}


# --- MariaDB ----------------------------------------------------------------------------------------------------------


def test_every_form_becomes_bound_verifies_and_goes_back(mysql_url: str) -> None:
    before = write_every_form(mysql_url)
    assert reencrypt(mysql_url, BOTH, dry_run=True, **EVERYTHING).failures == []
    done = reencrypt(mysql_url, BOTH, **EVERYTHING)
    assert (done.failures, done.left) == ([], 0)
    assert set(scan(mysql_url, current_keys=[NEW_KEY.id.hex()]).problems().values()) == {0}
    assert verify(mysql_url, NEW_KEY).failures == []
    assert_same(replay_strictly(mysql_url), before)
    assert reencrypt(mysql_url, BOTH, target="plaintext").left == 0
    with open_saver(mysql_url) as plain:
        assert_same({name: replay(plain, name) for name in FORMS}, before)


def test_by_itself_re_encryption_admits_nothing_on_mariadb(mysql_url: str) -> None:
    write_every_form(mysql_url, {"plaintext": FORMS["plaintext"]})
    done = reencrypt(mysql_url, BOTH)
    assert done.rewritten == 0
    assert {failure.error for failure in done.failures} == {"PlaintextRefused"}


def test_tampering_is_found_on_mariadb(mysql_url: str) -> None:
    write_every_form(mysql_url, {"saver-old-key": FORMS["saver-old-key"]})
    sql.run(mysql_url, "UPDATE checkpoints SET metadata = JSON_SET(metadata, '$.step', 77) WHERE parent_checkpoint_id IS NULL")
    sql.run(mysql_url, "UPDATE checkpoint_blobs SET `blob` = INSERT(`blob`, 70, 4, '....') WHERE channel = 'messages'")
    found = verify(mysql_url, OLD_KEY)
    assert {(failure.table, failure.error) for failure in found.failures} == {
        ("checkpoints", "WrongLocation"),
        ("checkpoint_blobs", "AuthenticationFailed"),
    }


def test_pages_on_mariadb_come_in_order_and_miss_nothing(mysql_url: str) -> None:
    write_every_form(mysql_url, {"plaintext": FORMS["plaintext"]})
    with open_database(mysql_url, write=False) as database:
        for table in database.tables:
            paging = Paging(table, Selection(), OPEN, size=3)
            found: list[Any] = []
            while not paging.finished:
                found += [tuple(table.key_of(row).values()) for row in database.fetch(paging)]
            assert len(found) == len({*found}) == sql.count(mysql_url, table.name)


def test_retention_on_mariadb(mysql_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setattr(sys.modules["encrypted_serde.maintenance.expire"], "SETTLE", 0.0)
    with open_saver(mysql_url) as plain:
        graph = counting_graph(EncryptedSaver(plain, NEW_KEY))
        graph.invoke({"log": ["a"]}, CONFIG)
        graph.invoke({"log": ["b"]}, CONFIG)
    moment = datetime.now(timezone.utc)
    assert expire(mysql_url, moment, keep_latest=True).deleted["checkpoint_blobs"] > 0
    assert verify(mysql_url, NEW_KEY).failures == []
    with open_saver(mysql_url) as plain:
        assert counting_graph(EncryptedSaver(plain, NEW_KEY)).get_state(CONFIG).values["log"] == ["a", 1, 2, "b", 4, 5]
    assert expire(mysql_url, moment).gone == 1
    assert all(sql.count(mysql_url, table) == 0 for table in ("checkpoints", "checkpoint_blobs", "checkpoint_writes"))


def test_a_mariadb_that_is_not_there_is_one_error_without_the_password() -> None:
    with pytest.raises(DatabaseFailed) as caught:
        scan("mysql://someone:hush-hush@127.0.0.1:1/nowhere")
    assert "hush" not in str(caught.value)


# --- shallow ----------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["postgres_url", "mysql_url"])
def shallow_place(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue(request.param)


@contextmanager
def open_shallow(place: str) -> Iterator[BaseCheckpointSaver]:
    if place.startswith("mysql:"):
        with closing(mariadb.connect(place)) as connection:
            yield _made(ShallowPyMySQLSaver, connection)
    else:
        with psycopg.connect(place, autocommit=True, prepare_threshold=0, row_factory=dict_row) as connection:
            yield _made(ShallowPostgresSaver, connection)


def _made(cls: Any, connection: Any) -> BaseCheckpointSaver:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        saver = cls(connection)
    saver.setup()
    return saver


def test_the_tables_of_a_shallow_saver_are_re_encrypted_verified_and_expire(
    shallow_place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setattr(sys.modules["encrypted_serde.maintenance.expire"], "SETTLE", 0.0)
    with open_shallow(shallow_place) as plain:
        before = counting_graph(plain).invoke({"log": ["a"]}, CONFIG)
    assert {failure.error for failure in reencrypt(shallow_place, BOTH).failures} == {"PlaintextRefused"}
    done = reencrypt(shallow_place, OLD_KEY, allow_plaintext=True)
    assert (done.failures, done.left) == ([], 0)
    assert reencrypt(shallow_place, BOTH).left == 0
    found = verify(shallow_place, NEW_KEY)
    assert found.failures == []
    assert found.opened > 3
    with open_shallow(shallow_place) as plain:
        graph = counting_graph(EncryptedSaver(plain, NEW_KEY))
        assert graph.get_state(CONFIG).values == before
        assert graph.invoke({"log": ["b"]}, CONFIG)["log"] == [*before["log"], "b", 4, 5]
    assert verify(shallow_place, NEW_KEY).failures == []
    sql.run(shallow_place, "UPDATE checkpoint_blobs SET type = 'msgpack' WHERE channel = 'log'")
    assert {failure.table for failure in verify(shallow_place, NEW_KEY).failures} == {"checkpoint_blobs"}
    assert expire(shallow_place, datetime.now(timezone.utc), keep_latest=True).threads == 0
    assert expire(shallow_place, datetime.now(timezone.utc)).gone == 1
    assert all(sql.count(shallow_place, table) == 0 for table in ("checkpoints", "checkpoint_blobs"))
