"""What a program reads is what the plain store would have given it. What cannot be stored is refused; the field is named."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import math
import uuid
from typing import Any

import pytest
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore
from langgraph.store.postgres import PostgresStore

from encrypted_serde import ConfigurationError, EncryptedStore, Key
from encrypted_serde.store.values import MAX_DEPTH, PostgresValues, SqliteValues, Unstorable

from .places import Rows

NOTES = ("notes",)
HOW: list[dict[str, Any]] = [{}, {"readable": ("f",)}, {"searchable": ("f",)}]


class Color(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Address:
    city: str


def nested(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.filterwarnings("ignore:The default datetime adapter is deprecated:DeprecationWarning")
@pytest.mark.parametrize(
    "value",
    [
        datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc),
        uuid.UUID(int=1),
        Color.RED,
        Address("Bonn"),
        (1, (2,)),
        {1: "a"},
        1e16,
        -0.0,
        1.5e300,
        1e-7,
        2**60,
        float("nan"),
        math.inf,
        10**400,
        "caf\ud83d",
        "a\0b",
        b"bytes",
        {1, 2},
        ValueError("boom"),
        nested(200),
        {"a": {"b": [1.0, None, "é"]}},
    ],
    ids=lambda value: f"{type(value).__name__} {str(type(value)) if isinstance(value, list) else ascii(value)[:20]}",
)
@pytest.mark.parametrize("options", HOW)
@pytest.mark.parametrize("inner", ["Sqlite", "Postgres"], indirect=True)  # in memory they are the objects themselves
def test_values_come_back_as_from_the_plain_store(inner: BaseStore, key: Key, value: Any, options: dict[str, Any]) -> None:
    try:
        inner.put(("plain",), "k", {"f": value})
        found = inner.get(("plain",), "k")
    except Exception:  # noqa: BLE001  # whatever it says, ours refuses it too
        with pytest.raises(Unstorable, match="'f'"):
            EncryptedStore(inner, key, **options).put(NOTES, "k", {"f": value})
        return
    store = EncryptedStore(inner, key, **options)
    store.put(NOTES, "k", {"f": value})
    item = store.get(NOTES, "k")
    assert found is not None
    assert item is not None
    assert repr(item.value) == repr(found.value)
    assert [one.key for one in store.search(NOTES, filter={"f": "other"})] == []


@pytest.mark.parametrize("value", ["caf\ud83d", ValueError("boom"), object(), {"deep": [ValueError("boom")]}])
def test_objects_that_would_change_are_refused_with_their_path(key: Key, value: Any) -> None:
    store = EncryptedStore(InMemoryStore(), key)
    path = r"'a\.deep\[0\]'" if isinstance(value, dict) else "'a'"
    with pytest.raises(Unstorable, match=path) as caught:
        store.put(NOTES, "k", {"a": value})
    assert isinstance(caught.value, (TypeError, ConfigurationError))
    assert "boom" not in str(caught.value)


@pytest.mark.parametrize("options", HOW)
def test_what_is_too_deep_is_refused_and_what_is_not_can_be_searched(
    inner: BaseStore, key: Key, options: dict[str, Any]
) -> None:
    store = EncryptedStore(inner, key, **options)
    store.put(NOTES, "good", {"f": "hello"})
    store.put(NOTES, "deep", {"f": nested(MAX_DEPTH - 2)})
    with pytest.raises(Unstorable, match=f"more than {MAX_DEPTH} levels"):
        store.put(NOTES, "deeper", {"f": nested(600)})
    assert [item.key for item in store.search(NOTES, filter={"f": "hello"})] == ["good"]
    assert [item.key for item in store.search(NOTES, filter={"f": {"$ne": "hello"}})] == ["deep"]


@pytest.mark.parametrize("values", [SqliteValues, PostgresValues])
def test_what_is_too_large_is_refused_by_the_name_of_its_field(values: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "limit", 100)
    with pytest.raises(Unstorable, match=r"'large'.*100 bytes"):
        values(None).dumps({"small": "x", "large": "x" * 100})


def test_an_int_of_400_digits_breaks_no_filter(inner: BaseStore, key: Key) -> None:
    store = EncryptedStore(inner, key, values="objects")
    store.put(NOTES, "huge", {"n": 10**400})
    store.put(NOTES, "small", {"n": 1})
    assert [item.key for item in store.search(NOTES, filter={"n": 1})] == ["small"]
    found = {item.key for item in store.search(NOTES, filter={"n": {"$lt": 5}})}
    assert found == ({"small", "huge"} if isinstance(inner, PostgresStore) else {"small"}), "Postgres compares text"


def test_objects_come_back_where_they_are_asked_for(inner: BaseStore, key: Key) -> None:
    store = EncryptedStore(inner, key, values="objects")
    value = {"when": datetime.date(2024, 1, 1), "who": uuid.UUID(int=1), "set": {1}}
    store.put(NOTES, "k", value)
    item = store.get(NOTES, "k")
    assert item is not None
    assert item.value == value


@pytest.mark.parametrize("inner", ["Sqlite"], indirect=True)  # the one that takes a date and keeps its text
def test_plain_values_are_read_of_what_was_sealed_as_objects(inner: BaseStore, key: Key) -> None:
    EncryptedStore(inner, key, values="objects").put(NOTES, "k", {"when": datetime.date(2024, 1, 1)})
    item = EncryptedStore(inner, key).get(NOTES, "k")
    assert item is not None
    assert item.value == {"when": "2024-01-01"}


def test_a_namespace_never_holds_objects_beside_what_a_plain_store_made_of_them(key: Key) -> None:
    with pytest.raises(ConfigurationError, match="move in first"):
        EncryptedStore(InMemoryStore(), key, values="objects", allow_plaintext=True)
    with pytest.raises(ConfigurationError, match="'plain' or 'objects'"):
        EncryptedStore(InMemoryStore(), key, values="both")  # type: ignore[arg-type]


@pytest.mark.parametrize("inner", ["Sqlite"], indirect=True)  # the one that takes an enum and keeps its text
def test_a_searchable_enum_is_found_by_the_text_that_it_became(inner: BaseStore, key: Key) -> None:
    store = EncryptedStore(inner, key, searchable=("color",))
    store.put(NOTES, "k", {"color": Color.RED})
    assert [item.key for item in store.search(NOTES, filter={"color": "red"})] == ["k"]


@pytest.mark.parametrize("options", [{"searchable": ("a.b",)}, {"readable": ("a.b",)}])
def test_a_dotted_field_is_a_path_where_filters_have_paths(inner: BaseStore, key: Key, options: dict[str, Any]) -> None:
    store = EncryptedStore(inner, key, **options)
    store.put(NOTES, "path", {"a": {"b": "x"}})
    store.put(NOTES, "name", {"a.b": "x"})
    store.put(NOTES, "none", {"a": "x"})
    inner.put(("plain",), "path", {"a": {"b": "x"}})
    inner.put(("plain",), "name", {"a.b": "x"})
    expected = [item.key for item in inner.search(("plain",), filter={"a.b": "x"})]
    assert [item.key for item in store.search(NOTES, filter={"a.b": "x"})] == expected
    assert '"x"' not in str(Rows(inner).all()["notes", "path"]) or "readable" in options
