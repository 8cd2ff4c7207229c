"""Whatever stands readable in a checkpoint's row is vouched for: edits, moves and rollbacks of rows are refused."""

from __future__ import annotations

import psycopg
import pytest
from langgraph.checkpoint.serde.types import TASKS as SENDS

from encrypted_serde import AuthenticationFailed, MalformedEnvelope, PlaintextRefused, WrongLocation
from encrypted_serde.core.encoding import b64url_encode
from tests.saver.databases import PostgresDatabase
from tests.saver.threads import assert_refused, make_checkpoint, write_thread

ROW = "thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?"


def _move_row(database, source, target):
    """Puts one checkpoint row where another one stands, its writes and blobs too."""
    for table in ("checkpoints", "{writes}"):
        database.sql(f"DELETE FROM {table} WHERE {ROW}", *target)
        database.sql(f"UPDATE {table} SET thread_id = ?, checkpoint_ns = ?, checkpoint_id = ? WHERE {ROW}", *target, *source)
    if isinstance(database, PostgresDatabase) and source[:2] != target[:2]:
        database.sql("DELETE FROM checkpoint_blobs WHERE thread_id = ? AND checkpoint_ns = ?", *target[:2])
        database.sql(
            "UPDATE checkpoint_blobs SET thread_id = ?, checkpoint_ns = ? WHERE thread_id = ? AND checkpoint_ns = ?",
            *target[:2],
            *source[:2],
        )


# rules F-33, T-7
def test_an_old_row_under_a_newer_id_is_refused(database):
    old, new = write_thread(database.saver(), "one")
    _move_row(database, old, new)
    assert_refused(database, new, AuthenticationFailed)


@pytest.mark.parametrize("column", ["checkpoint", "metadata"])
def test_a_part_of_an_old_row_in_a_newer_one_is_refused(database, column):
    old, new = write_thread(database.saver(), "one")
    database.sql(f"UPDATE checkpoints SET {column} = (SELECT {column} FROM checkpoints WHERE {ROW}) WHERE {ROW}", *old, *new)
    assert_refused(database, new, AuthenticationFailed if column == "metadata" else WrongLocation)


def test_an_old_checkpoint_that_was_given_the_newer_id_is_refused(database):
    old, new = write_thread(database.saver(), "one")
    document = database.checkpoint(old)
    database.store_checkpoint(new, {**document, "id": new.checkpoint_id})
    assert_refused(database, new, WrongLocation)


def test_the_rows_of_another_thread_under_the_requested_id_are_refused(database):
    _, here = write_thread(database.saver(), "one")
    _, there = write_thread(database.saver(), "two")
    _move_row(database, there, here)
    assert_refused(database, here, AuthenticationFailed)


def test_the_rows_of_another_thread_under_the_requested_thread_are_refused(database):
    write_thread(database.saver(), "one")
    _, there = write_thread(database.saver(), "two")
    _move_row(database, there, there._replace(thread_id="one"))
    with pytest.raises(AuthenticationFailed):
        database.saver().get_tuple({"configurable": {"thread_id": "one"}})


def test_the_rows_of_another_namespace_are_refused(database):
    _, here = write_thread(database.saver(), "one")
    _, there = write_thread(database.saver(), "one", "child")
    _move_row(database, there, here)
    assert_refused(database, here, AuthenticationFailed)


@pytest.mark.parametrize("column", ["thread_id", "checkpoint_ns", "checkpoint_id"])
def test_a_row_that_was_renamed_is_refused(database, column):
    _, here = write_thread(database.saver(), "one")
    renamed = here._replace(**{column: "renamed"})
    _move_row(database, here, renamed)
    assert_refused(database, renamed, AuthenticationFailed)


# rule T-8
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("v", 1),
        ("v", 5),
        ("id", "00000000-0000-0000-0000-000000000000"),
        ("ts", "2020-01-01T00:00:00+00:00"),
        ("ts", None),
        ("channel_versions", {}),
        ("versions_seen", {}),
        ("versions_seen", {"node": {"note": "99999999999999999999999999999999.0"}}),
        ("updated_channels", []),
        ("updated_channels", None),
        ("updated_channels", ["note"]),
        ("made_up", 1),
    ],
)
def test_an_edited_key_of_a_checkpoint_is_refused(database, key, value):
    _, here = write_thread(database.saver(), "one")
    database.edit_checkpoint(here, lambda document: document.update({key: value}))
    assert_refused(database, here, WrongLocation)


@pytest.mark.parametrize("key", ["v", "id", "ts", "versions_seen", "updated_channels"])
def test_a_removed_key_of_a_checkpoint_is_refused(database, key):
    _, here = write_thread(database.saver(), "one")
    database.edit_checkpoint(here, lambda document: document.pop(key))
    if key == "v" and isinstance(database, PostgresDatabase):
        with pytest.raises(KeyError):  # of the inner saver, which looks at the version before the wrapper sees the row
            database.saver().get_tuple(here.config)
    else:
        assert_refused(database, here, WrongLocation)


def test_an_edited_channel_version_is_refused(database):
    old, new = write_thread(database.saver(), "one")
    for channel in ("note", "log", "nothing"):
        versions = database.checkpoint(old)["channel_versions"]
        database.edit_checkpoint(new, lambda document, v=versions, c=channel: document["channel_versions"].update({c: v[c]}))
        assert_refused(database, new, WrongLocation)


@pytest.mark.parametrize("document", [{}, [], 5, "text", None])
@pytest.mark.parametrize("key", ["channel_values", "channel_versions"])
def test_a_checkpoint_without_channels_is_refused(database, key, document):
    _, here = write_thread(database.saver(), "one")
    database.edit_checkpoint(here, lambda checkpoint: checkpoint.update({key: document}))
    if document == {}:
        assert_refused(database, here, WrongLocation)
    elif isinstance(database, PostgresDatabase):  # fails over some of these itself, before the wrapper sees the row
        with pytest.raises((MalformedEnvelope, WrongLocation, TypeError, AttributeError, psycopg.Error)):
            database.saver().get_tuple(here.config)
    else:
        assert_refused(database, here, MalformedEnvelope)


# rule F-36
@pytest.mark.parametrize("made_up", ["plaintext", "sends of another checkpoint"])
def test_pending_sends_that_were_not_written_are_refused(database, made_up):
    old, new = write_thread(database.saver(), "one")
    saver = database.saver()
    saver.put_writes(old.config, [(SENDS, "a send")], "00000000-0000-4000-8000-00000000000c")
    [(send,)] = database.sql("SELECT {value} FROM {writes} WHERE channel = ?", SENDS)
    if isinstance(database, PostgresDatabase):
        send = "es1." + b64url_encode(send)
    sends = ["made up"] if made_up == "plaintext" else [send]
    database.edit_checkpoint(new, lambda document: document.update(pending_sends=sends))
    assert_refused(database, new, WrongLocation, "pending sends")


# rule T-8
@pytest.mark.parametrize(
    "change",
    [
        lambda metadata: metadata.update(source="fork"),
        lambda metadata: metadata.update(step=99),
        lambda metadata: metadata.update(parents={"": "x"}),
        lambda metadata: metadata.update(run_id="other"),
        lambda metadata: metadata.update(author="made up"),
        lambda metadata: metadata.update(counters_since_delta_snapshot={}),
        lambda metadata: metadata.pop("source"),
        lambda metadata: metadata.pop("parents"),
    ],
)
def test_edited_metadata_is_refused(database, change):
    _, here = write_thread(database.saver(), "one")
    database.edit_metadata(here, change)
    assert_refused(database, here, WrongLocation, "readable part")


@pytest.mark.parametrize("step", [None, 1.0, True, "1", [1]])
def test_a_step_that_is_no_integer_is_malformed(database, step):
    _, here = write_thread(database.saver(), "one")
    database.edit_metadata(here, lambda metadata: metadata.update(step=step))
    assert_refused(database, here, MalformedEnvelope, "step")


@pytest.mark.parametrize("version", [None, 4.0, True, "4"])
def test_a_format_version_that_is_no_integer_is_malformed(database, version):
    _, here = write_thread(database.saver(), "one")
    database.edit_checkpoint(here, lambda document: document.update(v=version))
    if isinstance(database, PostgresDatabase) and version in (None, "4"):  # it compares the version itself, and fails
        with pytest.raises((MalformedEnvelope, TypeError)):
            database.saver().get_tuple(here.config)
    else:
        assert_refused(database, here, MalformedEnvelope, "'v'")


def test_an_edited_readable_or_searchable_key_is_refused(database):
    options = {"readable_metadata": ["author"], "searchable_metadata": ["user"], "context": {}}
    for key in ("author", "user"):
        [*_, here] = write_thread(database.saver(**options), "one", user="alice")
        stored = database.metadata(here)
        assert (stored["author"], stored["user"][:5]) == ("author of one//1", "es1s.")
        database.edit_metadata(here, lambda metadata, key=key: metadata.update({key: "made up"}))
        assert_refused(database, here, WrongLocation, "readable part")


def test_emptied_metadata_is_refused(database):
    _, here = write_thread(database.saver(), "one")
    database.store_metadata(here, {})
    assert_refused(database, here, PlaintextRefused, "no manifest")


@pytest.mark.parametrize("text", ["", "es1.", "es1.AAAA", "made up", 5, None, ["es1."], {"a": 1}])
def test_a_made_up_manifest_is_refused(database, text):
    _, here = write_thread(database.saver(), "one")
    database.edit_metadata(here, lambda metadata: metadata.update(es1=text))
    assert_refused(database, here, PlaintextRefused, "no manifest")


@pytest.mark.parametrize("metadata", [5, "text", True])
def test_metadata_that_is_no_mapping_is_refused(database, metadata):
    _, here = write_thread(database.saver(), "one")
    database.store_metadata(here, metadata)
    assert_refused(database, here, MalformedEnvelope)


def test_a_sealed_value_passed_off_as_the_manifest_is_refused(database):
    _, here = write_thread(database.saver(), "one")
    sealed = database.sealed(here, "log")
    database.edit_metadata(here, lambda metadata: metadata.update(es1="es1." + b64url_encode(sealed)))
    assert_refused(database, here, AuthenticationFailed)


# rules F-33, T-8
def test_an_edited_parent_is_refused(database):
    [first, _, third] = write_thread(database.saver(), "one", steps=3)
    for parent in (first.checkpoint_id, "00000000-0000-0000-0000-000000000000", third.checkpoint_id):
        database.sql(f"UPDATE checkpoints SET parent_checkpoint_id = ? WHERE {ROW}", parent, *third)
        assert_refused(database, third, WrongLocation, "parent")


def test_a_parent_given_to_the_first_checkpoint_is_refused(database):
    first, second = write_thread(database.saver(), "one")
    database.sql(f"UPDATE checkpoints SET parent_checkpoint_id = ? WHERE {ROW}", second.checkpoint_id, *first)
    assert_refused(database, first, WrongLocation, "parent")


def test_a_parent_set_to_null_is_accepted_only_from_a_saver_whose_prune_leaves_it_so(database):
    _, here = write_thread(database.saver(), "one")
    database.sql(f"UPDATE checkpoints SET parent_checkpoint_id = NULL WHERE {ROW}", *here)
    if isinstance(database, PostgresDatabase):
        assert database.saver().get_tuple(here.config).parent_config is None
    else:
        assert_refused(database, here, WrongLocation, "parent")


def test_a_parent_set_to_null_is_refused_where_delta_channels_depend_on_it(database):
    saver = database.saver()
    _, second = write_thread(saver, "one")
    checkpoint = make_checkpoint(3, {}, {})
    metadata = {"source": "loop", "counters_since_delta_snapshot": {"items": (1, 1)}}
    stored = saver.put(second.config, checkpoint, metadata, {})
    assert database.saver().get_tuple(stored)
    here = second._replace(checkpoint_id=checkpoint["id"])
    database.sql(f"UPDATE checkpoints SET parent_checkpoint_id = NULL WHERE {ROW}", *here)
    assert_refused(database, here, WrongLocation, "parent")


# rule T-13
def test_a_saver_that_answers_with_another_row_is_refused(database):
    _, here = write_thread(database.saver(), "one")
    write_thread(database.saver(), "two")
    plain = type(database.plain())

    class Confused(plain):
        def get_tuple(self, config):
            return super().get_tuple({"configurable": {"thread_id": "two", "checkpoint_ns": ""}})

        def list(self, config, **options):
            yield from super().list({"configurable": {"thread_id": "two"}}, **options)

    saver = database.saver(inner=Confused(database.connection))
    with pytest.raises(WrongLocation, match="asked for thread_id 'one'"):
        saver.get_tuple({"configurable": {"thread_id": "one"}})
    with pytest.raises(WrongLocation, match="asked for thread_id 'one'"):
        list(saver.list({"configurable": {"thread_id": "one"}}))
    for field in ("checkpoint_ns", "checkpoint_id"):
        other = here._replace(thread_id="two", **{field: "another"})
        with pytest.raises(WrongLocation, match=f"asked for {field} 'another'"):
            saver.get_tuple(other.config)
