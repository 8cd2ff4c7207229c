"""One row that nobody can read concerns itself, and no error shows what else was read or written."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

import pytest
from langgraph.store.base import BaseStore, GetOp, Op, PutOp, SearchOp
from langgraph.store.memory import InMemoryStore

from encrypted_serde import EncryptedStore, Key, encryption_context
from encrypted_serde.errors import AuthenticationFailed, EncryptedSerdeError, MalformedEnvelope, PlaintextRefused
from encrypted_serde.store import listing

from .places import Rows, any_store

NOTES = ("notes",)
SECRET = "a secret of somebody else"


@pytest.mark.parametrize("edit", ["value = '{'", "value = '5'", "value = CAST(x'7b22ff' AS TEXT)", "created_at = 'long ago'"])
@pytest.mark.parametrize("read", ["get", "search", "batch"])
def test_a_row_that_the_inner_store_cannot_read_is_an_error_of_ours(
    edit: str, read: str, key: Key, store_place: Callable[[str], Any]
) -> None:
    with any_store("Sqlite", store_place("Sqlite")) as inner:
        store = EncryptedStore(inner, key)
        store.put(NOTES, "bad", {"text": SECRET})
        store.put(("else",), "good", {})
        inner.conn.execute(f"UPDATE store SET {edit} WHERE key = 'bad'")
        ops: dict[str, list[Op]] = {
            "get": [GetOp(NOTES, "bad")],
            "search": [SearchOp(NOTES)],
            "batch": [GetOp(("else",), "good"), GetOp(NOTES, "bad")],
        }
        with pytest.raises(MalformedEnvelope) as caught:
            store.batch(ops[read])
        assert caught.value.row["namespace"] == "notes"
        assert read == "search" or caught.value.row["key"] == "bad"
        assert store.get(("else",), "good") is not None


def test_text_of_a_row_is_escaped_in_an_error(key: Key) -> None:
    inner = InMemoryStore()
    inner.put(("a\x1b[31m\n",), "k\r\n", {"x": 1})
    with pytest.raises(PlaintextRefused) as caught:
        EncryptedStore(inner, key).search(())
    assert str(caught.value).isprintable()


def test_a_batch_that_is_refused_has_written_nothing(inner: BaseStore, key: Key) -> None:
    store, rows = EncryptedStore(inner, key), Rows(inner)
    store.put(NOTES, "k", {"a": 1})
    rows.put("notes", "forged", {"es1": "es1.AAAA"})
    before = rows.all()
    for refused in (GetOp(NOTES, "forged"), SearchOp(NOTES)):
        with pytest.raises(EncryptedSerdeError):
            store.batch([PutOp(NOTES, "new", {"a": 2}), PutOp(NOTES, "k", None), refused])
        assert rows.all() == before
    with pytest.raises(TypeError):
        store.batch([PutOp(NOTES, "k", None), PutOp(NOTES, "new", {"a": object()})])
    assert rows.all() == before


def frames(traceback: TracebackType | None) -> Iterator[str]:
    while traceback is not None:
        frame = traceback.tb_frame
        if "encrypted_serde" in frame.f_code.co_filename and "tests" not in frame.f_code.co_filename:
            yield from (f"{frame.f_code.co_name}: {name} = {value!r}" for name, value in frame.f_locals.items())
        traceback = traceback.tb_next


@pytest.mark.parametrize("options", [{}, {"readable": ("kind",)}, {"pseudonymous_names": True}])
def test_the_frames_of_a_refusal_show_nothing_of_other_items(inner: BaseStore, key: Key, options: dict[str, Any]) -> None:
    store, rows = EncryptedStore(inner, key, **options), Rows(inner)
    for name in ("a", "z"):
        store.put(NOTES, name, {"text": SECRET, "kind": "fact"})
    place, stored = next((place, stored) for place, stored in rows.all().items() if not place[0].startswith("es1"))
    text = stored["es1"]
    rows.put(*place, {**stored, "es1": text[:120] + ("A" if text[120] != "A" else "B") + text[121:]})
    tries: list[list[Op]] = [
        [SearchOp(NOTES)],
        [SearchOp(NOTES, filter={"text": SECRET[:3]})],
        [GetOp(NOTES, "a"), GetOp(NOTES, "z")],
        [GetOp(NOTES, "z"), GetOp(NOTES, "a"), PutOp(NOTES, "b", {"text": SECRET})],
    ]
    for ops in tries:
        try:
            store.batch(ops)
        except AuthenticationFailed:
            shown = [line for line in frames(sys.exc_info()[2]) if SECRET in line]
            assert shown == []
        else:
            raise AssertionError("it was refused")


def test_names_of_a_tenant_are_asked_for_in_portions(inner: BaseStore, key: Key, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "_AT_ONCE", 10)
    store = EncryptedStore(inner, key, pseudonymous_names=True)
    for tenant in ("acme", "globex"):
        with encryption_context(tenant_id=tenant):
            store.batch([PutOp((tenant, str(number)), "k", {}) for number in range(35)])
    with encryption_context(tenant_id="acme"):
        again = EncryptedStore(inner, key, pseudonymous_names=True)
        for _ in range(2):
            assert len(again.list_namespaces(limit=100)) == 35
