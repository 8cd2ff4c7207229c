"""Objects to bytes and back: errors that name what failed, values that show nothing while they wait."""

from __future__ import annotations

import pytest
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from encrypted_serde import MalformedEnvelope
from encrypted_serde.wrapping.serialize import JSON, Waiting, dumps, dumps_as_json_would, loads, loads_unauthenticated

SERDE = JsonPlusSerializer()


class Unregistered:
    pass


@pytest.mark.parametrize("value", [None, 1, "text", b"bytes", [1, {"a": 2}], {"a": {1, 2}}])
def test_values_come_back(value):
    for make in (dumps, dumps_as_json_would):
        assert loads(SERDE, *make(SERDE, value, "it")) == value


@pytest.mark.parametrize("make", [dumps, dumps_as_json_would])
def test_what_cannot_be_serialized_is_named_with_its_type(make):
    with pytest.raises(TypeError, match="channel 'basket', a Unregistered, cannot be serialized"):
        make(SERDE, Unregistered(), "channel 'basket'")


@pytest.mark.parametrize("value", [2**64, -(2**70), [2**100], {"a": 2**64}, {"\ud800": 1}])
def test_what_json_holds_and_msgpack_does_not_is_kept_as_json(value):
    inner_type, packed = dumps_as_json_would(SERDE, value, "it")
    assert inner_type == JSON
    assert loads(SERDE, inner_type, packed) == value


def test_what_neither_holds_is_the_error_of_the_first():
    circle: list = [2**70]
    circle.append(circle)
    for value in (circle, [2**70, Unregistered()]):
        with pytest.raises((TypeError, ValueError, RecursionError)):
            dumps_as_json_would(SERDE, value, "it")


def test_other_errors_of_a_serializer_go_through():
    class Refusing(JsonPlusSerializer):
        def dumps_typed(self, obj):
            raise PermissionError("mine")

    for make in (dumps, dumps_as_json_would):
        with pytest.raises(PermissionError, match="mine"):
            make(Refusing(), 1, "it")


@pytest.mark.parametrize("error", [ValueError, KeyError, LookupError, TypeError, NotImplementedError, RecursionError])
def test_what_a_deserializer_raises_over_a_value_that_nobody_authenticated_is_malformed(error):
    class Raising(JsonPlusSerializer):
        def loads_typed(self, data):
            raise error("the value was: secret")

    with pytest.raises(MalformedEnvelope) as caught:
        loads_unauthenticated(Raising(), "msgpack", b"secret")
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("inner_type", "data"), [(JSON, b"{"), (JSON, b"\xff"), ("json", b"{"), ("msgpack", b"\xc1"), ("none", b"")]
)
def test_bytes_that_are_not_what_their_type_says_are_malformed(inner_type, data):
    with pytest.raises(MalformedEnvelope):
        loads_unauthenticated(SERDE, inner_type, data)


def test_a_value_that_waits_is_built_when_it_is_called_and_shows_nothing_before():
    built = []

    class Noting(JsonPlusSerializer):
        def loads_typed(self, data):
            built.append(data)
            return super().loads_typed(data)

    waiting = Waiting(loads, Noting(), *SERDE.dumps_typed("secret"))
    assert not built
    assert "secret" not in repr(waiting)
    assert "secret" not in repr([Waiting.holding("secret"), {"a": Waiting(lambda: "secret")}])
    assert waiting() == "secret"
