"""Msgpack is taken apart and put together again without an object of the application being built."""

from __future__ import annotations

import contextlib
import sys

import ormsgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from encrypted_serde import MalformedEnvelope
from encrypted_serde.wrapping.inert import Inert, pack, unpack
from tests.tampering import run_command

_PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8"))
    | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")) | st.integers(0, 99), inner),
    max_leaves=15,
)


@settings(max_examples=30)
@given(_PLAIN)
def test_plain_values_come_back(value):
    assert unpack(pack(value)) == value


needs_a_reader_that_does_not_crash = pytest.mark.skipif(
    sys.version_info < (3, 11), reason="ormsgpack 1.12, the last for Python 3.10, ends the process on some bytes"
)


@needs_a_reader_that_does_not_crash
@pytest.mark.parametrize(
    "data", ["83ddc9c8d6060640dcf8923121073cd6c40032a64514604cec4cfc1e1935", "ddd8905fc64f0af9d9235ae8ffe3"]
)
def test_bytes_that_ended_the_process_are_malformed(data):
    with pytest.raises(MalformedEnvelope):
        unpack(bytes.fromhex(data))


@needs_a_reader_that_does_not_crash
@given(st.binary(max_size=60))
def test_any_bytes_are_either_msgpack_or_malformed(data):
    with contextlib.suppress(MalformedEnvelope):
        unpack(data)


def test_an_extension_object_stays_the_bytes_it_is_and_runs_nothing(tmp_path):
    call = run_command(tmp_path / "made")
    found = unpack(ormsgpack.packb(["a", ormsgpack.Ext(5, call)]))
    assert type(found[1]) is Inert
    assert (found[1].code, found[1].data) == (5, call)
    assert pack(found) == ormsgpack.packb(["a", ormsgpack.Ext(5, call)])
    assert not (tmp_path / "made").exists()


def test_what_langgraph_packed_is_put_together_as_it_was():
    import datetime
    import uuid

    _, packed = JsonPlusSerializer().dumps_typed({"when": datetime.datetime(2026, 1, 1), "ids": [uuid.UUID(int=1)], 3: {"x"}})
    assert pack(unpack(packed)) == packed


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x91",
        b"\x93\x01",
        b"\xd9\xff",
        b"\xdd\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xa1\xff",
        b"\x91" * 100_000 + b"\x01",
    ],
)
def test_what_is_no_msgpack_is_malformed(data):
    with pytest.raises(MalformedEnvelope):
        unpack(data)


def test_what_cannot_be_packed_is_a_type_error_and_what_default_raises_is_raised_as_it_is():
    with pytest.raises(TypeError):
        pack([object()])

    class Own(TypeError):
        pass

    def refuse(item):
        raise Own("mine")

    with pytest.raises(Own, match="mine"):
        pack({"a": object()}, refuse)


def test_its_text_shows_nothing():
    assert "secret" not in repr(Inert(1, b"secret"))
