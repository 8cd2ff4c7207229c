"""Whoever audits a saver hears of every value once, and of every refusal once, wherever it was decided."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.sqlite import SqliteSaver

from encrypted_serde import AuthenticationFailed, EncryptedSaver, Key, PlaintextRefused, WrongLocation

CONFIG = {"configurable": {"thread_id": "1", "checkpoint_ns": ""}}


@pytest.fixture
def connection():
    with closing(sqlite3.connect(":memory:", check_same_thread=False)) as connection:
        yield connection


@pytest.fixture
def events():
    return []


@pytest.fixture
def saver(connection, events):
    saver = EncryptedSaver(SqliteSaver(connection), Key.generate(), audit=events.append)
    checkpoint = {**empty_checkpoint(), "channel_values": {"a": "secret"}, "channel_versions": {"a": 1}}
    saver.put(CONFIG, checkpoint, {"source": "loop", "step": 1, "email": "x@example.com"}, {"a": 1})
    return saver


def test_every_value_and_the_manifest_are_heard_of_when_sealed_and_opened(saver, events):
    assert [event.action for event in events] == ["seal", "seal"]
    events.clear()
    saver.get_tuple(CONFIG)
    assert [(event.action, event.outcome) for event in events] == [("open", "ok"), ("open", "ok")]


def _refusals(events):
    return [event.outcome for event in events if event.action == "refuse"]


def test_a_refusal_by_the_cipher_is_heard_of_once(saver, events, connection):
    connection.execute("update checkpoints set thread_id = '2'")
    with pytest.raises(AuthenticationFailed):
        saver.get_tuple({"configurable": {"thread_id": "2", "checkpoint_ns": ""}})
    assert _refusals(events) == ["AuthenticationFailed"]


def test_a_checkpoint_stripped_of_its_manifest_is_heard_of_once(saver, events, connection):
    connection.execute("update checkpoints set metadata = '{}'")
    with pytest.raises(PlaintextRefused):
        saver.get_tuple(CONFIG)
    assert _refusals(events) == ["PlaintextRefused"]


def test_readable_metadata_that_was_changed_is_heard_of_once(saver, events, connection):
    connection.execute("""update checkpoints set metadata = json_set(cast(metadata as text), '$.step', 2)""")
    with pytest.raises(WrongLocation):
        saver.get_tuple(CONFIG)
    assert _refusals(events) == ["WrongLocation"]
