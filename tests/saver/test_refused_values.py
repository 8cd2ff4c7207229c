"""Channel values that somebody moved, replaced or removed in the database are refused."""

from __future__ import annotations

import pytest

from encrypted_serde import (
    AuthenticationFailed,
    Key,
    MalformedEnvelope,
    PlaintextRefused,
    UnknownKey,
    UnsupportedCipher,
    WrongLocation,
)
from encrypted_serde.core.format import Sealed
from tests.saver.databases import Place, PostgresDatabase, SqliteDatabase
from tests.saver.threads import LISTS, SCALARS, assert_refused, make_checkpoint, write_thread

CHANNELS = SCALARS + LISTS


def _swap(database, one, other, channel, other_channel=None):
    here, there = database.sealed(one, channel), database.sealed(other, other_channel or channel)
    database.store_sealed(one, channel, there)
    database.store_sealed(other, other_channel or channel, here)


def test_what_was_written_is_read(database):
    old, new = write_thread(database.saver(), "one")
    found = database.saver().get_tuple(new.config)
    assert found.checkpoint["channel_values"] == {
        "note": "note of one//1",
        "other": "other of one//1",
        "log": ["log of one//1"],
        "more": ["more of one//1"],
        "nothing": None,
    }
    assert found.metadata["author"] == "author of one//1"
    assert found.parent_config == old.config


# rule T-7
@pytest.mark.parametrize("channel", CHANNELS)
def test_a_value_of_another_thread_is_refused(database, channel):
    _, here = write_thread(database.saver(), "one")
    _, there = write_thread(database.saver(), "two")
    _swap(database, here, there, channel)
    assert_refused(database, here, AuthenticationFailed)
    assert_refused(database, there, AuthenticationFailed)


@pytest.mark.parametrize("channel", CHANNELS)
def test_a_value_of_another_namespace_is_refused(database, channel):
    _, here = write_thread(database.saver(), "one")
    _, there = write_thread(database.saver(), "one", "child")
    _swap(database, here, there, channel)
    assert_refused(database, here, AuthenticationFailed)


@pytest.mark.parametrize("channels", [SCALARS, LISTS])
def test_a_value_of_another_channel_is_refused(database, channels):
    _, here = write_thread(database.saver(), "one")
    _swap(database, here, here, *channels)
    assert_refused(database, here, AuthenticationFailed)


# rules F-21, T-7
@pytest.mark.parametrize("channel", CHANNELS)
def test_a_value_of_another_version_is_refused(database, channel):
    old, new = write_thread(database.saver(), "one")
    _swap(database, old, new, channel)
    assert_refused(database, old, WrongLocation, "version")
    assert_refused(database, new, WrongLocation, "version")


# rules F-34, T-8
@pytest.mark.parametrize("channel", CHANNELS)
def test_a_value_that_was_removed_is_missed(database, channel):
    _, here = write_thread(database.saver(), "one")
    if isinstance(database, PostgresDatabase) and channel in LISTS:
        database.sql("DELETE FROM checkpoint_blobs WHERE channel = ?", channel)
    else:
        database.edit_checkpoint(here, lambda document: document["channel_values"].pop(channel))
    assert_refused(database, here, WrongLocation, "missing")


@pytest.mark.parametrize("channel", SCALARS)
def test_a_scalar_replaced_by_null_is_missed(database, channel):
    _, here = write_thread(database.saver(), "one")
    database.store_sealed(here, channel, None)
    assert_refused(database, here, WrongLocation, "missing")


@pytest.mark.parametrize("value", ["plaintext", "", "es1.", "es1.hello", 7, 0.5, True, False, [], {"a": 1}])
@pytest.mark.parametrize("channel", SCALARS)
def test_a_scalar_replaced_by_plaintext_is_refused(database, channel, value):
    _, here = write_thread(database.saver(), "one")
    database.store_sealed(here, channel, value)
    assert_refused(database, here, PlaintextRefused)


def test_a_value_where_none_was_written_is_refused(database):
    _, new = write_thread(database.saver(), "one")
    for value in (database.sealed(new, "note"), "plaintext", 5):
        database.edit_checkpoint(new, lambda document, value=value: document["channel_values"].update(nothing=value))
        assert_refused(database, new, WrongLocation, "None")


def test_a_none_that_was_removed_is_missed(database):
    _, here = write_thread(database.saver(), "one")
    database.edit_checkpoint(here, lambda document: document["channel_values"].pop("nothing"))
    assert_refused(database, here, WrongLocation, "None")


# rules F-34, T-8
@pytest.mark.parametrize("value", ["sealed", None])
def test_a_value_of_a_channel_that_had_none_yet_is_refused(database, value):
    saver = database.saver()
    config = {"configurable": {"thread_id": "one", "checkpoint_ns": ""}}
    early = make_checkpoint(0, {"note": "n"}, {"note": saver.get_next_version(None, None)})
    parent = saver.put(config, early, {"source": "loop"}, early["channel_versions"])
    versions = {**early["channel_versions"], "answer": saver.get_next_version(None, None)}
    late = make_checkpoint(1, {"note": "n", "answer": "a"}, versions)
    saver.put(parent, late, {"source": "loop"}, {"answer": versions["answer"]})
    here = Place("one", "", early["id"])
    sealed = database.sealed(here._replace(checkpoint_id=late["id"]), "answer") if value else None
    database.edit_checkpoint(here, lambda document: document["channel_values"].update(answer=sealed))
    assert_refused(database, here, WrongLocation, "had no value")


def test_the_bytes_of_a_value_cannot_be_changed(database):
    _, here = write_thread(database.saver(), "one")
    sealed = database.sealed(here, "log")
    parsed = Sealed.of_bytes(sealed)
    for position in (parsed.end + 1, parsed.end - 1, parsed.end - 20, parsed.nonce, parsed.nonce - 10):
        changed = bytearray(sealed)
        changed[position] ^= 1
        database.store_sealed(here, "log", bytes(changed))
        with pytest.raises((AuthenticationFailed, UnknownKey)):
            database.saver().get_tuple(here.config)


@pytest.mark.parametrize("type_tag", ["null", "empty"])
def test_a_value_relabelled_as_no_value_is_refused(database, type_tag):
    _, here = write_thread(database.saver(), "one")
    database.retype(here, "log", type_tag)
    if isinstance(database, PostgresDatabase):
        assert_refused(database, here, WrongLocation, "missing")
    else:
        assert_refused(database, here, MalformedEnvelope if type_tag == "null" else PlaintextRefused)


@pytest.mark.parametrize(
    ("type_tag", "error"),
    [
        ("json", PlaintextRefused),
        ("pickle", PlaintextRefused),
        ("bytearray", PlaintextRefused),
        ("nonsense", PlaintextRefused),
        ("msgpack+aes", UnsupportedCipher),
        ("bytes+rot13", UnsupportedCipher),
        ("msgpack+xaes-256-gcm", WrongLocation),
    ],
)
def test_a_relabelled_type_is_refused(database, type_tag, error):
    _, here = write_thread(database.saver(), "one")
    database.retype(here, "log", type_tag)
    assert_refused(database, here, error)


def test_sealed_bytes_relabelled_as_msgpack_are_refused(database):
    _, here = write_thread(database.saver(), "one")
    if isinstance(database, SqliteDatabase):  # a checkpoint is msgpack there, and its values are bytes in it: relabel a write
        database.sql("UPDATE {writes} SET type = 'msgpack'")
    else:
        database.retype(here, "log", "msgpack")
    assert_refused(database, here, PlaintextRefused)


def test_a_value_under_a_key_that_is_not_ours_is_refused(database):
    _, here = write_thread(database.saver(), "one")
    _, there = write_thread(database.saver(keys=Key.generate()), "two")
    stranger = database.sealed(there, "note")
    database.store_sealed(here, "note", stranger)
    assert_refused(database, here, UnknownKey)


def test_an_unchanged_channel_keeps_being_read_after_its_version_was_stored_once(database):
    # Savers keep the first blob of a version; the second sealing of the same value is never stored.
    saver = database.saver()
    _, here = write_thread(saver, "one")
    found = saver.get_tuple(here.config)
    again = make_checkpoint(9, found.checkpoint["channel_values"], found.checkpoint["channel_versions"])
    stored = saver.put(here.config, again, {"source": "loop"}, {})
    assert database.saver().get_tuple(stored).checkpoint["channel_values"] == found.checkpoint["channel_values"]
