"""Rules that no other test noticed when they were broken on purpose: see docs/mutation.md."""

from __future__ import annotations

import logging

import pytest

from encrypted_serde import ConfigurationError, Key, PlaintextRefused, Sealer
from encrypted_serde.wrapping.admission import Admission

KEY = Key.generate()


def test_the_repr_of_a_key_has_twelve_digits_of_its_id() -> None:
    assert repr(KEY) == f"<Key {KEY.id.hex()[:12]}>"


def test_a_key_that_is_made_by_its_class_names_the_ways_to_make_one() -> None:
    with pytest.raises(TypeError, match=r"^use Key\.generate\(\), Key\.from_text\(\)"):
        Key(bytes(32))


def test_hex_of_another_length_is_told_the_right_one() -> None:
    with pytest.raises(ConfigurationError, match=r"^a key in hex is exactly 64 hexadecimal digits$"):
        Key.from_hex("00" * 31)


def test_a_mixture_of_base64_alphabets_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"^a key in base64 uses one alphabet, not a mixture of two$"):
        Key.from_base64("+_" + "A" * 41)


def test_the_first_admitted_value_of_each_kind_and_type_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    admission = Admission(Sealer(KEY), plaintext=True, unbound=True)
    tag, blob = Sealer(KEY).seal("msgpack", b"\x80")
    with caplog.at_level(logging.WARNING):
        for type_tag, data in (("msgpack", b"\x80"), ("msgpack", b"\x80"), ("json", b"{}"), (tag, blob), (tag, blob)):
            admission.admit(type_tag, data)
    assert [record.getMessage() for record in caplog.records] == [
        "reading plaintext values (type 'msgpack'), because a switch for moving in is on",
        "reading plaintext values (type 'json'), because a switch for moving in is on",
        "reading unbound values (type 'msgpack'), because a switch for moving in is on",
    ]
    assert admission.admitted == {"plaintext": 3, "unbound": 2}
    assert admission.plaintext_types == {"msgpack": 2, "json": 1}


def test_a_value_beside_proof_is_admitted_by_no_switch_and_not_counted() -> None:
    admission = Admission(Sealer(KEY), plaintext=True)
    with pytest.raises(PlaintextRefused, match=r"^a value that is plaintext stands beside what we sealed"):
        admission.admit("msgpack", b"\x80", is_proven=True)
    assert admission.admitted == {}
