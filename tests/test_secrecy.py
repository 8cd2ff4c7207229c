"""Secrets never appear in repr, str, format, pickles, copies, tracebacks or logs; nor context values in messages."""

from __future__ import annotations

import copy
import io
import json
import logging
import pickle
import pprint
import traceback

import pytest

from encrypted_serde import (
    ConfigurationError,
    EncryptedSerdeError,
    EncryptedSerializer,
    Key,
    Keyring,
    Sealer,
    encryption_context,
)
from encrypted_serde.core.encoding import b64url_encode, encode_pairs
from tests.places import at, claiming
from tests.tampering import flip

SECRET = bytes(range(100, 132))
KEY = Key.from_bytes(SECRET)
PLAINTEXT = "the patient was told on monday"
TENANT = "tenant-8842"
PLACE = at("value", "thread", "", "channel")
DATA_KEYS = [
    KEY.derive("data-key", b"xaes-256-gcm", encode_pairs(pairs)) for pairs in ({}, {"tenant_id": TENANT})
]  # what would be as bad to lose as the key itself


def _spellings(secret: bytes) -> list[str]:
    return [
        repr(secret)[2:-1],
        secret.hex(),
        secret.hex().upper(),
        b64url_encode(secret)[:40],
        str(list(secret)),
        str(int.from_bytes(secret, "big")),
    ]


FORBIDDEN = [spelling for secret in (SECRET, *DATA_KEYS) for spelling in _spellings(secret)] + [
    KEY.to_text(),
    PLAINTEXT,
    TENANT,
]


def _leaks(text: str) -> list[str]:
    return [spelling for spelling in FORBIDDEN if spelling in text]


def test_the_search_would_find_a_secret():
    assert _leaks(repr({"key": SECRET}))
    assert _leaks(KEY.to_text())
    assert _leaks(f"{DATA_KEYS[0]!r}")


def _holders():
    serde = EncryptedSerializer(Keyring(primary=KEY, decrypt_only=[Key.generate()]))
    with encryption_context(tenant_id=TENANT):
        serde.loads_typed(serde.dumps_typed(PLAINTEXT))
    return [
        KEY,
        serde._sealer.keys,
        serde,
        serde._sealer,
        serde._sealer._writers,
        Keyring(primary=Key.generate(), decrypt_only=[KEY]),
    ]


# rule T-25
@pytest.mark.parametrize(
    "show", [repr, str, ascii, "{}".format, "{!r}".format, pprint.pformat, lambda each: f"{each} {each!r} {each!s:>9}"]
)
def test_no_way_to_print_an_object_shows_a_secret(show):
    assert [_leaks(show([each])) for each in _holders()[:4]] == [[]] * 4
    assert [_leaks(show(each)) for each in _holders() if not isinstance(each, dict)] == [[]] * 5


# rule T-25
def test_a_key_shows_the_beginning_of_its_id():
    assert repr(KEY) == str(KEY) == f"<Key {KEY.id.hex()[:12]}>"


# rule T-25
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_key_and_whatever_holds_one_cannot_be_pickled(protocol):
    for each in _holders():
        file = io.BytesIO()
        with pytest.raises((TypeError, AttributeError)):  # the second: a serializer holds functions
            pickle.Pickler(file, protocol).dump(each)
        assert SECRET not in file.getvalue()
        assert _leaks(repr(file.getvalue())) == []


def test_the_error_about_pickling_a_key_names_the_way_out():
    with pytest.raises(TypeError, match="to_text"):
        pickle.dumps(Keyring(primary=KEY))


def test_a_key_has_no_attribute_dictionary_and_is_no_json():
    with pytest.raises(TypeError):
        vars(KEY)
    with pytest.raises(TypeError):
        json.dumps({"key": KEY})


def test_a_deep_copy_of_a_keyring_copies_no_secret():
    ring = Keyring(primary=KEY)
    assert copy.deepcopy(ring).primary is KEY


# rule T-24
def test_logs_of_every_level_show_no_secret(caplog):
    with caplog.at_level(0):
        logging.getLogger("app").error("configured %s %r", *_holders()[:2])
        serde = EncryptedSerializer(KEY, allow_plaintext=True)
        serde.loads_typed(("bytes", PLAINTEXT.encode()))
        try:
            serde.loads_typed(("msgpack+xaes-256-gcm", b"\x01" * 100))
        except EncryptedSerdeError:
            logging.getLogger("app").exception("reading failed")
    assert len(caplog.records) == 3
    assert _leaks(caplog.text) == []


def _wrong_keys():
    text = KEY.to_text()
    yield lambda: Key.from_text(text[:-1] + ("A" if text[-1] != "A" else "B"))
    yield lambda: Key.from_text(text + "x")
    yield lambda: Key.from_hex(SECRET.hex() + "0")
    yield lambda: Key.from_base64(SECRET.hex())
    yield lambda: Key.from_bytes(SECRET + b"x")
    yield lambda: Key.from_bytes(bytearray(SECRET))
    yield lambda: Key(SECRET)
    yield lambda: Keyring(primary=SECRET)
    yield lambda: EncryptedSerializer(SECRET)
    yield lambda: EncryptedSerializer(KEY, legacy_keys=[SECRET + b"x"])
    yield lambda: EncryptedSerializer(KEY, legacy_keys=SECRET)
    yield lambda: Keyring.from_env({"ENCRYPTED_SERDE_KEY": text + "x"})
    yield lambda: Keyring.from_env({"ENCRYPTED_SERDE_KEY": text, "ENCRYPTED_SERDE_DECRYPT_KEYS": text[:-1]})
    yield lambda: Keyring.from_env({"ENCRYPTED_SERDE_KEY_FILE": text})


def test_the_traceback_of_a_refused_key_does_not_repeat_it():
    for make in _wrong_keys():
        with pytest.raises((TypeError, ConfigurationError)) as caught:
            make()
        shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + repr(caught.value.args)
        assert _leaks(shown) == []


def test_the_message_about_a_bad_context_does_not_repeat_its_values():
    for pairs in (
        {"tenant_id": TENANT * 200},
        {"Tenant": TENANT},
        {"tenant_id": TENANT + "\0"},
        {"tenant_id": TENANT + "\ud800"},
    ):
        with pytest.raises(ConfigurationError) as caught, encryption_context(pairs):
            pass
        assert _leaks(str(caught.value)) == []
    with pytest.raises(TypeError) as wrong_type, encryption_context(tenant_id=[TENANT]):
        pass
    assert _leaks(str(wrong_type.value)) == []


def _failed_reads():
    sealer = Sealer(KEY)
    with encryption_context(tenant_id=TENANT):
        type_tag, blob = sealer.seal("bytes", PLAINTEXT.encode())
        bound = sealer.seal_bound("bytes", PLAINTEXT.encode(), claiming(PLACE, {"version": "7"}))
    elsewhere = at("value", "elsewhere")
    for reader in (Sealer(KEY), sealer):
        yield lambda reader=reader: reader.open(type_tag, flip(blob, len(blob) * 8 - 1))
        yield lambda reader=reader: reader.open(type_tag, blob[:-20])
        yield lambda reader=reader: reader.open("msgpack+xaes-256-gcm", blob)
        yield lambda reader=reader: reader.open_bound(bound, elsewhere)
        yield lambda reader=reader: reader.open_bound(bound, claiming(PLACE, {"version": "8"}))
        yield lambda reader=reader: reader.open_bound(bound[:-1], PLACE)


def test_a_failed_read_shows_no_key_even_to_a_reporter_that_records_local_variables():
    # Error reporters send the local variables of every frame; those of this test are not what is looked at.
    for read in _failed_reads():
        with pytest.raises(EncryptedSerdeError) as caught:
            read()
        assert _leaks(str(caught.value)) == []
        recorded = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
        ours = [frame for frame in recorded.stack if "encrypted_serde" in frame.filename and "tests" not in frame.filename]
        assert ours
        shown = "\n".join(f"{name} = {value}" for frame in ours for name, value in (frame.locals or {}).items())
        assert [leak for leak in _leaks(shown) if leak not in (TENANT, PLAINTEXT)] == []
