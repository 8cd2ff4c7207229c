"""Stores that nobody measured: what embeds under any name is refused, names are checked, rows by mistake are passed over."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from langgraph.store.base import BaseStore, GetOp, InvalidNamespaceError, Item, Op, PutOp, SearchOp
from langgraph.store.memory import InMemoryStore

from encrypted_serde import ConfigurationError, EncryptedStore, Key
from encrypted_serde.audit import AuditEvent
from encrypted_serde.store import filters

from .embedding import DIMS, WordEmbeddings


class Unknown(BaseStore):
    """A store of nobody's, around one that works."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__()
        self.items = InMemoryStore()
        vars(self).update(attributes)

    def batch(self, ops: Iterable[Op]) -> list[Any]:
        return self.items.batch(ops)

    async def abatch(self, ops: Iterable[Op]) -> list[Any]:
        return await self.items.abatch(ops)


@pytest.mark.parametrize(
    "attributes",
    [
        {"_embeddings": WordEmbeddings()},
        {"_index_config": {"dims": 3, "embed": "x"}},
        {"embedding_model": "titan"},
        {"wrapped": InMemoryStore(index={"dims": DIMS, "embed": WordEmbeddings()})},
        {"vectoriser": WordEmbeddings()},
    ],
)
def test_an_embedder_under_any_name_is_refused(key: Key, attributes: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="readable_embeddings"):
        EncryptedStore(Unknown(**attributes), key)


def test_a_store_that_embeds_nothing_is_wrapped(key: Key) -> None:
    store = EncryptedStore(Unknown(table_index="by_prefix", index=None, _embed_fields=["$"]), key)
    store.put(("a",), "k", {"x": 1})
    assert store.search(("a",))[0].value == {"x": 1}


class LimitsFirst(Unknown):
    """Applies ``limit`` before the filter, as RedisStore and DynamoDBStore do."""

    def batch(self, ops: Iterable[Op]) -> list[Any]:
        return [self._search(op) if isinstance(op, SearchOp) else self.items.batch([op])[0] for op in ops]

    def _search(self, op: SearchOp) -> Any:
        [found] = self.items.batch([op._replace(filter=None)])
        return [item for item in found if all(item.value.get(name) == value for name, value in (op.filter or {}).items())]


def test_a_store_that_limits_before_it_filters_is_asked_for_no_filter(key: Key) -> None:
    store = EncryptedStore(LimitsFirst(), key)
    for number in range(50):
        store.put(("a",), str(number), {"kind": str(number % 25)})
    assert [item.key for item in store.search(("a",), filter={"kind": "20"}, limit=2)] == ["20", "45"]


@pytest.mark.parametrize("option", ["searchable", "readable"])
def test_what_a_store_is_never_asked_for_is_refused(key: Key, option: Any) -> None:
    with pytest.raises(ConfigurationError, match="not measured"):
        EncryptedStore(Unknown(), key, **{option: ("kind",)})


class Opaque(BaseStore):
    """A store of which nothing can be seen."""

    __slots__ = ()

    def batch(self, ops: Iterable[Op]) -> list[Any]:
        return [None for _ in ops]

    async def abatch(self, ops: Iterable[Op]) -> list[Any]:
        return self.batch(ops)

    def __getattribute__(self, name: str) -> Any:
        if name == "__dict__":
            return {}
        return super().__getattribute__(name)


def test_a_store_that_cannot_be_looked_at_is_refused_unless_its_vectors_may_be_readable(key: Key) -> None:
    with pytest.raises(ConfigurationError, match="cannot be seen"):
        EncryptedStore(Opaque(), key)
    assert EncryptedStore(Opaque(), key, readable_embeddings=True).get(("a",), "k") is None


class ByBeginning(InMemoryStore):
    """Matches a namespace by the beginning of its text, as older stores do."""

    def batch(self, ops: Iterable[Op]) -> list[Any]:
        results: list[Any] = []
        for op in ops:
            if isinstance(op, SearchOp):
                start = ".".join(op.namespace_prefix)
                [found] = super().batch([op._replace(namespace_prefix=(), limit=1000, offset=0)])
                results.append([item for item in found if ".".join(item.namespace).startswith(start)][op.offset :][: op.limit])
            else:
                results += super().batch([op])
        return results


@pytest.mark.parametrize("options", [{}, {"readable": ("kind",)}, {"searchable": ("kind",)}, {"pseudonymous_names": True}])
def test_siblings_are_passed_over_and_audited(key: Key, options: dict[str, Any]) -> None:
    events: list[AuditEvent] = []
    store = EncryptedStore(ByBeginning(), key, audit=events.append, **options)
    for user in ("10", "1", "2", "100"):
        for number in range(4):
            store.put(("users", user), str(number), {"user": user, "kind": "note"})
    for user in ("1", "10", "2"):
        for wanted in (None, {"kind": "note"}, {"user": user}):
            found = [
                item
                for offset in range(0, 6, 2)
                for item in store.search(("users", user), filter=wanted, limit=2, offset=offset)
            ]
            assert [(item.value["user"], item.key) for item in found] == [(user, str(number)) for number in range(4)]
    if not options.get("pseudonymous_names"):
        assert store.passed_over["namespace"] > 0
        assert ("refuse", "WrongLocation") in {(event.action, event.outcome) for event in events}


def test_labels_that_the_inner_store_takes_for_two_are_refused(key: Key, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(filters._KNOWN, f"{__name__}.Unknown", filters.DynamoSemantics)
    store = EncryptedStore(Unknown(), key)
    for wrong in (lambda: store.put(("a:b",), "k", {}), lambda: store.get(("a:b",), "k"), lambda: store.search(("a:b",))):
        with pytest.raises(InvalidNamespaceError, match="pseudonymous_names"):
            wrong()
    hidden = EncryptedStore(Unknown(), key, pseudonymous_names=True)
    hidden.put(("a:b",), "k", {"x": 1})
    assert [item.namespace for item in hidden.search(("a:b",))] == [("a:b",)]


def test_siblings_are_passed_over_while_names_are_moved(key: Key) -> None:
    inner = ByBeginning()
    for user in ("10", "1"):
        inner.put(("users", user), "old", {"user": user})
    store = EncryptedStore(inner, key, pseudonymous_names=True, allow_plaintext=True)
    store.put(("users", "1"), "new", {"user": "1"})
    assert {item.key for item in store.search(("users", "1"))} == {"old", "new"}
    assert all(item.value["user"] == "1" for item in store.search(("users", "1")))


def test_a_namespace_that_is_a_str_is_found_again(inner: BaseStore, key: Key) -> None:
    store = EncryptedStore(inner, key)
    store.put("notes", "k", {"a": 1})  # type: ignore[arg-type]
    item = store.get("notes", "k")  # type: ignore[arg-type]
    assert isinstance(item, Item)
    assert item.value == {"a": 1}
    assert len(store.search("notes")) == 1  # type: ignore[arg-type]


@pytest.mark.parametrize("op", [PutOp(("a",), 1, {}), GetOp(("a",), 1)])  # type: ignore[arg-type]
def test_keys_must_be_text(inner: BaseStore, key: Key, op: Op) -> None:
    with pytest.raises(TypeError, match="key of an item"):
        EncryptedStore(inner, key).batch([op])


@pytest.mark.parametrize("namespace", [("",), ("a.b",), ("a\0",), (1,)])
def test_labels_are_checked_as_the_inner_store_does(inner: BaseStore, key: Key, namespace: Any) -> None:
    store = EncryptedStore(inner, key)
    for wrong in (
        lambda: store.batch([SearchOp(namespace)]),
        lambda: store.put(namespace, "k", {}),
        lambda: store.get(namespace, "k"),
    ):
        with pytest.raises(InvalidNamespaceError):
            wrong()


def test_the_namespace_of_the_store_itself_is_reserved(inner: BaseStore, key: Key) -> None:
    with pytest.raises(InvalidNamespaceError, match="reserved"):
        EncryptedStore(inner, key).put(("es1", "mine"), "k", {})
