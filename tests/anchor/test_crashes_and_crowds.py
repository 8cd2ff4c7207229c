"""No false alarm: several processes at one thread, and processes that die between a row and its entry."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from langgraph.checkpoint.serde.types import INTERRUPT

from encrypted_serde import EncryptedSerdeError, Incomplete
from tests.anchor.worker import SHARED, look
from tests.processes import Worker
from tests.saver.databases import SqliteDatabase
from tests.saver.graphs import answer, run_until_asked
from tests.saver.threads import TASKS, make_checkpoint, write_thread

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


def _arguments(anchored, tmp_path):
    """Gives the arguments of a worker process for a database and its anchor."""
    kind = "Sqlite" if isinstance(anchored.database, SqliteDatabase) else "Postgres"
    if kind == "Sqlite":
        [(_, _, path)] = anchored.database.connection.execute("PRAGMA database_list")
        return [kind, path, str(anchored.anchor.path)]
    options = anchored.anchor._options
    return [kind, anchored.database.connection.info.dsn, " ".join(f"{name}='{value}'" for name, value in options.items())]


def _start(anchored, tmp_path, command, *more):
    key = anchored.database.key.to_text()
    return Worker("tests.anchor.worker", command, *_arguments(anchored, tmp_path), *more, ENCRYPTED_SERDE_KEY=key)


def _finished(process):
    code, out, err = process.finish()
    assert code == 0, out + err
    return out


def test_several_processes_run_one_thread_at_once(anchored, tmp_path):
    processes = [_start(anchored, tmp_path, "run") for _ in range(3)]
    for process in processes:
        _finished(process)
    saver = anchored.saver()
    look(saver, SHARED)
    assert saver.admitted_reads == {}


def test_processes_run_while_another_deletes_or_prunes_their_threads(anchored, tmp_path):
    # Of two runs of one thread on Postgres one goes on from a checkpoint that is pruned, which no saver takes well.
    runs = 2 if isinstance(anchored.database, SqliteDatabase) else 1
    processes = [_start(anchored, tmp_path, command, "25") for command in ("crowd",) * runs + ("delete",)]
    for process in processes:
        _finished(process)
    look(anchored.saver(), SHARED)


@needs_fork
@pytest.mark.parametrize("times", [24, pytest.param(50, marks=pytest.mark.soak)])  # 24: before and after each of 12 entries
def test_processes_that_die_between_row_and_entry_lock_nobody_out(anchored, tmp_path, times):
    out = _finished(_start(anchored, tmp_path, "die", str(times)))
    late = [int(line.split()[1]) for line in out.splitlines() if line.startswith("unanchored")]
    assert len(late) == times
    assert sum(late) >= times // 5  # rows without an entry were there, were read, and were entered


def test_threads_that_run_one_thread_at_once(anchored):
    saver = anchored.saver()

    def run(number):
        for _ in range(3):
            run_until_asked(saver, SHARED)
            answer(saver, SHARED, str(number))

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(run, range(3)))
    look(anchored.saver(), SHARED)


def test_a_row_without_an_entry_is_accepted_counted_and_entered(anchored):
    places = write_thread(anchored.saver(), "one")
    plain = anchored.database.saver()
    stored = plain.put(places[-1].config, make_checkpoint(9, {}, {}), {"source": "loop", "step": 9}, {})
    plain.put_writes(stored, [("note", "late")], TASKS[0])
    plain.put_writes(stored, [(INTERRUPT, "late")], TASKS[0])
    saver = anchored.saver()
    thread = {"configurable": {"thread_id": "one"}}
    assert [write[2] for write in saver.get_tuple(thread).pending_writes] == ["late", "late"]
    assert saver.admitted_reads["unanchored"] == 3
    assert saver.get_tuple(thread)
    assert saver.admitted_reads["unanchored"] == 3
    anchored.database.sql("DELETE FROM {writes} WHERE checkpoint_id = ?", stored["configurable"]["checkpoint_id"])
    with pytest.raises(Incomplete):
        anchored.saver().get_tuple(thread)


def test_a_row_that_does_not_open_is_never_entered(anchored):
    [place] = write_thread(anchored.saver(), "one", steps=1)
    anchored.database.sql(
        "INSERT INTO checkpoints SELECT thread_id, checkpoint_ns, 'ffffffff-ffff-6fff-bfff-ffffffffffff', "
        "parent_checkpoint_id, type, checkpoint, metadata FROM checkpoints"
    )
    thread = {"configurable": {"thread_id": "one"}}
    for _ in range(2):
        with pytest.raises(EncryptedSerdeError):
            anchored.saver().get_tuple(thread)
    anchored.database.sql("DELETE FROM checkpoints WHERE checkpoint_id >= 'f'")
    assert anchored.saver().get_tuple(thread).config == place.config


def test_a_thread_that_is_deleted_while_it_runs_goes_on(anchored):
    running = anchored.saver()
    run_until_asked(running, SHARED)
    anchored.saver().delete_thread("shared")
    places = write_thread(running, "shared")  # as a run that has not heard of it
    assert running.get_tuple(SHARED)
    look(anchored.saver(), SHARED)
    anchored.saver().delete_thread("shared")
    assert anchored.saver().get_tuple(places[-1].config) is None


def test_a_thread_from_before_the_anchor_goes_on(anchored):
    plain = anchored.database.saver()
    run_until_asked(plain, SHARED)
    answer(anchored.saver(), SHARED, "yes")
    saver = anchored.saver()
    look(saver, SHARED)
    assert saver.admitted_reads["unanchored"] > 0
    look(again := anchored.saver(), SHARED)
    assert again.admitted_reads == {}
