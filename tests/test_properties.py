"""Properties: whatever JsonPlusSerializer can hold comes back, and whatever else is read raises nothing but our errors."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import pathlib
import re
import zoneinfo
from collections import deque
from typing import Any

import numpy as np
import pydantic
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.types import Command, Interrupt, Send

from encrypted_serde import EncryptedSerdeError, EncryptedSerializer, Key, encryption_context
from encrypted_serde.core.ciphers import CIPHERS
from tests.tampering import front, tail

KEY = Key.generate()
PLAIN = JsonPlusSerializer()
SERDES = [EncryptedSerializer(KEY, cipher=cipher, compression=zstd) for cipher in sorted(CIPHERS) for zstd in (None, "zstd")]


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclasses.dataclass
class Point:
    x: int
    label: str


class Profile(pydantic.BaseModel):
    name: str
    scores: list[float]
    born: datetime.date | None = None


texts = st.text(st.characters(blacklist_categories=["Cs"]), max_size=30)
numbers = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False)
times = st.datetimes(timezones=st.none() | st.just(datetime.timezone.utc) | st.just(zoneinfo.ZoneInfo("Europe/Berlin")))
scalars = st.one_of(
    st.none(),
    st.booleans(),
    numbers,
    texts,
    st.binary(max_size=60),
    times,
    st.dates(),
    st.times(),
    st.timedeltas(),
    st.decimals(allow_nan=False),
    st.uuids(),
    st.ip_addresses(),
    st.sampled_from(Colour),
    st.just(pathlib.PurePath("a/b")).map(lambda path: pathlib.Path(path)),
    st.just(zoneinfo.ZoneInfo("Asia/Tokyo")),
    st.just(re.compile("a+b", re.IGNORECASE)),
)
tool_calls = st.builds(
    lambda name, args: {"name": name, "args": args, "id": "call", "type": "tool_call"},
    texts,
    st.dictionaries(texts, texts, max_size=2),
)
messages = st.one_of(
    st.builds(HumanMessage, content=texts, id=texts),
    st.builds(SystemMessage, content=texts),
    st.builds(ToolMessage, content=texts, tool_call_id=texts),
    st.builds(lambda content, calls: AIMessage(content=content, tool_calls=calls), texts, st.lists(tool_calls, max_size=2)),
)
objects = st.one_of(
    messages,
    st.builds(Point, st.integers(-(2**63), 2**63 - 1), texts),
    st.builds(
        Profile,
        name=texts,
        scores=st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=3),
        born=st.dates() | st.none(),
    ),
    st.builds(Document, page_content=texts),
    st.builds(Send, texts, st.dictionaries(texts, numbers, max_size=2)),
    st.builds(lambda value: Command(update={"a": value}, goto=[]), texts),
    st.builds(lambda value: Interrupt(value=value, id="i"), texts),
    st.frozensets(st.integers(0, 1000) | texts, max_size=4),
    st.sets(st.integers(0, 1000), max_size=4),
    st.builds(deque, st.lists(numbers, max_size=4)),
)
values = st.recursive(
    scalars | objects,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4) | st.tuples(inner, inner),
    max_leaves=12,
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(values, st.sampled_from(SERDES))
def test_a_value_comes_back_exactly_as_it_would_without_encryption(value: Any, serde: EncryptedSerializer):
    inner_type, plaintext = PLAIN.dumps_typed(value)
    type_tag, blob = serde.dumps_typed(value)
    result = serde.loads_typed((type_tag, blob))
    assert type_tag.startswith(f"{inner_type}+")
    assert result == PLAIN.loads_typed((inner_type, plaintext))
    assert PLAIN.dumps_typed(result) == PLAIN.dumps_typed(PLAIN.loads_typed((inner_type, plaintext)))
    assert len(plaintext) < 8 or plaintext not in blob


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(scalars | objects, st.sampled_from(SERDES))
def test_what_the_inner_serializer_preserves_is_equal_and_of_the_same_type(value: Any, serde: EncryptedSerializer):
    result = serde.loads_typed(serde.dumps_typed(value))
    assert result == value
    assert type(result) is type(value)


dtypes = st.sampled_from([np.int8, np.int64, np.float32, np.float64, np.bool_, np.complex128])
arrays = hnp.arrays(dtypes, hnp.array_shapes(max_dims=3, max_side=4))


@settings(max_examples=60)
@given(arrays, st.sampled_from(SERDES), st.booleans())
def test_numpy_arrays_come_back_with_type_shape_and_bits(array, serde, fortran):
    array = np.asfortranarray(array) if fortran else array
    result = serde.loads_typed(serde.dumps_typed({"array": array}))["array"]
    assert (result.dtype, result.shape) == (array.dtype, array.shape)
    assert result.tobytes() == array.tobytes()


_LARGE = {
    "messages": [HumanMessage("again " * 50, id=str(number)) for number in range(300)],
    "array": np.arange(50_000.0).reshape(100, 500).tolist(),
    "bytes": bytes(1 << 20),
}


@pytest.mark.parametrize("serde", SERDES, ids=lambda serde: f"{serde._sealer._cipher.NAME} {serde._sealer._compress}")
@pytest.mark.parametrize("name", _LARGE)
def test_large_values_come_back(serde, name):
    assert serde.loads_typed(serde.dumps_typed(_LARGE[name])) == _LARGE[name]


# --- reading what is not ours ---------------------------------------------------------------------------------------

tags = st.one_of(
    st.sampled_from(
        [f"{inner}+{cipher}" for inner in ("msgpack", "bytes", "null", "pickle") for cipher in (*CIPHERS, "aes", "x")]
    ),
    st.sampled_from(["msgpack", "bytes", "json", "pickle", "null", ""]),
    st.text(max_size=40),
    st.text("+-._abcdefgcmsxe256", max_size=40),
)


def _sealed(pairs):
    with encryption_context(pairs):
        return SERDES[0].dumps_typed("a value")[1]


blobs = st.one_of(
    st.binary(max_size=200),
    st.builds(
        lambda version, flags, key_id, context, rest: (
            front(version=version, flags=flags, key_id=key_id) + rest + tail(context, rest[:4] if flags & 2 else None)
        ),
        st.sampled_from([0, 1, 1, 1, 2]),
        st.sampled_from([0, 0, 1, 2, 3, 4]),
        st.just(KEY.id) | st.binary(min_size=32, max_size=32),
        st.binary(max_size=12),
        st.binary(max_size=100),
    ),
    st.builds(
        lambda pairs, position, junk, cut: (
            (blob := _sealed(pairs))[: position % len(blob)] + junk + blob[position % len(blob) + cut :]
        ),
        st.sampled_from([{}, {"tenant_id": "acme"}]),
        st.integers(0, 10_000),
        st.binary(min_size=1, max_size=4),
        st.integers(0, 4),
    ),
)


@settings(max_examples=400)
@given(tags, blobs, st.sampled_from([bytes, bytearray, memoryview]), st.booleans())
def test_reading_anything_that_was_not_sealed_raises_our_error_and_nothing_else(tag, blob, buffer, legacy):
    if blob in (_sealed({}), _sealed({"tenant_id": "acme"})):
        return
    serde = EncryptedSerializer(KEY, legacy_keys=[bytes(16)] if legacy else [])
    with pytest.raises(EncryptedSerdeError) as caught:
        serde.loads_typed((tag, buffer(blob)))
    assert not isinstance(caught.value, (LookupError, ValueError))


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=4,
)


@settings(max_examples=200)
@given(junk)
def test_reading_something_that_is_no_row_at_all_raises_our_error_and_nothing_else(data):
    with pytest.raises(EncryptedSerdeError) as caught:
        SERDES[0].loads_typed(data)
    assert not isinstance(caught.value, (LookupError, ValueError))
