"""``encrypted-serde anchor``: begin for a database that is there, compare, accept what was taken away."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from encrypted_serde import Incomplete
from encrypted_serde.cli.app import run
from tests.saver.databases import SqliteDatabase
from tests.saver.threads import TASKS, write_thread

THREAD = {"configurable": {"thread_id": "one", "checkpoint_ns": ""}}


def _url(conninfo):
    return f"postgresql:///?{urlencode(conninfo_to_dict(conninfo))}"


@pytest.fixture
def command(anchored, monkeypatch, capsys):
    """Runs ``encrypted-serde anchor ...`` on the database and its anchor; gives exit code and output."""
    monkeypatch.setenv("ENCRYPTED_SERDE_KEY", anchored.database.key.to_text())
    if isinstance(anchored.database, SqliteDatabase):
        [(_, _, database)] = anchored.database.connection.execute("PRAGMA database_list")
        anchor = str(anchored.anchor.path)
    else:
        database = _url(anchored.database.connection.info.dsn)
        anchor = _url(" ".join(f"{name}='{value}'" for name, value in anchored.anchor._options.items()))

    def call(name, *options):
        with pytest.raises(SystemExit) as caught:
            run(["anchor", name, database, "--anchor", anchor, *options])
        return caught.value.code, capsys.readouterr().out

    return call


def test_a_database_from_before_the_anchor_is_entered(anchored, command):
    *_, newest = write_thread(anchored.database.saver(), "one", steps=3)
    anchored.saver().get_tuple({"configurable": {"thread_id": "another"}})  # the first use draws the secret
    said = "1 threads, {} checkpoints required, 0 findings, {} checkpoints and writes not entered yet, 0 rows do not open\n"
    assert command("status") == (0, said.format(0, 24))
    code, out = command("init")
    assert (code, out) == (0, "entered 24 checkpoints and writes of 1 threads\n")
    assert command("init")[1] == "entered 0 checkpoints and writes of 1 threads\n"
    assert command("status") == (0, said.format(3, 0))
    saver = anchored.saver()
    assert len(list(saver.list(THREAD))) == 3
    assert saver.admitted_reads == {}
    anchored.database.sql("DELETE FROM checkpoints WHERE checkpoint_id = ?", newest.checkpoint_id)
    with pytest.raises(Incomplete):
        anchored.saver().get_tuple(THREAD)


def test_what_an_operator_deleted_is_shown_and_accepted(anchored, command):
    first, second, *_ = write_thread(anchored.saver(), "one", steps=4)
    write_thread(anchored.saver(), "two")
    anchored.database.sql("DELETE FROM checkpoints WHERE checkpoint_id = ?", first.checkpoint_id)
    anchored.database.sql("DELETE FROM {writes} WHERE checkpoint_id = ? AND task_id = ?", second.checkpoint_id, TASKS[0])
    anchored.database.sql("DELETE FROM checkpoints WHERE thread_id = 'two'")
    code, out = command("status", "--json")
    report = json.loads(out)
    assert code == 3
    assert len(report["findings"]) == 4
    named = {(each["thread"], each["checkpoint_id"], each["what"]) for each in report["findings"] if each["thread"] == "one"}
    assert named == {
        ("one", first.checkpoint_id, "the checkpoint is missing"),
        ("one", second.checkpoint_id, "3 of its writes are missing"),
    }
    assert command("accept", "--yes", "--thread", "one")[0] == 0
    assert len(list(anchored.saver().list(THREAD))) == 3
    code, out = command("status")
    assert code == 3
    assert "two" not in out  # no row is left that would give the name
    code, out = command("accept", "--yes")
    assert (code, "2 findings" in out) == (0, True)
    assert command("status")[0] == 0
    assert anchored.saver().get_tuple({"configurable": {"thread_id": "two"}}) is None
    anchored.database.sql("DELETE FROM checkpoints WHERE checkpoint_id = ?", second.checkpoint_id)
    assert command("status")[0] == 3


def test_a_restored_backup_is_accepted_as_it_stands(anchored, command):
    saver = anchored.saver()
    *_, newest = write_thread(saver, "one")
    for table in anchored.database.tables:
        anchored.database.sql(f"DROP TABLE IF EXISTS old_{table}")
        anchored.database.sql(f"CREATE TABLE old_{table} AS SELECT * FROM {table}")
    saver.put_writes(newest.config, [("__interrupt__", "newer")], TASKS[1])
    for table in anchored.database.tables:
        anchored.database.sql(f"DELETE FROM {table}")
        anchored.database.sql(f"INSERT INTO {table} SELECT * FROM old_{table}")
    code, out = command("status")
    assert code == 3
    assert "older ones" in out
    assert command("accept", "--yes")[0] == 0
    assert command("status")[0] == 0
    again = anchored.saver()
    assert again.get_tuple(THREAD).config == newest.config
    again.put_writes(newest.config, [("__interrupt__", "newest")], TASKS[1])
    assert again.get_tuple(THREAD)


def test_nothing_is_accepted_where_nothing_is_missing(anchored, command):
    write_thread(anchored.saver(), "one")
    before = [anchored.anchor.entries(token) for token in anchored.anchor.threads()]
    assert command("accept", "--yes")[0] == 0
    assert [anchored.anchor.entries(token) for token in anchored.anchor.threads()] == before


def test_an_anchor_that_is_not_there_is_not_made_by_looking(tmp_path, monkeypatch, key, capsys):
    monkeypatch.setenv("ENCRYPTED_SERDE_KEY", key.to_text())
    SqliteDatabase(tmp_path / "app.db").connection.close()
    with pytest.raises(SystemExit) as caught:
        run(["anchor", "status", str(tmp_path / "app.db"), "--anchor", str(tmp_path / "anchor.db")])
    assert caught.value.code == 1
    assert "anchor init" in capsys.readouterr().err
    assert not (tmp_path / "anchor.db").exists()


def test_a_role_is_let_in(postgres_database, tmp_path, monkeypatch, key, capsys):
    from tests.saver.databases import SqliteDatabase

    database = SqliteDatabase(tmp_path / "app.db")
    monkeypatch.setenv("ENCRYPTED_SERDE_KEY", database.key.to_text())
    with psycopg.connect(postgres_database, autocommit=True) as owner:
        owner.execute("CREATE ROLE anchor_app LOGIN")
        try:
            with pytest.raises(SystemExit) as caught:
                run(["anchor", "init", str(tmp_path / "app.db"), "--anchor", _url(postgres_database), "--grant", "anchor_app"])
            assert caught.value.code == 0, capsys.readouterr().err
            granted = owner.execute(
                "SELECT privilege_type, count(*) FROM information_schema.column_privileges "
                "WHERE grantee = 'anchor_app' GROUP BY 1 ORDER BY 1"
            ).fetchall()
            assert granted == [("INSERT", 8), ("SELECT", 9)]
        finally:
            owner.execute("DROP OWNED BY anchor_app")
            owner.execute("DROP ROLE anchor_app")
    database.connection.close()
