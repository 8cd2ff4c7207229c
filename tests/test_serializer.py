"""EncryptedSerializer as a saver sees it: what it returns, what it accepts, its switches and its clones."""

from __future__ import annotations

import copy
import dataclasses
import logging
import pickle

import pytest
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from encrypted_serde import (
    ConfigurationError,
    EncryptedSerializer,
    Key,
    Keyring,
    MalformedEnvelope,
    PlaintextRefused,
    UnsupportedCipher,
    encryption_context,
)
from encrypted_serde.core.ciphers import CIPHERS
from encrypted_serde.core.format import Sealed
from tests.tampering import RecordingSerializer

VALUES = [None, b"", b"bytes", bytearray(b"array"), 0, -1.5, True, "", "text", [], {"a": {"b": [1, None]}}, {1, 2}, (1, 2)]


@dataclasses.dataclass
class Note:
    """A type that is on no list of safe ones."""

    text: str


@pytest.mark.parametrize("cipher", sorted(CIPHERS))
@pytest.mark.parametrize("compression", [None, "zstd"])
@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_comes_back_as_the_inner_serializer_gives_it(cipher, compression, value):
    serde, plain = EncryptedSerializer(Key.generate(), cipher=cipher, compression=compression), JsonPlusSerializer()
    result, expected = serde.loads_typed(serde.dumps_typed(value)), plain.loads_typed(plain.dumps_typed(value))
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize("cipher", sorted(CIPHERS))
def test_the_type_tag_is_constant_for_each_inner_type_and_fits_every_database(cipher):
    serde = EncryptedSerializer(Key.generate(), cipher=cipher)
    values = {"null": None, "bytes": b"x", "bytearray": bytearray(b"x"), "msgpack": "x"}
    for inner_type, value in values.items():
        tags = {serde.dumps_typed(value)[0] for _ in range(3)}
        with encryption_context(tenant_id="acme"):
            tags.add(serde.dumps_typed(value)[0])
        assert tags == {f"{inner_type}+{cipher}"}
        assert len(tags.pop()) <= 32


@pytest.mark.parametrize("value", [b"x", bytearray(b"x"), "x", b"x" * 100_000, bytearray(100_000)])
def test_what_is_stored_is_bytes_exactly(serde, value):
    assert type(serde.dumps_typed(value)[1]) is bytes


@pytest.mark.parametrize("shape", [tuple, list])
@pytest.mark.parametrize("buffer", [bytes, bytearray, memoryview])
def test_stored_values_are_taken_as_tuple_or_list_with_any_buffer(serde, shape, buffer):
    type_tag, blob = serde.dumps_typed({"a": 1})
    assert serde.loads_typed(shape([type_tag, buffer(blob)])) == {"a": 1}


class _Thing:
    def __repr__(self):  # no address: parallel runs compare the ids of tests
        return "thing"


@pytest.mark.parametrize("data", [None, 5, "ab", b"ab", (), ("msgpack",), ("a", b"b", b"c"), _Thing(), {"a": 1},
                                  ("msgpack+xaes-256-gcm", None), ("msgpack+xaes-256-gcm", "text"), ("msgpack+xaes-256-gcm", 5),
                                  ("msgpack+xaes-256-gcm", [1, 2]), (None, b"x"), (b"msgpack+xaes-256-gcm", b"x"), (5, b"x")],
                         ids=repr)  # fmt: skip
def test_a_stored_value_of_the_wrong_shape_is_malformed(serde, data):
    with pytest.raises(MalformedEnvelope):
        serde.loads_typed(data)


def test_savers_can_neither_take_it_for_missing_nor_reach_around_it(serde):
    assert bool(serde) is True
    assert not hasattr(type(serde), "__len__")
    assert not hasattr(type(serde), "__bool__")
    assert not hasattr(serde, "dumps")
    assert not hasattr(serde, "loads")
    assert "__getattr__" not in vars(type(serde))
    assert isinstance(serde, SerializerProtocol)


def test_any_serializer_may_be_inside():
    class Upper:
        def dumps_typed(self, obj):
            return "upper", obj.upper().encode()

        def loads_typed(self, data):
            return data[1].decode()

    serde = EncryptedSerializer(Key.generate(), serde=Upper())
    assert serde.dumps_typed("text")[0] == "upper+xaes-256-gcm"
    assert serde.loads_typed(serde.dumps_typed("text")) == "TEXT"
    assert serde.with_msgpack_allowlist([("a", "b")]).loads_typed(serde.dumps_typed("text")) == "TEXT"


def test_an_inner_serializer_that_pickles_is_used_for_what_was_sealed():
    serde = EncryptedSerializer(Key.generate(), serde=JsonPlusSerializer(pickle_fallback=True))
    type_tag, blob = serde.dumps_typed(ValueError)
    assert type_tag == "pickle+xaes-256-gcm"
    assert serde.loads_typed((type_tag, blob)) is ValueError


@pytest.mark.parametrize("wrong", [object(), 5, "text", JsonPlusSerializer])
def test_a_serde_that_is_none_is_a_type_error(wrong):
    with pytest.raises(TypeError):
        EncryptedSerializer(Key.generate(), serde=wrong)


def test_a_serializer_is_not_put_into_another(serde):
    with pytest.raises(TypeError, match="twice"):
        EncryptedSerializer(Key.generate(), serde=serde)


@pytest.mark.parametrize("keys", [b"x" * 32, "text", None, [Key.generate()], Keyring])
def test_keys_that_are_none_are_a_type_error_at_construction(keys):
    with pytest.raises(TypeError):
        EncryptedSerializer(keys)


@pytest.mark.parametrize(
    "options", [{"cipher": "aes"}, {"cipher": "AES-256-GCM"}, {"compression": "gzip"}, {"legacy_keys": [b"short"]}]
)
def test_an_option_that_cannot_be_used_is_a_configuration_error_at_construction(options):
    with pytest.raises(ConfigurationError):
        EncryptedSerializer(Key.generate(), **options)


def test_options_are_given_by_keyword():
    with pytest.raises(TypeError):
        EncryptedSerializer(Key.generate(), JsonPlusSerializer())


# --- rotation -------------------------------------------------------------------------------------------------------


# rule T-19
def test_key_rotation_in_three_steps_loses_nothing():
    old, new = Key.generate(), Key.generate()
    before = EncryptedSerializer(old)
    ready = EncryptedSerializer(Keyring(primary=old, decrypt_only=[new]))
    switched = EncryptedSerializer(Keyring(primary=new, decrypt_only=[old]))
    rows = [serde.dumps_typed("text") for serde in (before, ready, switched)]
    assert [Sealed.of_blob(*row).head.key_id for row in rows] == [old.id, old.id, new.id]
    assert [serde.loads_typed(row) for serde in (ready, switched) for row in rows] == ["text"] * 6


@pytest.mark.parametrize("reader", sorted(CIPHERS))
@pytest.mark.parametrize("writer", sorted(CIPHERS))
def test_every_cipher_is_read_whichever_is_written(key, writer, reader):
    row = EncryptedSerializer(key, cipher=writer).dumps_typed("text")
    assert EncryptedSerializer(key, cipher=reader).loads_typed(row) == "text"


# --- plaintext ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_plaintext_row_is_refused(serde, value):
    with pytest.raises(PlaintextRefused, match="allow_plaintext"):
        serde.loads_typed(JsonPlusSerializer().dumps_typed(value))


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_with_the_switch_a_plaintext_row_is_read(key, value):
    plain = JsonPlusSerializer()
    serde = EncryptedSerializer(key, allow_plaintext=True)
    assert serde.loads_typed(plain.dumps_typed(value)) == plain.loads_typed(plain.dumps_typed(value))


# rule T-17
@pytest.mark.parametrize("switches", [{}, {"allow_plaintext": True}, {"legacy_keys": [bytes(16)]},
                                      {"allow_plaintext": True, "legacy_keys": [bytes(16)]}])  # fmt: skip
def test_a_plaintext_pickle_is_refused_under_every_switch(key, switches):
    inner = RecordingSerializer()
    with pytest.raises(PlaintextRefused):
        EncryptedSerializer(key, serde=inner, **switches).loads_typed(("pickle", pickle.dumps(1)))
    assert inner.read == []


# rule T-16
@pytest.mark.parametrize("switches", [{}, {"allow_plaintext": True}, {"allow_plaintext": True, "legacy_keys": [bytes(16)]}])
def test_an_unknown_cipher_is_refused_under_every_switch(key, switches):
    with pytest.raises(UnsupportedCipher):
        EncryptedSerializer(key, **switches).loads_typed(("msgpack+rot13", b"\x01"))


def test_what_is_written_is_sealed_while_the_switch_is_on(key):
    type_tag, blob = EncryptedSerializer(key, allow_plaintext=True).dumps_typed("a secret text")
    assert type_tag == "msgpack+xaes-256-gcm"
    assert b"secret" not in blob


# rule T-17
def test_plaintext_reads_are_counted_by_type_and_logged_once_for_each(key, caplog):
    serde, plain = EncryptedSerializer(key, allow_plaintext=True), JsonPlusSerializer()
    with caplog.at_level(logging.WARNING, "encrypted_serde"):
        for value in ("a", "b", b"c", "d"):
            serde.loads_typed(plain.dumps_typed(value))
    assert serde.admitted_reads == {"msgpack": 3, "bytes": 1}
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    serde.loads_typed(serde.dumps_typed("sealed"))
    assert sum(serde.admitted_reads.values()) == 4


def test_refused_plaintext_is_not_counted(serde):
    with pytest.raises(PlaintextRefused):
        serde.loads_typed(("msgpack", b"\x01"))
    assert not serde.admitted_reads


# --- clones ---------------------------------------------------------------------------------------------------------


def test_a_clone_with_an_allowlist_is_ours_and_shares_keys_and_counts(key):
    serde = EncryptedSerializer(key, allow_plaintext=True)
    clone = serde.with_msgpack_allowlist([("some.module", "Name")])
    assert type(clone) is EncryptedSerializer
    assert clone.loads_typed(serde.dumps_typed("text")) == "text"
    assert serde.loads_typed(clone.dumps_typed("text")) == "text"
    clone.loads_typed(("msgpack", b"\x01"))
    assert serde.admitted_reads == {"msgpack": 1}


def test_the_allowlist_applies_to_the_inner_serializer_of_the_clone_alone(key):
    inner = JsonPlusSerializer(allowed_msgpack_modules=None)
    serde = EncryptedSerializer(key, serde=inner)
    row = serde.dumps_typed(Note("text"))
    clone = serde.with_msgpack_allowlist([(Note.__module__, "Note")])
    assert clone.loads_typed(row) == Note("text")
    assert not isinstance(serde.loads_typed(row), Note)


def test_a_clone_stays_fail_closed(serde):
    clone = serde.with_msgpack_allowlist([("some.module", "Name")])
    with pytest.raises(PlaintextRefused):
        clone.loads_typed(("msgpack", b"\x01"))


def test_a_copied_serializer_works(serde):
    assert copy.copy(serde).loads_typed(serde.dumps_typed("text")) == "text"
