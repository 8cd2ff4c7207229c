"""Rules that no other test noticed when they were broken on purpose: see docs/mutation.md."""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from Crypto.Cipher import AES
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from encrypted_serde import ConfigurationError, EncryptedSerdeError, Key, PlaintextRefused, Sealer, encryption_context
from encrypted_serde.audit import AuditedSealer, AuditEvent
from encrypted_serde.core import binding, compression, randomness
from encrypted_serde.core import sealer as sealer_module
from encrypted_serde.core.binding import Place
from encrypted_serde.core.ciphers import CIPHERS
from encrypted_serde.core.context import NO_CONTEXT, EncryptionContext, acting, what_differs
from encrypted_serde.core.encoding import decode_pairs, lp, lps
from encrypted_serde.core.format import (
    FLAG_ZSTD,
    SEALED_MAGIC,
    Sealed,
    find_sealed,
    is_sealed,
    nonce_size,
    sealed_text,
    sealed_text_prefixes,
    split_type_tag,
)
from encrypted_serde.errors import (
    AuthenticationFailed,
    MalformedEnvelope,
    UnsupportedCipher,
    UnsupportedFormat,
    WrongContext,
    WrongLocation,
)
from encrypted_serde.rows.manifest import Manifest, digest
from encrypted_serde.rows.parts import Parts
from encrypted_serde.rows.verify import Rules
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
    with pytest.raises(PlaintextRefused, match=r"^a value of type 'msgpack' is stored beside values that we sealed: no switch"):
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


def events_of(act: Callable[[AuditedSealer], object]) -> list[AuditEvent]:
    """Gives what an audit hears."""
    heard: list[AuditEvent] = []
    act(AuditedSealer(Sealer(KEY), heard.append))
    return heard


def test_the_audit_hears_the_size_and_the_cipher_of_what_is_admitted_and_refused() -> None:
    legacy = bytes(range(32))
    cipher = AES.new(legacy, AES.MODE_EAX)
    sealed, tag = cipher.encrypt_and_digest(b"\x80")
    stored = cipher.nonce + tag + sealed

    def plain(sealer: AuditedSealer) -> None:
        Admission(sealer, plaintext=True).admit("msgpack", b"\x81\xa1a\x01")

    def foreign(sealer: AuditedSealer) -> None:
        admission = Admission(sealer, legacy_keys=[legacy])
        assert admission.loads(JsonPlusSerializer(), admission.admit("msgpack+aes", stored)) == {}

    def refused(sealer: AuditedSealer) -> None:
        for type_tag in ("msgpack", "msgpack+a+b"):
            with pytest.raises(EncryptedSerdeError):
                Admission(sealer).admit(type_tag, b"12345")

    assert [(event.outcome, event.size) for event in events_of(plain)] == [("plaintext", 4)]
    assert [(event.cipher, event.size) for event in events_of(foreign)] == [("aes", len(stored))]
    assert [(event.cipher, event.size) for event in events_of(refused)] == [(None, 5), ("b", 5)]


def test_plaintext_msgpack_is_read_strictly_and_other_types_with_the_serializer_as_configured() -> None:
    class Own(JsonPlusSerializer):
        def loads_typed(self, data: tuple[str, bytes]) -> str:
            return f"mine: {data[0]}"

    admission = Admission(Sealer(KEY), plaintext=True)
    assert admission.loads(Own(), admission.admit("msgpack", b"\x80")) == {}
    assert admission.loads(Own(), admission.admit("own", b"x")) == "mine: own"


def test_what_opened_once_is_remembered_and_what_did_not_is_not() -> None:
    tag, blob = Sealer(KEY).seal("msgpack", b"\x80")
    sealer = Sealer(KEY)
    with pytest.raises(AuthenticationFailed):
        sealer.open(tag, blob[:-3] + bytes([blob[-3] ^ 1]) + blob[-2:])
    assert not sealer._readers[tag].known
    sealer.open(tag, blob)
    (reader,) = sealer._readers[tag].known.values()
    assert reader.aead is not None


@pytest.mark.parametrize("cipher", CIPHERS.values(), ids=CIPHERS)
def test_encrypt_into_says_how_much_it_wrote(cipher: Any) -> None:
    aead = cipher.aead(bytes(range(32)), bytes(cipher.NONCE_PREFIX))
    nonce, buffer = bytes(cipher.NONCE_REST), bytearray(16 + 5)
    assert aead.encrypt_into(nonce, b"plain", b"ad", buffer) == len(buffer)
    assert bytes(buffer) == aead.encrypt(nonce, b"plain", b"ad")


def test_a_nonce_is_its_prefix_and_its_fresh_part() -> None:
    assert {name: nonce_size(cipher) for name, cipher in CIPHERS.items()} == {
        "xaes-256-gcm": 24,
        "aes-256-gcm": 12,
        "aes-256-eax": 16,
    }


def test_a_context_shows_its_names_apart_and_no_value() -> None:
    assert repr(EncryptionContext.of({"tenant_id": "acme", "area": "eu"})) == "EncryptionContext(area, tenant_id)"


@pytest.mark.parametrize("actor", ["a", "a" * 1024])
def test_an_actor_has_1_to_1024_characters(actor: str) -> None:
    with encryption_context(tenant_id="acme", actor=actor):
        assert acting.get() == actor
    for wrong in ("", actor.ljust(1025, "a")):
        with (
            pytest.raises(ConfigurationError, match=r"^actor must be 1 to 1024 characters long$"),
            encryption_context(actor=wrong),
        ):
            pass
    with pytest.raises(TypeError, match=r"^actor is a str, not int$"), encryption_context(actor=5):  # type: ignore[arg-type]
        pass


def test_a_compressed_value_of_nothing_but_its_length_does_not_decompress() -> None:
    with pytest.raises(MalformedEnvelope, match=r"^a compressed value is not one zstd frame of the stated length$"):
        compression.decompress(bytes(8))
    with pytest.raises(MalformedEnvelope, match=r"^a compressed value states a length over the limit"):
        compression.decompress(bytes(7))


def sealed_pair() -> tuple[bytes, tuple[str, bytes]]:
    """Gives a bound and an unbound value."""
    sealer = Sealer(KEY)
    return sealer.seal_bound("msgpack", b"\x80", binding.item(("a",), "b")), sealer.seal("msgpack", b"\x80")


def bound_as_unbound() -> None:
    sealed = Sealed.of_bytes(sealed_pair()[0])
    Sealer(KEY).open(sealed.head.type_tag, sealed.data[sealed.start :])


def cut_inside_its_tag() -> None:
    tag, blob = sealed_pair()[1]
    Sealer(KEY).open(tag, blob[:-4] + blob[-2:])


def of_blob(begins: bytes) -> None:
    Sealed.of_blob("msgpack+xaes-256-gcm", begins.ljust(2, b"\0") + bytes(100))


def test_what_cannot_be_digested_was_changed() -> None:
    with pytest.raises(WrongLocation, match=r"^the readable part of the checkpoint or of its metadata was changed$"):
        MANIFEST.verify(*found(readable={"x": object()}))


def test_the_names_that_differ_are_told_apart() -> None:
    stored, expected = (
        EncryptionContext.of({"a": "1", "b": "2", "d": "4"}),
        EncryptionContext.of({"b": "3", "c": "4", "d": "4"}),
    )
    begins = "sealed under another context than the expected one; what differs: "
    assert what_differs(stored, expected) == f"{begins}a (not expected), b (another value), c (it has none)"


def changed() -> None:
    tag, blob = sealed_pair()[1]
    Sealer(KEY).open(tag, blob[:-3] + bytes([blob[-3] ^ 1]) + blob[-2:])


CHECKPOINT = {"v": 4, "id": "c1", "channel_versions": {}}
MANIFEST = Manifest("c1", "c0", ["a"], ["n"], ("null", b""), digest(CHECKPOINT, {}))


def found(*, checkpoint_id: str = "c1", parent_id: str = "c0", readable: Mapping[str, Any] = {}) -> tuple[Parts, Rules]:
    """Gives what a row looks like."""
    return Parts(Place.of("t", ""), checkpoint_id, parent_id, CHECKPOINT, readable, {}, {}, None), Rules()


def without_a_reader() -> None:
    sealed, unbound = sealed_pair()
    sealer = Sealer(KEY, require_context_to_read=True)
    with pytest.raises(WrongContext, match=r"^nothing is read where no encryption context is set"):
        sealer.open_bound(sealed, binding.item(("a",), "b"))
    sealer.open(*unbound)


SAYS: list[tuple[Callable[[], object], type[EncryptedSerdeError], str]] = [
    (
        without_a_reader,
        WrongContext,
        "nothing is read where no encryption context is set (require_context_to_read); wrap the call in "
        "`with encryption_context(...):`, which may be empty for what was stored without one",
    ),
    (lambda: split_type_tag("msgpack"), MalformedEnvelope, "a type tag is <inner type>+<cipher>, 1 to 32 of a-z 0-9 + . _ -"),
    (
        lambda: split_type_tag("msgpack+rot13"),
        UnsupportedCipher,
        "cipher 'rot13' is not one of: xaes-256-gcm, aes-256-gcm, aes-256-eax",
    ),
    (lambda: of_blob(b"\0"), MalformedEnvelope, "not a sealed value: it is empty or begins with version 0"),
    (lambda: of_blob(b"\1\x80"), UnsupportedFormat, "unknown flags 0x80: written by a newer release of encrypted-serde"),
    (lambda: decode_pairs(lps(("b", "1", "a", "2"))), MalformedEnvelope, "names are not strictly ascending"),
    (lambda: decode_pairs(lps(("a\0", "1"))), MalformedEnvelope, "U+0000 in a name or value"),
    (lambda: decode_pairs(lp(b"\xff") + lp(b"1")), MalformedEnvelope, "a name or value is not UTF-8"),
    (lambda: Manifest.unpack(b"\x90"), MalformedEnvelope, "the manifest has an unknown form"),
    (
        lambda: MANIFEST.verify(*found(checkpoint_id="c2")),
        WrongLocation,
        "the checkpoint in this row is another one than the row says",
    ),
    (
        lambda: MANIFEST.verify(*found(readable={"source": "x"})),
        WrongLocation,
        "the readable part of the checkpoint or of its metadata was changed",
    ),
    (
        lambda: MANIFEST.verify(*found(parent_id="c9")),
        WrongLocation,
        "the checkpoint has another parent than it was written with",
    ),
    (lambda: MANIFEST.check_channels([], ["n"], lambda _: False), WrongLocation, "the value of channel 'a' is missing"),
    (lambda: MANIFEST.check_channels(["a"], [], lambda _: False), WrongLocation, "channel 'n' was written as None, and is not"),
    (
        lambda: MANIFEST.check_channels(["a", "b"], ["n"], lambda _: False),
        WrongLocation,
        "channel 'b' had no value when the checkpoint was written",
    ),
    (cut_inside_its_tag, MalformedEnvelope, "the value ends inside its nonce or tag"),
    (changed, AuthenticationFailed, "the value was changed, or is stored in a place that it was not sealed for"),
    (
        bound_as_unbound,
        WrongLocation,
        "a value that is bound to a place (by EncryptedSaver) is stored where unbound ones belong",
    ),
    (lambda: Sealed.of_bytes(b"nothing"), MalformedEnvelope, "not a sealed value"),
    (lambda: binding.WriteClaims.read({}), MalformedEnvelope, "a write without the claims that every write has"),
    (lambda: compression.decompress(bytes(7) + b"\1???"), MalformedEnvelope, "a compressed value does not decompress"),
    (
        lambda: Admission(Sealer(KEY)).admit(*sealed_pair()[1]),
        WrongLocation,
        "a value that is not bound to its place is stored where only bound ones belong",
    ),
]


@pytest.mark.parametrize(("act", "error", "text"), SAYS, ids=[text for _, _, text in SAYS])
def test_an_error_says_what_it_is(act: Callable[[], object], error: type[EncryptedSerdeError], text: str) -> None:
    with pytest.raises(error) as caught:
        act()
    assert type(caught.value) is error
    assert str(caught.value) == text


LONG = EncryptionContext.of({f"name_{number}": "v" * 200 for number in range(4)})  # its encoding needs both bytes of a length


def test_a_long_context_and_a_long_type_are_found_and_opened() -> None:
    sealer, place = Sealer(KEY), binding.item(("a",), "b")
    longest = "t" * (32 - len("+xaes-256-gcm"))
    for inner_type, context in (("msgpack", LONG), (longest, NO_CONTEXT)):
        stored = sealer.seal_bound(inner_type, b"\x80", place, context=context)
        sealed = find_sealed(stored)
        assert is_sealed(stored)
        assert sealed is not None
        assert sealed.head.context.pairs == context.pairs
        assert sealer.open_bound(sealed, place, context=context)[:2] == (inner_type, b"\x80")
        tag, blob = sealer.seal(inner_type, b"\x80", context=context)
        assert Sealed.of_blob(tag, blob).head.type_tag == tag
        assert Sealed.of_blob(tag, blob).start == 0


def test_sealed_bytes_that_end_too_early_are_broken_and_nothing_else() -> None:
    stored = Sealer(KEY).seal_bound("msgpack", b"\x80", binding.item(("a",), "b"), context=LONG)
    tag_ends = stored.index(b"gcm") + 3
    for size in range(tag_ends, len(stored)):
        with pytest.raises(MalformedEnvelope):
            find_sealed(stored[:size])
    assert {find_sealed(stored[:size]) for size in range(4, tag_ends)} == {None}


def test_a_bound_value_is_compressed_where_that_makes_it_smaller() -> None:
    sealer, place = Sealer(KEY, compression="zstd"), binding.item(("a",), "b")
    packed = sealer.seal_bound("msgpack", bytes(5000), place)
    assert len(packed) < 1000
    assert sealer.open_bound(packed, place).plaintext == bytes(5000)
    kept = sealer.seal_bound("msgpack", b"\x80", place)
    assert not Sealed.of_bytes(kept).head.flags & FLAG_ZSTD


def test_a_batch_seals_under_the_context_it_was_given_and_draws_its_nonces_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []

    def random(size: int) -> bytes:
        drawn.append(size)
        return os.urandom(size)

    monkeypatch.setattr(sealer_module, "random_bytes", random)
    batch = Sealer(KEY).batch(3, context=LONG)
    place = binding.item(("a",), "b")
    sealed = [Sealed.of_bytes(batch.seal("msgpack", b"\x80", place)) for _ in range(4)]
    assert {one.head.context.encoded for one in sealed} == {LONG.encoded}
    assert len({one.data[one.nonce :] for one in sealed}) == 4
    assert drawn == [8 + 3 * 12, 12]  # its id and three nonces, and one more than was said
    Sealer(KEY).batch(1000)
    assert drawn[-1] <= 256  # what the kernel gives in one piece


def test_bound_values_that_opened_are_remembered_by_head_and_prefix() -> None:
    place = binding.item(("a",), "b")
    stored = Sealer(KEY).seal_bound("msgpack", b"\x80", place)
    sealer = Sealer(KEY)
    with pytest.raises(AuthenticationFailed):
        sealer.open_bound(stored[:-5] + bytes([stored[-5] ^ 1]) + stored[-4:], place)
    assert not sealer._aeads
    sealer.open_bound(stored, place)
    [aead] = sealer._aeads.values()
    sealer.open_bound(stored, place)
    assert [*sealer._aeads.values()] == [aead]


@pytest.mark.parametrize("make", [binding.value, binding.delta])
def test_a_channel_claims_its_version_and_nothing_without_one(make: Callable[..., binding.Binding]) -> None:
    place = binding.Place.of("t", "")
    assert make(place, "c", 2.0).claims == make(place, "c", "2").claims == {"version": "2"}
    assert make(place, "c").claims == {}
    assert make(place, "c", "2").location == make(place, "c").location
