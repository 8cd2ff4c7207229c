"""Rows of langgraph's own EncryptedSerializer, written by the real one: what is read, what is refused, and never written."""

from __future__ import annotations

import dataclasses
import os

import pytest
from Crypto.Cipher import AES
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer as UpstreamSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from encrypted_serde import (
    AuthenticationFailed,
    ConfigurationError,
    EncryptedSerializer,
    Key,
    MalformedEnvelope,
    PlaintextRefused,
    UnsupportedCipher,
)
from tests.tampering import RecordingSerializer, flip, run_command

VALUES = [None, b"", b"bytes", bytearray(b"array"), 1, "text", {"a": [1, 2.5, None]}, [HumanMessage("hi"), AIMessage("hello")]]


@dataclasses.dataclass
class Note:
    """A type that is on no list of safe ones."""

    text: str


@pytest.fixture(params=[16, 24, 32])
def raw_key(request):
    return os.urandom(request.param)


@pytest.fixture(params=[AES.MODE_EAX, AES.MODE_GCM], ids=["EAX", "GCM"])
def upstream(request, raw_key):
    return UpstreamSerializer.from_pycryptodome_aes(key=raw_key, mode=request.param)


@pytest.fixture
def serde(raw_key):
    return EncryptedSerializer(Key.generate(), legacy_keys=[raw_key])


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_what_upstream_wrote_is_read_in_both_modes(upstream, serde, value):
    row = upstream.dumps_typed(value)
    assert row[0].endswith("+aes")
    assert serde.loads_typed(row) == value
    assert type(serde.loads_typed(row)) is type(value)


def test_the_key_of_the_environment_is_read_as_upstream_takes_it(monkeypatch):
    monkeypatch.setenv("LANGGRAPH_AES_KEY", "sixteen letters!")
    row = UpstreamSerializer.from_pycryptodome_aes().dumps_typed("text")
    serde = EncryptedSerializer(Key.generate(), legacy_keys=[os.environ["LANGGRAPH_AES_KEY"].encode()])
    assert serde.loads_typed(row) == "text"


def test_rows_under_any_of_several_legacy_keys_are_read():
    raw_keys = [os.urandom(size) for size in (16, 32, 24)]
    serde = EncryptedSerializer(Key.generate(), legacy_keys=raw_keys)
    for number, raw_key in enumerate(raw_keys):
        for mode in (AES.MODE_EAX, AES.MODE_GCM):
            row = UpstreamSerializer.from_pycryptodome_aes(key=raw_key, mode=mode).dumps_typed(number)
            assert serde.loads_typed(row) == number


def test_legacy_rows_are_never_written(serde):
    assert serde.dumps_typed("text")[0] == "msgpack+xaes-256-gcm"


def test_without_the_switch_a_legacy_row_is_of_an_unsupported_cipher(upstream):
    with pytest.raises(UnsupportedCipher):
        EncryptedSerializer(Key.generate()).loads_typed(upstream.dumps_typed("text"))


def test_the_plaintext_switch_does_not_admit_legacy_rows(upstream):
    with pytest.raises(UnsupportedCipher):
        EncryptedSerializer(Key.generate(), allow_plaintext=True).loads_typed(upstream.dumps_typed("text"))


def test_the_legacy_switch_admits_neither_plaintext_nor_other_ciphers(serde):
    with pytest.raises(PlaintextRefused):
        serde.loads_typed(JsonPlusSerializer().dumps_typed("text"))
    with pytest.raises(UnsupportedCipher):
        serde.loads_typed(("msgpack+rot13", bytes(100)))


def test_another_key_does_not_open_a_legacy_row(upstream):
    with pytest.raises(AuthenticationFailed):
        EncryptedSerializer(Key.generate(), legacy_keys=[os.urandom(32)]).loads_typed(upstream.dumps_typed("text"))


def test_every_flipped_bit_of_a_legacy_row_is_refused(upstream, serde):
    type_tag, blob = upstream.dumps_typed("text")
    for bit in range(len(blob) * 8):
        with pytest.raises(AuthenticationFailed):
            serde.loads_typed((type_tag, flip(blob, bit)))


def test_a_legacy_row_cut_anywhere_is_refused(upstream, serde):
    type_tag, blob = upstream.dumps_typed("text")
    for length in range(len(blob)):
        with pytest.raises(MalformedEnvelope if length < 32 else AuthenticationFailed):
            serde.loads_typed((type_tag, blob[:length]))


# rule T-18
def test_a_legacy_row_relabelled_to_run_code_runs_nothing(upstream, serde, tmp_path):
    # Upstream does not authenticate the tag: bytes that a user uploaded become msgpack by one UPDATE.
    proof, canary = tmp_path / "proof", tmp_path / "canary"
    type_tag, blob = upstream.dumps_typed(run_command(proof))
    assert type_tag == "bytes+aes"
    upstream.loads_typed(("msgpack+aes", blob))
    assert proof.exists(), "the attack works on upstream; if it no longer does, this test shows nothing"
    serde.loads_typed(("msgpack+aes", upstream.dumps_typed(run_command(canary))[1]))
    assert not canary.exists()


# rules F-45, T-18
@pytest.mark.parametrize("inner_type", ["pickle", "json", "msgpack+x", "unknown"])
def test_a_legacy_row_relabelled_to_any_other_type_is_refused(upstream, raw_key, inner_type):
    inner = RecordingSerializer()
    serde = EncryptedSerializer(Key.generate(), serde=inner, legacy_keys=[raw_key])
    with pytest.raises(PlaintextRefused):
        serde.loads_typed((f"{inner_type}+aes", upstream.dumps_typed(b"cos\nsystem\n(S'true'\ntR.")[1]))
    assert inner.read == []


def test_the_mac_is_checked_before_the_type(upstream, serde):
    _, blob = upstream.dumps_typed("text")
    with pytest.raises(AuthenticationFailed):
        serde.loads_typed(("pickle+aes", flip(blob, 9)))


# rules F-45, T-18
def test_msgpack_in_a_legacy_row_is_read_strictly_although_the_inner_serializer_is_not(upstream, raw_key):
    row = upstream.dumps_typed(Note("text"))
    permissive = EncryptedSerializer(Key.generate(), legacy_keys=[raw_key])
    assert permissive.loads_typed(permissive.dumps_typed(Note("text"))) == Note("text")
    assert not isinstance(permissive.loads_typed(row), Note)


def test_a_legacy_row_may_hold_what_the_allowlist_of_the_inner_serializer_names(upstream, raw_key):
    row = upstream.dumps_typed(Note("text"))
    inner = JsonPlusSerializer(allowed_msgpack_modules=[(Note.__module__, "Note")])
    assert EncryptedSerializer(Key.generate(), serde=inner, legacy_keys=[raw_key]).loads_typed(row) == Note("text")


def test_an_allowlist_added_later_applies_to_legacy_rows_and_to_the_clone_alone(upstream, raw_key):
    serde = EncryptedSerializer(Key.generate(), legacy_keys=[raw_key])
    row = upstream.dumps_typed(Note("text"))
    assert serde.with_msgpack_allowlist([(Note.__module__, "Note")]).loads_typed(row) == Note("text")
    assert not isinstance(serde.loads_typed(row), Note)


@pytest.mark.parametrize("wrong", ["sixteen letters!", bytearray(16), None, 5, Key.generate()])
def test_a_legacy_key_that_is_not_bytes_is_a_type_error(wrong):
    with pytest.raises(TypeError):
        EncryptedSerializer(Key.generate(), legacy_keys=[wrong])


def test_one_key_in_place_of_a_list_of_them_is_a_type_error(raw_key):
    with pytest.raises(TypeError):
        EncryptedSerializer(Key.generate(), legacy_keys=raw_key)


@pytest.mark.parametrize("size", [0, 15, 17, 31, 33, 64])
def test_a_legacy_key_of_another_size_is_a_configuration_error(size):
    with pytest.raises(ConfigurationError):
        EncryptedSerializer(Key.generate(), legacy_keys=[bytes(size)])
