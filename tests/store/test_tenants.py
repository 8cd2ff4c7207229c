"""A store keeps tenants apart, in one namespace of one database."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.store.base import BaseStore

from encrypted_serde import ConfigurationError, Key, Keyring, Sealer, WrongContext, encryption_context
from encrypted_serde.audit import AuditEvent
from encrypted_serde.store import EncryptedStore

NOTES = ("notes",)


def filled(inner: BaseStore, key: Key, **options: Any) -> EncryptedStore:
    store = EncryptedStore(inner, key, **options)
    for tenant in ("acme", "globex"):
        with encryption_context(tenant_id=tenant):
            for number in range(4):
                store.put(NOTES, f"{tenant}-{number}", {"text": f"{tenant} {number}", "number": number})
    return store


def test_a_get_of_another_tenants_item_is_refused(inner: BaseStore, key: Key) -> None:
    store = filled(inner, key)
    with encryption_context(tenant_id="acme"), pytest.raises(WrongContext):
        store.get(NOTES, "globex-1")


@pytest.mark.parametrize("wanted", [None, {"number": {"$gt": -1}}, {"number": 2}])
def test_a_search_gives_the_items_of_the_tenant_alone(inner: BaseStore, key: Key, wanted: Any) -> None:
    store = filled(inner, key)
    plain = EncryptedStore(type_of_memory(), key)
    with encryption_context(tenant_id="acme"):
        for number in range(4):
            plain.put(NOTES, f"acme-{number}", {"text": f"acme {number}", "number": number})
        found = {item.key for item in store.search(NOTES, filter=wanted)}
        assert found == {item.key for item in plain.search(NOTES, filter=wanted)}


def type_of_memory() -> BaseStore:
    from langgraph.store.memory import InMemoryStore

    return InMemoryStore()


def test_limit_and_offset_count_the_items_of_the_tenant(inner: BaseStore, key: Key) -> None:
    store = filled(inner, key)
    with encryption_context(tenant_id="acme"):
        everything = [item.key for item in store.search(())]
        pages = [[item.key for item in store.search(NOTES, limit=1, offset=offset)] for offset in range(5)]
    assert sorted(everything) == [f"acme-{number}" for number in range(4)]
    assert [key for page in pages for key in page] == everything
    assert pages[4] == []


def test_a_search_opens_nothing_of_another_tenant(inner: BaseStore, key: Key) -> None:
    events: list[AuditEvent] = []
    filled(inner, key)
    store = EncryptedStore(inner, key, audit=events.append)
    with encryption_context(tenant_id="acme"):
        store.search(())
    assert {(event.action, tuple(dict(event.context or {}).values())) for event in events} == {("open", ("acme",))}


def test_without_a_context_all_items_are_found(inner: BaseStore, key: Key) -> None:
    assert len(filled(inner, key).search(NOTES)) == 8


def test_a_required_context_is_required_for_writing(inner: BaseStore, key: Key) -> None:
    store = EncryptedStore(inner, key, required_context=("tenant_id",))
    for forgotten in (lambda: store.put(NOTES, "k", {}), lambda: store.delete(NOTES, "k")):
        with pytest.raises(ConfigurationError, match="tenant_id"):
            forgotten()
    assert store.search(NOTES) == []


def test_reading_can_require_a_context(inner: BaseStore, key: Key) -> None:
    store = EncryptedStore(inner, key, require_context_to_read=True)
    store.put(NOTES, "k", {"text": "of nobody"})
    for forgotten in (lambda: store.get(NOTES, "k"), lambda: store.search(NOTES), lambda: store.list_namespaces()):
        with pytest.raises(WrongContext, match="require_context_to_read"):
            forgotten()
    with encryption_context():
        assert store.get(NOTES, "k") is not None


def test_a_sealer_brings_its_contexts_along(inner: BaseStore, key: Key) -> None:
    EncryptedStore(inner, key).put(NOTES, "shared", {"text": "from before"})
    store = EncryptedStore(inner, Sealer(key, required_context=("tenant_id",), accept_contexts=({},)))
    with pytest.raises(ConfigurationError, match="tenant_id"):
        store.put(NOTES, "k", {})
    with encryption_context(tenant_id="acme"):
        assert [item.key for item in store.search(NOTES)] == ["shared"]


@pytest.mark.parametrize("options", [{}, {"pseudonymous_names": True}, {"searchable": ("text",)}])
def test_accepted_contexts_are_read_besides(inner: BaseStore, key: Key, options: dict[str, Any]) -> None:
    EncryptedStore(inner, key, **options).put(NOTES, "shared", {"text": "from before"})
    store = EncryptedStore(inner, Sealer(key, accept_contexts=({},)), **options)
    with encryption_context(tenant_id="acme"):
        store.put(NOTES, "own", {"text": "mine"})
        assert store.get(NOTES, "shared") is not None
        assert {item.key for item in store.search(NOTES)} == {"shared", "own"}
        assert {item.key for item in store.search(NOTES, filter={"text": "from before"})} == {"shared"}
        store.put(NOTES, "shared", {"text": "taken over"})
        assert {item.value["text"] for item in store.search(NOTES)} == {"taken over", "mine"}
    with encryption_context(tenant_id="globex"):
        assert store.search(NOTES, filter={"text": "taken over"}) == []


def test_context_may_be_a_mapping_or_asked_for(inner: BaseStore, key: Key) -> None:
    EncryptedStore(inner, key, context={"tenant_id": "acme"}).put(NOTES, "k", {"text": "mine"})
    tenant = "acme"
    store = EncryptedStore(inner, key, context=lambda: {"tenant_id": tenant})
    assert len(store.search(NOTES)) == 1
    tenant = "globex"
    assert store.search(NOTES) == []
    with pytest.raises(WrongContext):
        store.get(NOTES, "k")


def test_pseudonyms_of_tenants_do_not_meet(inner: BaseStore, key: Key) -> None:
    store = EncryptedStore(inner, Keyring(primary=key), pseudonymous_names=True)
    for tenant in ("acme", "globex"):
        with encryption_context(tenant_id=tenant):
            store.put(("users", tenant), "profile", {"tenant": tenant})
            store.put(("shared",), "profile", {"tenant": tenant})
    for tenant in ("acme", "globex"):
        with encryption_context(tenant_id=tenant):
            shared = store.get(("shared",), "profile")
            assert shared is not None
            assert shared.value == {"tenant": tenant}
            assert store.list_namespaces() == [("shared",), ("users", tenant)]
            assert EncryptedStore(inner, key, pseudonymous_names=True).list_namespaces() == [("shared",), ("users", tenant)]
            assert {item.value["tenant"] for item in store.search(())} == {tenant}
