"""What a stored value that is not right leads to: the exact error, and never a deserialised byte.

Every case goes through `EncryptedSerializer` with an inner serializer that records what it is asked to read. Bad keys are in
test_keys, bad legacy rows in test_legacy, bad compressed data in test_compression; test_optimised runs all of them again
under ``python -O``.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tracemalloc

import pytest

from encrypted_serde import (
    AuthenticationFailed,
    ConfigurationError,
    EncryptedSerdeError,
    EncryptedSerializer,
    Key,
    Keyring,
    MalformedEnvelope,
    PlaintextRefused,
    UnknownKey,
    UnsupportedCipher,
    UnsupportedFormat,
    WrongContext,
    WrongLocation,
    encryption_context,
    errors,
)
from encrypted_serde.core import compression
from encrypted_serde.core.ciphers import CIPHERS
from encrypted_serde.core.encoding import encode_pairs, lp, pl
from encrypted_serde.core.format import Sealed
from encrypted_serde.core.sealer import Sealer
from tests.places import at, blob_of, claiming
from tests.tampering import FRONT, RecordingSerializer, flip, forge, front
from tests.vectors.refusing import malformed_claims

KEY = Key.from_bytes(bytes(range(100, 132)))
TAG = "msgpack+xaes-256-gcm"
CONTEXT = {"tenant_id": "acme"}


class Reader:
    """An `EncryptedSerializer` under test."""

    def __init__(self, keys=KEY, **options):
        self.inner = RecordingSerializer()
        self.serde = EncryptedSerializer(keys, serde=self.inner, **options)

    def refuses(self, data, *expected):
        """Asserts that reading raises one of these classes exactly, and that nothing was deserialised."""
        with pytest.raises(EncryptedSerdeError) as caught:
            self.serde.loads_typed(data)
        if caught.type not in expected:
            pytest.fail(f"{caught.type.__name__} was raised, not {[each.__name__ for each in expected]}: {caught.value}")
        if self.inner.read:
            pytest.fail(f"something was deserialised before it was refused: {self.inner.read}")
        return caught.value


@pytest.fixture
def reader():
    return Reader()


@pytest.fixture(params=sorted(CIPHERS))
def row(request):
    """A sealed value with a context, for each cipher: type tag and blob."""
    with encryption_context(CONTEXT):
        return Reader(cipher=request.param).serde.dumps_typed({"text": "a value that is long enough for any cipher"})


def _tail_from(blob):
    """Where the part ends in which any change can only be seen by the AEAD."""
    return Sealed.of_blob(TAG, blob).end


# --- blobs that are no blobs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", range(81))
def test_a_blob_of_a_few_bytes_is_refused(reader, size):
    for cipher, module in CIPHERS.items():
        tag = f"msgpack+{cipher}"
        smallest = FRONT + module.NONCE_PREFIX + module.NONCE_REST + 16 + 2
        unknown_key = UnknownKey if size >= smallest else MalformedEnvelope
        reader.refuses((tag, bytes(size)), MalformedEnvelope)
        reader.refuses((tag, (b"\x01" + bytes(80))[:size]), unknown_key)
        reader.refuses((tag, b"\xff" * size), MalformedEnvelope if size == 0 else UnsupportedFormat)
        own_key_and_no_more = (front(key_id=KEY.id) + bytes(80))[:size]
        reader.refuses((tag, own_key_and_no_more), MalformedEnvelope, AuthenticationFailed)
        reader.refuses((tag, os.urandom(size)), MalformedEnvelope, UnsupportedFormat, UnknownKey)


def test_a_value_cut_at_any_length_is_refused(reader, row):
    type_tag, blob = row
    for length in range(len(blob)):
        reader.refuses((type_tag, blob[:length]), MalformedEnvelope)


def test_a_value_cut_before_its_tail_at_any_length_is_refused(reader, row):
    type_tag, blob = row
    cipher, tail = CIPHERS[type_tag.partition("+")[2]], blob[_tail_from(blob) :]
    smallest = FRONT + cipher.NONCE_PREFIX + cipher.NONCE_REST + 16
    for length in range(_tail_from(blob)):
        expected = UnsupportedFormat if length == 1 else MalformedEnvelope if length < smallest else AuthenticationFailed
        reader.refuses((type_tag, blob[:length] + tail), expected, MalformedEnvelope)


@pytest.mark.parametrize("trailing", [b"\0", b"\n", b"x" * 16, bytes(1 << 16)])
def test_a_value_with_trailing_bytes_is_refused(reader, row, trailing):
    reader.refuses((row[0], row[1] + trailing), MalformedEnvelope, AuthenticationFailed)


@pytest.mark.parametrize("inserted", [b"\0", b"\0\0", b"x" * 16, bytes(1 << 16)])
def test_a_value_with_bytes_put_in_before_its_tail_is_refused(reader, row, inserted):
    end = _tail_from(row[1])
    reader.refuses((row[0], row[1][:end] + inserted + row[1][end:]), AuthenticationFailed)


@pytest.mark.parametrize("length", range(0, 1 << 16, 251))
def test_any_length_of_the_context_but_its_own_is_refused(reader, row, length):
    if length.to_bytes(2, "big") != row[1][-2:]:
        reader.refuses((row[0], row[1][:-2] + length.to_bytes(2, "big")), MalformedEnvelope, AuthenticationFailed)


@pytest.mark.parametrize("length", [*range(300), 0x7FFF, 0x8000, 0xFFFF])
def test_any_length_of_the_claims_but_their_own_is_refused(length):
    sealer, place = Sealer(KEY), claiming(at("value", "thread", "", "channel"), {"version": "1"})
    sealed = sealer.seal_bound("bytes", bytes(100), place)
    changed = sealed[:-4] + length.to_bytes(2, "big") + sealed[-2:]
    if changed == sealed:
        assert sealer.open_bound(sealed, place).claims == {"version": "1"}
        return
    with pytest.raises((MalformedEnvelope, AuthenticationFailed)):
        sealer.open_bound(changed, place)


def test_two_values_in_a_row_are_not_one(reader, row):
    reader.refuses((row[0], row[1] + row[1]), AuthenticationFailed)


# --- single bits ----------------------------------------------------------------------------------------------------


def _errors_of_a_flipped_bit(bit, blob):
    byte, value = bit // 8, 1 << bit % 8
    if byte == 0:
        return {MalformedEnvelope} if value == 1 else {UnsupportedFormat}
    if byte == 1:  # zstd; bound, which asks for claims where the tag ends; unknown flags
        return {1: {AuthenticationFailed}, 2: {MalformedEnvelope, WrongLocation}}.get(value, {UnsupportedFormat})
    if byte < FRONT:
        return {UnknownKey}
    if byte < _tail_from(blob):
        return {AuthenticationFailed}
    return {MalformedEnvelope, AuthenticationFailed}  # names and values of the context, lengths


# rule T-2
def test_every_single_flipped_bit_is_refused(reader, row):
    type_tag, blob = row
    for bit in range(len(blob) * 8):
        reader.refuses((type_tag, flip(blob, bit)), *_errors_of_a_flipped_bit(bit, blob))
    assert reader.serde.loads_typed(row)["text"].startswith("a value")


def test_a_flipped_bit_is_refused_by_a_reader_that_has_read_the_value_before(row):
    type_tag, blob = row
    sealer = Sealer(KEY)
    for bit in range(len(blob) * 8):
        assert sealer.open(type_tag, blob)
        with pytest.raises(tuple(_errors_of_a_flipped_bit(bit, blob))):
            sealer.open(type_tag, flip(blob, bit))


@pytest.mark.parametrize("cipher", sorted(CIPHERS))
def test_flipped_bits_of_a_large_value_are_refused(cipher):
    reader = Reader(cipher=cipher)
    type_tag, blob = reader.serde.dumps_typed(os.urandom(200_000))
    end = _tail_from(blob) * 8
    for bit in [*range(FRONT * 8, FRONT * 8 + 200), 800_000, 1_000_001, *range(end - 130, end)]:
        reader.refuses((type_tag, flip(blob, bit)), AuthenticationFailed)


# rule T-2
def test_every_single_flipped_bit_of_a_bound_value_is_refused():
    sealer, place = Sealer(KEY), at("value", "thread", "", "channel")
    sealed = sealer.seal_bound("bytes", b"a value", claiming(place, {"version": "1"}))
    for bit in range(len(sealed) * 8):
        with pytest.raises(EncryptedSerdeError) as caught:
            sealer.open_bound(flip(sealed, bit), place)
        allowed = {MalformedEnvelope, UnsupportedFormat, UnsupportedCipher, UnknownKey, AuthenticationFailed, WrongLocation}
        if caught.type not in allowed:
            pytest.fail(f"{caught.type.__name__} at bit {bit}")
        parsed = Sealed.of_bytes(sealed)
        if parsed.nonce <= bit // 8 < parsed.end and caught.type is not AuthenticationFailed:
            pytest.fail(f"{caught.type.__name__} at bit {bit}, between front and tail")
        if bit // 8 >= parsed.end and caught.type not in (AuthenticationFailed, MalformedEnvelope):
            pytest.fail(f"{caught.type.__name__} at bit {bit}, in the tail")


# --- version, flags, tail -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [2, 3, 127, 255])
def test_an_unknown_version_is_unsupported(reader, row, version):
    reader.refuses((row[0], bytes([version]) + row[1][1:]), UnsupportedFormat)


# rule F-11
@pytest.mark.parametrize("flags", [4, 8, 16, 32, 64, 128, 255])
def test_an_unknown_flag_is_unsupported(reader, row, flags):
    reader.refuses((row[0], row[1][:1] + bytes([flags]) + row[1][2:]), UnsupportedFormat)


# rule F-12
@pytest.mark.parametrize(
    "context",
    [
        pytest.param(lp(b"b") + lp(b"1") + lp(b"a") + lp(b"2"), id="out of order"),
        pytest.param(lp(b"a") + lp(b"1") + lp(b"a") + lp(b"2"), id="doubled"),
        pytest.param(lp(b"a") + lp(b"1") + b"x", id="trailing byte"),
        pytest.param(lp(b"a"), id="no value"),
        pytest.param(lp(b"a") + lp(b""), id="empty value"),
        pytest.param(lp(b"A") + lp(b"1"), id="bad name"),
        pytest.param(lp(b"a") + lp(b"\xff"), id="not UTF-8"),
        pytest.param(lp(b"a") + lp(b"\0"), id="NUL"),
        pytest.param(lp(b"a") + lp(b"x" * 1025), id="long value"),
        pytest.param(b"".join(lp(b"n%02d" % number) + lp(b"v") for number in range(17)), id="17 pairs"),
    ],
)
def test_a_context_that_no_writer_writes_is_malformed_even_when_it_is_authentic(reader, context):
    blob = forge(KEY, "xaes-256-gcm", TAG, b"\x01", context=context)
    reader.refuses((TAG, blob), MalformedEnvelope)


# rule F-12
@pytest.mark.parametrize("claims", [pytest.param(claims, id=name) for name, claims in malformed_claims().items()])
def test_claims_that_no_writer_writes_are_malformed_even_when_they_are_authentic(claims):
    place = at("value", "thread")
    blob = forge(KEY, "xaes-256-gcm", TAG, b"\x01", flags=2, claims=claims, location=place.location)
    with pytest.raises(MalformedEnvelope):
        Sealer(KEY).open_bound(b"\xc1ES1" + lp(TAG.encode()) + blob, place)


# rule T-5
def test_a_context_edited_to_another_tenant_is_refused(reader, row):
    type_tag, blob = row
    edited = blob.replace(b"acme", b"acmf")
    reader.refuses((type_tag, edited), AuthenticationFailed)
    with encryption_context(tenant_id="acmf"):
        reader.refuses((type_tag, edited), AuthenticationFailed)
    with encryption_context(tenant_id="acme"):
        reader.refuses((type_tag, edited), WrongContext)


def test_a_context_taken_away_or_added_is_refused(reader, row):
    type_tag, blob = row
    rest = blob[: _tail_from(blob)]
    reader.refuses((type_tag, rest + pl(b"")), AuthenticationFailed)
    reader.refuses((type_tag, rest + pl(encode_pairs({**CONTEXT, "z": "1"}))), AuthenticationFailed)


# rule T-5
@pytest.mark.parametrize("expected", [{}, {"tenant_id": "umbrella"}, {"tenant_id": "acme", "region": "eu"}])
def test_another_context_than_the_expected_one_is_refused(reader, row, expected):
    with encryption_context(expected):
        reader.refuses(row, WrongContext)


# --- type tags ------------------------------------------------------------------------------------------------------


# rules T-4, T-18
@pytest.mark.parametrize("inner_type", ["bytes", "bytearray", "null", "json", "pickle", "msgpack2", "m"])
def test_a_value_relabelled_to_another_inner_type_is_refused(reader, row, inner_type):
    reader.refuses((f"{inner_type}+{row[0].partition('+')[2]}", row[1]), AuthenticationFailed)


def test_a_value_relabelled_to_another_cipher_is_refused(reader, row):
    for cipher in CIPHERS:
        if not row[0].endswith(cipher):
            reader.refuses((f"msgpack+{cipher}", row[1]), AuthenticationFailed)


@pytest.mark.parametrize("cipher", ["aes", "aes-128-gcm", "none", "null", "", "xaes-256-gcm2"])
def test_an_unknown_cipher_is_unsupported(reader, row, cipher):
    reader.refuses((f"msgpack+{cipher}", row[1]), UnsupportedCipher)


@pytest.mark.parametrize("tag", ["+xaes-256-gcm", "Msgpack+xaes-256-gcm", "msgpack +xaes-256-gcm", "x" * 30 + "+xaes-256-gcm",
                                 "msgpack+xaes-256-gcm\n", "+", "\ud800+xaes-256-gcm"])  # fmt: skip
def test_what_is_no_type_tag_is_malformed(reader, row, tag):
    reader.refuses((tag, row[1]), MalformedEnvelope)


def test_a_value_whose_cipher_was_cut_from_the_tag_is_refused_as_plaintext(reader, row):
    reader.refuses(("msgpack", row[1]), PlaintextRefused)
    reader.refuses(("pickle", row[1]), PlaintextRefused)


# --- keys -----------------------------------------------------------------------------------------------------------


def test_a_value_under_another_key_is_refused_and_the_key_is_named(row):
    error = Reader(Key.generate()).refuses(row, UnknownKey)
    assert KEY.id.hex() in str(error)
    assert error.key_id == KEY.id


# rule T-20
def test_a_value_whose_key_id_was_exchanged_for_that_of_another_key_is_refused(row):
    other = Key.generate()
    reader = Reader(Keyring(primary=other, decrypt_only=[KEY]))
    reader.refuses((row[0], row[1].replace(KEY.id, other.id)), AuthenticationFailed)


# --- plaintext ------------------------------------------------------------------------------------------------------


# rule T-3
@pytest.mark.parametrize("tag", ["msgpack", "bytes", "bytearray", "null", "json", "pickle", "empty", "", "x" * 1000, "\ud800"])
def test_a_row_that_was_never_sealed_is_refused(reader, tag):
    reader.refuses((tag, b"\x01"), PlaintextRefused)


def test_with_the_switch_plaintext_is_read_and_pickles_are_not():
    reader = Reader(allow_plaintext=True)
    reader.refuses(("pickle", pickle.dumps(1)), PlaintextRefused)
    assert reader.serde.loads_typed(("msgpack", b"\x01")) == 1


def test_the_plaintext_switch_makes_no_sealed_value_easier_to_change(row):
    reader = Reader(allow_plaintext=True)
    for bit in range(0, len(row[1]) * 8, 7):
        reader.refuses((row[0], flip(row[1], bit)), *_errors_of_a_flipped_bit(bit, row[1]))
    reader.refuses(("pickle+" + row[0].partition("+")[2], row[1]), AuthenticationFailed)


# --- bound and unbound ----------------------------------------------------------------------------------------------


def test_a_value_that_is_bound_to_a_place_is_refused(reader):
    sealed = Sealer(KEY).seal_bound("msgpack", b"\x01", at("value", "thread"))
    type_tag, blob = blob_of(sealed)
    reader.refuses((type_tag, blob), WrongLocation)


# --- compression ----------------------------------------------------------------------------------------------------


def _compressed(packed):
    return TAG, forge(KEY, "xaes-256-gcm", TAG, packed, flags=1)


def test_an_authentic_value_that_does_not_decompress_is_malformed(reader):
    for packed in (b"", b"\0" * 8, (5).to_bytes(8, "big") + b"garbage"):
        reader.refuses(_compressed(packed), MalformedEnvelope)


@pytest.mark.parametrize("stated", [100, compression.MAX_SIZE + 1, (1 << 64) - 1])
def test_a_decompression_bomb_is_refused_without_decoding_it(reader, stated):
    bomb = compression._zstd.compress(bytes(128 << 20), 3)
    row = _compressed(stated.to_bytes(8, "big") + bomb)
    tracemalloc.start()
    try:
        reader.refuses(row, MalformedEnvelope)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    if peak > 2 << 20:
        pytest.fail(f"{peak} bytes were allocated for it")


def test_a_compressed_value_is_unsupported_where_the_extra_is_missing(reader, monkeypatch):
    row = Reader(compression="zstd").serde.dumps_typed("again and again " * 100)
    assert reader.serde.loads_typed(row)
    reader.inner.read.clear()
    monkeypatch.setattr(compression, "_zstd", None)
    reader.refuses(row, UnsupportedFormat)
    with pytest.raises(ConfigurationError):
        EncryptedSerializer(KEY, compression="zstd")


_WITHOUT_ZSTD = """
import sys
sys.modules["compression.zstd"] = sys.modules["backports.zstd"] = None
from encrypted_serde import ConfigurationError, EncryptedSerializer, Key, UnsupportedFormat
serde = EncryptedSerializer(Key.from_hex(sys.argv[1]))
print(serde.loads_typed(serde.dumps_typed("works without")))
try:
    serde.loads_typed(("msgpack+xaes-256-gcm", bytes.fromhex(sys.argv[2])))
except UnsupportedFormat:
    print("UnsupportedFormat")
try:
    EncryptedSerializer(Key.generate(), compression="zstd")
except ConfigurationError:
    print("ConfigurationError")
"""


def test_an_interpreter_without_zstd_reads_and_writes_all_but_compressed_values():
    row = Reader(compression="zstd").serde.dumps_typed("again and again " * 100)
    arguments = [bytes(range(100, 132)).hex(), row[1].hex()]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _WITHOUT_ZSTD, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout.split("\n"), done.stderr) == (["works without", "UnsupportedFormat", "ConfigurationError", ""], "")


# --- the errors themselves ------------------------------------------------------------------------------------------


_ERRORS = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, BaseException)]


# rule T-23
@pytest.mark.parametrize("error", _ERRORS)
def test_no_error_of_the_read_path_is_one_that_savers_or_servers_mistake(error):
    assert issubclass(error, EncryptedSerdeError)
    assert not issubclass(error, LookupError)
    assert issubclass(error, ValueError) == (error is ConfigurationError)


@pytest.mark.parametrize(
    "error",
    [UnknownKey("text", b"i" * 32), errors.KeyErased("text", b"i" * 32), errors.KeyServiceError("text", retryable=True)],
)
def test_an_error_with_fields_survives_pickling(error):
    copied = pickle.loads(pickle.dumps(error))
    assert (type(copied), str(copied), vars(copied)) == (type(error), "text", vars(error))
