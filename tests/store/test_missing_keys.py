"""A key that was dropped too early is noticed where names and tokens were made with it, and not taken for "nothing there"."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.store.base import BaseStore

from encrypted_serde import EncryptedStore, Key, Keyring, encryption_context
from encrypted_serde.errors import UnknownKey

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
