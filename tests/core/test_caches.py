"""What was opened once is remembered, and never for another context, tag, flag or key than it was opened under."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from encrypted_serde import (
    AuthenticationFailed,
    Key,
    KeyErased,
    Keyring,
    MalformedEnvelope,
    UnknownKey,
    WrongContext,
    WrongLocation,
)
from encrypted_serde.core import binding
from encrypted_serde.core.binding import Place
from encrypted_serde.core.bounded import LIMIT
from encrypted_serde.core.context import NO_CONTEXT, EncryptionContext
from encrypted_serde.core.format import Sealed
from encrypted_serde.core.sealer import Sealer

ACME, OTHER = (EncryptionContext.of({"tenant_id": name}) for name in ("acme", "other"))
PLACE = binding.value(Place.of("t", ""), "x", 1)


class _Erasing(Keyring):
    """A provider whose key is gone from one moment on."""

    erased = False

    def decryption_key(self, key_id: bytes, context: Mapping[str, str]) -> Key:
        if self.erased:
            raise KeyErased("erased", key_id)
        return super().decryption_key(key_id, context)


def _both(sealer, context):
    """An unbound and a bound value, and how each is opened."""
    tag, blob = sealer.seal("bytes", b"1", context=context)
    sealed = sealer.seal_bound("bytes", b"1", PLACE, context=context)
    return (
        lambda by, expected: by.open(tag, blob, context=expected),
        lambda by, expected: by.open_bound(sealed, PLACE, context=expected),
    )


@pytest.mark.parametrize("which", [0, 1], ids=["unbound", "bound"])
def test_what_opened_under_its_context_opens_under_no_other(key, which):
    sealer = Sealer(key)
    read = _both(sealer, ACME)[which]
    for _ in range(3):
        assert read(sealer, ACME)[1] == b"1"
        assert read(sealer, None)[1] == b"1"
        for expected in (OTHER, NO_CONTEXT):
            with pytest.raises(WrongContext):
                read(sealer, expected)


@pytest.mark.parametrize("which", [0, 1], ids=["unbound", "bound"])
def test_an_erased_key_opens_nothing_that_it_opened_before(key, which):
    keys = _Erasing(primary=key)
    sealer = Sealer(keys)
    read = _both(sealer, NO_CONTEXT)[which]
    assert read(sealer, None)[1] == b"1"
    keys.erased = True
    with pytest.raises(KeyErased):
        read(sealer, None)


def test_another_sealer_knows_nothing_of_what_this_one_opened(key):
    sealer, stranger = Sealer(key), Sealer(Key.generate())
    for read in _both(sealer, ACME):
        read(sealer, None)
        with pytest.raises(UnknownKey):
            read(stranger, None)


def test_a_head_that_was_read_once_vouches_for_no_other_bytes(key):
    sealer = Sealer(key)
    tag, blob = sealer.seal("bytes", b"1", context=ACME)
    sealer.open(tag, blob)
    start, end = Sealed.of_blob(tag, blob).nonce, Sealed.of_blob(tag, blob).end
    for changed in (blob[: end - 1] + b"\0" + blob[end:], blob[: end - 1] + blob[end:], blob[:end] + b"\0" + blob[end:]):
        with pytest.raises(AuthenticationFailed):
            sealer.open(tag, changed)
    for cut in (blob[: start + 20], blob[: start + 20] + blob[end:], blob[: start + 12] + blob[end:], blob[end:], blob + b"\0"):
        with pytest.raises(MalformedEnvelope):
            sealer.open(tag, cut)
    with pytest.raises(AuthenticationFailed):
        sealer.open("msgpack+xaes-256-gcm", blob)
    assert sealer.open(tag, blob)[1] == b"1"


def test_a_bound_value_is_no_unbound_one_however_often_such_were_opened(key):
    sealer = Sealer(key)
    for _ in range(3):
        sealer.open(*sealer.seal("bytes", b"1"))
        sealed = sealer.seal_bound("bytes", b"1", PLACE)
        with pytest.raises(WrongLocation):
            sealer.open("bytes+xaes-256-gcm", sealed[Sealed.of_bytes(sealed).start :])


def test_headers_that_somebody_makes_up_fill_no_cache_and_push_out_nothing_that_opens(key):
    sealer = Sealer(key)
    tag, blob = sealer.seal("bytes", b"1", context=ACME)
    sealed = sealer.seal_bound("bytes", b"1", PLACE, context=ACME)
    for number in range(LIMIT + 50):
        made_up = number.to_bytes(32, "big")
        with pytest.raises(UnknownKey):
            sealer.open(tag, blob[:2] + made_up + blob[34:])
        start = Sealed.of_bytes(sealed).start
        with pytest.raises(UnknownKey):
            sealer.open_bound(sealed[: start + 2] + made_up + sealed[start + 34 :], PLACE)
    assert sealer.open(tag, blob, context=ACME)[1] == b"1"
    assert sealer.open_bound(sealed, PLACE, context=ACME).plaintext == b"1"
    with pytest.raises(WrongContext):
        sealer.open_bound(sealed, PLACE, context=OTHER)
    assert (
        max(len(cache) for cache in (sealer._aeads, sealer._writers, *[each.known for each in sealer._readers.values()])) <= 1
    )


def test_caches_are_bounded(key):
    sealer = Sealer(key)
    for number in range(LIMIT + 20):
        context = EncryptionContext.of({"tenant_id": str(number)})
        sealer.open(*sealer.seal("bytes", b"1", context=context))
        sealer.open_bound(sealer.seal_bound("bytes", b"1", PLACE, context=context), PLACE)
    assert len(sealer._aeads) <= LIMIT
    assert len(sealer._writers) <= LIMIT
    assert all(len(each.known) <= LIMIT for each in sealer._readers.values())
