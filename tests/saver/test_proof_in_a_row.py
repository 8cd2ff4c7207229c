"""What a row proves by itself, it is held to, with and without the switches for moving in."""

from __future__ import annotations

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.types import TASKS as SENDS
from langgraph.checkpoint.serde.types import _DeltaSnapshot

from encrypted_serde import EncryptedSaver, EncryptedSerializer, Key, PlaintextRefused, WrongLocation
from tests.saver.databases import Place, PostgresDatabase, SqliteDatabase
from tests.saver.threads import assert_refused, make_checkpoint, write_thread

ROW = "thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?"
SWITCHES = [{}, {"allow_plaintext": True}, {"allow_unbound": True}, {"legacy_keys": [b"k" * 32]}]
CONFIG = {"configurable": {"thread_id": "one", "checkpoint_ns": ""}}

only_sqlite = pytest.mark.parametrize("database_of_module", ["Sqlite"], indirect=True)


def _with_a_delta_channel(database, thread="one"):
    """A checkpoint without the delta channel, and a later one with a snapshot of it."""
    saver = database.saver()
    first = make_checkpoint(0, {"log": [1]}, {"log": f"{1:032}.0.5"})
    config = {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}
    stored = saver.put(config, first, {"source": "loop"}, first["channel_versions"])
    versions = {**first["channel_versions"], "items": f"{2:032}.0.5"}
    second = make_checkpoint(1, {"log": [1], "items": _DeltaSnapshot(["old"])}, versions)
    saver.put(stored, second, {"source": "loop"}, {"items": versions["items"]})
    return [Place(thread, "", checkpoint["id"]) for checkpoint in (first, second)]


# rule F-34
@only_sqlite
@pytest.mark.parametrize("switch", SWITCHES)
@pytest.mark.parametrize("channel", ["items", "other", SENDS])
def test_a_snapshot_of_a_delta_channel_in_a_checkpoint_that_had_none_is_refused(database, switch, channel):
    first, second = _with_a_delta_channel(database)
    snapshot = database.checkpoint(second)["channel_values"]["items"]
    database.edit_checkpoint(first, lambda document: document["channel_values"].update({channel: snapshot}))
    for read in (lambda saver: saver.get_tuple(first.config), lambda saver: list(saver.list(first.config))):
        with pytest.raises(WrongLocation, match="had no value"):
            read(database.saver(**switch))


@only_sqlite
def test_a_snapshot_that_was_left_out_of_a_row_that_holds_all_values_is_refused(database):
    _, second = _with_a_delta_channel(database)
    document = database.checkpoint(second)
    checkpoint = make_checkpoint(2, {"log": [1]}, document["channel_versions"])
    database.saver().put(second.config, checkpoint, {"source": "loop"}, {})
    third = second._replace(checkpoint_id=checkpoint["id"])
    snapshot = document["channel_values"]["items"]
    database.edit_checkpoint(third, lambda stored: stored["channel_values"].update(items=snapshot))
    assert_refused(database, third, WrongLocation, "had no value")


@pytest.mark.parametrize("value", [True, "plaintext", 0, [], ["x"]])
@pytest.mark.parametrize("switch", SWITCHES)
def test_plaintext_in_an_unlisted_channel_is_refused_under_every_switch(database, switch, value):
    [*_, here] = write_thread(database.saver(), "one")
    database.edit_checkpoint(here, lambda document: document["channel_values"].update(unlisted=value))
    with pytest.raises(WrongLocation, match="had no value"):
        database.saver(**switch).get_tuple(here.config)


# rule T-12
@pytest.mark.parametrize("switch", SWITCHES)
@pytest.mark.parametrize("channel", ["note", "log"])
def test_plaintext_in_the_row_of_a_manifest_is_refused_under_every_switch(database, switch, channel):
    if isinstance(database, PostgresDatabase) and channel == "log":
        channel = "other"  # lists stand in rows of their own there, which may be older than the checkpoint
    [*_, here] = write_thread(database.saver(), "one")
    database.store_sealed(here, channel, "plaintext")
    with pytest.raises(PlaintextRefused, match=r"is stored beside values that we sealed|never sealed"):
        database.saver(**switch).get_tuple(here.config)


# rule T-12
@pytest.mark.parametrize("switch", SWITCHES)
def test_a_plaintext_write_beside_a_manifest_is_refused_under_every_switch(database, switch):
    [*_, here] = write_thread(database.saver(), "one")
    database.plain().put_writes(here.config, [("note", "made up")], "00000000-0000-4000-8000-00000000000c")
    with pytest.raises(PlaintextRefused):
        database.saver(**switch).get_tuple(here.config)


# rule T-12
@pytest.mark.parametrize("switch", SWITCHES)
@pytest.mark.parametrize("stripped", [None, "", "es1.made up", 5])
def test_a_row_that_was_stripped_of_its_manifest_is_refused_under_every_switch(database, switch, stripped):
    [*_, here] = write_thread(database.saver(), "one")
    database.edit_metadata(here, lambda metadata: metadata.update(es1=stripped))
    with pytest.raises(PlaintextRefused):
        database.saver(**switch).get_tuple(here.config)


# rule T-12
@pytest.mark.parametrize("switch", SWITCHES)
def test_a_stripped_row_is_refused_where_all_its_values_are_in_rows_of_their_own(switch):
    key, inner = Key.generate(), InMemorySaver()
    [*_, here] = write_thread(EncryptedSaver(inner, key), "one")
    rows = inner.storage["one"][""]
    checkpoint, metadata, parent = rows[here.checkpoint_id]
    left = {name: value for name, value in inner.serde.loads_typed(metadata).items() if name != "es1"}
    rows[here.checkpoint_id] = checkpoint, inner.serde.dumps_typed(left), parent
    with pytest.raises(PlaintextRefused, match="stripped of it"):
        EncryptedSaver(inner, key, **switch).get_tuple(here.config)


@only_sqlite
@pytest.mark.parametrize("switch", [{"allow_unbound": True}, {"legacy_keys": [b"k" * 32]}])
def test_a_readable_checkpoint_was_never_encrypted_and_needs_the_switch_for_plaintext(database, switch):
    checkpoint = make_checkpoint(0, {"nothing": None}, {"nothing": "1"})
    database.plain().put(CONFIG, checkpoint, {"source": "loop", "step": 1}, {})
    with pytest.raises(PlaintextRefused):
        database.saver(**switch).get_tuple(CONFIG)
    assert database.saver(allow_plaintext=True).get_tuple(CONFIG).checkpoint["channel_values"] == {"nothing": None}


def test_what_a_serializer_sealed_is_read_under_its_own_switch_alone(store):
    plain = EncryptedSerializer(store.key)
    writer = InMemorySaver(serde=plain) if isinstance(store.plain(), InMemorySaver) else store.plain(serde=plain)
    if isinstance(writer, InMemorySaver):
        store.inner = writer
    [*_, here] = write_thread(writer, "one")
    if isinstance(store, PostgresDatabase):  # inlines scalars in plaintext
        with pytest.raises(PlaintextRefused):
            store.saver(allow_unbound=True).get_tuple(here.config)
    else:
        found = store.saver(allow_unbound=True).get_tuple(here.config)
        assert found.checkpoint["channel_values"]["log"] == ["log of one//1"]


@only_sqlite
def test_the_checkpoint_of_another_row_as_an_unbound_value_is_refused_beside_a_manifest(database):
    serde = EncryptedSerializer(database.key)
    [*_, here] = write_thread(database.saver(), "one")
    type_tag, blob = serde.dumps_typed({**make_checkpoint(1, {"note": "x"}, {"note": "1"}), "id": here.checkpoint_id})
    database.sql(f"UPDATE checkpoints SET type = ?, checkpoint = ? WHERE {ROW}", type_tag, blob, *here)
    assert_refused(database, here, WrongLocation)
    with pytest.raises(PlaintextRefused, match="no switch helps"):
        database.saver(allow_unbound=True).get_tuple(here.config)


def test_a_relabelled_row_whose_channels_are_no_mapping_is_malformed_and_no_attribute_error(tmp_path):
    from langgraph.checkpoint.sqlite import SqliteSaver

    key = Key.generate()
    database = SqliteDatabase(tmp_path / "x.sqlite")
    serde = EncryptedSerializer(key)
    for channels in (5, [], "text", None):
        checkpoint = {**make_checkpoint(0, {}, {}), "channel_values": channels}
        SqliteSaver(database.connection, serde=serde).put(CONFIG, checkpoint, {"source": "loop"}, {})
        saver = EncryptedSaver(database.plain(), key, allow_unbound=True)
        assert saver.get_tuple(CONFIG).checkpoint["channel_values"] == channels  # as the plain saver gives it
    database.connection.close()
