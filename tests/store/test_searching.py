"""What a search asks of the database: as little as an answer needs, and never in clear what is not readable."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, IntEnum
from typing import Any

import pytest
from langgraph.store.base import BaseStore, GetOp, Item, Op, PutOp, SearchOp
from langgraph.store.memory import InMemoryStore
from langgraph.store.sqlite import SqliteStore

from encrypted_serde import ConfigurationError, Key, Keyring
from encrypted_serde.store import EncryptedStore

NOTES = ("notes",)


class Listening(InMemoryStore):
    """A store that keeps what it was asked."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.calls: list[list[Op]] = []

    def batch(self, ops: Iterable[Op]) -> list[Any]:
        self.calls.append(list(ops))
        return super().batch(self.calls[-1])

    def searches(self) -> list[SearchOp]:
        return [op for call in self.calls for op in call if isinstance(op, SearchOp)]


def filled(key: Key, count: int = 200, **options: Any) -> tuple[Listening, EncryptedStore]:
    inner = Listening()
    store = EncryptedStore(inner, key, **options)
    for number in range(count):
        store.put(NOTES, str(number), {"number": number, "city": f"city {number % 10}", "kind": f"kind {number % 10}"})
    store.search(NOTES, filter=dict.fromkeys(options.get("searchable", ()), "read the records of keys"))
    inner.calls.clear()
    return inner, store


def keys(items: Iterable[Item]) -> list[str]:
    return [item.key for item in items]


def test_a_batch_is_one_call_for_its_reads_and_one_for_its_writes(key: Key) -> None:
    inner, store = filled(key, 3)
    results = store.batch([PutOp(NOTES, "0", {"number": 7}), GetOp(NOTES, "0"), SearchOp(NOTES), GetOp(NOTES, "x")])
    assert [[type(op) for op in call] for call in inner.calls] == [[GetOp, SearchOp, GetOp], [PutOp]]
    assert isinstance(results[1], Item)
    assert results[1].value["number"] == 0, "reads of a batch run before its writes"
    assert results[3] is None


def test_writes_wait_for_a_read_that_asks_again(key: Key) -> None:
    inner, store = filled(key)
    deletions: list[Op] = [PutOp(NOTES, str(number), None) for number in range(200)]
    results = store.batch([*deletions, SearchOp(NOTES, filter={"number": 199})])
    assert keys(results[-1]) == ["199"]  # type: ignore[arg-type]
    assert store.search(NOTES) == []
    assert [any(isinstance(op, PutOp) for op in call) for call in inner.calls[:-1]] == [False] * (len(inner.calls) - 2) + [True]


@pytest.mark.parametrize(("options", "wanted"), [({"searchable": ("city",)}, "city"), ({"readable": ("kind",)}, "kind")])
def test_the_database_answers_what_it_can(key: Key, options: dict[str, Any], wanted: str) -> None:
    inner, store = filled(key, **options)
    found = store.search(NOTES, filter={wanted: f"{wanted} 3"}, limit=2, offset=1)
    assert keys(found) == ["13", "23"]
    (asked,) = inner.searches()
    assert (asked.limit, asked.offset) == (2, 1)
    assert ("kind 3" in repr(asked.filter)) == (wanted == "kind"), "what is not readable is not asked for in clear"


def test_the_rest_is_compared_page_by_page(key: Key) -> None:
    inner, store = filled(key)
    assert keys(store.search(NOTES, filter={"number": 3}, limit=1)) == ["3"]
    assert sum(op.limit for op in inner.searches()) < 200
    assert keys(store.search(NOTES, filter={"number": {"$gte": 198}})) == ["198", "199"]
    assert keys(store.search(NOTES, filter={"city": "city 1"}, limit=3, offset=2)) == ["21", "31", "41"]


def test_both_kinds_of_condition_together(key: Key) -> None:
    inner, store = filled(key, searchable=("city",), readable=("kind",))
    wanted = {"city": "city 4", "number": {"$gt": 50}, "kind": {"$ne": "kind 5"}}
    assert keys(store.search(NOTES, filter=wanted, limit=2)) == ["54", "64"]
    assert set(inner.searches()[0].filter or ()) == {"city", "kind"}


def test_tokens_of_old_keys_are_searched_too(inner: BaseStore) -> None:
    old, new = Key.generate(), Key.generate()
    EncryptedStore(inner, old, searchable=("city",)).put(NOTES, "old", {"city": "Bonn"})
    store = EncryptedStore(inner, Keyring(primary=new, decrypt_only=[old]), searchable=("city",))
    store.put(NOTES, "new", {"city": "Bonn"})
    store.put(NOTES, "else", {"city": "Ulm"})
    assert set(keys(store.search(NOTES, filter={"city": "Bonn"}))) == {"old", "new"}


def test_true_and_one_have_no_token_where_they_are_found_as_each_other(inner: BaseStore, key: Key) -> None:
    plain = {} if isinstance(inner, (InMemoryStore, SqliteStore)) else {"b"}
    store = EncryptedStore(inner, key, searchable=("flag",))
    store.put(NOTES, "a", {"flag": True})
    store.put(NOTES, "b", {"flag": 1})
    assert set(keys(store.search(NOTES, filter={"flag": 1}))) == (plain or {"a", "b"})


class Animal(str, Enum):
    CAT = "cat"


class Level(IntEnum):
    HIGH = 3


@pytest.mark.parametrize(
    ("stored", "wanted"),
    [
        ({}, "{}"),
        (["a"], '["a"]'),
        ("a\0b", "a"),
        ("a\0b", "a\0b"),
        (1e16, 10**16),
        (10**16, 1e16),
        (2**60, 2**60 + 1),
        (Animal.CAT, "cat"),
        (Level.HIGH, 3),
    ],
)
@pytest.mark.parametrize("option", ["searchable", "readable"])
@pytest.mark.parametrize("inner", ["InMemory", "Sqlite"], indirect=True)
def test_what_equals_a_value_otherwise_than_by_its_token_is_found(
    inner: BaseStore, key: Key, stored: Any, wanted: Any, option: Any
) -> None:
    store = EncryptedStore(inner, key, **{option: ("f",)})
    for each, namespace in ((inner, ("plain",)), (store, NOTES)):
        each.put(namespace, "k", {"f": stored})
    assert keys(store.search(NOTES, filter={"f": wanted})) == keys(inner.search(("plain",), filter={"f": wanted}))


def test_items_from_before_a_field_was_readable_are_not_taken_for_empty(inner: BaseStore, key: Key) -> None:
    EncryptedStore(inner, key).put(NOTES, "k", {"kind": "free"})
    store = EncryptedStore(inner, key, readable=("kind",))
    assert store.search(NOTES, filter={"kind": None}) == []
    assert store.get(NOTES, "k") is not None


def test_rows_that_move_while_they_are_paged_are_read_again(key: Key) -> None:
    class Moving(Listening):
        moved = False

        def batch(self, ops: Iterable[Op]) -> list[Any]:
            results = super().batch(ops)
            if self.searches() and not self.moved:
                self.moved = True
                items = self._data[NOTES]
                items["199"] = items.pop("199")
                self._data[NOTES] = {"199": items.pop("199"), **items}
            return results

    inner = Moving()
    store = EncryptedStore(inner, key)
    for number in range(200):
        store.put(NOTES, str(number), {"number": number})
    inner.calls.clear()
    found = keys(store.search(NOTES, filter={"number": {"$gte": 150}}, limit=20))
    assert len(found) == len(set(found)) == 20
    assert found[0] == "199"


@pytest.mark.parametrize("inner", ["Sqlite", "Postgres"], indirect=True)  # in memory it compares first
def test_a_filter_is_validated_before_anything_is_asked(inner: BaseStore, key: Key) -> None:
    with pytest.raises(ValueError, match="Unsupported operator"):
        EncryptedStore(inner, key).search(NOTES, filter={"a": {"$in": [1]}})


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"searchable": "city"}, TypeError),
        ({"readable": (1,)}, TypeError),
        ({"readable": ("es1",)}, ConfigurationError),
        ({"readable": ("a",), "searchable": ("a",)}, ConfigurationError),
    ],
)
def test_fields_are_checked_at_construction(key: Key, options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        EncryptedStore(InMemoryStore(), key, **options)


def test_a_readable_copy_is_a_copy(key: Key) -> None:
    tags = ["a"]
    store = EncryptedStore(InMemoryStore(), key, readable=("tags",))
    store.put(NOTES, "k", {"tags": tags})
    tags.append("b")
    item = store.get(NOTES, "k")
    assert item is not None
    assert item.value == {"tags": ["a"]}
