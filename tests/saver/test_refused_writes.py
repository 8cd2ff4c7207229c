"""Pending writes that somebody moved, doubled or made up are refused; order and completeness are what was sealed."""

from __future__ import annotations

import logging

import pytest
from langgraph.checkpoint.serde.types import RESUME
from langgraph.types import Command

from encrypted_serde import AuthenticationFailed, PlaintextRefused, WrongLocation
from tests.saver.databases import Place
from tests.saver.graphs import answer, run_until_asked, whole_graph
from tests.saver.threads import TASKS, assert_refused, write_thread, writes_of

ROW = "thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?"
OTHER_TASK = "00000000-0000-4000-8000-00000000000c"


def _copy_value(database, source, target, task=TASKS[0], channel="note"):
    [(value,)] = database.sql(
        f"SELECT {{value}} FROM {{writes}} WHERE {ROW} AND task_id = ? AND channel = ?", *source, task, channel
    )
    database.sql(
        f"UPDATE {{writes}} SET {{value}} = ? WHERE {ROW} AND task_id = ? AND channel = ?", value, *target, task, channel
    )


def test_writes_come_back_by_task_path_task_and_position(database):
    _, here = write_thread(database.saver(), "one")
    assert [(task, channel) for task, channel, _ in writes_of(database.saver(), here)] == [
        (TASKS[0], "__resume__"),
        (TASKS[1], "__interrupt__"),
        (TASKS[1], "__error__"),
        (TASKS[0], "note"),
        (TASKS[0], "log"),
        (TASKS[1], "note"),
        (TASKS[1], "log"),
    ]


@pytest.mark.parametrize("channel", ["note", "log", RESUME])
def test_a_write_of_another_thread_is_refused(database, channel):
    _, here = write_thread(database.saver(), "one")
    _, there = write_thread(database.saver(), "two")
    _copy_value(database, there, here, channel=channel)
    assert_refused(database, here, AuthenticationFailed)


@pytest.mark.parametrize("channel", ["note", "log", RESUME])
def test_a_write_of_another_namespace_is_refused(database, channel):
    _, here = write_thread(database.saver(), "one")
    _, there = write_thread(database.saver(), "one", "child")
    _copy_value(database, there, here, channel=channel)
    assert_refused(database, here, AuthenticationFailed)


# rules F-23, T-7
@pytest.mark.parametrize("channel", ["note", "log"])
def test_a_write_of_another_checkpoint_is_refused(database, channel):
    old, new = write_thread(database.saver(), "one")
    _copy_value(database, old, new, channel=channel)
    assert_refused(database, new, WrongLocation, "checkpoint_id")


def test_the_answer_to_an_earlier_interrupt_is_refused(database):
    old, new = write_thread(database.saver(), "one")
    _copy_value(database, old, new, channel=RESUME)
    assert_refused(database, new, WrongLocation, "checkpoint_id")


def test_whole_rows_of_an_earlier_checkpoint_are_refused(database):
    old, new = write_thread(database.saver(), "one")
    database.sql(f"DELETE FROM {{writes}} WHERE {ROW}", *new)
    database.sql("UPDATE {writes} SET checkpoint_id = ? WHERE checkpoint_id = ?", new.checkpoint_id, old.checkpoint_id)
    assert_refused(database, new, WrongLocation, "checkpoint_id")


# rules F-23, T-7
def test_a_write_moved_to_another_task_is_refused(database):
    _, here = write_thread(database.saver(), "one")
    database.sql(f"UPDATE {{writes}} SET task_id = ? WHERE {ROW} AND task_id = ?", OTHER_TASK, *here, TASKS[0])
    assert_refused(database, here, WrongLocation, "task_id")


def test_a_write_moved_to_another_channel_is_refused(database):
    _, here = write_thread(database.saver(), "one")
    database.sql(f"UPDATE {{writes}} SET channel = 'other' WHERE {ROW} AND channel = 'note'", *here)
    assert_refused(database, here, AuthenticationFailed)


def test_an_answer_passed_off_as_an_interrupt_is_refused(database):
    _, here = write_thread(database.saver(), "one")
    database.sql(f"UPDATE {{writes}} SET channel = '__interrupt__' WHERE {ROW} AND channel = ?", *here, RESUME)
    assert_refused(database, here, AuthenticationFailed)


def test_a_channel_value_passed_off_as_a_write_is_refused(database):
    _, here = write_thread(database.saver(), "one")
    database.sql(f"UPDATE {{writes}} SET {{value}} = ? WHERE {ROW} AND channel = 'log'", database.sealed(here, "log"), *here)
    assert_refused(database, here, AuthenticationFailed)


def test_a_write_passed_off_as_a_channel_value_is_refused(database):
    _, here = write_thread(database.saver(), "one")
    rows = database.sql(f"SELECT {{value}} FROM {{writes}} WHERE {ROW} AND channel = 'log'", *here)
    database.store_sealed(here, "log", rows[0][0])
    assert_refused(database, here, AuthenticationFailed)


# rules F-24, T-9
@pytest.mark.parametrize("column", ["idx", "task_path"])
def test_reordered_writes_come_back_in_the_order_they_were_sealed_in(database, column):
    _, here = write_thread(database.saver(), "one")
    before = writes_of(database.saver(), here)
    if column == "idx":
        database.sql(f"UPDATE {{writes}} SET idx = 100 - idx WHERE {ROW}", *here)
    else:
        database.sql(f"UPDATE {{writes}} SET task_path = '~zz' WHERE {ROW} AND task_id = ?", *here, TASKS[0])
    assert writes_of(database.saver(), here) == before


# rules F-23, T-9
def test_a_doubled_write_is_refused(database):
    _, here = write_thread(database.saver(), "one")
    columns = "thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, channel, type, {value}"
    database.sql(
        f"INSERT INTO {{writes}} ({columns}, idx) SELECT {columns}, 77 FROM {{writes}} WHERE {ROW} AND idx = 0 AND task_id = ?",
        *here,
        TASKS[0],
    )
    assert_refused(database, here, WrongLocation, "is stored 2 times")


def test_a_write_replaced_by_its_neighbour_is_refused(database):
    _, here = write_thread(database.saver(), "one")
    saver = database.saver()
    saver.put_writes(here.config, [("log", ["first"]), ("log", ["second"])], OTHER_TASK)
    [(first,)] = database.sql("SELECT {value} FROM {writes} WHERE task_id = ? AND idx = 0", OTHER_TASK)
    database.sql("UPDATE {writes} SET {value} = ? WHERE task_id = ? AND idx = 1", first, OTHER_TASK)
    assert_refused(database, here, WrongLocation, "is stored 2 times")


@pytest.mark.parametrize("type_tag", ["null", "msgpack", "json", "pickle"])
def test_a_relabelled_write_is_refused(database, type_tag):
    _, here = write_thread(database.saver(), "one")
    database.sql(f"UPDATE {{writes}} SET type = ? WHERE {ROW} AND channel = 'note'", type_tag, *here)
    assert_refused(database, here, PlaintextRefused)


def test_a_plaintext_write_among_sealed_ones_is_refused(database):
    _, here = write_thread(database.saver(), "one")
    database.plain().put_writes(here.config, [("note", "made up")], OTHER_TASK)
    assert_refused(database, here, PlaintextRefused)


# rules F-25, T-9
@pytest.mark.parametrize("channel", ["note", "log"])
def test_a_task_whose_writes_are_not_complete_counts_as_not_run_and_is_logged(database, channel, caplog):
    _, here = write_thread(database.saver(), "one")
    database.sql(f"DELETE FROM {{writes}} WHERE {ROW} AND channel = ? AND task_id = ?", *here, channel, TASKS[0])
    with caplog.at_level(logging.WARNING, "encrypted_serde"):
        found = writes_of(database.saver(), here)
    assert [(task, channel) for task, channel, _ in found if not channel.startswith("__")] == [
        (TASKS[1], "note"),
        (TASKS[1], "log"),
    ]
    assert [record.message for record in caplog.records] == [
        f"writes of task {TASKS[0]} are not complete in the database: they count as absent"
    ]


def test_a_graph_runs_the_task_again_whose_writes_are_not_complete(database):
    config = {"configurable": {"thread_id": "one"}}
    run_until_asked(database.saver(), config)
    head = Place("one", "", database.saver().get_tuple(config).config["configurable"]["checkpoint_id"])
    answer(database.saver(), config, "yes")
    database.sql(f"DELETE FROM {{writes}} WHERE {ROW} AND idx = (SELECT max(idx) FROM {{writes}} WHERE {ROW})", *head, *head)
    final = answer(database.saver(), config, "no")
    assert final["answer"] == "yes, no"
    assert final["log"].count("answered") == 1


def test_two_runs_of_a_task_do_not_mix(database):
    # Savers keep the first row of each position: a longer second run leaves its tail behind the first run's rows.
    saver = database.saver()
    _, here = write_thread(saver, "one")
    saver.put_writes(here.config, [("log", ["first run"])], OTHER_TASK)
    saver.put_writes(here.config, [("log", ["second run"]), ("log", ["tail"])], OTHER_TASK)
    assert [value for task, _, value in writes_of(database.saver(), here) if task == OTHER_TASK] == [["first run"]]


def test_the_input_of_several_commands_at_one_checkpoint_is_kept(database):
    # LangGraph saves these under one null task, each call with everything that was saved before it.
    config = {"configurable": {"thread_id": "one"}}
    run_until_asked(database.saver(), config)
    whole_graph(database.saver()).invoke(Command(resume="yes", update={"count": 7}), config)
    final = whole_graph(database.saver()).invoke(Command(resume="no", update={"question": "changed"}), config)
    assert (final["answer"], final["count"], final["question"]) == ("yes, no", 7, "changed")
    kept = [dict(state.values) for state in whole_graph(database.saver()).get_state_history(config)]
    plain = [values for values in kept if values.get("count") == 7]
    assert {values["question"] for values in plain} == {"changed"}
