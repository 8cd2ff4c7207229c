"""``encrypted-serde anchor``: begin for a database that is there, compare, accept what was taken away."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from encrypted_serde import AnchorError, EncryptedSaver, Incomplete, Key, SqliteAnchor
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

    call.places = database, anchor
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


def test_no_is_an_answer_with_an_exit_code_of_its_own(anchored, command, monkeypatch):
    *_, newest = write_thread(anchored.saver(), "one")
    anchored.database.sql("DELETE FROM checkpoints WHERE checkpoint_id = ?", newest.checkpoint_id)
    monkeypatch.setattr("typer.confirm", lambda question: False)
    assert command("accept")[0] == 3
    with pytest.raises(Incomplete):
        anchored.saver().get_tuple(THREAD)


# rule A-5
def test_what_is_stored_while_something_is_accepted_is_not_lost(anchored, command, monkeypatch):
    first, *_ = write_thread(anchored.saver(), "one")
    anchored.database.sql("DELETE FROM checkpoints WHERE checkpoint_id = ?", first.checkpoint_id)
    stored = []
    monkeypatch.setattr("typer.confirm", lambda question: stored.extend(write_thread(anchored.saver(), "one")) or True)
    assert command("accept")[0] == 0
    assert anchored.saver().get_tuple(THREAD).config == stored[-1].config
    assert len(list(anchored.saver().list(THREAD))) == 3
    anchored.database.sql("DELETE FROM checkpoints WHERE checkpoint_id = ?", stored[0].checkpoint_id)
    with pytest.raises(Incomplete):
        list(anchored.saver().list(THREAD))


# rule A-3
def test_what_was_deleted_and_put_back_is_named(anchored, command):
    saver = anchored.saver()
    write_thread(saver, "one")
    for table in anchored.database.tables:
        anchored.database.sql(f"DROP TABLE IF EXISTS old_{table}")
        anchored.database.sql(f"CREATE TABLE old_{table} AS SELECT * FROM {table}")
    saver.delete_thread("one")
    assert command("status")[0] == 0
    for table in anchored.database.tables:
        anchored.database.sql(f"INSERT INTO {table} SELECT * FROM old_{table}")
    code, out = command("status")
    assert (code, out.count("deleted on purpose, and is there all the same")) == (3, 2)
    assert command("accept", "--yes")[1].endswith("accepted 0 findings in 0 threads\n")


# rule A-3
def test_a_deletion_that_did_not_end_is_named_and_ended(anchored, command):
    saver = anchored.saver()
    first, second = write_thread(saver, "one")
    client = saver._wiring.anchor
    view = client.thread("one")
    client.announce("one", [view.spot("", first.checkpoint_id)])  # then the process died
    code, out = command("status")
    assert (code, "names the checkpoint began and did not end" in out) == (3, True)
    anchored.database.sql("DELETE FROM checkpoints WHERE checkpoint_id = ?", first.checkpoint_id)
    assert command("accept", "--yes")[0] == 0
    assert command("status")[0] == 0
    client.announce("one")
    code, out = command("status")
    assert (code, "deletion of the whole thread began" in out) == (3, True)
    assert anchored.saver().get_tuple(second.config) is None
    assert command("accept", "--yes")[0] == 0
    anchored.database.sql("DELETE FROM checkpoints")
    assert command("status")[0] == 0


def test_a_row_that_does_not_open_concerns_itself_alone(anchored, command):
    first, _ = write_thread(anchored.saver(), "one")
    [gone, _] = write_thread(anchored.saver(), "two")
    anchored.database.edit_metadata(first, lambda document: document.update(step=7))
    code, out = command("status")
    assert (code, "1 rows do not open" in out, "0 findings" in out) == (3, True, True)
    anchored.database.sql("DELETE FROM checkpoints WHERE checkpoint_id = ?", gone.checkpoint_id)
    assert command("accept", "--yes")[0] == 0
    assert len(list(anchored.saver().list({"configurable": {"thread_id": "two"}}))) == 1
    code, out = command("init")
    assert (code, "does not open" in out) == (3, True)


def test_commands_read_mariadb(mysql_url, tmp_path, monkeypatch, capsys):
    from tests.maintenance.forms import NEW_KEY, open_saver

    monkeypatch.setenv("ENCRYPTED_SERDE_KEY", NEW_KEY.to_text())
    file = str(tmp_path / "anchor.db")

    def call(name, *options):
        with pytest.raises(SystemExit) as caught:
            run(["anchor", name, mysql_url, "--anchor", file, *options])
        return caught.value.code, capsys.readouterr().out

    with open_saver(mysql_url) as plain:
        write_thread(EncryptedSaver(plain, NEW_KEY), "one", steps=3)
    code, out = call("init")
    assert (code, "24 checkpoints and writes of 1 threads" in out) == (0, True)
    assert call("status")[0] == 0
    with open_saver(mysql_url) as plain:
        saver = EncryptedSaver(plain, NEW_KEY, anchor=SqliteAnchor(file))
        assert len(list(saver.list(THREAD))) == 3
        plain.delete_thread("one")
        with pytest.raises(Incomplete):
            saver.get_tuple(THREAD)
    assert call("status")[0] == 3
    assert call("accept", "--yes")[0] == 0
    assert call("status")[0] == 0


# --- an anchor that cannot be used: nothing is read, nothing is lost


def _no_anchor(anchor, path, key):
    path.unlink()
    return SqliteAnchor(path), key


def _another_file(anchor, path, key):
    path.write_bytes(b"")
    return SqliteAnchor(path), key


def _a_missing_key(anchor, path, key):
    return SqliteAnchor(path, keys=Key.generate()), key


def _a_read_only_file(anchor, path, key):
    class ReadOnly(SqliteAnchor):
        def _connected(self):
            connection = super()._connected()
            connection.execute("PRAGMA query_only=ON")
            return connection

    return ReadOnly(path), key


# rules
@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_no_anchor, "there is no anchor at"),
        (_another_file, "this file is no anchor"),
        (_a_missing_key, "keyring holds none"),
        (_a_read_only_file, "readonly"),
    ],
)
def test_an_anchor_that_cannot_be_used_is_told_before_anything_is_read_or_stored(tmp_path, spoil, said):
    database, path = SqliteDatabase(tmp_path / "app.db"), tmp_path / "anchor.db"
    anchor = SqliteAnchor(path)
    anchor.setup()
    places = write_thread(database.saver(anchor=anchor), "one")
    anchor.close()
    spoilt, key = spoil(anchor, path, database.key)
    before = database.sql("SELECT * FROM checkpoints"), database.sql("SELECT * FROM writes")
    for work in (
        lambda saver: saver.get_tuple(THREAD),
        lambda saver: list(saver.list(THREAD)),
        lambda saver: write_thread(saver, "one"),
        lambda saver: saver.put_writes(places[0].config, [("note", 1)], "task"),
        lambda saver: saver.delete_thread("one"),
    ):
        with pytest.raises(AnchorError, match=said):
            work(database.saver(anchor=spoilt, keys=key))
    assert (database.sql("SELECT * FROM checkpoints"), database.sql("SELECT * FROM writes")) == before
    database.connection.close()
