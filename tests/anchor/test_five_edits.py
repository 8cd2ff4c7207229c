"""The five edits at rest that AGMI tries: on a plain saver, on a wrapped one, and on a wrapped one with an anchor."""

from __future__ import annotations

import pytest

from encrypted_serde import EncryptedSerdeError
from encrypted_serde.anchor import MemoryAnchor
from tests.saver.threads import write_thread

THREAD = {"configurable": {"thread_id": "one", "checkpoint_ns": ""}}


def _change_content(database, places):
    if database.is_sealed:
        database.edit_metadata(places[-1], lambda document: document.update(step=7))
    else:
        database.edit_metadata(places[-1], lambda document: document.update(author="another"))


def _truncate_the_tail(database, places):
    database.sql("DELETE FROM checkpoints WHERE checkpoint_id = ?", places[-1].checkpoint_id)


def _delete_in_the_middle(database, places):
    database.sql("DELETE FROM checkpoints WHERE checkpoint_id = ?", places[1].checkpoint_id)


def _reorder(database, places):
    first, second = ([database.checkpoint(each), database.metadata(each)] for each in places[:2])
    for place, (checkpoint, metadata) in zip(places, (second, first), strict=False):
        database.store_checkpoint(place, checkpoint)
        database.store_metadata(place, metadata)


def _insert(database, places):
    database.sql(
        "INSERT INTO checkpoints SELECT thread_id, checkpoint_ns, 'f' || substr(checkpoint_id, 2), checkpoint_id, type, "
        "checkpoint, metadata FROM checkpoints WHERE checkpoint_id = ?",
        places[-1].checkpoint_id,
    )


EDITS = [_change_content, _truncate_the_tail, _delete_in_the_middle, _reorder, _insert]
ACCEPTED = {"plain": EDITS, "wrapped": [_truncate_the_tail, _delete_in_the_middle], "anchored": []}


# rule A-1
@pytest.mark.parametrize("kind", ACCEPTED)
def test_which_edits_are_accepted(database, kind):
    accepted = []
    database.is_sealed = kind != "plain"
    for edit in EDITS:
        database.clear()
        anchor = MemoryAnchor()
        options = {"anchor": anchor} if kind == "anchored" else {}
        saver = database.plain() if kind == "plain" else database.saver(**options)
        edit(database, write_thread(saver, "one", steps=4))
        reader = database.plain() if kind == "plain" else database.saver(**options)
        try:
            reader.get_tuple(THREAD)
            list(reader.list(THREAD))
        except EncryptedSerdeError:
            continue
        accepted.append(edit)
    assert accepted == ACCEPTED[kind]
