"""Killed, out of disk, cut off: nothing is half written, and the next run ends where an undisturbed one would have."""

from __future__ import annotations

import random
import signal
import sqlite3
import sys
from pathlib import Path

import psycopg
import pytest

from encrypted_serde.maintenance import DatabaseFailed, Progress, reencrypt, scan
from tests.maintenance.forms import BOTH, EVERYTHING, FORMS, NEW_KEY, assert_same, replay_strictly, write_every_form
from tests.maintenance.processes import finish, start_worker

SOME = {name: FORMS[name] for name in ("plaintext", "serde-old-key", "saver-old-key")}


def assert_same_end_state(place: str, before: dict) -> None:
    done = reencrypt(place, BOTH, **EVERYTHING)
    assert (done.failures, done.left) == ([], 0)
    assert set(scan(place, current_keys=[NEW_KEY.id.hex()]).problems().values()) == {0}
    assert_same(replay_strictly(place, SOME), before)


def kill_again_and_again(place: str, times: int) -> None:
    before = write_every_form(place, SOME)
    for number in range(times):
        moment = random.Random(number)
        worker = start_worker("reencrypt", place)
        # Lines are printed between pages, so the child is somewhere in the page after the last one that was read.
        for _ in range(moment.randint(1, 6)):
            worker.stdout.readline()
        for _ in range(moment.randint(0, 20_000)):
            pass
        worker.kill()
        code, errors = finish(worker)
        assert code in (-signal.SIGKILL, 0), errors
        assert scan(place).problems()["undecodable"] == 0
    assert_same_end_state(place, before)


def test_kill_9_at_any_moment_leaves_nothing_half_written(place: str) -> None:
    kill_again_and_again(place, 8)


@pytest.mark.soak
def test_kill_9_at_fifty_moments_leaves_nothing_half_written(place: str) -> None:
    kill_again_and_again(place, 25)


def test_a_full_disk_is_a_clear_error_and_changes_nothing_that_was_not_committed(tmp_path: Path) -> None:
    place = str(tmp_path / "checkpoints.sqlite")
    before = write_every_form(place, SOME)
    with sqlite3.connect(place) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    code, errors = finish(start_worker("reencrypt", place, "--file-size", "60000"))  # the write-ahead log grows beyond that
    assert code == 1
    assert errors.startswith("DatabaseFailed: ")
    assert "nothing is half written; run the command again" in errors
    assert_same_end_state(place, before)


def test_a_lost_connection_is_a_clear_error_and_the_next_run_goes_on(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["encrypted_serde.maintenance.reencrypt"], "PAGE_ROWS", 5)
    before = write_every_form(postgres_url, SOME)
    with psycopg.connect(postgres_url, autocommit=True) as other:

        def cut(progress: Progress) -> None:
            if progress.rows >= 10:
                other.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )

        with pytest.raises(DatabaseFailed, match="nothing is half written"):
            reencrypt(postgres_url, BOTH, **EVERYTHING, progress=cut)
    assert_same_end_state(postgres_url, before)


def test_a_database_that_stays_locked_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = str(tmp_path / "checkpoints.sqlite")
    before = write_every_form(place, {"plaintext": SOME["plaintext"]})
    monkeypatch.setattr("encrypted_serde.maintenance.sqlite.LOCK_TIMEOUT", 0.01)
    holder = sqlite3.connect(place, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseFailed, match="locked"):
        reencrypt(place, BOTH, **EVERYTHING)
    holder.execute("ROLLBACK")
    holder.close()
    assert reencrypt(place, BOTH, **EVERYTHING).left == 0
    assert_same(replay_strictly(place, ["plaintext"]), before)
