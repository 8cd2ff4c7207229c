"""With ``pseudonymous_names`` the database knows no label and no key, and everything goes on to work."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
from langgraph.store.base import (
    BaseStore,
    GetOp,
    InvalidNamespaceError,
    ListNamespacesOp,
    MatchCondition,
    Op,
    PutOp,
    SearchOp,
)
from langgraph.store.memory import InMemoryStore

from encrypted_serde import AuthenticationFailed, ConfigurationError, EncryptedSerdeError, Key, Keyring
from encrypted_serde.store import EncryptedStore

from .places import Rows

ALICE, BOB = ("users", "alice"), ("users", "bob")


def filled(inner: BaseStore, keys: Any) -> EncryptedStore:
    store = EncryptedStore(inner, keys, pseudonymous_names=True)
    store.put(ALICE, "plan", {"kind": "free"})
    store.put((*ALICE, "memories"), "m1", {"text": "likes tea"})
    store.put(BOB, "plan", {"kind": "premium"})
    return store


def test_names_in_the_database_are_pseudonyms(inner: BaseStore, key: Key) -> None:
    filled(inner, key)
    for prefix, name in Rows(inner).all():
        if prefix.startswith("es1."):
            continue  # records of keys
        assert all(re.fullmatch(r"[a-z2-7]{26}", part) for part in [*prefix.split("."), name] if part != "es1")


def test_the_same_key_has_another_pseudonym_in_another_namespace(inner: BaseStore, key: Key) -> None:
    filled(inner, key)
    names = [name for prefix, name in Rows(inner).all() if not prefix.startswith("es1")]
    assert len(set(names)) == 3


def test_another_process_reads_all_names(inner: BaseStore, key: Key) -> None:
    filled(inner, key)
    store = EncryptedStore(inner, key, pseudonymous_names=True)
    assert store.list_namespaces() == [ALICE, (*ALICE, "memories"), BOB]
    assert store.list_namespaces(prefix=("users", "*"), suffix=("memories",)) == [(*ALICE, "memories")]
    assert store.list_namespaces(max_depth=2) == [ALICE, BOB]
    assert store.list_namespaces(max_depth=1) == [("users",)]
    assert store.list_namespaces(limit=1, offset=2) == [BOB]
    assert {(item.namespace, item.key) for item in store.search(())} == {
        (ALICE, "plan"),
        ((*ALICE, "memories"), "m1"),
        (BOB, "plan"),
    }


def test_labels_are_found_without_the_dictionary(inner: BaseStore, key: Key) -> None:
    filled(inner, key)
    for prefix, name in Rows(inner).all():
        if prefix == "es1":
            inner.delete(("es1",), name)
    store = EncryptedStore(inner, key, pseudonymous_names=True)
    assert store.list_namespaces() == [ALICE, (*ALICE, "memories"), BOB]
    assert store.list_namespaces(max_depth=1) == [("users",)]


def test_a_swapped_entry_of_the_dictionary_is_refused(inner: BaseStore, key: Key) -> None:
    filled(inner, key)
    rows = Rows(inner)
    entries = {name: value for (prefix, name), value in rows.all().items() if prefix == "es1"}
    names = sorted(entries)
    rows.put("es1", names[0], entries[names[1]])
    with pytest.raises(AuthenticationFailed):
        EncryptedStore(inner, key, pseudonymous_names=True).list_namespaces()


def test_an_item_moved_between_pseudonyms_is_refused(inner: BaseStore, key: Key) -> None:
    store = filled(inner, key)
    rows = Rows(inner)
    items = {at: value for at, value in rows.all().items() if at[0] != "es1"}
    (one, _), (_, other) = list(items.items())[:2]
    rows.put(*one, other)
    with pytest.raises(AuthenticationFailed):
        store.search(())


def test_the_dictionary_is_no_namespace_of_the_user(inner: BaseStore, key: Key) -> None:
    store = filled(inner, key)
    store.put(("es1",), "mine", {"a": 1})
    assert [item.key for item in store.search(("es1",))] == ["mine"]
    assert ("es1",) in store.list_namespaces()
    assert len(store.search((), limit=100)) == 4


def test_after_a_rotation_everything_is_found_and_nothing_twice(inner: BaseStore) -> None:
    old, new = Key.generate(), Key.generate()
    filled(inner, old)
    store = EncryptedStore(inner, Keyring(primary=new, decrypt_only=[old]), pseudonymous_names=True)
    assert store.list_namespaces() == [ALICE, (*ALICE, "memories"), BOB]
    store.put(ALICE, "plan", {"kind": "premium"})
    found = store.get(ALICE, "plan")
    assert found is not None
    assert found.value == {"kind": "premium"}
    assert sorted(item.key for item in store.search(("users",))) == ["m1", "plan", "plan"]
    store.delete(BOB, "plan")
    assert store.get(BOB, "plan") is None
    if not isinstance(inner, InMemoryStore):  # which goes on to list a namespace that was emptied
        assert store.list_namespaces(max_depth=2) == [ALICE]


@pytest.mark.parametrize("namespace", [("a.b",), ("",), ("a", 1), ("a\0",)])
def test_labels_are_checked_before_they_are_hidden(inner: BaseStore, key: Key, namespace: Any) -> None:
    store = EncryptedStore(inner, key, pseudonymous_names=True)
    for use in (
        lambda: store.put(namespace, "k", {}),
        lambda: store.get(namespace, "k"),
        lambda: store.search(namespace),
        lambda: store.list_namespaces(prefix=namespace),
    ):
        with pytest.raises(InvalidNamespaceError):
            use()


@pytest.mark.parametrize(
    "op",
    [
        PutOp(("a.b",), "k", {}),
        GetOp(("a.b",), "k"),
        SearchOp(("a.b",)),
        ListNamespacesOp((MatchCondition("prefix", ("a.b",)),)),
    ],
)
def test_so_are_those_that_reach_batch_directly(key: Key, op: Op) -> None:
    with pytest.raises(InvalidNamespaceError):
        EncryptedStore(InMemoryStore(), key, pseudonymous_names=True).batch([op])


def test_a_provider_must_know_every_key(inner: BaseStore, key: Key) -> None:
    class NoSearchKeys:
        def encryption_key(self, context: Mapping[str, str]) -> Key:
            return key

        def decryption_key(self, key_id: bytes, context: Mapping[str, str]) -> Key:
            return key

    for options in ({"pseudonymous_names": True}, {"searchable": ("a",)}):
        with pytest.raises(ConfigurationError, match="search_keys"):
            EncryptedStore(inner, NoSearchKeys(), **options)
    EncryptedStore(inner, NoSearchKeys()).put(ALICE, "k", {})


def test_a_batch_that_fails_leaves_the_dictionary_to_the_next_one(key: Key) -> None:
    class Failing(InMemoryStore):
        fails = True

        def batch(self, ops: Any) -> Any:
            if self.fails:
                raise ConnectionError("gone")
            return super().batch(ops)

    inner = Failing()
    store = EncryptedStore(inner, key, pseudonymous_names=True)
    with pytest.raises(ConnectionError):
        store.put(ALICE, "k", {})
    inner.fails = False
    store.put(ALICE, "k", {})
    assert sum(prefix == "es1" for prefix, _ in Rows(inner).all()) == 2


def test_refusals_are_of_one_root(inner: BaseStore, key: Key) -> None:
    filled(inner, key)
    with pytest.raises(EncryptedSerdeError):
        EncryptedStore(inner, Key.generate(), pseudonymous_names=True).search(())
