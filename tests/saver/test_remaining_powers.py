"""What somebody who writes rows and has no key can still do. docs/saver.md lists it; nothing here goes further than it says.

Each test shows the power *and* its limit: what comes back was written by us, for this place, at some time. rule T-14
"""

from __future__ import annotations

import json

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.serde.types import ERROR, INTERRUPT, RESUME
from langgraph.checkpoint.sqlite import SqliteSaver

from encrypted_serde import EncryptedSaver, Key, UnknownKey, WrongLocation
from tests.saver.databases import Place
from tests.saver.threads import TASKS, assert_refused, make_checkpoint, write_thread, writes_of

ROW = "thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?"
NULL_TASK = "00000000-0000-0000-0000-000000000000"
WRITE = "thread_id, checkpoint_ns, checkpoint_id, task_id, idx, channel, type, {value}"
CONFIG = {"configurable": {"thread_id": "one", "checkpoint_ns": ""}}

only_sqlite = pytest.mark.parametrize("database_of_module", ["Sqlite"], indirect=True)
only_postgres = pytest.mark.parametrize("database_of_module", ["Postgres"], indirect=True)


def _steps(saver, config=CONFIG, **options):
    return [row.metadata["step"] for row in saver.list(config, **options)]


def _one_checkpoint(database):
    return write_thread(database.saver(), "one", steps=1)[0]


def _clear_writes(database):
    database.sql("DELETE FROM {writes}")


def _kept(database, where="1 = 1", *parameters):
    return database.sql(f"SELECT {WRITE} FROM {{writes}} WHERE {where}", *parameters)


def _put_back(database, rows):
    for row in rows:
        database.sql(f"INSERT INTO {{writes}} ({WRITE}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", *row)


def _ordinary(database, place):
    return [(channel, value) for _, channel, value in writes_of(database.saver(), place)]


def test_without_the_newest_checkpoint_the_thread_goes_on_from_the_one_before(database):
    *_, before, newest = write_thread(database.saver(), "one", steps=3)
    database.sql(f"DELETE FROM checkpoints WHERE {ROW}", *newest)
    assert database.saver().get_tuple(CONFIG).config == before.config


def test_without_a_checkpoint_in_the_middle_the_history_is_shorter(database):
    _, middle, _ = write_thread(database.saver(), "one", steps=3)
    database.sql(f"DELETE FROM checkpoints WHERE {ROW}", *middle)
    assert _steps(database.saver()) == [2, 0]


def test_an_older_database_that_is_put_back_is_read(database):
    write_thread(database.saver(), "one", steps=2)
    tables = {table: database.sql(f"SELECT * FROM {table}") for table in database.tables}
    write_thread(database.saver(), "two")
    old = database.saver().get_tuple(CONFIG)
    for table in database.tables:
        database.sql(f"DELETE FROM {table} WHERE thread_id <> 'one'")
    assert {table: database.sql(f"SELECT * FROM {table}") for table in database.tables} == tables
    assert database.saver().get_tuple(CONFIG) == old
    assert database.saver().get_tuple({"configurable": {"thread_id": "two"}}) is None


def test_without_all_writes_of_a_task_it_has_not_run(database):
    here = _one_checkpoint(database)
    database.sql("DELETE FROM {writes} WHERE task_id = ?", TASKS[0])
    assert {task for task, _, _ in writes_of(database.saver(), here)} == {TASKS[1]}


def test_an_older_batch_of_a_task_takes_the_place_of_a_newer_one(database):
    here = _one_checkpoint(database)
    _clear_writes(database)
    saver = database.saver()
    saver.put_writes(here.config, [("note", "approve")], TASKS[0])
    old = _kept(database)
    _clear_writes(database)
    saver.put_writes(here.config, [("note", "deny")], TASKS[0])
    _clear_writes(database)
    _put_back(database, old)
    assert _ordinary(database, here) == [("note", "approve")]


def test_writes_of_the_input_are_recombined(database):
    here = _one_checkpoint(database)
    _clear_writes(database)
    saver = database.saver()
    saver.put_writes(here.config, [("note", 5)], NULL_TASK)
    saver.put_writes(here.config, [("note", 5), ("log", "approved")], NULL_TASK)
    approved = _kept(database, "channel = 'log'")
    _clear_writes(database)
    saver.put_writes(here.config, [("note", 1_000_000)], NULL_TASK)
    _put_back(database, approved)
    assert _ordinary(database, here) == [("note", 1_000_000), ("log", "approved")]


def test_the_last_writes_of_the_input_are_deleted(database):
    here = _one_checkpoint(database)
    _clear_writes(database)
    saver = database.saver()
    saver.put_writes(here.config, [("note", 5)], NULL_TASK)
    saver.put_writes(here.config, [("note", 5), ("log", "approved")], NULL_TASK)
    database.sql("DELETE FROM {writes} WHERE channel = 'log'")
    assert _ordinary(database, here) == [("note", 5)]


@pytest.mark.parametrize("channel", [INTERRUPT, RESUME, ERROR])
def test_a_special_write_is_deleted_alone_or_put_back_to_an_earlier_one(database, channel):
    here = _one_checkpoint(database)
    _clear_writes(database)
    saver = database.saver()
    saver.put_writes(here.config, [(channel, "earlier")], TASKS[0])
    earlier = _kept(database)
    saver.put_writes(here.config, [(channel, "later")], TASKS[0])
    saver.put_writes(here.config, [("note", "x")], TASKS[0])
    database.sql("DELETE FROM {writes} WHERE channel = ?", channel)
    assert _ordinary(database, here) == [("note", "x")]
    _put_back(database, earlier)
    assert _ordinary(database, here) == [(channel, "earlier"), ("note", "x")]


def test_a_row_is_hidden_from_a_filter_and_none_answers_a_filter_that_it_does_not_match(database):
    _, here = write_thread(database.saver(), "one")
    database.edit_metadata(here, lambda metadata: metadata.update(step=99))
    assert _steps(database.saver(), filter={"step": 1}) == []
    with pytest.raises(WrongLocation):
        _steps(database.saver(), filter={"step": 99})
    assert_refused(database, here, WrongLocation)


@only_sqlite
def test_a_doubled_key_hides_a_row_from_a_filter_alone(database):
    _, here = write_thread(database.saver(), "one")
    doubled = '{"step": 99, ' + json.dumps(database.metadata(here))[1:]
    database.sql(f"UPDATE checkpoints SET metadata = ? WHERE {ROW}", doubled.encode(), *here)
    assert _steps(database.saver()) == [1, 0]
    assert _steps(database.saver(), filter={"step": 1}) == []
    with pytest.raises(WrongLocation):
        _steps(database.saver(), filter={"step": 99})


def test_one_of_several_writes_is_not_deleted_from_a_history(database):
    # rule F-27
    saver = database.saver()
    parent = write_thread(saver, "one", steps=1)[0]
    saver.put_writes(parent.config, [("items", 1), ("items", 2), ("note", 3)], TASKS[0][:-1] + "d")
    child = saver.put(parent.config, make_checkpoint(1, {}, {}), {"source": "loop", "step": 1}, {})
    database.sql("DELETE FROM {writes} WHERE channel = 'items' AND idx = 0")

    def history(**options):
        found = database.saver(**options).get_delta_channel_history(config=child, channels=["items"])
        return [value for _, _, value in found["items"]["writes"]]

    with pytest.raises(WrongLocation):
        history(verify_delta_history=True)
    with pytest.raises(WrongLocation):
        history()


class _Counting(SqliteSaver):
    """A saver that counts versions, so that two branches of a thread have the same ones."""

    get_next_version = BaseCheckpointSaver.get_next_version


@only_sqlite
def test_a_value_of_another_branch_is_taken_only_where_versions_are_counted(database):
    for kind, taken in ((_Counting, True), (SqliteSaver, False)):
        database.clear()
        saver = EncryptedSaver(kind(database.connection), database.key)
        root = saver.put(CONFIG, make_checkpoint(0, {}, {}), {"source": "loop", "step": 0}, {})
        places = []
        for branch in ("left", "right"):
            version = saver.get_next_version(None, None)
            checkpoint = make_checkpoint(1, {"log": [branch]}, {"log": version})
            saver.put(root, checkpoint, {"source": "loop", "step": 1}, {"log": version})
            places.append(Place("one", "", checkpoint["id"]))
        left, right = places
        database.store_sealed(right, "log", database.sealed(left, "log"))
        if taken:
            assert saver.get_tuple(right.config).checkpoint["channel_values"] == {"log": ["left"]}
        else:
            assert_refused(database, right, WrongLocation)


def test_without_a_key_nothing_of_this_makes_a_new_value(database):
    here = _one_checkpoint(database)
    forged = EncryptedSaver(database.plain(), Key.generate())
    forged.put_writes(here.config, [("note", "made up")], TASKS[0][:-1] + "d")
    assert_refused(database, here, UnknownKey)
