"""Length-prefixed fields, canonical pairs and base64url: one encoding per value, and nothing else is read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encrypted_serde.core.encoding import (
    MAX_FIELD,
    b64url_decode,
    b64url_encode,
    decode_pairs,
    encode_pairs,
    lp,
    lps,
    take_field,
    utf8,
)
from encrypted_serde.errors import ConfigurationError, MalformedEnvelope

texts = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=40)


# rule F-1
def test_a_field_is_its_length_in_two_big_endian_bytes_and_itself():
    assert lp(b"") == b"\0\0"
    assert lp(b"abc") == b"\0\3abc"
    assert lp(bytes(0x0102))[:2] == b"\1\2"


# rule F-1
def test_the_longest_field_is_65535_bytes():
    assert len(lp(bytes(MAX_FIELD))) == 2 + 65535
    with pytest.raises(ConfigurationError):
        lp(bytes(MAX_FIELD + 1))


def test_fields_are_taken_back_one_by_one():
    data = lps(["thread", "", "ä"])
    first, position = take_field(data, 0)
    second, position = take_field(data, position)
    third, position = take_field(data, position)
    assert (first, second, third, position) == (b"thread", b"", "ä".encode(), len(data))


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\1", b"\0\3ab", b"\xff\xff"])
def test_a_field_that_goes_beyond_the_data_is_malformed(data):
    with pytest.raises(MalformedEnvelope):
        take_field(data, 0)


def test_moving_a_character_from_one_field_to_the_next_changes_the_encoding():
    assert lps(["ab", "c"]) != lps(["a", "bc"])
    assert encode_pairs({"ab": "c"}) != encode_pairs({"a": "bc"})


def test_text_is_not_normalised():
    composed, decomposed = "\u00e9", "e\u0301"
    assert utf8(composed) != utf8(decomposed)


def test_a_lone_surrogate_is_a_configuration_error():
    with pytest.raises(ConfigurationError):
        utf8("\ud800")


# rule F-2
def test_pairs_ascend_by_the_bytes_of_the_name():
    # U+FFFF sorts after U+10000 as UTF-16, before it as UTF-8 bytes and as code points.
    assert encode_pairs({"b": "2", "a": "1"}) == b"\0\1a\0\1" + b"1" + b"\0\1b\0\1" + b"2"
    assert list(decode_pairs(encode_pairs({"\U00010000": "x", "\uffff": "y", "z": "z"}))) == ["z", "\uffff", "\U00010000"]


def test_no_pairs_are_zero_bytes():
    assert encode_pairs({}) == b""
    assert decode_pairs(b"") == {}


@pytest.mark.parametrize("pairs", [{"a\0": "1"}, {"a": "1\0"}, {"a": "\ud800"}, {"a": "x" * 65536}])
def test_pairs_that_cannot_be_encoded_are_a_configuration_error(pairs):
    with pytest.raises(ConfigurationError):
        encode_pairs(pairs)


# rule F-2
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(lp(b"b") + lp(b"1") + lp(b"a") + lp(b"2"), id="out of order"),
        pytest.param(lp(b"a") + lp(b"1") + lp(b"a") + lp(b"1"), id="doubled"),
        pytest.param(lp(b"a"), id="a name without a value"),
        pytest.param(lp(b"a") + lp(b"1") + b"\0", id="trailing byte"),
        pytest.param(lp(b"a") + lp(b"\xff"), id="not UTF-8"),
        pytest.param(lp(b"a") + lp(b"\xed\xa0\x80"), id="an encoded surrogate"),
        pytest.param(lp(b"a") + lp(b"\xc0\x80"), id="overlong NUL"),
        pytest.param(lp(b"a") + lp(b"x\0y"), id="NUL"),
    ],
)
def test_pairs_that_no_writer_writes_are_malformed(data):
    with pytest.raises(MalformedEnvelope):
        decode_pairs(data)


@given(st.dictionaries(texts, texts, max_size=6))
def test_pairs_come_back_as_they_were(pairs):
    assert decode_pairs(encode_pairs(pairs)) == pairs


@given(st.binary(max_size=60))
def test_whatever_is_read_as_pairs_encodes_to_the_same_bytes(data):
    try:
        pairs = decode_pairs(data)
    except MalformedEnvelope:
        return
    assert encode_pairs(pairs) == data


@given(st.binary(max_size=100))
def test_base64url_comes_back_as_it_was(data):
    text = b64url_encode(data)
    assert "=" not in text
    assert b64url_decode(text) == data


@pytest.mark.parametrize("text", ["A", "AA=", "AA==", "AB", "AAB", "AA AA", "AA\nAA", "AA+A", "AA/A", "AA.A", "äAAA", "AAAA="])
def test_base64url_that_is_not_canonical_is_none(text):
    assert b64url_decode(text) is None


@given(st.text(st.sampled_from("AQgwZz09-_+/= \n"), max_size=12))
def test_two_texts_never_stand_for_the_same_bytes(text):
    data = b64url_decode(text)
    assert data is None or b64url_encode(data) == text
