"""Whether a value is large is guessed without serializing it, and guessing never fails."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.checkpoint.serde.types import _DeltaSnapshot

from encrypted_serde.wrapping.gate import Deferred
from encrypted_serde.wrapping.offload import LARGE, is_heavy, is_large, seal_now, size_guess


def _array(nbytes):
    """An object without fields, whose size is an attribute of its class, as of arrays."""
    return type("Array", (), {"nbytes": nbytes})()


class _Raising:
    @property
    def nbytes(self):
        raise RuntimeError

    def __getattr__(self, name):
        raise RuntimeError


class _NoLength(list):
    def __len__(self):
        raise RuntimeError

    def __iter__(self):
        raise RuntimeError


class _Unattributed:
    __slots__ = ()


@pytest.mark.parametrize(
    "value",
    [
        "x" * LARGE,
        b"x" * LARGE,
        bytearray(LARGE),
        ["x" * LARGE],
        {"a": b"x" * LARGE},
        {"a": {"b": ["x" * LARGE]}},
        ["x" * 100] * 3000,
        deque(["x" * LARGE]),
        ("x" * LARGE,),
        {"x" * LARGE},
        SimpleNamespace(text="x" * LARGE),
        SimpleNamespace(parts=["x" * LARGE]),
    ],
)
def test_large_values_are_large(value):
    assert is_large(value)


@pytest.mark.parametrize(
    "value", [None, 1, 1.5, True, "x", b"", [], {}, (), set(), object(), _Unattributed(), [None] * 10, int, len, range(10**9)]
)
def test_small_values_are_small(value):
    assert not is_large(value)


@pytest.mark.parametrize("nbytes", [None, "many", 1.5, [1], object()])
def test_an_nbytes_that_is_no_number_is_no_size(nbytes):
    @dataclass
    class FileInfo:
        name: str
        nbytes: object

    assert size_guess(FileInfo("a", nbytes)) < LARGE
    assert not is_large([{"files": [FileInfo("a", nbytes)]}])
    assert not is_large(_array(nbytes))


def test_an_array_is_as_large_as_it_says():
    assert size_guess(_array(12345)) == 12345
    assert is_large(_array(LARGE))


@pytest.mark.parametrize("make", [_Raising, lambda: _NoLength([1]), lambda: [_Raising()], lambda: {"a": _NoLength([1])}])
def test_guessing_never_raises(make):
    assert is_large(make()) in (True, False)


def test_a_value_that_holds_itself_is_guessed():
    circle: list = ["x"]
    circle.append(circle)
    assert not is_large(circle)
    node = SimpleNamespace()
    node.self = node
    assert not is_large(node)


def test_a_few_parts_speak_for_all():
    assert size_guess(["x" * 10] * 1000) == 10_000


# --- rows


def _row(checkpoint, writes=()):
    return CheckpointTuple({"configurable": {}}, checkpoint, {}, None, writes)


@pytest.mark.parametrize(
    "row",
    [
        _row({"channel_values": {"a": b"x" * LARGE}}),
        _row({"channel_values": {"a": "x" * LARGE}}),
        _row({"channel_values": {"a": b"x" * (LARGE // 2), "b": b"x" * (LARGE // 2)}}),
        _row({"channel_values": {}}, [("t", "c", b"x" * LARGE)]),
    ],
)
def test_a_row_with_much_in_it_is_heavy(row):
    assert is_heavy(row)


@pytest.mark.parametrize(
    "row",
    [
        _row({}),
        _row({"channel_values": 5}),
        _row(None),
        _row([], None),
        _row({"channel_values": {"a": [b"x" * LARGE]}}),
        _row({"channel_values": {"a": b"x"}}),
    ],
)
def test_a_row_with_little_in_it_or_of_no_known_form_is_not(row):
    assert not is_heavy(row)


def test_what_waits_to_be_sealed_is_sealed_once_wherever_it_stands():
    sealed = []

    def seal(name):
        return Deferred(lambda: sealed.append(name) or name.encode())

    first, second = seal("first"), seal("second")
    values = [first, _DeltaSnapshot(second), b"bytes", None, "text", first]
    seal_now(values)
    seal_now(values)
    assert sealed == ["first", "second"]
    assert first.sealed() == b"first"
