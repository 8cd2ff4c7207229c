"""The four methods, whatever is behind them: in threads, in processes, across forks, and when it is not there."""

from __future__ import annotations

import gc
import os
import re
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from encrypted_serde import AnchorError, ConfigurationError
from encrypted_serde.anchor import Kind, PostgresAnchor, SqliteAnchor
from encrypted_serde.anchor import sqlite as sqlite_anchor
from encrypted_serde.anchor.entries import id_bytes, id_of_now, id_text, pack_slots, unpack_slots
from tests.anchor.entries import IDS, NAMESPACE, OTHER, THREAD, about, thread, wrote


def _plain(entries):
    return sorted(entry._replace(number=0) for entry in entries)


def test_no_statement_for_sqlite_numbers_its_parameters():  # by position that warns from Python 3.12 on, and fails from 3.14 on
    statements = [*sqlite_anchor._READING.values(), sqlite_anchor._INSERT, sqlite_anchor._DELETIONS]
    assert [statement for statement in statements if re.search(r"\?[0-9]", statement)] == []


def test_entries_come_back_as_they_were(anchor):
    entries = [about(0), about(1, known=7), wrote(1, b"batch", 0, 1, -3), wrote(1, b"old", 2, kind=Kind.REPLACED), thread()]
    anchor.append(entries[:2])
    anchor.append(entries[2:])
    assert _plain(anchor.entries(THREAD)) == _plain(entries)
    assert _plain(anchor.entries(THREAD, NAMESPACE)) == _plain(entries)
    assert _plain(anchor.entries(THREAD, NAMESPACE, id_bytes(IDS[1]))) == _plain(entries[1:])
    assert anchor.entries(OTHER) == []
    anchor.append([about(1)._replace(namespace=b"another ")])
    assert _plain(anchor.entries(THREAD, NAMESPACE, id_bytes(IDS[1]))) == _plain(entries[1:])


def test_all_entries_of_a_call_are_added_or_none(shared_anchor):
    with pytest.raises(AnchorError) as caught:
        shared_anchor.append([about(0), about(1)._replace(task=None)])
    assert caught.value.retryable is False
    assert shared_anchor.entries(THREAD) == []
    shared_anchor.append([about(0), about(1)])
    assert len(shared_anchor.entries(THREAD)) == 2


def test_numbers_ascend_in_the_order_of_appending(anchor):
    for number in range(4):
        anchor.append([about(number), wrote(number, b"batch", 0)])
    numbers = [entry.number for entry in anchor.entries(THREAD)]
    assert numbers == sorted(set(numbers))
    assert numbers[0] > 0


def test_newest_gives_the_highest_stored_checkpoint_and_the_marks(anchor):
    anchor.append([about(3), about(1), wrote(3, b"batch", 0), wrote(1, b"early", 0), thread()])
    anchor.append([wrote(5, b"of a checkpoint that is not stored yet", 0)])
    assert _plain(anchor.newest(THREAD, NAMESPACE)) == _plain([about(3), wrote(3, b"batch", 0), thread()])
    assert _plain(anchor.newest(THREAD, b"elsewhere")) == [thread()]
    assert anchor.newest(OTHER, NAMESPACE) == []


def test_threads_are_named_once(anchor):
    anchor.append([about(0), about(1), about(0, thread=OTHER), thread()])
    assert sorted(anchor.threads()) == sorted([THREAD, OTHER])


def test_nothing_is_appended(anchor):
    assert anchor.append([]) == 0
    assert anchor.threads() == []


def test_threads_append_and_read_at_once(anchor):
    def work(worker):
        for number in range(25):
            anchor.append([wrote(worker, b"%d" % number, number)])
            anchor.newest(THREAD, NAMESPACE)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    found = anchor.entries(THREAD)
    assert len(found) == 100
    assert len({entry.number for entry in found}) == 100


_PROCESS = """
import sys
from encrypted_serde.anchor import PostgresAnchor, SqliteAnchor
from tests.anchor.entries import wrote
kind, place, worker = sys.argv[1:]
anchor = {"SqliteAnchor": SqliteAnchor, "PostgresAnchor": PostgresAnchor}[kind](place)
for number in range(40):
    anchor.append([wrote(int(worker), b"%d" % number, number), wrote(int(worker), b"again", number)])
"""


def _place(anchor):
    if isinstance(anchor, SqliteAnchor):
        return str(anchor.path)
    with psycopg.connect(**anchor._options) as connection:
        return make_conninfo(connection.info.dsn, dbname=connection.info.dbname)


def test_processes_append_at_once(shared_anchor):
    command = [sys.executable, "-c", _PROCESS, type(shared_anchor).__name__, _place(shared_anchor)]
    workers = [subprocess.Popen([*command, str(worker)]) for worker in range(3)]
    assert [worker.wait() for worker in workers] == [0, 0, 0]
    assert len(shared_anchor.entries(THREAD)) == 240


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_goes_on_with_a_connection_of_its_own(shared_anchor):
    shared_anchor.append([about(0)])
    held = threading.Event()
    let_go = threading.Event()

    def hold():
        with shared_anchor._lock:
            held.set()
            let_go.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    held_by_parent = id(shared_anchor._connection)  # no reference, which would keep it open in the child
    child = os.fork()  # while another thread holds the lock, which the child inherits
    if child == 0:
        try:
            shared_anchor.append([about(1)])
            is_own = id(shared_anchor._connection) != held_by_parent
            os._exit(0 if is_own and len(shared_anchor.entries(THREAD)) == 2 else 1)
        finally:
            os._exit(2)
    let_go.set()
    holder.join()
    assert os.waitpid(child, 0)[1] == 0
    shared_anchor.append([about(2)])
    assert len(shared_anchor.entries(THREAD)) == 3
    assert id(shared_anchor._connection) == held_by_parent  # the child did not end it


def test_a_closed_anchor_opens_again(shared_anchor):
    shared_anchor.append([about(0)])
    shared_anchor.close()
    shared_anchor.close()
    assert len(shared_anchor.entries(THREAD)) == 1


@pytest.mark.parametrize("slots", [[], [0], [0, 1, 2], [-4, -1, 0, 1, 5], [-3], range(1000)])
def test_slots_are_packed_as_runs(slots):
    assert unpack_slots(pack_slots(slots)) == [*slots]
    assert len(pack_slots(range(1000))) == 8


def test_of_slots_a_tail_that_is_no_run_is_left_out():
    assert unpack_slots(pack_slots([1, 2, 7]) + b"tail") == [1, 2, 7]
    assert pack_slots([7, 2, 1, 2]) == pack_slots([1, 2, 7])


def test_an_id_of_now_is_the_lowest_that_langgraph_gives_now(monkeypatch):
    from langgraph.checkpoint.base import id as ids

    for now in (1_700_000_000_123_456_700, 1_700_000_000_123_456_800, 1_700_000_000_987_654_300):
        monkeypatch.setattr(ids, "_last_v6_timestamp", None)
        monkeypatch.setattr("time.time_ns", lambda now=now: now)
        made = id_bytes(str(ids.uuid6(clock_seq=0)))
        monkeypatch.undo()
        monkeypatch.setattr("time.time_ns", lambda now=now: now)
        lowest = id_of_now()
        monkeypatch.undo()
        assert (lowest[:9], len(lowest)) == (made[:9], len(made))
        assert lowest <= made


@pytest.mark.parametrize("checkpoint_id", [*IDS, "1", "", IDS[0].upper(), "abcdefghijklmnop", "\udc80"])
def test_ids_come_back_and_uuids_keep_their_order(checkpoint_id):
    assert id_text(id_bytes(checkpoint_id)) == checkpoint_id
    assert sorted(IDS, key=id_bytes) == IDS


# rule A-3
def test_appending_tells_the_newest_entry_about_deletions(anchor):
    assert anchor.append([about(0)]) == 0
    anchor.append([about(0, Kind.GOING), about(1)])
    assert anchor.append([about(0), about(1)]) == 2
    assert anchor.append([about(1)]) == 0  # another checkpoint
    anchor.append([thread()])
    assert anchor.append([about(1), about(0)]) == 7
    assert anchor.append([about(0, thread=OTHER)]) == 0


# rule A-3
@pytest.mark.parametrize("kind", [Kind.GOING, Kind.GONE, Kind.KEPT])
def test_an_entry_about_a_deletion_is_told_to_its_checkpoint_and_to_its_thread(anchor, kind):
    anchor.append([about(0, kind), about(1), wrote(1, b"a", 0), wrote(1, b"a", 0, kind=Kind.REPLACED)])
    elsewhere = about(0)._replace(namespace=b"another ")
    assert [anchor.append([entry]) for entry in (about(0), elsewhere, about(1))] == [1, 0, 0]
    anchor.append([thread(kind)])  # which may be told of itself or not
    anchor.append([about(1, kind)])
    assert [anchor.append([entry]) for entry in (about(0), elsewhere, about(1))] == [8, 8, 9]
    assert anchor.append([elsewhere, about(1)]) == 8  # the first entry's


# --- SQLite


# rule A-6
def test_an_anchor_that_is_missing_is_an_error_and_is_not_made(tmp_path):
    anchor = SqliteAnchor(tmp_path / "anchor.db")
    for work in (anchor.check_writable, lambda: anchor.append([about(0)]), lambda: anchor.newest(THREAD, NAMESPACE)):
        with pytest.raises(AnchorError, match=r"no anchor at anchor\.db.*anchor init") as caught:
            work()
        assert caught.value.retryable is False
    assert not (tmp_path / "anchor.db").exists()
    anchor.setup()
    anchor.append([about(0)])
    anchor.setup()
    assert len(anchor.entries(THREAD)) == 1
    anchor.close()


# rule A-6
@pytest.mark.parametrize("content", [b"", b"a database"])
def test_a_file_that_is_no_anchor_is_refused(tmp_path, content):
    path = tmp_path / "anchor.db"
    path.touch()
    if content:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE something (x)")
    with pytest.raises(AnchorError, match="this file is no anchor") as caught:
        SqliteAnchor(path).newest(THREAD, NAMESPACE)
    assert caught.value.retryable is False


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / "anchor.db").write_bytes(b"not a database" * 100)
    anchor = SqliteAnchor(tmp_path / "anchor.db")
    for work in (anchor.setup, lambda: anchor.newest(THREAD, NAMESPACE)):
        with pytest.raises(AnchorError, match=r"anchor\.db") as caught:
            work()
        assert caught.value.retryable is False


def test_a_directory_that_is_missing_is_refused(tmp_path):
    with pytest.raises(AnchorError):
        SqliteAnchor(tmp_path / "missing" / "anchor.db").setup()


def test_a_file_that_is_read_only_can_be_read_and_is_refused_for_writing(tmp_path):
    made = SqliteAnchor(tmp_path / "anchor.db")
    made.setup()
    made.append([about(0)])
    anchor = SqliteAnchor(tmp_path / "anchor.db")
    assert len(anchor.entries(THREAD)) == 1
    anchor._connection.execute("PRAGMA query_only=ON")  # what a file mode does to others than root
    with pytest.raises(AnchorError, match="readonly") as caught:
        anchor.append([about(1)])
    assert caught.value.retryable is False
    assert len(anchor.entries(THREAD)) == 1
    anchor.close()
    made.close()


def test_a_file_that_cannot_be_written_is_an_anchor_error(tmp_path, monkeypatch):
    monkeypatch.setattr("encrypted_serde.anchor.sqlite._BUSY_SECONDS", 0.01)
    anchor = SqliteAnchor(tmp_path / "anchor.db")
    anchor.setup()
    other = sqlite3.connect(tmp_path / "anchor.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    for entries in ([about(0)], [about(0), about(1)]):
        with pytest.raises(AnchorError, match="locked") as caught:
            anchor.append(entries)
        assert caught.value.retryable
    other.execute("ROLLBACK")
    anchor.append([about(0)])
    other.close()
    anchor.close()


def test_an_anchor_that_is_dropped_closes_its_connection(shared_anchor):
    other = type(shared_anchor)(_place(shared_anchor))
    other.append([about(0)])
    connection = other._connection
    del other
    gc.collect()
    with pytest.raises((sqlite3.ProgrammingError, psycopg.OperationalError), match="closed"):
        connection.execute("SELECT 1")


def test_the_newest_is_found_by_the_index_alone(tmp_path):
    from encrypted_serde.anchor.sqlite import _READING

    anchor = SqliteAnchor(tmp_path / "anchor.db")
    anchor.setup()
    with anchor._cursor() as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {_READING['newest']}", {"p1": THREAD, "p2": NAMESPACE}).fetchall()
    steps = [step for *_, step in plan if "anchor_entries" in step]
    assert len(steps) == 3
    assert [step for step in steps if "USING INDEX anchor_places" not in step and "COVERING" not in step] == []
    anchor.close()


def test_the_file_is_in_wal_mode(tmp_path):
    anchor = SqliteAnchor(tmp_path / "anchor.db")
    anchor.setup()
    with anchor._cursor() as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    anchor.close()


# --- Postgres


@pytest.fixture
def writer(postgres_database):
    """Conninfo of a role that can insert into an anchor's table and read it, and nothing else."""
    with psycopg.connect(postgres_database, autocommit=True) as owner:
        name = f"anchor_writer_{os.urandom(4).hex()}"
        owner.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'secret'")
        owner.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        owner.execute(f"GRANT USAGE ON SCHEMA public TO {name}")
        anchor = PostgresAnchor(postgres_database)
        anchor.setup(grant_to=name)
        anchor.close()
        yield make_conninfo(postgres_database, user=name, password="secret")
        owner.execute(f"DROP OWNED BY {name}")
        owner.execute(f"DROP ROLE {name}")


def test_a_role_that_can_insert_and_read_suffices(writer):
    anchor = PostgresAnchor(writer)
    anchor.append([about(0), wrote(0, b"batch", 0)])
    anchor.append([thread()])
    assert len(anchor.newest(THREAD, NAMESPACE)) == 3
    assert anchor.threads() == [THREAD]
    anchor.close()


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM anchor_entries",
        "UPDATE anchor_entries SET known = 1",
        "TRUNCATE anchor_entries",
        "DROP TABLE anchor_entries",
        "ALTER TABLE anchor_entries ADD COLUMN x int",
        "ALTER SEQUENCE anchor_entries_number_seq RESTART",
        "INSERT INTO anchor_entries OVERRIDING SYSTEM VALUE SELECT * FROM anchor_entries",
    ],
)
def test_that_role_can_take_nothing_back(writer, statement):
    anchor = PostgresAnchor(writer)
    anchor.append([about(0)])
    anchor.close()
    with psycopg.connect(writer, autocommit=True) as connection:
        with pytest.raises(psycopg.Error):
            connection.execute(statement)
        assert connection.execute("SELECT count(*) FROM anchor_entries").fetchone() == (1,)


# rule A-6
def test_a_table_that_is_missing_is_an_error_and_is_not_made(postgres_database):
    anchor = PostgresAnchor(postgres_database)
    with pytest.raises(AnchorError, match=r"no anchor anchor_entries.*anchor init") as caught:
        anchor.append([about(0)])
    assert caught.value.retryable is False
    with psycopg.connect(postgres_database) as connection:
        assert connection.execute("SELECT to_regclass('anchor_entries')").fetchone() == (None,)


def test_a_role_that_can_only_read_is_told_before_anything_is_stored(postgres_database):
    with psycopg.connect(postgres_database, autocommit=True) as owner:
        name = f"anchor_reader_{os.urandom(4).hex()}"
        owner.execute(f"CREATE ROLE {name} LOGIN")
        PostgresAnchor(postgres_database).setup()
        owner.execute(f"GRANT SELECT ON anchor_entries TO {name}")
        owner.execute(f"GRANT USAGE ON SCHEMA public TO {name}")
        anchor = PostgresAnchor(make_conninfo(postgres_database, user=name))
        try:
            assert anchor.entries(THREAD) == []
            for work in (anchor.check_writable, lambda: anchor.append([about(0)])):
                with pytest.raises(AnchorError, match=r"only read|permission denied") as caught:
                    work()
                assert caught.value.retryable is False
        finally:
            anchor.close()
            owner.execute(f"DROP OWNED BY {name}")
            owner.execute(f"DROP ROLE {name}")


def test_many_that_make_the_table_at_once(postgres_database):
    anchors = [PostgresAnchor(postgres_database) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda anchor: anchor.setup(), anchors))
    anchors[0].append([about(0)])
    assert len(anchors[5].entries(THREAD)) == 1
    for anchor in anchors:
        anchor.close()


def test_calls_that_wait_at_the_same_time_share_a_round_trip(postgres_database, monkeypatch):
    anchor = PostgresAnchor(postgres_database)
    anchor.setup()
    anchor.append([thread(), about(5)])
    batches, insert = [], anchor._insert

    def noted(waiting):
        batches.append(len(waiting))
        insert(waiting)

    monkeypatch.setattr(anchor, "_insert", noted)
    with ThreadPoolExecutor(4) as pool:
        with anchor._lock:  # as another call holds it
            calls = [pool.submit(anchor.append, [about(number), wrote(number, b"a", 0)]) for number in range(4)]
            while len(anchor._queue) < 4:
                pass
        assert [call.result() for call in calls] == [1, 1, 1, 1]
    assert batches == [4]
    assert len(anchor.entries(THREAD)) == 10
    monkeypatch.setattr(anchor, "_insert", lambda waiting: anchor._locked(lambda connection: connection.execute("nonsense")))
    with ThreadPoolExecutor(2) as pool:
        with anchor._lock:
            calls = [pool.submit(anchor.append, [about(number)]) for number in range(2)]
            while len(anchor._queue) < 2:
                pass
        for call in calls:
            with pytest.raises(AnchorError, match="syntax error") as caught:
                call.result()
            assert caught.value.retryable is False
    anchor.close()


class _Interrupted(BaseException):
    pass


def test_of_calls_that_share_a_round_trip_one_is_interrupted_and_the_others_may_try_again(postgres_database, monkeypatch):
    anchor = PostgresAnchor(postgres_database)
    anchor.setup()

    def interrupted(waiting):
        raise _Interrupted

    monkeypatch.setattr(anchor, "_insert", interrupted)
    with ThreadPoolExecutor(2) as pool:
        with anchor._lock:
            calls = [pool.submit(anchor.append, [about(number)]) for number in range(2)]
            while len(anchor._queue) < 2:
                pass
        failed = sorted((call.exception() for call in calls), key=lambda error: type(error).__name__)
    assert [type(error) for error in failed] == [AnchorError, _Interrupted]
    assert failed[0].retryable
    assert str(failed[0]) == "the anchor anchor_entries: another call was interrupted"
    anchor.close()


def test_a_statement_that_fails_on_a_connection_that_holds_is_not_tried_again(postgres_database):
    anchor, calls = PostgresAnchor(postgres_database), []
    anchor.setup()
    anchor.append([about(0)])

    def fails(connection):
        calls.append(connection)
        raise psycopg.OperationalError("cancelled")

    with pytest.raises(AnchorError) as caught:
        anchor._run(fails)
    assert caught.value.retryable
    assert len(calls) == 1
    anchor.close()


def test_tables_of_their_own(postgres_database):
    one, other = PostgresAnchor(postgres_database), PostgresAnchor(postgres_database, table='an "odd" name')
    one.setup()
    other.setup()
    other.append([about(0)])
    assert (one.threads(), other.threads()) == ([], [THREAD])
    one.close()
    other.close()


def test_a_connection_that_was_cut_is_made_again(postgres_database):
    anchor = PostgresAnchor(postgres_database)
    anchor.setup()
    anchor.append([about(0)])
    for work in (lambda: anchor.append([about(1)]), lambda: anchor.newest(THREAD, NAMESPACE)):
        with psycopg.connect(postgres_database, autocommit=True) as connection:
            connection.execute("SELECT pg_terminate_backend(%s)", [anchor._connection.info.backend_pid])
        work()
    assert len(anchor.entries(THREAD)) == 2
    anchor.close()


def test_a_server_that_is_not_there_is_an_anchor_error_without_secrets(tmp_path):
    anchor = PostgresAnchor(f"host={tmp_path} dbname=x user=y password=hunter2")
    with pytest.raises(AnchorError, match=r"OperationalError$") as caught:
        anchor.newest(THREAD, NAMESPACE)
    assert caught.value.retryable
    assert "hunter2" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_an_anchor_may_have_keys_of_its_own(key, tmp_path):
    for anchor in (PostgresAnchor("dbname=x", keys=key), SqliteAnchor(tmp_path / "anchor.db", keys=key)):
        assert anchor.keys is key
    assert PostgresAnchor("dbname=x").keys is None


def test_what_is_no_conninfo_is_refused_at_once(monkeypatch):
    unraisable = []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)
    with pytest.raises(ConfigurationError) as caught:
        PostgresAnchor("password=hunter2 nonsense")
    assert "hunter2" not in str(caught.value)
    del caught
    gc.collect()
    assert unraisable == []
