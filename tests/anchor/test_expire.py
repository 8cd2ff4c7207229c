"""``expire --anchor``: the anchor says which checkpoint is the newest, and rows that nobody authenticated decide nothing."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from encrypted_serde import Incomplete
from encrypted_serde.cli.app import run
from tests.anchor.test_commands import THREAD, command  # noqa: F401  # the fixture that finds database and anchor
from tests.saver.threads import write_thread

HIGHER = "3fffffff-ffff-6fff-bfff-ffffffffffff"


@pytest.fixture
def expire(anchored, command, capsys):  # noqa: F811
    """Runs ``encrypted-serde expire --keep-latest --anchor`` for everything that is there now; returns the exit code."""
    database, anchor = command.places

    def call(*options: str) -> tuple[int, str]:
        capsys.readouterr()
        moment = (datetime.now(timezone.utc) - timedelta(milliseconds=1)).isoformat()
        with pytest.raises(SystemExit) as caught:
            run(["expire", database, "--older-than", moment, "--anchor", anchor, *options])
        shown = capsys.readouterr()
        return caught.value.code, shown.out + shown.err

    return call


# rule A-4
def test_what_expire_deleted_is_not_reported_afterwards(anchored, expire, command):  # noqa: F811
    *_, newest = write_thread(anchored.saver(), "one", steps=3)
    code, _ = expire("--keep-latest")
    assert code == 0
    left = [found.checkpoint["id"] for found in anchored.saver().list(THREAD)]
    assert left[0] == newest.checkpoint_id
    assert len(left) < 3
    assert command("status")[0] == 0


# rule A-4
def test_a_row_that_nobody_authenticated_is_not_taken_for_the_newest(anchored, expire):
    *_, newest = write_thread(anchored.saver(), "one", steps=3)
    column = "checkpoint_id"
    anchored.database.sql(
        f"UPDATE checkpoints SET {column} = ? WHERE {column} <> ? AND {column} = (SELECT min({column}) FROM checkpoints)",
        HIGHER,
        newest.checkpoint_id,
    )
    code, shown = expire("--keep-latest")
    assert code == 3, shown
    anchored.database.sql("DELETE FROM checkpoints WHERE checkpoint_id = ?", HIGHER)
    with pytest.raises(Incomplete):  # its first checkpoint is gone, and nobody says that this was on purpose
        list(anchored.saver().list(THREAD))
    assert anchored.saver().get_tuple(THREAD).checkpoint["id"] == newest.checkpoint_id
    anchored.database.sql("DELETE FROM checkpoints WHERE checkpoint_id = ?", newest.checkpoint_id)
    with pytest.raises(Incomplete):
        anchored.saver().get_tuple(THREAD)


# rule A-4
def test_a_row_that_was_deleted_on_purpose_and_put_back_goes_and_is_not_taken_for_the_newest(anchored, expire, command):  # noqa: F811
    *_, newest, last = write_thread(anchored.saver(), "one", steps=3)
    anchored.database.sql("DROP TABLE IF EXISTS old_checkpoints")
    anchored.database.sql("CREATE TABLE old_checkpoints AS SELECT * FROM checkpoints")
    anchored.database.sql("DELETE FROM checkpoints WHERE checkpoint_id = ?", last.checkpoint_id)
    assert command("accept", "--yes")[0] == 0
    anchored.database.sql("DELETE FROM checkpoints")
    anchored.database.sql("INSERT INTO checkpoints SELECT * FROM old_checkpoints")
    assert command("accept", "--yes")[0] == 0
    code, shown = expire("--keep-latest")
    assert code == 0, shown
    assert anchored.saver().get_tuple(THREAD).checkpoint["id"] == newest.checkpoint_id
    assert anchored.database.sql("SELECT checkpoint_id FROM checkpoints WHERE checkpoint_id = ?", last.checkpoint_id) == []
    assert command("status")[0] == 0


# rule A-4
def test_a_thread_whose_tail_was_cut_is_left_whole_and_still_refused(anchored, expire):
    *_, newest = write_thread(anchored.saver(), "one", steps=3)
    write_thread(anchored.saver(), "two", steps=3)
    anchored.database.sql("DELETE FROM checkpoints WHERE checkpoint_id = ?", newest.checkpoint_id)
    code, shown = expire("--keep-latest")
    assert code == 3, shown
    with pytest.raises(Incomplete):
        anchored.saver().get_tuple(THREAD)
    assert len(list(anchored.saver().list({"configurable": {"thread_id": "two", "checkpoint_ns": ""}}))) < 3
