"""The manifest: what is readable, what is sealed, and the form in which it is compared and handed out."""

from __future__ import annotations

import enum
import uuid
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

import ormsgpack
import pytest

from encrypted_serde import ConfigurationError, MalformedEnvelope, WrongLocation
from encrypted_serde.core.binding import Place
from encrypted_serde.rows.manifest import Manifest, digest, split_metadata, survives_json
from encrypted_serde.rows.parts import Parts
from encrypted_serde.rows.verify import Rules
from encrypted_serde.wrapping.upstream import DELTA_COUNTERS

CHECKPOINT = {
    "v": 4,
    "id": "c1",
    "ts": "2026-01-01",
    "channel_versions": {"a": "1", "b": 2},
    "versions_seen": {"n": {"a": "1"}},
    "updated_channels": ["a"],
}
READABLE = {"source": "loop", "step": 3, "parents": {}}


def _manifest(checkpoint=CHECKPOINT, readable=READABLE, **changed):
    parts = {"checkpoint_id": "c1", "parent_id": "c0", "values": ["a"], "nones": ["n"], "private": ("null", b"")}
    return Manifest(**{**parts, "digest": digest(checkpoint, readable), **changed})


def _found(*, checkpoint_id="c1", parent_id="c0", checkpoint=CHECKPOINT, readable=READABLE, **rules):
    parts = Parts(Place.of("t", ""), checkpoint_id, parent_id, checkpoint, {**readable, "es1": "sealed"}, {}, {}, None)
    return parts, Rules(**rules)


# --- the normal form


# rule F-29
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((1, 2), [1, 2]),
        ({3, 1, 2}, [1, 2, 3]),
        (frozenset({"b", "a"}), ["a", "b"]),
        (1.0, 1),
        ([1.0, {"a": 2.0}], [1, {"a": 2}]),
        ({1: "x"}, {"1": "x"}),
        ({"b": 1, "a": 2}, {"a": 2, "b": 1}),
        (OrderedDict(a=1), {"a": 1}),
        (MappingProxyType({"a": (1,)}), {"a": [1]}),
        (-0.0, 0),
        (type("Text", (str,), {})("x"), "x"),
        (type("Number", (int,), {})(7), 7),
    ],
)
def test_what_json_changes_is_one_form(one, other):
    assert digest({**CHECKPOINT, "x": one}, {}) == digest({**CHECKPOINT, "x": other}, {})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, "1"),
        (1, True),
        (0, False),
        (0, None),
        ("", None),
        ([], {}),
        ([], None),
        (1.5, "1.5"),
        ([1, 2], [2, 1]),
        ([[1], 2], [1, [2]]),
    ],
)
def test_what_json_keeps_apart_is_kept_apart(one, other):
    assert digest({**CHECKPOINT, "x": one}, {}) != digest({**CHECKPOINT, "x": other}, {})


def test_a_digest_has_sixteen_bytes():
    assert len(digest(CHECKPOINT, READABLE)) == len(digest({}, {})) == 16


def test_checkpoint_and_metadata_are_kept_apart():
    assert digest({"v": 4, "step": 1}, {}) != digest({"v": 4}, {"step": 1})


def test_channel_values_and_pending_sends_are_no_part_of_it():
    assert digest({**CHECKPOINT, "channel_values": {"a": 1}, "pending_sends": [1]}, {}) == digest(CHECKPOINT, {})


class _Colour(enum.Enum):
    RED = 1


@dataclass
class _Point:
    x: int


@pytest.mark.parametrize(
    "value",
    [
        object(),
        uuid.UUID(int=3),
        datetime(2026, 1, 1),
        _Colour.RED,
        _Point(1),
        1 << 80,
        {1, "a"},
        1e300,
        {"k": object()},
    ],
)
def test_what_no_json_gives_back_is_not_digested(value):
    with pytest.raises(ConfigurationError):
        digest({**CHECKPOINT, "x": value}, {})


def test_a_circle_is_not_digested():
    circle: list = []
    circle.append(circle)
    with pytest.raises(ConfigurationError):
        digest({**CHECKPOINT, "x": circle}, {})


# --- what is readable


@pytest.mark.parametrize(
    "value",
    ["text", "two\nlines", "", True, None, 0, -5, 2**53, -(2**53), 0.5, [1, "a", None], (1, 2), {"a": [0.25]}, {}],
)
def test_what_json_gives_back_may_be_readable(value):
    assert survives_json(value)


# rule F-35
@pytest.mark.parametrize(
    "value",
    [
        1.0,
        1e16,
        float("nan"),
        float("inf"),
        2**53 + 1,
        -(2**60),
        "a\0b",
        "\ud800",
        {1: "a"},
        {"a\0": 1},
        [[1.0]],
        {"a": {"b": 2.0}},
        {1},
        b"x",
        object(),
        uuid.UUID(int=1),
    ],
)
def test_what_json_changes_is_sealed_although_it_should_be_readable(value):
    readable, private = split_metadata({"note": value, "other": 1}, {"note"})
    assert (readable, list(private)) == ({}, ["note", "other"])


@pytest.mark.parametrize("value", ["3", 0.5, True, None, [3]])
def test_a_step_is_readable_only_as_the_integer_that_it_is(value):
    assert split_metadata({"step": value}, {"step"}) == ({}, {"step": value})
    assert split_metadata({"note": value}, {"note"}) == ({"note": value}, {})


def test_metadata_that_langgraph_and_its_savers_read_in_the_database_stay_readable():
    metadata = {"source": "loop", "step": 1, "parents": {}, "run_id": "r", DELTA_COUNTERS: {"a": [1, 2]}}
    metadata["delta_writes_versioned"] = True
    assert split_metadata({**metadata, "thread_id": "t"}, ()) == (metadata, {"thread_id": "t"})


def test_metadata_is_divided_by_key():
    assert split_metadata({"source": "loop", "user": "a", "step": 1}, {"source", "step"}) == (
        {"source": "loop", "step": 1},
        {"user": "a"},
    )


# --- verifying


def test_each_default_of_the_rules_refuses():
    assert Rules() == (True, False, False, frozenset(), False, False, False)


# rule F-32
def test_what_was_compared_is_what_is_handed_out():
    stored = {**CHECKPOINT, "updated_channels": ("a",), "channel_versions": {"b": 2.0, "a": "1"}, "channel_values": {"a": 1}}
    found = _found(checkpoint=stored, readable={**READABLE, "parents": MappingProxyType({})})
    document, readable = _manifest().verify(*found)
    assert (document, readable) == (CHECKPOINT, READABLE)
    assert type(document["channel_versions"]["b"]) is int


# rule F-31
@pytest.mark.parametrize("stored", [4.0, True, "4", None, [4], 4.5])
@pytest.mark.parametrize("where", ["v", "step"])
def test_format_and_step_are_exact_integers(where, stored):
    changed = {"checkpoint": {**CHECKPOINT, "v": stored}} if where == "v" else {"readable": {**READABLE, "step": stored}}
    with pytest.raises(MalformedEnvelope):
        _manifest().verify(*_found(**changed))


# rule F-33
@pytest.mark.parametrize(
    "changed",
    [
        {"checkpoint_id": "c2"},
        {"checkpoint": {**CHECKPOINT, "id": "c2"}},
        {"checkpoint": {**CHECKPOINT, "v": 3}},
        {"checkpoint": {**CHECKPOINT, "more": 1}},
        {"checkpoint": {**CHECKPOINT, "ts": object()}},
        {"checkpoint": {name: part for name, part in CHECKPOINT.items() if name != "ts"}},
        {"checkpoint": {**CHECKPOINT, "channel_versions": {"a": True, "b": 2}}},
        {"readable": {**READABLE, "step": 4}},
        {"readable": {}},
        {"parent_id": "c2"},
        {"parent_id": None},
        {"parent_id": ""},
    ],
)
def test_anything_else_than_was_written_is_in_the_wrong_place(changed):
    with pytest.raises(WrongLocation):
        _manifest().verify(*_found(**changed))


def test_an_empty_parent_is_none():
    for written in ("", None):
        for stored in ("", None):
            _manifest(parent_id=written).verify(*_found(parent_id=stored))


# rule F-33
def test_only_where_a_saver_may_lose_it_and_no_delta_channel_needs_it_a_parent_may_be_gone():
    _manifest().verify(*_found(parent_id=None, prunes=True))
    readable = {**READABLE, "counters_since_delta_snapshot": {"a": [1, 1]}}
    for changed in ({"parent_id": "c2", "prunes": True}, {"parent_id": None, "prunes": True, "readable": readable}):
        with pytest.raises(WrongLocation, match="parent"):
            _manifest(readable=changed.get("readable", READABLE)).verify(*_found(**changed))
    for seen in (READABLE, readable):
        _manifest(readable=seen).verify(*_found(parent_id=None, has_no_parents=True, readable=seen))


# rule F-29
def test_keys_that_a_saver_adds_are_dropped():
    stored = {**CHECKPOINT, "type": "json"}
    assert _manifest().verify(*_found(checkpoint=stored, added_keys=frozenset({"type"})))[0] == CHECKPOINT
    with pytest.raises(WrongLocation):
        _manifest().verify(*_found(checkpoint=stored))


# rule F-34
@pytest.mark.parametrize(
    ("values", "nones", "by_version"),
    [
        ([], ["n"], []),
        (["a"], [], []),
        (["a", "x"], ["n"], []),
        (["a"], ["n", "x"], []),
        (["a", "n"], [], []),
        (["n"], ["a"], []),
        (["a"], ["n", "x"], ["x"]),
        (["a", "x", "y"], ["n"], ["x"]),
    ],
)
def test_a_channel_too_few_or_too_many_is_refused(values, nones, by_version):
    with pytest.raises(WrongLocation):
        _manifest().check_channels(values, nones, by_version.__contains__)


def test_channels_as_written_and_those_that_their_version_proves():
    _manifest().check_channels(["a"], ["n"], [].__contains__)
    _manifest().check_channels(["x", "a"], ["n"], ["x"].__contains__)
    _manifest().check_channels(["a", "n"], [], ["n"].__contains__)


# --- its bytes


def test_it_comes_back_as_it_was_packed():
    manifest = _manifest(private=("msgpack", b"\x81"))
    assert Manifest.unpack(manifest.pack()) == manifest


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"\xc1",
        b"\x05",
        b"\x90",
        ormsgpack.packb([1, 2, 3, 4, 5, 6]),
        ormsgpack.packb(["a"] * 7),
        ormsgpack.packb({"a": 1}),
    ],
)
def test_bytes_that_are_no_manifest_are_malformed(packed):
    with pytest.raises(MalformedEnvelope):
        Manifest.unpack(packed)


def test_its_text_shows_no_metadata():
    assert "secret" not in repr(_manifest(private=("msgpack", b"secret")))
