"""Rotating a key as docs/operations.md says, to its end: the anchor needs nothing, and detects what it did before."""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack, closing

import pytest
from langgraph.checkpoint.serde.types import INTERRUPT, RESUME
from langgraph.checkpoint.sqlite import SqliteSaver

from encrypted_serde import AnchorError, EncryptedSaver, Incomplete, Key, Keyring, SqliteAnchor
from encrypted_serde.cli.app import run
from tests.saver.threads import TASKS, write_thread

THREAD = {"configurable": {"thread_id": "one", "checkpoint_ns": ""}}


@pytest.fixture
def rotation(tmp_path, monkeypatch, capsys):
    """A database whose key was rotated, as far as the removal of the old one; opens savers and runs commands."""
    database, file = tmp_path / "app.db", tmp_path / "anchor.db"
    old, new = Key.generate(), Key.generate()
    opened = ExitStack()

    class Rotation:
        newest = None

        def saver(self, keys):
            connection = opened.enter_context(closing(sqlite3.connect(database, check_same_thread=False)))
            return EncryptedSaver(SqliteSaver(connection), keys, anchor=SqliteAnchor(file))

        def sql(self, statement, *parameters):
            with closing(sqlite3.connect(database, isolation_level=None)) as connection:
                connection.execute(statement, parameters)

        def command(self, *arguments, keys=(new, old)):
            monkeypatch.setenv("ENCRYPTED_SERDE_KEY", keys[0].to_text())
            monkeypatch.setenv("ENCRYPTED_SERDE_DECRYPT_KEYS", ",".join(each.to_text() for each in keys[1:]))
            with pytest.raises(SystemExit) as caught:
                run([*arguments])
            return caught.value.code, capsys.readouterr()

    found = Rotation()
    SqliteAnchor(file).setup()
    before = found.saver(Keyring(primary=old))
    *_, found.newest = write_thread(before, "one", steps=3)
    for keys in (Keyring(primary=old, decrypt_only=[new]), Keyring(primary=new, decrypt_only=[old])):  # readers, then writers
        found.saver(keys).put_writes(found.newest.config, [(INTERRUPT, "newer")], TASKS[1])
    found.database, found.file, found.old, found.new = str(database), str(file), old, new
    with opened:
        yield found


# rule A-2
def test_a_rotation_to_its_end_and_an_attack_after_it(rotation):
    database, anchor = rotation.database, ("--anchor", rotation.file)
    assert rotation.command("reencrypt", database)[0] == 0
    assert rotation.command("scan", database, "--fail-on", "old-key,plaintext,unbound")[0] == 0
    for keys in ((rotation.new, rotation.old), (rotation.new,)):  # step 4: the old key is removed
        assert rotation.command("verify", database, *anchor, keys=keys)[0] == 0
        assert rotation.command("anchor", "status", database, *anchor, keys=keys)[0] == 0
        assert len(list(rotation.saver(Keyring(primary=keys[0], decrypt_only=keys[1:])).list(THREAD))) == 3
    rotation.sql("DELETE FROM writes WHERE channel = ?", RESUME)
    both, new = Keyring(primary=rotation.new, decrypt_only=[rotation.old]), Keyring(primary=rotation.new)
    for keys in (both, new):
        with pytest.raises(Incomplete, match="writes"):
            rotation.saver(keys).get_tuple(THREAD)
    rotation.sql("DELETE FROM checkpoints WHERE checkpoint_id = ?", rotation.newest.checkpoint_id)
    for keys in (both, new):
        with pytest.raises(Incomplete):
            rotation.saver(keys).get_tuple(THREAD)
        assert rotation.command("anchor", "status", database, *anchor, keys=(rotation.new,))[0] == 3


# rule A-2
def test_a_command_seals_the_secret_anew_where_no_application_starts(rotation):
    third = Key.generate()
    with pytest.raises(AnchorError, match="keyring holds none"):
        rotation.saver(third).get_tuple(THREAD)
    code, said = rotation.command("anchor", "rekey", "--anchor", rotation.file, keys=(third,))
    assert (code, "keyring holds none" in said.err) == (1, True)
    assert rotation.command("anchor", "rekey", "--anchor", rotation.file, keys=(third, rotation.new))[0] == 0
    code, said = rotation.command("anchor", "rekey", "--anchor", rotation.file, keys=(third,))
    assert (code, "already" in said.out) == (0, True)
    assert rotation.saver(Keyring(primary=third, decrypt_only=[rotation.new, rotation.old])).get_tuple(THREAD)
