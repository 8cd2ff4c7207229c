"""Rules that no other test noticed when they were broken on purpose: see docs/mutation.md."""

from __future__ import annotations

import importlib
import logging
import os

import pytest

from encrypted_serde import ConfigurationError, Key, PlaintextRefused, Sealer
from encrypted_serde.core import binding, compression, randomness
from encrypted_serde.core.ciphers import CIPHERS
from encrypted_serde.core.encoding import lp
from encrypted_serde.core.format import SEALED_MAGIC, sealed_text, sealed_text_prefixes
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


def test_nonces_come_from_getrandom_and_from_urandom_where_it_is_missing_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def getrandom(size: int) -> bytes:
        asked.append(size)
        return bytes(size)

    def refused(size: int) -> bytes:
        raise PermissionError

    monkeypatch.setattr(os, "getrandom", getrandom, raising=False)
    assert randomness._kernel_generator() is getrandom
    assert asked == [1]
    monkeypatch.setattr(os, "getrandom", refused)
    assert randomness._kernel_generator() is os.urandom
    monkeypatch.delattr(os, "getrandom")
    assert randomness._kernel_generator() is os.urandom


@pytest.mark.parametrize(
    ("installed", "found"),
    [
        (("compression.zstd", "backports.zstd"), "compression.zstd"),
        (("compression.zstd",), "compression.zstd"),
        (("backports.zstd",), "backports.zstd"),
        ((), None),
    ],
)
def test_zstd_is_that_of_python_or_else_its_backport(
    monkeypatch: pytest.MonkeyPatch, installed: tuple[str, ...], found: str | None
) -> None:
    def import_module(name: str) -> str:
        if name in installed:
            return name
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", import_module)
    assert compression._import_zstd() == found


def test_equal_keys_are_one_in_a_set_and_others_are_not() -> None:
    again = Key.from_text(KEY.to_text())
    assert {KEY, again} == {KEY}
    assert hash(KEY) == hash(again) != hash(Key.generate())


@pytest.mark.parametrize("compressed", [None, "zstd"])
@pytest.mark.parametrize("cipher", CIPHERS)
def test_sealed_text_of_a_key_begins_as_the_database_is_told(cipher: str, compressed: str | None) -> None:
    place = binding.item(("a",), "b")

    def begins(inner_type: str, key: Key, size: int = 4096) -> bool:
        sealed = Sealer(key, cipher=cipher, compression=compressed).seal_bound(inner_type, bytes(size), place)
        text = sealed_text(sealed)
        return text.startswith(tuple(sealed_text_prefixes(KEY.id, "msgpack")))

    assert begins("msgpack", KEY)
    assert not begins("msgpack", Key.generate())
    assert not begins("json", KEY)
    tag, blob = Sealer(KEY, cipher=cipher, compression=compressed).seal("msgpack", bytes(4096))
    unbound = sealed_text(SEALED_MAGIC + lp(tag.encode()) + blob)
    assert not unbound.startswith(tuple(sealed_text_prefixes(KEY.id, "msgpack")))
    assert len({*sealed_text_prefixes(KEY.id, "msgpack")}) == 2 * len(CIPHERS)
