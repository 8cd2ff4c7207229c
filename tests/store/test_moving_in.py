"""An application that has a store already goes on with it, and the switch that lets it counts what it lets through."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.store.base import BaseStore, SearchItem

from encrypted_serde import Key, Keyring, PlaintextRefused, WrongLocation
from encrypted_serde.audit import AuditEvent
from encrypted_serde.store import EncryptedStore

from .places import Rows


@pytest.mark.parametrize("options", [{}, {"pseudonymous_names": True}])
def test_old_items_are_read_and_counted_while_the_switch_is_on(inner: BaseStore, key: Key, options: dict[str, Any]) -> None:
    inner.put(("users", "alice"), "old", {"text": "plain", "es1": "es1.hello"})
    events: list[AuditEvent] = []
    store = EncryptedStore(inner, key, allow_plaintext=True, audit=events.append, **options)
    store.put(("users", "alice"), "new", {"text": "sealed"})
    old = store.get(("users", "alice"), "old")
    assert old is not None
    assert old.value == {"text": "plain", "es1": "es1.hello"}
    assert {item.key for item in store.search(("users",))} == {"old", "new"}
    assert [item.key for item in store.search((), filter={"text": "plain"})] == ["old"]
    assert store.list_namespaces() == [("users", "alice")]
    assert store.admitted_reads["plaintext"] == 3
    assert [event.outcome for event in events].count("plaintext") == 3


@pytest.mark.parametrize("options", [{}, {"pseudonymous_names": True}])
def test_a_put_replaces_the_old_item(inner: BaseStore, key: Key, options: dict[str, Any]) -> None:
    inner.put(("users", "alice"), "k", {"text": "SECRET"})
    store = EncryptedStore(inner, key, allow_plaintext=True, **options)
    store.put(("users", "alice"), "k", {"text": "SECRET"})
    assert "SECRET" not in repr(Rows(inner).all())
    assert [item.value for item in store.search(("users",))] == [{"text": "SECRET"}]
    store.delete(("users", "alice"), "k")
    assert store.search(()) == []


def test_with_the_switch_off_old_items_are_refused(inner: BaseStore, key: Key) -> None:
    inner.put(("users", "alice"), "k", {"text": "plain"})
    store = EncryptedStore(inner, key)
    with pytest.raises(PlaintextRefused):
        store.get(("users", "alice"), "k")
    with pytest.raises(PlaintextRefused):
        store.search(("users",))


@pytest.mark.parametrize("options", [{}, {"pseudonymous_names": True, "searchable": ("text",)}])
def test_everything_is_written_anew_after_a_rotation(inner: BaseStore, options: dict[str, Any]) -> None:
    old, new = Key.generate(), Key.generate()
    before = EncryptedStore(inner, old, **options)
    for number in range(20):
        before.put(("users", str(number % 3)), str(number), {"text": str(number)})
    store = EncryptedStore(inner, Keyring(primary=new, decrypt_only=[old]), **options)
    found: list[SearchItem] = []
    while page := store.search((), limit=7, offset=len(found), refresh_ttl=False):
        found += page
    for item in found:
        store.put(item.namespace, item.key, item.value)
    after = EncryptedStore(inner, new, **options)
    if options:  # the old dictionary stays, under the old key
        assert {item.value["text"] for item in after.search(("users",), limit=100)} == {str(number) for number in range(20)}
    else:
        assert len(after.search((), limit=100)) == 20


def test_tokens_are_left_aside_while_the_switch_is_on(inner: BaseStore, key: Key) -> None:
    inner.put(("users",), "old", {"city": "Bonn"})
    store = EncryptedStore(inner, key, searchable=("city",), allow_plaintext=True)
    store.put(("users",), "new", {"city": "Bonn"})
    assert {item.key for item in store.search(("users",), filter={"city": "Bonn"})} == {"old", "new"}


def test_from_readable_names_to_pseudonyms(inner: BaseStore, key: Key) -> None:
    EncryptedStore(inner, key).put(("users", "alice"), "k", {"text": "sealed"})
    with pytest.raises(WrongLocation, match="allow_plaintext"):
        EncryptedStore(inner, key, pseudonymous_names=True).search(())
    store = EncryptedStore(inner, key, pseudonymous_names=True, allow_plaintext=True)
    assert [item.value for item in store.search(("users",))] == [{"text": "sealed"}]
    store.put(("users", "alice"), "k", {"text": "moved"})
    assert [item.value for item in EncryptedStore(inner, key, pseudonymous_names=True).search(())] == [{"text": "moved"}]
