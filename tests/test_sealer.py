"""The sealer: the bytes it writes, what it authenticates, in which order it checks, and what it keeps in memory."""

from __future__ import annotations

import os
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encrypted_serde import (
    AuthenticationFailed,
    ConfigurationError,
    Key,
    Keyring,
    MalformedEnvelope,
    Sealer,
    UnknownKey,
    UnsupportedCipher,
    UnsupportedFormat,
    WrongContext,
    WrongLocation,
    encryption_context,
)
from encrypted_serde.core import binding, bounded, prepared
from encrypted_serde.core.binding import Binding, Place, WriteClaims
from encrypted_serde.core.ciphers import CIPHERS, xaes
from encrypted_serde.core.context import NO_CONTEXT, EncryptionContext
from encrypted_serde.core.encoding import b64url_encode, lp
from encrypted_serde.core.format import FLAG_ZSTD, Sealed, bytes_of_text, make_type_tag, split_type_tag
from tests.places import at, blob_of, claiming
from tests.tampering import FRONT, RecordingKeyring, forge, front, tail
from tests.vectors import sealing as vectors

KEY = Key.from_bytes(bytes(range(100, 132)))
TEXT = b"the same words again and again. " * 100
PLACE = at("value", "thread-1", "", "messages")
ACME = EncryptionContext.of({"tenant_id": "acme"})
WRITE = WriteClaims("task", "c1", "~__pregel_pull, agent", 3, "0123456789abcdef", 5, 2)


@pytest.fixture(params=sorted(CIPHERS))
def cipher(request):
    return request.param


@pytest.fixture
def sealer(cipher):
    return Sealer(KEY, cipher=cipher)


# --- the bytes ------------------------------------------------------------------------------------------------------


def test_a_blob_is_front_nonce_ciphertext_tag_and_tail(sealer, cipher):
    type_tag, blob = sealer.seal("msgpack", b"12345")
    assert type_tag == f"msgpack+{cipher}"
    assert blob.startswith(front(key_id=KEY.id))
    assert blob.endswith(tail())
    assert len(blob) == FRONT + CIPHERS[cipher].NONCE_PREFIX + CIPHERS[cipher].NONCE_REST + 5 + 16 + 2


def test_nothing_repeats_in_the_first_kilobyte_of_a_large_value(cipher):
    """PostgreSQL works through a whole value to compress it if three bytes occur twice there."""
    context = {"tenant": "tenant", "tenant_id": "tenant"}
    where = {"location": ["write", "thread-1", "", "messages"], "claims": vectors.WRITE}
    for name, form in (("unbound", {}), ("bound", where)):  # nonces follow from the name: chance would repeat one in 32
        vector = vectors.seal(f"nothing repeats, {cipher}, {name}", cipher, bytes(5000), context=context, **form)
        stored = bytes.fromhex(vector.get("sealed_bytes") or vector["blob"])
        groups = [stored[at : at + 3] for at in range(1022)]
        assert len(groups) == len({*groups})


def test_a_small_write_takes_no_more_than_200_bytes():
    uuid = "1f0e7a3c-0000-6000-8000-000000000001"
    place = binding.write(Place.of("thread-1", ""), "messages", WRITE._replace(task_id=uuid, checkpoint_id=uuid))
    assert len(Sealer(KEY).seal_bound("msgpack", b"\x01", place)) <= 200


# rule F-10
def test_what_the_primitives_seal_by_the_rules_of_the_format_opens(sealer, cipher):
    blob = forge(KEY, cipher, f"bytes+{cipher}", b"hello", context=ACME.encoded)
    assert sealer.open(f"bytes+{cipher}", blob) == ("bytes", b"hello")


# rule F-10
def test_what_the_primitives_seal_for_a_place_opens_there(sealer, cipher):
    type_tag = f"bytes+{cipher}"
    blob = forge(KEY, cipher, type_tag, b"hello", flags=2, claims=b"\x013", location=PLACE.location)
    opened = sealer.open_bound(b"\xc1ES1" + lp(type_tag.encode()) + blob, claiming(PLACE, {"version": "3"}))
    assert tuple(opened) == ("bytes", b"hello", {"version": "3"})


@pytest.mark.parametrize("size", [0, 1, 16, 1000, (1 << 16) - 1, 1 << 16, (1 << 16) + 1, 3 << 20])
@pytest.mark.parametrize("compression", [None, "zstd"])
def test_a_value_of_any_size_comes_back(cipher, size, compression):
    sealer = Sealer(KEY, cipher=cipher, compression=compression)
    for plaintext in (os.urandom(size), bytes(size)):
        assert sealer.open(*sealer.seal("bytes", plaintext)) == ("bytes", plaintext)
        sealed = sealer.seal_bound("bytes", plaintext, claiming(PLACE, {"version": "1"}))
        assert type(sealed) is bytes
        assert sealer.open_bound(sealed, claiming(PLACE, {"version": "1"})).plaintext == plaintext


@pytest.mark.parametrize("buffer", [bytearray, memoryview])
@pytest.mark.parametrize("size", [10, 1 << 16])
def test_plaintext_in_any_buffer_is_sealed_into_bytes(sealer, buffer, size):
    type_tag, blob = sealer.seal("bytearray", buffer(bytes(size)))
    assert type(blob) is bytes
    assert sealer.open(type_tag, blob) == ("bytearray", bytes(size))


def test_a_value_is_compressed_only_where_it_gets_smaller(cipher):
    sealer = Sealer(KEY, cipher=cipher, compression="zstd")
    small, random = sealer.seal("bytes", TEXT)[1], sealer.seal("bytes", os.urandom(100))[1]
    assert (small[1], random[1]) == (FLAG_ZSTD, 0)
    assert len(small) < len(TEXT)


# rule F-14
def test_a_value_larger_than_one_call_of_the_aead_is_a_configuration_error(sealer, monkeypatch):
    monkeypatch.setattr(prepared, "MAX_PLAINTEXT", 1 << 16)
    assert sealer.seal("bytes", bytes(1 << 16))
    with pytest.raises(ConfigurationError, match="too large"):
        sealer.seal("bytes", bytes((1 << 16) + 1))


# --- type tags ------------------------------------------------------------------------------------------------------


# rule F-9
def test_a_type_tag_is_cut_at_the_last_plus():
    assert split_type_tag("a+b+aes-256-gcm") == ("a+b", CIPHERS["aes-256-gcm"])


@pytest.mark.parametrize("inner_type", ["", "Msgpack", "a b", "a:b", "a\\b", "ä", "a\n", "x" * 20])
def test_an_inner_type_that_makes_no_type_tag_is_a_configuration_error(inner_type):
    with pytest.raises(ConfigurationError):
        make_type_tag(inner_type, "xaes-256-gcm")
    with pytest.raises(ConfigurationError):
        Sealer(KEY).seal(inner_type, Binding(b""))


# rule F-9
@pytest.mark.parametrize("inner_type", ["", "Msgpack", "a b", "x" * 21, "ä", "a\n", "a\0"])
def test_what_is_no_type_tag_is_malformed(inner_type):
    for tag in (inner_type, f"{inner_type}+aes-256-gcm", "msgpack+aes-256-gcm\n"):
        with pytest.raises(MalformedEnvelope):
            split_type_tag(tag)


@pytest.mark.parametrize("cipher_name", ["", "aes", "none", "aes-128-gcm", "aes-256-gcm-siv", "aes-256-gc", "256-gcm"])
def test_a_cipher_that_is_not_ours_is_unsupported(cipher_name):
    with pytest.raises(UnsupportedCipher):
        split_type_tag(f"msgpack+{cipher_name}")


# --- front and tail---------------------------------------------------------------------------------------------------


def test_front_and_tail_are_read_without_any_key():
    _, blob = Sealer(KEY).seal("bytes", b"x", context=ACME)
    read = Sealed.of_blob("bytes+xaes-256-gcm", blob)
    assert (read.head.flags, read.head.key_id, read.head.context.pairs, read.claims) == (0, KEY.id, {"tenant_id": "acme"}, {})
    assert (blob[: read.nonce], blob[read.end :]) == (front(key_id=KEY.id), tail(ACME.encoded))


@pytest.mark.parametrize("cut", range(36))
def test_a_front_cut_short_is_malformed(cut):
    with pytest.raises(MalformedEnvelope):
        Sealed.of_blob("bytes+xaes-256-gcm", (front(key_id=KEY.id) + tail())[:cut])


def test_a_bound_value_needs_claims_it_can_read():
    start = front(key_id=KEY.id, flags=2) + bytes(24 + 16)
    for claims in (b"\x02", b"\x01\xff", b"x"):
        with pytest.raises(MalformedEnvelope):
            _ = Sealed.of_blob("bytes+xaes-256-gcm", start + tail(claims=claims)).claims
    with pytest.raises(MalformedEnvelope):
        Sealed.of_blob("bytes+xaes-256-gcm", start + tail())


# --- bound to a place -----------------------------------------------------------------------------------------------


# rules F-16, F-44
def test_a_bound_value_opens_in_its_place_only(sealer):
    sealed = sealer.seal_bound("bytes", b"x", PLACE)
    assert sealer.open_bound(sealed, PLACE).plaintext == b"x"
    for other in [
        at("value", "thread-2", "", "messages"),
        at("value", "thread-1", "sub", "messages"),
        at("value", "thread-1", "", "other"),
        at("write", "thread-1", "", "messages"),
        at("value", "thread-1", "messages", ""),
        at("value", "thread-1", "messages"),
        Binding(b""),
    ]:
        with pytest.raises(AuthenticationFailed):
            sealer.open_bound(sealed, other)


@given(st.lists(st.text(max_size=8), max_size=4), st.lists(st.text(max_size=8), max_size=4))
def test_different_places_are_encoded_differently(first, second):
    assert (first == second) == (at("value", *first) == at("value", *second))


# rule F-17
def test_a_reader_compares_the_claims_it_knows_and_only_those(sealer):
    place = Place.of("thread-1", "")
    sealed = sealer.seal_bound("bytes", b"x", binding.write(place, "messages", WRITE))
    for known in (WriteClaims(), WriteClaims("task"), WriteClaims("task", "c1", idx=3), WRITE):
        assert sealer.open_bound(sealed, binding.write(place, "messages", known)).claims == WRITE.known()
    for wrong in (WriteClaims("other"), WriteClaims("task", idx=4), WriteClaims(alone="0" * 16), WRITE._replace(size=3)):
        with pytest.raises(WrongLocation) as caught:
            sealer.open_bound(sealed, binding.write(place, "messages", wrong))
        assert "task" not in str(caught.value).replace("task_id", "")


# rule F-17
def test_a_value_without_claims_is_none_of_a_reader_that_knows_one(sealer):
    place = Place.of("thread-1", "")
    sealed = sealer.seal_bound("bytes", b"x", binding.value(place, "messages"))
    with pytest.raises(WrongLocation):
        sealer.open_bound(sealed, binding.value(place, "messages", "3"))
    unclaimed = sealer.seal_bound("bytes", b"x", Binding(binding.write(place, "messages", WRITE).location))
    with pytest.raises(WrongLocation):
        sealer.open_bound(unclaimed, binding.write(place, "messages", WriteClaims("task", "c1")))


def test_a_value_is_not_sealed_with_some_of_its_claims(sealer):
    place = Place.of("thread-1", "")
    for claims in (WriteClaims(), WRITE._replace(of=None), WRITE._replace(batch=None), WRITE._replace(task_path=None)):
        with pytest.raises(ConfigurationError):
            sealer.seal_bound("bytes", b"x", binding.write(place, "messages", claims))


# rule F-44
def test_claims_are_authenticated(sealer):
    sealed = sealer.seal_bound("bytes", b"x", claiming(PLACE, {"version": "3"}))
    changed = sealed[:-6] + b"\x014" + sealed[-4:]
    assert changed != sealed
    with pytest.raises(AuthenticationFailed):
        sealer.open_bound(changed, claiming(PLACE, {"version": "4"}))


# rule F-15
def test_a_bound_value_does_not_open_as_an_unbound_one(sealer):
    sealed = sealer.seal_bound("bytes", b"x", PLACE)
    with pytest.raises(WrongLocation):
        sealer.open(*blob_of(sealed))


# rule F-15
def test_an_unbound_value_does_not_open_as_a_bound_one(sealer):
    type_tag, blob = sealer.seal("bytes", b"x")
    with pytest.raises(WrongLocation):
        sealer.open_bound(b"\xc1ES1" + lp(type_tag.encode()) + blob, Binding(b""))


def test_taking_the_bound_flag_and_the_claims_away_does_not_make_an_unbound_value(sealer):
    sealed = sealer.seal_bound("bytes", b"x", Binding(b""))
    type_tag, blob = blob_of(sealed)
    with pytest.raises(AuthenticationFailed):
        sealer.open(type_tag, front(key_id=KEY.id) + blob[FRONT:-2])


def test_the_type_tag_of_a_bound_value_is_authenticated(sealer, cipher):
    sealed = sealer.seal_bound("msgpack", b"x" * 40, PLACE)
    relabelled = sealed.replace(lp(f"msgpack+{cipher}".encode()), lp(f"bytes+{cipher}".encode()))
    assert relabelled != sealed
    with pytest.raises(AuthenticationFailed):
        sealer.open_bound(relabelled, PLACE)


@pytest.mark.parametrize("data", [b"", b"\xc1ES1", b"\xc1ES2\0\x01x", b"plaintext", b"\xc1ES1\0\x05bytes", b"\xc1ES1\xff\xff"])
def test_what_is_not_sealed_is_malformed_where_a_bound_value_is_asked_for(data):
    with pytest.raises(MalformedEnvelope):
        Sealer(KEY).open_bound(data, PLACE)


@pytest.mark.parametrize("fields", [("x" * 65536,), ("\ud800",)])
def test_a_place_that_cannot_be_encoded_is_a_configuration_error(fields):
    with pytest.raises(ConfigurationError):
        at("value", *fields)


# --- sealed text ----------------------------------------------------------------------------------------------------


# rule F-18
def test_sealed_text_is_recognised_by_its_exact_encoding_alone():
    sealed = Sealer(KEY).seal_bound("bytes", b"x", PLACE)
    text = "es1." + b64url_encode(sealed)
    assert bytes_of_text(text) == sealed
    not_sealed = [
        "es1.hello",
        "es1.",
        text[4:],
        " " + text,
        text + "=",
        text + "\n",
        text[:9] + "\n" + text[9:],
        text.upper(),
        "ES1." + text[4:],
    ]
    for other in not_sealed:
        assert bytes_of_text(other) is None


# rule F-18
def test_sealed_text_with_unused_bits_set_is_plaintext():
    text = next(
        text
        for size in range(1, 4)
        if len(text := "es1." + b64url_encode(Sealer(KEY).seal_bound("bytes", bytes(size), Binding(b"")))) % 4 == 2
    )
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for extra in range(1, 4):
        twin = text[:-1] + alphabet[alphabet.index(text[-1]) | extra]
        assert twin == text or bytes_of_text(twin) is None


# --- contexts -------------------------------------------------------------------------------------------------------


def test_without_an_expectation_the_stored_context_serves(sealer):
    with encryption_context(tenant_id="acme"):
        sealed = sealer.seal("bytes", b"x")
    assert sealer.open(*sealed) == ("bytes", b"x")


# rules F-42, F-43
@pytest.mark.parametrize("expected", [{}, {"tenant_id": "umbrella"}, {"tenant_id": "acme", "region": "eu"}, {"tenant": "acme"}])
def test_another_context_than_the_expected_is_refused_before_any_key_is_looked_for(cipher, expected):
    keys = RecordingKeyring(primary=KEY)
    sealer = Sealer(keys, cipher=cipher)
    unbound, bound = sealer.seal("bytes", b"x", context=ACME), sealer.seal_bound("bytes", b"x", PLACE, context=ACME)
    with encryption_context(expected):
        with pytest.raises(WrongContext):
            sealer.open(*unbound)
        with pytest.raises(WrongContext):
            sealer.open_bound(bound, PLACE)
    assert keys.asked == []


def test_a_context_that_was_read_before_is_still_compared():
    keys = RecordingKeyring(primary=KEY)
    sealer = Sealer(keys)
    sealed = sealer.seal("bytes", b"x", context=ACME)
    for _ in range(3):
        assert sealer.open(*sealed)
    with pytest.raises(WrongContext), encryption_context(tenant_id="umbrella"):
        sealer.open(*sealed)
    assert len(keys.asked) == 3


# rule T-24
def test_the_error_names_the_context_and_keeps_its_values():
    sealed = Sealer(KEY).seal("bytes", b"x", context=ACME)
    with pytest.raises(WrongContext, match="tenant_id") as caught, encryption_context(tenant_id="umbrella"):
        Sealer(KEY).open(*sealed)
    assert "acme" not in str(caught.value)
    assert "umbrella" not in str(caught.value)


def test_an_explicit_context_wins_over_the_ambient_one():
    sealer = Sealer(KEY)
    with encryption_context(tenant_id="umbrella"):
        sealed = sealer.seal("bytes", b"x", context=ACME)
        assert sealer.open(*sealed, context=ACME) == ("bytes", b"x")
    assert Sealed.of_blob("bytes+xaes-256-gcm", sealed[1]).head.context.pairs == ACME.pairs


def test_two_contexts_never_share_a_data_key(cipher):
    # With one data key, a value whose context was rewritten would decrypt under the other context.
    keys = {KEY.derive("data-key", cipher.encode(), context.encoded) for context in (NO_CONTEXT, ACME)}
    assert len(keys) == 2
    tag, head, last = f"bytes+{cipher}".encode(), front(key_id=KEY.id), tail(ACME.encoded)
    blob = forge(KEY, cipher, tag.decode(), b"x", derived_from=b"", context=ACME.encoded)  # the data key of "no context"
    assert (blob.startswith(head), blob.endswith(last)) == (True, True)
    with pytest.raises(AuthenticationFailed):
        Sealer(KEY).open(f"bytes+{cipher}", blob)


# --- keys -----------------------------------------------------------------------------------------------------------


# rules F-5, T-20
def test_a_key_provider_that_gives_another_key_than_asked_for_is_not_believed(sealer):
    class Confused(Keyring):
        def decryption_key(self, key_id, context):
            return Key.generate()

    with pytest.raises(UnknownKey) as caught:
        Sealer(Confused(primary=KEY)).open(*sealer.seal("bytes", b"x"))
    assert caught.value.key_id == KEY.id


def test_a_key_that_the_provider_has_no_more_stops_working_although_it_was_used_before():
    class Forgetful(Keyring):
        def forget(self):
            self._by_id.clear()

    ring = Forgetful(primary=KEY)
    sealer = Sealer(ring)
    unbound, bound = sealer.seal("bytes", b"x"), sealer.seal_bound("bytes", b"x", PLACE)
    assert sealer.open(*unbound)
    assert sealer.open_bound(bound, PLACE)
    ring.forget()
    with pytest.raises(UnknownKey):
        sealer.open(*unbound)
    with pytest.raises(UnknownKey):
        sealer.open_bound(bound, PLACE)


def test_the_next_value_is_written_under_the_new_primary_as_soon_as_the_provider_gives_it():
    class Rotating(Keyring):
        def encryption_key(self, context):
            return self.now

    old, new = Key.generate(), Key.generate()
    ring = Rotating(primary=old, decrypt_only=[new])
    sealer = Sealer(ring)
    written = []
    for ring.now in (old, new, old):
        written.append(sealer.seal("bytes", b"x"))
    assert [Sealed.of_blob("bytes+xaes-256-gcm", blob).head.key_id for _, blob in written] == [old.id, new.id, old.id]
    assert all(sealer.open(*each) == ("bytes", b"x") for each in written)


# --- nonces and caches ----------------------------------------------------------------------------------------------


# rules F-8, T-21
def test_no_nonce_is_used_twice(sealer):
    blobs = [sealer.seal("bytes", b"x")[1] for _ in range(5000)]
    size = len(blobs[0]) - FRONT - 19
    assert len({blob[FRONT : FRONT + size] for blob in blobs}) == 5000


# rules F-8, T-21
def test_a_nonce_prefix_is_kept_for_no_more_values_than_the_cipher_allows(monkeypatch):
    monkeypatch.setattr(xaes, "MESSAGES_PER_PREFIX", 4)
    sealer = Sealer(KEY)
    prefixes = [sealer.seal("bytes", b"x")[1][FRONT : FRONT + 12] for _ in range(40)]
    assert max(prefixes.count(prefix) for prefix in prefixes) <= 4
    assert len(set(prefixes)) <= 14


def test_a_nonce_prefix_is_kept_at_all():
    sealer = Sealer(KEY)
    assert len({sealer.seal("bytes", b"x")[1][FRONT : FRONT + 12] for _ in range(100)}) == 1


def test_caches_stay_bounded_whatever_is_read(monkeypatch):
    monkeypatch.setattr(bounded, "LIMIT", 8)
    sealer, reader = Sealer(KEY), Sealer(KEY)
    for number in range(50):
        context = EncryptionContext.of({"tenant_id": str(number)})
        assert reader.open(*sealer.seal("bytes", b"x", context=context)) == ("bytes", b"x")
        assert reader.open_bound(sealer.seal_bound("bytes", b"x", PLACE, context=context), PLACE)
        assert reader.open(*sealer.seal(f"t{number}", b"x"))
    assert len(sealer._writers) <= 8
    assert len(reader._readers) <= 8
    assert len(reader._aeads) <= 8
    assert all(len(readers.known) <= 8 for readers in reader._readers.values())
    assert all(len(writer.tags) <= 8 for writer in sealer._writers.values())


def test_what_is_not_authentic_takes_no_place_in_a_cache():
    sealer, reader = Sealer(KEY), Sealer(KEY)
    type_tag, blob = sealer.seal("bytes", b"x")
    bound = sealer.seal_bound("bytes", b"x", PLACE)
    for number in range(20):
        forged = blob[:-2] + tail(EncryptionContext.of({"n": str(number)}).encoded)
        with pytest.raises(AuthenticationFailed):
            reader.open(type_tag, forged)
        with pytest.raises(AuthenticationFailed):
            reader.open_bound(bound, at("value", str(number)))
    assert all(not readers.known for readers in reader._readers.values())
    assert reader._aeads == {}


def test_a_value_of_a_newer_release_is_unsupported_and_not_malformed(sealer, cipher):
    _, blob = sealer.seal("bytes", b"x")
    for newer in (b"\x02" + blob[1:], b"\x02", b"\xff" + blob[1:], blob[:1] + b"\x04" + blob[2:]):
        with pytest.raises(UnsupportedFormat, match="newer release"):
            sealer.open(f"bytes+{cipher}", newer)


# --- batches --------------------------------------------------------------------------------------------------------


def _nonces_of_bound(rows, cipher):
    size = CIPHERS[cipher].NONCE_PREFIX + CIPHERS[cipher].NONCE_REST
    ends = [Sealed.of_bytes(row).nonce for row in rows]
    return [row[end : end + size] for row, end in zip(rows, ends, strict=True)]


@pytest.mark.parametrize("count", [0, 1, 10, 50])
def test_a_batch_uses_no_nonce_twice_even_beyond_the_number_expected(sealer, cipher, count):
    batch = sealer.batch(count)
    rows = [batch.seal("bytes", b"x", PLACE) for _ in range(50)]
    assert len(set(_nonces_of_bound(rows, cipher))) == 50
    assert {sealer.open_bound(row, PLACE).plaintext for row in rows} == {b"x"}


def test_threads_that_share_a_batch_get_a_nonce_each(sealer, cipher):
    batch = sealer.batch(500)
    with ThreadPoolExecutor(8) as pool:
        rows = list(pool.map(lambda _: batch.seal("bytes", b"x", PLACE), range(1000)))
    assert len(set(_nonces_of_bound(rows, cipher))) == 1000


def test_a_batch_seals_under_the_context_in_which_it_was_made(sealer):
    with encryption_context(tenant_id="acme"):
        batch = sealer.batch(1)
    with encryption_context(tenant_id="umbrella"):
        sealed = batch.seal("bytes", b"x", PLACE)
    assert Sealed.of_bytes(sealed).head.context.pairs == {"tenant_id": "acme"}
    assert batch.context.pairs == {"tenant_id": "acme"}


def test_no_two_batches_have_the_same_id(sealer):
    assert len({sealer.batch(1).id for _ in range(1000)}) == 1000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_batch_that_is_used_on_both_sides_of_a_fork_repeats_no_nonce():
    sealer = Sealer(KEY, cipher="aes-256-gcm")
    batch = sealer.batch(2)
    read_end, write_end = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # other tests may have left threads behind
        child = os.fork()
    if child == 0:
        try:
            os.write(write_end, batch.seal("bytes", b"the child's", PLACE))
        finally:
            os._exit(0)  # whatever happens, it must not go on as a second run of the tests
    os.waitpid(child, 0)
    theirs, ours = os.read(read_end, 1 << 16), batch.seal("bytes", b"the parent's", PLACE)
    os.close(read_end)
    os.close(write_end)
    nonces = []
    for sealed in (theirs, ours):
        end = Sealed.of_bytes(sealed).nonce
        nonces.append(sealed[end : end + 12])
    assert nonces[0] != nonces[1]
