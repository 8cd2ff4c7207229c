"""A tenant's items are found in the database, by the mark of their context."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from langgraph.store.base import BaseStore, Op, PutOp, SearchOp
from langgraph.store.memory import InMemoryStore

from encrypted_serde import EncryptedStore, Key, Keyring, Sealer, encryption_context

from .places import Rows

NOTES = ("notes",)


def filled(inner: BaseStore, key: Any, **options: Any) -> EncryptedStore:
    store = EncryptedStore(inner, key, **options)
    for number in range(6):
        for tenant in ("acme", "globex"):
            with encryption_context(tenant_id=tenant):
                store.put(NOTES, f"{tenant}-{number}", {"number": number, "kind": f"kind {number % 2}"})
    return store


def test_the_mark_is_equal_within_a_tenant_and_says_nothing_else(inner: BaseStore, key: Key) -> None:
    filled(inner, key)
    marks = {(name.partition("-")[0], stored["es1c"]) for (_, name), stored in Rows(inner).all().items()}
    assert len(marks) == 2
    with encryption_context(tenant_id="acme"):
        EncryptedStore(inner, Key.generate()).put(NOTES, "other", {})
    assert Rows(inner).all()["notes", "other"]["es1c"] not in {mark for _, mark in marks}


class Listening(InMemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.searches: list[SearchOp] = []
        self.rows = 0

    def batch(self, ops: Iterable[Op]) -> list[Any]:
        ops = list(ops)
        self.searches += [op for op in ops if isinstance(op, SearchOp)]
        results = super().batch(ops)
        self.rows += sum(len(found) for found in results if isinstance(found, list))
        return results


def test_limit_and_offset_are_the_databases_own(key: Key) -> None:
    inner = Listening()
    store = filled(inner, key)
    with encryption_context(tenant_id="acme"):
        store.search(NOTES)  # looks once whether all rows have marks
        inner.searches.clear()
        assert [item.key for item in store.search(NOTES, limit=2, offset=3)] == ["acme-3", "acme-4"]
    [asked] = inner.searches
    assert (asked.limit, asked.offset) == (2, 3)


def test_pages_of_a_tenant_read_each_row_once(key: Key) -> None:
    inner = Listening()
    store = EncryptedStore(inner, key)
    with encryption_context(tenant_id="acme"):
        store.batch([PutOp(NOTES, str(number), {"number": number}) for number in range(400)])
        inner.rows, count = 0, 0
        while page := store.search(NOTES, limit=20, offset=count):
            count += len(page)
    assert (count, inner.rows) == (400, 400)


def test_rows_without_a_mark_are_read_the_old_way(inner: BaseStore, key: Key) -> None:
    filled(inner, key)
    rows = Rows(inner)
    for name in ("acme-2", "globex-4"):
        stored = rows.all()["notes", name]
        rows.put("notes", name, {field: part for field, part in stored.items() if field != "es1c"})
    with encryption_context(tenant_id="acme"):
        store = EncryptedStore(inner, key)
        found = [item.key for page in range(4) for item in store.search(NOTES, limit=2, offset=2 * page)]
        assert sorted(found) == [f"acme-{number}" for number in range(6)]
        assert len(store.search((), filter={"kind": "kind 0"})) == 3


@pytest.mark.parametrize("options", [{}, {"searchable": ("kind",)}, {"readable": ("kind",)}, {"pseudonymous_names": True}])
def test_marks_of_all_keys_and_accepted_contexts_are_found(inner: BaseStore, options: dict[str, Any]) -> None:
    old, new = Key.generate(), Key.generate()
    EncryptedStore(inner, old, **options).put(NOTES, "shared", {"kind": "kind 0"})
    filled(inner, old, **options)
    ring = Keyring(primary=new, decrypt_only=[old])
    store = EncryptedStore(inner, Sealer(ring, accept_contexts=({},)), **options)
    with encryption_context(tenant_id="acme"):
        store.put(NOTES, "acme-new", {"kind": "kind 0"})
        expected = {"shared", "acme-0", "acme-2", "acme-4", "acme-new"}
        assert {item.key for item in store.search(NOTES, filter={"kind": "kind 0"})} == expected
        assert len(store.search(NOTES, limit=20)) == 8
        pages = [item.key for offset in range(0, 10, 3) for item in store.search(NOTES, limit=3, offset=offset)]
        assert len(pages) == len(set(pages)) == 8


def test_an_exchanged_mark_shows_nothing_of_another_tenant(inner: BaseStore, key: Key) -> None:
    filled(inner, key)
    rows = Rows(inner)
    mine, theirs = rows.all()["notes", "acme-0"], rows.all()["notes", "globex-0"]
    rows.put("notes", "globex-0", {**theirs, "es1c": mine["es1c"]})
    with encryption_context(tenant_id="acme"):
        assert len(EncryptedStore(inner, key).search(NOTES, limit=20)) == 6
