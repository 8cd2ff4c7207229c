"""Somebody who can write rows and has no key: what is changed is refused, by the class that fits, or changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langgraph.store.base import BaseStore

from encrypted_serde import (
    AuthenticationFailed,
    EncryptedSerdeError,
    EncryptedSerializer,
    Key,
    MalformedEnvelope,
    PlaintextRefused,
    UnknownKey,
    UnsupportedCipher,
    WrongLocation,
    encryption_context,
)
from encrypted_serde.audit import AuditEvent
from encrypted_serde.core.format import bytes_of_text, sealed_text
from encrypted_serde.store import EncryptedStore
from tests.tampering import changed

from .places import Rows, any_store

Change = Callable[[dict[tuple[str, str], dict[str, Any]]], dict[str, Any]]

ALICE, BOB = ("users", "alice"), ("users", "bob")


def retyped(text: str) -> str:
    data = bytes_of_text(text)
    types = (b"msgpack", b"es-json")
    return relabelled(text, *types) if data is not None and types[0] in data else relabelled(text, *reversed(types))


def relabelled(text: str, old: bytes, new: bytes) -> str:
    data = bytes_of_text(text)
    assert data is not None
    assert old in data
    return sealed_text(data.replace(old, new, 1))


def bit_flipped(text: str) -> str:
    data = bytes_of_text(text)
    assert data is not None
    return sealed_text(changed(data))


def victim(rows: dict[tuple[str, str], dict[str, Any]]) -> dict[str, Any]:
    return dict(rows["users.alice", "plan"])


CHANGES: dict[str, tuple[Change, type[EncryptedSerdeError]]] = {
    "moved from another key": (lambda rows: rows["users.alice", "other"], AuthenticationFailed),
    "moved from another namespace": (lambda rows: rows["users.bob", "plan"], AuthenticationFailed),
    "one bit changed": (lambda rows: {**victim(rows), "es1": bit_flipped(victim(rows)["es1"])}, AuthenticationFailed),
    "cut": (lambda rows: {**victim(rows), "es1": victim(rows)["es1"][:80]}, MalformedEnvelope),
    "never sealed": (lambda rows: {"kind": "premium"}, PlaintextRefused),
    "no dict that we wrote": (lambda rows: {"es1": {"a": 1}}, PlaintextRefused),
    "relabelled as another type": (
        lambda rows: {**victim(rows), "es1": retyped(victim(rows)["es1"])},
        AuthenticationFailed,
    ),
    "relabelled as another cipher": (
        lambda rows: {**victim(rows), "es1": relabelled(victim(rows)["es1"], b"xaes-256-gcm", b"aaes-256-gcm")},
        UnsupportedCipher,
    ),
    "a readable copy edited": (lambda rows: {**victim(rows), "kind": "premium"}, WrongLocation),
    "a readable copy added": (lambda rows: {**victim(rows), "level": 9}, WrongLocation),
}


def encrypted(inner: BaseStore, key: Key, **options: Any) -> EncryptedStore:
    store = EncryptedStore(inner, key, readable=("kind", "level"), searchable=("city",), **options)
    store.put(ALICE, "plan", {"kind": "free", "city": "Bonn"})
    store.put(ALICE, "other", {"kind": "free", "city": "Ulm"})
    store.put(BOB, "plan", {"kind": "premium", "city": "Ulm"})
    return store


# rule F-38
@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_item_is_refused(inner: BaseStore, key: Key, change: str) -> None:
    store, rows = encrypted(inner, key), Rows(inner)
    edit, expected = CHANGES[change]
    rows.put("users.alice", "plan", edit(rows.all()))
    with pytest.raises(EncryptedSerdeError) as caught:
        store.get(ALICE, "plan")
    assert type(caught.value) is expected
    assert caught.value.row == {"namespace": "users.alice", "key": "plan"}
    with pytest.raises(expected):
        store.search(ALICE)


def test_a_search_of_a_tenant_names_and_tells_the_item_that_it_refuses(inner: BaseStore, key: Key) -> None:
    told: list[AuditEvent] = []
    store, rows = EncryptedStore(inner, key, audit=told.append), Rows(inner)
    with encryption_context(tenant_id="acme"):
        store.put(ALICE, "plan", {"kind": "free"})
        stored = victim(rows.all())
        rows.put("users.alice", "plan", {**stored, "es1": stored["es1"][:80]})
        with pytest.raises(MalformedEnvelope) as caught:
            store.search(ALICE)
    assert caught.value.row == {"namespace": "users.alice", "key": "plan"}
    assert [event.outcome for event in told if event.action == "refuse"] == ["MalformedEnvelope"]


def test_an_exchanged_search_token_is_refused_where_it_would_answer(inner: BaseStore, key: Key) -> None:
    told: list[AuditEvent] = []
    store, rows = encrypted(inner, key, audit=told.append), Rows(inner)
    stored = rows.all()
    rows.put("users.alice", "plan", {**stored["users.alice", "plan"], "city": stored["users.alice", "other"]["city"]})
    value = store.get(ALICE, "plan")
    assert value is not None
    assert value.value["city"] == "Bonn"
    with pytest.raises(WrongLocation) as caught:
        store.search(ALICE, filter={"city": "Ulm"})
    assert caught.value.row == {"namespace": "users.alice", "key": "plan"}
    assert [event.outcome for event in told if event.action == "refuse"] == ["WrongLocation"]


def test_an_unbound_value_of_ours_is_no_item(inner: BaseStore, key: Key) -> None:
    store, rows = encrypted(inner, key), Rows(inner)
    type_tag, blob = EncryptedSerializer(key).dumps_typed({"kind": "premium"})
    tag = type_tag.encode()
    rows.put("users.alice", "plan", {"es1": sealed_text(b"\xc1ES1" + len(tag).to_bytes(2, "big") + tag + blob)})
    with pytest.raises(WrongLocation):
        store.get(ALICE, "plan")


def test_an_item_of_another_key_is_refused(inner: BaseStore, key: Key) -> None:
    encrypted(inner, Key.generate())
    with pytest.raises(UnknownKey):
        EncryptedStore(inner, key).get(ALICE, "plan")


def test_a_context_exchanged_in_the_header_is_refused(inner: BaseStore, key: Key) -> None:
    store, rows = EncryptedStore(inner, key), Rows(inner)
    with encryption_context(tenant_id="acme"):
        store.put(ALICE, "plan", {"kind": "free"})
    text = rows.all()["users.alice", "plan"]["es1"]
    rows.put("users.alice", "plan", {"es1": relabelled(text, b"acme", b"evil")})
    with pytest.raises(AuthenticationFailed), encryption_context(tenant_id="evil"):
        store.get(ALICE, "plan")


def test_rows_of_another_namespace_are_passed_over(key: Key, caplog: pytest.LogCaptureFixture) -> None:
    from langgraph.store.memory import InMemoryStore

    class Confused(InMemoryStore):
        def batch(self, ops: Any) -> Any:
            return super().batch([op._replace(namespace_prefix=()) if hasattr(op, "namespace_prefix") else op for op in ops])

    store = encrypted(Confused(), key)
    assert [item.key for item in store.search(ALICE)] == ["plan", "other"]
    assert store.passed_over["namespace"] > 0
    assert len(caplog.records) == 1, "the first of them is logged"


@pytest.mark.parametrize("admitted", [False, True])
def test_rows_that_no_store_wrote_are_refused(key: Key, store_place: Callable[[str], Any], admitted: bool) -> None:
    with any_store("Sqlite", store_place("Sqlite")) as inner:
        store = EncryptedStore(inner, key, allow_plaintext=admitted)
        store.put(ALICE, "plan", {"kind": "free"})
        for edit in ("value = '[1]'", "value = '5'", "key = x'00ff'", f"key = '{'k' * 70_000}'"):
            inner.conn.execute("SAVEPOINT edit")
            inner.conn.execute(f"UPDATE store SET {edit}")
            inner.conn.execute("RELEASE edit")
            with pytest.raises(MalformedEnvelope):
                store.search(ALICE)
            inner.conn.execute("DELETE FROM store")
            store.put(ALICE, "plan", {"kind": "free"})


def test_no_frame_of_a_refusal_holds_the_value(inner: BaseStore, key: Key) -> None:
    store, rows = EncryptedStore(inner, key, readable=("kind",)), Rows(inner)
    store.put(ALICE, "plan", {"kind": "free", "text": "S3CRET"})
    rows.put("users.alice", "plan", {**rows.all()["users.alice", "plan"], "kind": "premium"})
    with pytest.raises(WrongLocation) as caught:
        store.get(ALICE, "plan")
    ours = [entry for entry in caught.traceback if "encrypted_serde" in str(entry.path)]
    assert "S3CRET" not in repr([entry.frame.f_locals for entry in ours])


def test_errors_show_neither_values_nor_plaintext(inner: BaseStore, key: Key) -> None:
    store, rows = encrypted(inner, key), Rows(inner)
    rows.put("users.alice", "plan", {**rows.all()["users.alice", "plan"], "kind": "SECRET-1"})
    with pytest.raises(WrongLocation) as caught:
        store.get(ALICE, "plan")
    assert "SECRET" not in str(caught.value)
    assert "free" not in str(caught.value)
