"""The five edits at rest that AGMI tries: on a plain saver, on a wrapped one, and on a wrapped one with an anchor."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from langgraph.checkpoint.sqlite import SqliteSaver

from encrypted_serde import EncryptedSaver, EncryptedSerdeError, Key, SqliteAnchor
from tests.saver.threads import write_thread

THREAD = {"configurable": {"thread_id": "one", "checkpoint_ns": ""}}


def _change_content(connection):
    [(rowid, blob)] = connection.execute("SELECT rowid, checkpoint FROM checkpoints ORDER BY checkpoint_id DESC LIMIT 1")
    middle = blob.find(b"note of one") if b"note of one" in blob else len(blob) // 2
    changed = blob[:middle] + bytes([blob[middle] ^ 1]) + blob[middle + 1 :]
    connection.execute("UPDATE checkpoints SET checkpoint = ? WHERE rowid = ?", (changed, rowid))


def _truncate_the_tail(connection):
    connection.execute("DELETE FROM checkpoints WHERE checkpoint_id = (SELECT max(checkpoint_id) FROM checkpoints)")


def _delete_in_the_middle(connection):
    connection.execute(
        "DELETE FROM checkpoints WHERE checkpoint_id = (SELECT checkpoint_id FROM checkpoints ORDER BY 1 LIMIT 1 OFFSET 1)"
    )


def _reorder(connection):
    (one, first), (other, second) = connection.execute(
        "SELECT rowid, checkpoint FROM checkpoints ORDER BY checkpoint_id LIMIT 2"
    )
    connection.execute("UPDATE checkpoints SET checkpoint = ? WHERE rowid = ?", (second, one))
    connection.execute("UPDATE checkpoints SET checkpoint = ? WHERE rowid = ?", (first, other))


def _insert(connection):
    connection.execute(
        "INSERT INTO checkpoints SELECT thread_id, checkpoint_ns, 'f' || substr(checkpoint_id, 2), checkpoint_id, type, "
        "checkpoint, metadata FROM checkpoints ORDER BY checkpoint_id DESC LIMIT 1"
    )


def _set_up(anchor):
    anchor.setup()
    return anchor


EDITS = [_change_content, _truncate_the_tail, _delete_in_the_middle, _reorder, _insert]
SAVERS = {
    "plain": lambda inner, key, path: inner,
    "wrapped": lambda inner, key, path: EncryptedSaver(inner, key),
    "anchored": lambda inner, key, path: EncryptedSaver(inner, key, anchor=_set_up(SqliteAnchor(path))),
}
ACCEPTED = {"plain": EDITS, "wrapped": [_truncate_the_tail, _delete_in_the_middle], "anchored": []}


@pytest.mark.parametrize("kind", SAVERS)
def test_which_edits_are_accepted(tmp_path, kind):
    accepted = []
    for edit in EDITS:
        key = Key.generate()
        with closing(sqlite3.connect(":memory:", check_same_thread=False)) as connection:
            saver = SAVERS[kind](SqliteSaver(connection), key, tmp_path / f"{edit.__name__}.db")
            write_thread(saver, "one", steps=4)
            edit(connection)
            try:
                saver.get_tuple(THREAD)
                list(saver.list(THREAD))
            except EncryptedSerdeError:
                continue
            accepted.append(edit)
    assert accepted == ACCEPTED[kind]
