"""An inner saver behind its gate: nothing is built there, nothing raises on a read, and it is the same saver."""

from __future__ import annotations

import copy
from contextlib import suppress

import ormsgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.types import _DeltaSnapshot

from encrypted_serde import EncryptedSerdeError, Key, PlaintextRefused
from encrypted_serde.core.sealer import Sealer
from encrypted_serde.wrapping.admission import Admission
from encrypted_serde.wrapping.gate import Deferred, Foreign, Gate, gated, pack_inert
from encrypted_serde.wrapping.inert import FOREIGN

KEY = Key.generate()


def _gate(**switches):
    return Gate(Admission(Sealer(KEY), **switches))


# --- the gate


@pytest.mark.parametrize(
    "value",
    [None, b"", b"sealed", {"a": [b"x", 1, "t", None, 0.5]}, [], "text", 5, _DeltaSnapshot(b"x"), {"a": _DeltaSnapshot(b"x")}],
)
def test_what_is_inert_comes_back(value):
    gate = _gate()
    assert gate.loads_typed(gate.dumps_typed(value)) == value


@pytest.mark.parametrize("value", [None, b"sealed", ormsgpack.Ext(FOREIGN, ormsgpack.packb(("bytes", b"x")))])
def test_what_has_a_type_of_its_own_is_never_read_out_of_msgpack(value):
    packed = ormsgpack.packb(value)
    found = _gate().loads_typed(("msgpack", packed))
    assert isinstance(found, Foreign)
    assert (found.type_tag, found.data) == ("msgpack", packed)


def test_a_foreign_value_is_stored_as_it_was():
    gate = _gate()
    found = gate.loads_typed(("json", b'"old"'))
    assert gate.dumps_typed(found) == ("json", b'"old"')


def test_what_is_deferred_is_sealed_when_its_bytes_are_asked_for_and_once():
    calls = []
    deferred = Deferred(lambda: calls.append(1) or b"sealed")
    gate = _gate()
    assert gate.dumps_typed(deferred) == ("bytes", b"sealed")
    assert gate.loads_typed(gate.dumps_typed({"a": deferred, "b": _DeltaSnapshot(deferred)})) == {
        "a": b"sealed",
        "b": _DeltaSnapshot(b"sealed"),
    }
    assert calls == [1]


def test_what_was_not_handed_over_sealed_is_not_stored():
    with pytest.raises(TypeError, match="not handed to it sealed"):
        _gate().dumps_typed({"a": object()})


@pytest.mark.parametrize("type_tag", ["json", "pickle", "msgpack+aes", "msgpack+xaes-256-gcm", "", "bytearray", "empty"])
def test_anything_else_is_foreign_and_unread(type_tag):
    found = _gate().loads_typed((type_tag, b"data"))
    assert type(found) is Foreign
    assert (found.type_tag, found.data) == (type_tag, b"data")
    assert found
    assert "data" not in repr(found).replace("bytes", "")


def test_an_extension_object_alone_is_foreign_and_inside_it_stays_raw():
    gate = _gate()
    packed = ormsgpack.packb(ormsgpack.Ext(5, b"x"))
    assert gate.loads_typed(("msgpack", packed)).data == packed
    inside = gate.loads_typed(("msgpack", ormsgpack.packb({"a": ormsgpack.Ext(5, b"x")})))
    assert repr(inside["a"]) == "<Inert 5, 1 bytes>"


def test_a_foreign_value_survives_being_packed_again_by_the_saver():
    gate = _gate()
    foreign = Foreign("msgpack+aes", b"data", Admission(Sealer(KEY)))
    found = gate.loads_typed(gate.dumps_typed({"a": foreign}))["a"]
    assert (found.type_tag, found.data) == ("msgpack+aes", b"data")
    assert pack_inert({"a": found}) == pack_inert({"a": foreign})


_DEEP = b"\x01"
for _ in range(3000):
    _DEEP = ormsgpack.packb(ormsgpack.Ext(7, _DEEP))


@pytest.mark.parametrize(
    "blob",
    [
        None,
        5,
        "text",
        [],
        b"",
        b"\xc1",
        _DEEP,
        b"\x91" * 50_000,
        bytearray(b"\x01"),
        memoryview(b"\x01"),
        ormsgpack.packb(ormsgpack.Ext(100, b"\xc1")),
        ormsgpack.packb(ormsgpack.Ext(100, b"\x91\x01")),
        ormsgpack.packb(ormsgpack.Ext(100, b"\x92\x01\x02")),
    ],
    ids=range(13),
)
@pytest.mark.parametrize("type_tag", ["msgpack", "bytes", "null", "x", None, 5, b"msgpack"])
def test_reading_never_raises(type_tag, blob):
    _gate(plaintext=True).loads_typed((type_tag, blob))


@given(st.binary(max_size=50))
def test_reading_never_raises_whatever_the_bytes(blob):
    _gate().loads_typed(("msgpack", blob))


# --- foreign values


def test_a_foreign_value_shows_its_entries_only_where_it_is_admitted():
    packed = ormsgpack.packb({"id": "1", "channel_versions": {"a": 1}})
    type_tag, blob = Sealer(KEY).seal("msgpack", packed)
    closed, opened = (_gate(**switch).loads_typed((type_tag, blob)) for switch in ({}, {"unbound": True}))
    assert dict(closed) == {"channel_versions": {}}
    assert dict(opened) == {"id": "1", "channel_versions": {"a": 1}}
    assert len(opened) == 2
    with pytest.raises(EncryptedSerdeError):
        closed.admit()


@pytest.mark.parametrize("stored", [("pickle", b"x"), ("msgpack+xaes-256-gcm", b"x"), ("x+y", b""), ("msgpack", b"\xc1")])
def test_looking_into_a_foreign_value_never_raises(stored):
    foreign = _gate(plaintext=True, unbound=True).loads_typed(stored)
    assert dict(foreign) == {"channel_versions": {}}
    assert foreign.get("id") is None


def test_what_was_looked_at_first_is_what_is_seen_later():
    packed = ormsgpack.packb({"id": "1"})
    foreign = _gate(unbound=True).loads_typed(Sealer(KEY).seal("msgpack", packed))
    first = dict(foreign)
    assert foreign.admit().plaintext == packed
    with suppress(EncryptedSerdeError):
        foreign.admit(is_proven=True)
    assert dict(foreign) == first
    with pytest.raises(PlaintextRefused):
        foreign.admit(is_proven=True)


# --- the view


def test_a_view_is_the_same_saver_with_another_serializer():
    saver = InMemorySaver()
    own, gate = saver.serde, _gate()
    view = gated(saver, gate)
    assert isinstance(view, InMemorySaver)
    assert type(view).__name__ == "InMemorySaver"
    assert (view.serde, saver.serde) == (gate, own)
    saver.later = 1
    view.more = 2
    assert (view.later, saver.more) == (1, 2)
    assert view.storage is saver.storage


def test_a_serializer_that_the_saver_assigns_to_itself_does_not_replace_the_gate():
    saver, gate = InMemorySaver(), _gate()
    view = gated(saver, gate)
    view.serde = object()
    assert view.serde is gate
    saver.serde = other = object()
    assert (view.serde, saver.serde) == (gate, other)


def test_two_views_of_one_saver_have_a_gate_each():
    saver, one, other = InMemorySaver(), _gate(), _gate()
    views = gated(saver, one), gated(saver, other)
    assert [view.serde for view in views] == [one, other]
    assert type(views[0]) is type(views[1])


def test_a_copy_of_a_view_keeps_its_gate():
    gate = _gate()
    view = gated(InMemorySaver(), gate)
    twin = copy.copy(view)
    assert twin.serde is gate
    assert twin.storage is view.storage
