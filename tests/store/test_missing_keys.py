"""A key that was dropped too early is noticed where names and tokens were made with it, and not taken for "nothing there"."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.store.base import BaseStore, SearchOp
from langgraph.store.memory import InMemoryStore

from encrypted_serde import EncryptedStore, Key, Keyring, encryption_context
from encrypted_serde.errors import UnknownKey
from encrypted_serde.store import records

NOTES = ("notes",)
ANSWERS = {
    "get": lambda store: store.get(NOTES, "k"),
    "search": lambda store: store.search(NOTES),
    "list": lambda store: store.list_namespaces(),
    "put": lambda store: store.put(NOTES, "k", {"city": "Ulm"}),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_pseudonyms_of_a_missing_key_are_an_error(inner: BaseStore, answer: str) -> None:
    old, new = Key.generate(), Key.generate()
    EncryptedStore(inner, old, pseudonymous_names=True).put(NOTES, "k", {"city": "Bonn"})
    store = EncryptedStore(inner, new, pseudonymous_names=True)
    with pytest.raises(UnknownKey) as caught:
        ANSWERS[answer](store)
    assert caught.value.key_id == old.id
    ANSWERS[answer](EncryptedStore(inner, Keyring(primary=new, decrypt_only=[old]), pseudonymous_names=True))


def test_tokens_of_a_missing_key_are_an_error(inner: BaseStore) -> None:
    old, new = Key.generate(), Key.generate()
    EncryptedStore(inner, old, searchable=("city",)).put(NOTES, "k", {"city": "Bonn"})
    store = EncryptedStore(inner, new, searchable=("city",))
    with pytest.raises(UnknownKey) as caught:
        store.search(NOTES, filter={"city": "Bonn"})
    assert caught.value.key_id == old.id


def test_a_key_that_is_needed_no_more_may_go(inner: BaseStore) -> None:
    old, new = Key.generate(), Key.generate()
    options: dict[str, Any] = {"pseudonymous_names": True, "searchable": ("city",)}
    EncryptedStore(inner, old, **options).put(NOTES, "k", {"city": "Bonn"})
    both = EncryptedStore(inner, Keyring(primary=new, decrypt_only=[old]), **options)
    both.put(NOTES, "k", {"city": "Bonn"})
    store = EncryptedStore(inner, new, **options)
    assert [item.key for item in store.search(NOTES, filter={"city": "Bonn"})] == ["k"]
    assert store.list_namespaces() == [NOTES]


def test_another_tenants_key_is_no_matter(inner: BaseStore) -> None:
    old, new = Key.generate(), Key.generate()
    with encryption_context(tenant_id="acme"):
        EncryptedStore(inner, old, searchable=("city",)).put(NOTES, "k", {"city": "Bonn"})
    with encryption_context(tenant_id="globex"):
        assert EncryptedStore(inner, new, searchable=("city",)).search(NOTES, filter={"city": "Bonn"}) == []


def test_records_are_no_items_and_no_namespaces(inner: BaseStore, key: Key) -> None:
    store = EncryptedStore(inner, key, searchable=("city",))
    store.put(NOTES, "k", {"city": "Bonn"})
    assert [item.key for item in store.search((), limit=10)] == ["k"]
    assert store.search((), limit=10, offset=1) == []
    assert store.list_namespaces() == [NOTES]
    assert store.list_namespaces(offset=1) == []
    assert EncryptedStore(inner, key).list_namespaces() == [NOTES]


@pytest.mark.parametrize("options", [{"pseudonymous_names": True}, {"searchable": ["c"]}])
def test_a_process_that_runs_notices_that_others_write_under_a_key_that_it_lacks(options, monkeypatch):
    monkeypatch.setattr(records, "FRESH", 0.0)
    inner, old, new = InMemoryStore(), Key.generate(), Key.generate()
    running = EncryptedStore(inner, old, **options)
    running.put(("u",), "k", {"c": "x"})
    assert len(running.search(("u",), filter={"c": "x"})) == 1
    EncryptedStore(inner, Keyring(primary=new, decrypt_only=[old]), **options).put(("u",), "k", {"c": "x"})
    with pytest.raises(UnknownKey):
        running.search(("u",), filter={"c": "x"})
    with pytest.raises(UnknownKey):
        running.get(("u",), "k")


def test_records_are_not_read_again_within_a_second(monkeypatch):
    asked = []

    class Counting(InMemoryStore):
        def batch(self, ops):
            asked.extend(op for op in ops if isinstance(op, SearchOp))
            return super().batch(ops)

    now = [0.0]
    monkeypatch.setattr(records.time, "monotonic", lambda: now[0])
    store = EncryptedStore(Counting(), Key.generate(), pseudonymous_names=True)
    for _ in range(3):
        store.get(("u",), "k")
    assert len(asked) == 1
    now[0] = 1.0  # seconds, as the page says
    store.get(("u",), "k")
    assert len(asked) == 2
