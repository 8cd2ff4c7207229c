"""The application goes on: what it writes meanwhile is never lost, and nothing stale takes its place."""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path
from types import SimpleNamespace

import psycopg
import pytest

from encrypted_serde import EncryptedSaver, EncryptedSerializer
from encrypted_serde.maintenance import reencrypt, scan
from encrypted_serde.maintenance.codec import RowCodec, Switches
from encrypted_serde.maintenance.opening import open_database
from encrypted_serde.maintenance.selection import Selection
from encrypted_serde.maintenance.table import OPEN, Paging
from tests.maintenance.forms import (
    BOTH,
    EVERYTHING,
    FORMS,
    NEW_KEY,
    OLD_KEY,
    assert_same,
    open_saver,
    replay_strictly,
    write_every_form,
)
from tests.maintenance.processes import finish, start_worker
from tests.maintenance.worker import TURNS, WRITERS, config_of, counting_graph


def test_eight_writers_lose_nothing_while_everything_is_re_encrypted_around_them(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["encrypted_serde.maintenance.reencrypt"], "PAGE_ROWS", 5)
    before = write_every_form(place, {"plaintext": FORMS["plaintext"]})
    for writer in range(WRITERS):
        with open_saver(place) as plain:
            if writer % 2:
                plain.serde = EncryptedSerializer(OLD_KEY)
            counting_graph(plain).invoke({"log": ["before"]}, config_of(writer))
    worker = start_worker("write", place)
    assert worker.stdout.readline()
    meanwhile = [reencrypt(place, BOTH, **EVERYTHING) for _ in range(2)]
    while worker.runs and worker.stdout.readline():
        meanwhile.append(reencrypt(place, BOTH, **EVERYTHING))
    assert finish(worker) == (0, "")
    assert sum(done.failed for done in meanwhile) == 0
    assert meanwhile[0].rewritten > 0
    done = reencrypt(place, BOTH, **EVERYTHING)
    assert (done.failed, done.left) == (0, 0)
    assert set(scan(place, current_keys=[NEW_KEY.id.hex()]).problems().values()) == {0}
    expected = ["before", 1, 2]
    for turn in range(TURNS):
        expected += [f"turn {turn}", len(expected) + 1, len(expected) + 2]
    with open_saver(place) as plain:
        graph = counting_graph(EncryptedSaver(plain, NEW_KEY))
        for writer in range(WRITERS):
            history = [*graph.get_state_history(config_of(writer))]
            assert history[0].values["log"] == expected
            assert len(history) == 4 * (TURNS + 1)
    assert_same(replay_strictly(place, ["plaintext"]), before)


def test_a_row_that_changed_after_it_was_read_is_not_written(tmp_path: Path) -> None:
    place = str(tmp_path / "checkpoints.sqlite")
    write_every_form(place, {"plaintext": FORMS["plaintext"]})
    codec = RowCodec(BOTH, Switches(plaintext=True))
    with open_database(place, write=True) as database:
        for table in database.tables:
            for is_changed in (True, False):
                with database.page(Paging(table, Selection(), OPEN, size=10_000)) as rows:
                    changes = [(row, table.recode(row, codec)) for row in rows]
                    if is_changed:
                        _touch(place, table.name)
                    with database.savepoint():
                        written = database.store(table, changes)
                assert written == (0 if is_changed else len(changes))


def test_rows_that_will_be_stored_are_locked_until_their_page_is_left(postgres_url: str) -> None:
    write_every_form(postgres_url, {"plaintext": FORMS["plaintext"]})
    with open_database(postgres_url, write=True) as database, psycopg.connect(postgres_url, autocommit=True) as other:
        other.execute("SET lock_timeout = '50ms'")
        for table in database.tables:
            with database.page(Paging(table, Selection(), OPEN, size=10_000, lock=True)) as rows:
                assert rows
                with pytest.raises(psycopg.errors.LockNotAvailable):
                    other.execute(f"UPDATE {table.name} SET type = type")
            other.execute(f"UPDATE {table.name} SET type = type")


def _touch(place: str, table: str) -> None:
    """Changes every row of a table, as another writer does."""
    with sqlite3.connect(place) as connection:
        statement = {
            "checkpoints": "UPDATE checkpoints SET metadata = CAST(metadata || ' ' AS BLOB)",
            "writes": "UPDATE writes SET type = 'msgpack', value = x'c3'",
        }
        connection.execute(statement[table])
    connection.close()


def test_rows_that_others_have_locked_are_left_to_them_and_done_in_the_next_pass(postgres_url: str) -> None:
    before = write_every_form(postgres_url, {"plaintext": FORMS["plaintext"]})
    with psycopg.connect(postgres_url) as other:
        other.execute("SELECT 1 FROM checkpoint_writes FOR UPDATE")
        released = []

        def release(progress: object) -> None:
            if progress.table == "checkpoint_blobs" and not released:
                released.append(True)
                other.rollback()

        done = reencrypt(postgres_url, BOTH, **EVERYTHING, progress=release)
    assert released
    assert (done.failed, done.left) == (0, 0)
    assert_same(replay_strictly(postgres_url, ["plaintext"]), before)


def test_two_workers_share_one_postgres_database(postgres_url: str) -> None:
    before = write_every_form(postgres_url, {name: FORMS[name] for name in ("plaintext", "serde-old-key")})
    workers = [start_worker("reencrypt", postgres_url) for _ in range(2)]
    assert [finish(worker)[0] for worker in workers] == [0, 0]
    assert set(scan(postgres_url, current_keys=[NEW_KEY.id.hex()]).problems().values()) == {0}
    assert_same(replay_strictly(postgres_url, before), before)


def test_rate_bounds_the_rows_that_are_rewritten_in_a_second(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write_every_form(place, {"plaintext": FORMS["plaintext"]})
    pauses: list[float] = []
    clock = SimpleNamespace(monotonic=lambda: 0.0, sleep=pauses.append)
    for module in ("reencrypt", "opening"):
        monkeypatch.setattr(sys.modules[f"encrypted_serde.maintenance.{module}"], "time", clock)
    monkeypatch.setattr(sys.modules["encrypted_serde.maintenance.reencrypt"], "PAGE_ROWS", 7)
    done = reencrypt(place, BOTH, **EVERYTHING, rate=10)
    assert sum(pauses) == pytest.approx(done.rewritten / 10)
    assert max(pauses) <= 0.7
