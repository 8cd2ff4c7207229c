"""Somebody who writes the database takes away what was stored, or puts back what was there: each edit is refused."""

from __future__ import annotations

import pytest
from langgraph.checkpoint.serde.types import ERROR, INTERRUPT, RESUME

from encrypted_serde import EncryptedSerdeError, Incomplete
from tests.saver.databases import Place
from tests.saver.threads import TASKS, make_checkpoint, write_thread

ROW = "thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?"
NULL_TASK = "00000000-0000-0000-0000-000000000000"
THREAD = {"configurable": {"thread_id": "one", "checkpoint_ns": ""}}


def _latest(saver):
    return saver.get_tuple(THREAD)


def _whole(saver):
    return list(saver.list(THREAD))


def _all_namespaces(saver):
    return list(saver.list({"configurable": {"thread_id": "one"}}))


def _exact(place):
    return lambda saver: saver.get_tuple(place.config)


def assert_incomplete(anchored, *reads, saying=None):
    """Every way of reading refuses, however often, and names the thread and no value."""
    for read in (*reads, *reads):
        with pytest.raises(EncryptedSerdeError, match=saying) as caught:
            read(anchored.saver())
        assert type(caught.value) is Incomplete
        assert "'one'" in str(caught.value)
        assert " of one/" not in str(caught.value)


def _written(anchored, steps=4):
    places = write_thread(anchored.saver(), "one", steps=steps)
    saver = anchored.saver()
    assert len(_whole(saver)) == steps
    assert _latest(saver)
    assert saver.admitted_reads == {}
    return places


def _delete(anchored, *places, writes=True):
    for place in places:
        anchored.database.sql(f"DELETE FROM checkpoints WHERE {ROW}", *place)
        if writes:
            anchored.database.sql(f"DELETE FROM {{writes}} WHERE {ROW}", *place)


def _save(database):
    for table in database.tables:
        database.sql(f"DROP TABLE IF EXISTS old_{table}")
        database.sql(f"CREATE TABLE old_{table} AS SELECT * FROM {table}")


def _put_back(database, tables=None):
    for table in tables or database.tables:
        database.sql(f"DELETE FROM {table}")
        database.sql(f"INSERT INTO {table} SELECT * FROM old_{table}")


# --- checkpoints


@pytest.mark.parametrize("writes", [True, False], ids=["with its writes", "alone"])
def test_the_newest_checkpoint_is_deleted(anchored, writes):
    *_, newest = _written(anchored)
    _delete(anchored, newest, writes=writes)
    assert_incomplete(anchored, _latest, _whole, _all_namespaces, _exact(newest), saying=newest.checkpoint_id)


def test_the_last_checkpoints_are_deleted(anchored):
    _, _, *last = _written(anchored)
    _delete(anchored, *last)
    assert_incomplete(anchored, _latest, _whole, _all_namespaces, *map(_exact, last))


def test_a_checkpoint_in_the_middle_is_deleted(anchored):
    _, middle, *_ = _written(anchored)
    _delete(anchored, middle)
    assert_incomplete(anchored, _whole, _all_namespaces, _exact(middle), saying=middle.checkpoint_id)


def test_the_first_checkpoints_are_deleted(anchored):
    first, second, *_ = _written(anchored)
    _delete(anchored, first, second)
    assert_incomplete(anchored, _whole, _all_namespaces, _exact(first), _exact(second))


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_a_list_with_a_limit_lacks_nothing_up_to_there(anchored, limit):
    _, *last = _written(anchored)
    _delete(anchored, last[3 - limit])
    assert_incomplete(anchored, lambda saver: list(saver.list(THREAD, limit=limit)))


def test_a_list_before_a_checkpoint_lacks_nothing_from_there(anchored):
    _, second, third, _ = _written(anchored)
    _delete(anchored, second)
    assert_incomplete(anchored, lambda saver: list(saver.list(THREAD, before=third.config)))
    assert list(anchored.saver().list(THREAD, before=second.config))


def test_a_thread_is_deleted(anchored):
    places = _written(anchored)
    for table in anchored.database.tables:
        anchored.database.sql(f"DELETE FROM {table}")
    assert_incomplete(anchored, _latest, _whole, _all_namespaces, *map(_exact, places))


def test_a_namespace_is_deleted(anchored):
    _written(anchored)
    _, newest = write_thread(anchored.saver(), "one", "child")
    for table in anchored.database.tables:
        anchored.database.sql(f"DELETE FROM {table} WHERE checkpoint_ns = 'child'")
    assert_incomplete(
        anchored, _all_namespaces, _exact(newest), lambda saver: saver.get_tuple(Place("one", "child", "").config)
    )
    assert _latest(anchored.saver())
    assert _whole(anchored.saver())


def test_an_older_database_is_put_back(anchored):
    saver = anchored.saver()
    write_thread(saver, "one")
    _save(anchored.database)
    write_thread(saver, "one")
    _put_back(anchored.database)
    assert_incomplete(anchored, _latest, _whole, _all_namespaces)


def test_an_empty_database_is_put_in_place(anchored):
    _save(anchored.database)
    _written(anchored)
    _put_back(anchored.database)
    assert_incomplete(anchored, _latest, _whole)


# --- writes


@pytest.mark.parametrize("task", TASKS)
def test_all_writes_of_a_task_are_deleted(anchored, task):
    *_, newest = _written(anchored)
    anchored.database.sql(f"DELETE FROM {{writes}} WHERE {ROW} AND task_id = ?", *newest, task)
    assert_incomplete(anchored, _latest, _whole, _exact(newest), lambda saver: list(saver.list(THREAD, limit=1)))


def test_the_writes_of_an_older_checkpoint_are_deleted(anchored):
    first, *_ = _written(anchored)
    anchored.database.sql(f"DELETE FROM {{writes}} WHERE {ROW}", *first)
    assert_incomplete(anchored, _whole, _exact(first), lambda saver: list(saver.list(THREAD, filter={"step": 0})))


@pytest.mark.parametrize("channel", [RESUME, INTERRUPT, ERROR, "note"])
def test_one_write_is_deleted(anchored, channel):
    *_, newest = _written(anchored)
    anchored.database.sql(f"DELETE FROM {{writes}} WHERE {ROW} AND channel = ?", *newest, channel)
    assert_incomplete(anchored, _latest, _whole, _exact(newest), saying="writes")


@pytest.mark.parametrize("reopened", [True, False], ids=["two processes", "one process"])
@pytest.mark.parametrize("channel", [RESUME, INTERRUPT, ERROR])
def test_an_older_special_write_is_put_back(anchored, channel, reopened):
    saver = anchored.saver()
    *_, newest = write_thread(saver, "one")
    _save(anchored.database)
    if reopened:
        saver = anchored.saver()
        saver.get_tuple(THREAD)
    task = TASKS[0] if channel == RESUME else TASKS[1]
    saver.put_writes(newest.config, [(channel, "newer")], task)
    assert "newer" in [value for *_, value in _latest(anchored.saver()).pending_writes]
    _put_back(anchored.database, [anchored.database.writes])
    assert_incomplete(anchored, _latest, _whole, _exact(newest), saying="older write")


def test_an_older_batch_is_put_in_place_of_the_one_that_stood_first(anchored):
    saver = anchored.saver()
    *_, here = write_thread(saver, "one")
    saver.put_writes(here.config, [("out", "approve")], "task")
    anchored.database.sql("DELETE FROM {writes} WHERE channel = 'out'")
    saver.put_writes(here.config, [("out", "deny")], "task")  # a run that did not look
    assert_incomplete(anchored, _latest, _whole, saying="older write")


def test_a_batch_from_before_a_deletion_is_put_back(anchored):
    saver, checkpoint = anchored.saver(), make_checkpoint(0, {}, {})
    for value in ("approve", "deny"):
        stored = saver.put(THREAD, checkpoint, {"source": "loop", "step": 0}, {})
        saver.put_writes(stored, [("out", value)], "task")
        if value == "approve":
            _save(anchored.database)
            saver.delete_thread("one")
    assert [write[2] for write in _latest(anchored.saver()).pending_writes] == ["deny"]
    _put_back(anchored.database, [anchored.database.writes])
    assert_incomplete(anchored, _latest, _whole)


def test_writes_of_the_null_task_are_recombined(anchored):
    saver = anchored.saver()
    *_, here = write_thread(saver, "one")
    saver.put_writes(here.config, [("amount", 5)], NULL_TASK)
    saver.put_writes(here.config, [("amount", 5), ("approved", True)], NULL_TASK)
    assert ("approved", True) in [write[1:] for write in _latest(anchored.saver()).pending_writes]
    _save(anchored.database)
    anchored.database.sql("DELETE FROM {writes} WHERE task_id = ?", NULL_TASK)
    saver.put_writes(here.config, [("amount", 1_000_000)], NULL_TASK)
    table = anchored.database.writes
    anchored.database.sql(f"INSERT INTO {table} SELECT * FROM old_{table} WHERE channel = 'approved'")
    assert_incomplete(anchored, _latest, _whole, saying="older write")


def test_a_write_that_was_replaced_while_another_process_looked_is_refused_everywhere(anchored):
    one, other = anchored.saver(), anchored.saver()
    *_, here = write_thread(one, "one")
    one.put_writes(here.config, [(INTERRUPT, "first")], "task")
    other.get_tuple(THREAD)
    _save(anchored.database)
    other.put_writes(here.config, [(INTERRUPT, "second")], "task")
    _put_back(anchored.database, [anchored.database.writes])
    for saver in (one, other, anchored.saver()):
        with pytest.raises(Incomplete):
            saver.get_tuple(THREAD)


# --- what was deleted on purpose


def test_rows_of_a_deleted_thread_that_are_put_back_count_as_absent(anchored):
    _written(anchored)
    _save(anchored.database)
    anchored.saver().delete_thread("one")
    _put_back(anchored.database)
    saver = anchored.saver()
    assert _latest(saver) is None
    assert _whole(saver) == _all_namespaces(saver) == []
    places = write_thread(saver, "one")
    assert _latest(anchored.saver()).config == places[-1].config
    assert len(_whole(anchored.saver())) == 2
    _delete(anchored, places[-1])
    assert_incomplete(anchored, _latest, _whole)


def test_a_whole_older_database_with_a_deleted_thread_does_not_bring_it_back(anchored):
    saver = anchored.saver()
    write_thread(saver, "one")
    places = write_thread(saver, "two")
    _save(anchored.database)
    saver.delete_thread("one")
    _put_back(anchored.database)
    assert _latest(anchored.saver()) is None
    assert anchored.saver().get_tuple({"configurable": {"thread_id": "two"}}).config == places[-1].config


# --- a rotation


def test_edits_are_refused_after_a_rotation_too(anchored, key):
    from encrypted_serde import Keyring

    old = anchored.database.key
    *_, newest = write_thread(anchored.saver(), "one")
    keys = Keyring(primary=key, decrypt_only=[old])
    saver = anchored.saver(keys=keys)
    assert len(_whole(saver)) == 2
    saver.put_writes(newest.config, [(INTERRUPT, "newer")], TASKS[1])
    assert _latest(anchored.saver(keys=keys))
    anchored.database.sql("DELETE FROM {writes} WHERE channel = ?", RESUME)
    with pytest.raises(Incomplete):
        _latest(anchored.saver(keys=keys))
