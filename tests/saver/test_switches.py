"""While a switch for moving in is on, an operator can see what it lets through, and broken rows keep to our errors."""

from __future__ import annotations

import logging

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer as UpstreamEncryptedSerializer

from encrypted_serde import EncryptedSaver, EncryptedSerializer, MalformedEnvelope
from tests.saver.threads import make_checkpoint
from tests.savers import sqlite_saver

OLD = b"0123456789abcdef"
CONFIG = {"configurable": {"thread_id": "one", "checkpoint_ns": ""}}


def _put(saver):
    saver.put(CONFIG, make_checkpoint(1, {"a": ["x"]}, {"a": 1}), {"source": "loop", "step": 1}, {"a": 1})


@pytest.mark.parametrize(
    ("serde", "options", "kind", "told"),
    [
        (lambda key: None, {"allow_plaintext": True}, "plaintext", ("open", None, "plaintext")),
        (
            lambda key: UpstreamEncryptedSerializer.from_pycryptodome_aes(key=OLD),
            {"legacy_keys": [OLD]},
            "legacy",
            ("open", "aes", "ok"),
        ),
        (lambda key: EncryptedSerializer(key), {"allow_unbound": True}, "unbound", ("open", "xaes-256-gcm", "ok")),
    ],
    ids=["plaintext", "legacy", "unbound"],
)
def test_what_a_switch_lets_through_is_counted_logged_once_and_audited(key, caplog, serde, options, kind, told):
    inner, events = InMemorySaver(serde=serde(key)), []
    _put(inner)
    saver = EncryptedSaver(inner, key, audit=events.append, **options)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            saver.get_tuple(CONFIG)
    assert saver.admitted_reads[kind] >= 2
    assert set(saver.admitted_reads) == {kind}
    assert [kind in record.message for record in caplog.records] == [True]
    assert told in {(event.action, event.cipher, event.outcome) for event in events}


@pytest.mark.parametrize("stored", [("json", b"{"), ("msgpack", b"\xc1hello"), ("else", b"x")])
def test_plaintext_that_does_not_deserialize_is_malformed_and_no_value_error(key, stored):
    inner = InMemorySaver()
    _put(inner)
    inner.blobs["one", "", "a", 1] = stored
    with pytest.raises(MalformedEnvelope):
        EncryptedSaver(inner, key, allow_plaintext=True).get_tuple(CONFIG)
    with pytest.raises(MalformedEnvelope):
        EncryptedSerializer(key, allow_plaintext=True).loads_typed(stored)


def test_a_relabelled_legacy_value_that_does_not_deserialize_is_malformed(key):
    _, blob = UpstreamEncryptedSerializer.from_pycryptodome_aes(key=OLD).dumps_typed(b"\xc1hello")
    with pytest.raises(MalformedEnvelope):
        EncryptedSerializer(key, legacy_keys=[OLD]).loads_typed(("msgpack+aes", blob))


def test_a_row_whose_id_is_no_text_is_malformed_and_audited(tmp_path, key):
    events = []
    with sqlite_saver(tmp_path / "checkpoints.sqlite", None) as inner:
        saver = EncryptedSaver(inner, key, audit=events.append)
        _put(saver)
        inner.conn.execute("update checkpoints set checkpoint_id = cast(checkpoint_id as blob)")
        with pytest.raises(MalformedEnvelope):
            saver.get_tuple(CONFIG)
    assert [event.outcome for event in events if event.action == "refuse"] == ["MalformedEnvelope"]


def test_one_deleted_write_of_the_input_makes_all_of_it_count_as_absent(tmp_path, key):
    null_task = "00000000-0000-0000-0000-000000000000"
    with sqlite_saver(tmp_path / "checkpoints.sqlite", None) as inner:
        saver = EncryptedSaver(inner, key)
        _put(saver)
        here = saver.get_tuple(CONFIG).config
        saver.put_writes(here, [("a", "A0"), ("a", "A1")], null_task)
        saver.put_writes(here, [("a", "A0"), ("a", "A1"), ("a", "B2")], null_task)  # as LangGraph does: all so far
        assert [write[2] for write in saver.get_tuple(CONFIG).pending_writes] == ["A0", "A1", "B2"]
        inner.conn.execute("delete from writes where idx = 1")
        assert saver.get_tuple(CONFIG).pending_writes == []
