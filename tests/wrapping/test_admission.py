"""One judge of what nobody vouched for: every door starts closed, and two rules no switch changes."""

from __future__ import annotations

import contextlib
import copy
import json
import logging
from dataclasses import dataclass

import pytest

from encrypted_serde import (
    AuthenticationFailed,
    EncryptedSerdeError,
    MalformedEnvelope,
    PlaintextRefused,
    UnsupportedCipher,
    WrongContext,
    WrongLocation,
)
from encrypted_serde.audit import make_sealer
from encrypted_serde.core.context import EncryptionContext
from encrypted_serde.core.sealer import Sealer
from encrypted_serde.wrapping.admission import Admission, Admitted
from tests.tampering import changed

LEGACY = b"k" * 32


@pytest.fixture
def sealer(key):
    return Sealer(key)


def _all(sealer):
    return Admission(sealer, plaintext=True, unbound=True, legacy_keys=[LEGACY])


def _unbound(sealer, **options):
    return sealer.seal("msgpack", b"\x01", **options)


def _legacy(inner_type="msgpack", data=b"\x01"):
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    sealed = AESGCM(LEGACY).encrypt(b"n" * 16, data, None)
    return f"{inner_type}+aes", b"n" * 16 + sealed[-16:] + sealed[:-16]


def test_every_door_starts_closed(sealer):
    closed = Admission(sealer)
    assert not closed
    assert (closed.admitted, closed.passed_over, closed.plaintext_types) == ({}, {}, {})
    for value, error in (
        (("msgpack", b"\x01"), PlaintextRefused),
        (("bytes", b"\x01"), PlaintextRefused),
        (("pickle", b"\x01"), PlaintextRefused),
        (_legacy(), UnsupportedCipher),
        (_unbound(sealer), WrongLocation),
        (("msgpack+rot13", b"\x01"), UnsupportedCipher),
        (("+", b""), MalformedEnvelope),
    ):
        with pytest.raises(error) as caught:
            closed.admit(*value)
        assert type(caught.value) is error
    with pytest.raises(PlaintextRefused):
        closed.admit_plain("str", "a value", is_proven=False)
    assert not closed.admitted


@pytest.mark.parametrize("switch", ["plaintext", "unbound", "legacy"])
def test_a_switch_opens_its_own_door_and_no_other(sealer, switch):
    options = {"legacy_keys": [LEGACY]} if switch == "legacy" else {switch: True}
    admission = Admission(sealer, **options)
    assert admission
    values = {"plaintext": ("msgpack", b"\x01"), "unbound": _unbound(sealer), "legacy": _legacy()}
    for kind, value in values.items():
        if kind == switch:
            assert admission.admit(*value) == Admitted(kind, "msgpack", b"\x01")
        else:
            with pytest.raises((PlaintextRefused, WrongLocation, UnsupportedCipher)):
                admission.admit(*value)
    assert admission.admitted == {switch: 1}


def test_a_pickle_is_never_read(sealer):
    with pytest.raises(PlaintextRefused, match="any code"):
        _all(sealer).admit("pickle", b"\x80")
    with pytest.raises(PlaintextRefused):
        _all(sealer).admit(*_legacy("pickle"))


@pytest.mark.parametrize("kind", ["plaintext", "unbound", "legacy"])
def test_beside_proof_nothing_is_admitted_and_nothing_counted(sealer, kind, caplog):
    admission = _all(sealer)
    value = {"plaintext": ("msgpack", b"\x01"), "unbound": _unbound(sealer), "legacy": _legacy()}[kind]
    with caplog.at_level(logging.WARNING), pytest.raises(PlaintextRefused, match="no switch helps"):
        admission.admit(*value, is_proven=True)
    with pytest.raises(PlaintextRefused, match="no switch helps"):
        admission.admit_plain("str", "a value", is_proven=True)
    assert not admission.admitted
    assert not caplog.records


def test_the_context_of_an_unbound_value_is_the_expected_one(sealer):
    acme, other = (EncryptionContext.of({"tenant_id": name}) for name in ("acme", "other"))
    value = _unbound(sealer, context=acme)
    assert _all(sealer).admit(*value, context=acme).plaintext == b"\x01"
    with pytest.raises(WrongContext):
        _all(sealer).admit(*value, context=other)


def test_what_is_admitted_and_does_not_open_is_refused(sealer, key):
    type_tag, blob = _unbound(Sealer(key))
    with pytest.raises(AuthenticationFailed):
        _all(sealer).admit(type_tag, changed(blob))
    with pytest.raises(AuthenticationFailed):
        _all(sealer).admit("msgpack+aes", b"x" * 50)
    with pytest.raises(MalformedEnvelope):
        _all(sealer).admit("msgpack+aes", b"x")


def test_each_kind_is_logged_once_and_plaintext_by_its_type(sealer, caplog):
    admission = _all(sealer)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            for value in (("msgpack", b"\x01"), ("bytes", b""), _unbound(sealer), _legacy()):
                admission.admit(*value)
    assert admission.admitted == {"plaintext": 6, "unbound": 3, "legacy": 3}
    assert admission.plaintext_types == {"msgpack": 3, "bytes": 3}
    assert len(caplog.records) == 4


def test_the_audit_hears_of_each_value_once(key):
    events = []
    sealer = make_sealer(key, audit=events.append)
    admission = Admission(sealer, plaintext=True, unbound=True, legacy_keys=[LEGACY])
    value = _unbound(sealer)
    events.clear()
    admission.admit("msgpack", b"\x01")
    admission.admit(*_legacy())
    admission.admit(*value)
    assert [(event.action, event.outcome) for event in events] == [("open", "plaintext"), ("open", "ok"), ("open", "ok")]
    events.clear()
    for refused in (("pickle", b""), ("x+rot13", b""), (value[0], value[1][:-1]), ("msgpack+aes", b"")):
        with pytest.raises(Exception):  # noqa: B017, PT011  # which one, the tests above say
            admission.admit(*refused)
    assert [event.action for event in events] == ["refuse"] * 4


@pytest.mark.filterwarnings("ignore")
def test_legacy_values_are_read_strictly(sealer, tmp_path):
    from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

    from tests.tampering import run_command

    admission = _all(sealer)
    permissive = JsonPlusSerializer(pickle_fallback=True, allowed_msgpack_modules=True)
    call = run_command(tmp_path / "made")
    admitted = admission.admit(*_legacy(data=call))
    admission.loads(permissive, admitted)
    assert not (tmp_path / "made").exists()


@pytest.mark.filterwarnings("ignore")
def test_json_is_read_strictly(sealer, tmp_path):
    from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

    admission, made = _all(sealer), tmp_path / "made"
    permissive = JsonPlusSerializer(pickle_fallback=True, allowed_msgpack_modules=True, allowed_json_modules=True)
    call = {"lc": 2, "type": "constructor", "id": ["os", "mkdir"], "args": [str(made)]}
    for value in (("json", json.dumps(call).encode()), _legacy("json", json.dumps(call).encode())):
        with contextlib.suppress(EncryptedSerdeError):
            admission.loads(permissive, admission.admit(*value))
        assert not made.exists()


@pytest.mark.parametrize("inner_type", ["msgpack", "json", "unheard-of"])
def test_what_is_not_what_its_type_says_is_malformed(sealer, inner_type):
    from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

    admission = _all(sealer)
    with pytest.raises(MalformedEnvelope):
        admission.loads(JsonPlusSerializer(), admission.admit(inner_type, b"\xc1\xff"))


def test_a_clone_with_more_types_shares_the_counts_and_a_deep_copy_works(sealer):
    admission = _all(sealer)
    clone = admission.with_allowlist([("a", "B")])
    clone.admit("msgpack", b"\x01")
    assert admission.admitted == {"plaintext": 1}
    assert clone.open(*_legacy()).plaintext == b"\x01"
    assert copy.deepcopy(admission).admit(*_legacy()).plaintext == b"\x01"


def test_a_value_without_a_type_is_counted_and_told_as_plaintext(key):
    events = []
    admission = Admission(make_sealer(key, audit=events.append), plaintext=True)
    admission.admit_plain("str", "a value", is_proven=False)
    assert (admission.admitted, admission.plaintext_types) == ({"plaintext": 1}, {"str": 1})
    assert [(event.action, event.outcome, event.size) for event in events] == [("open", "plaintext", None)]


@dataclass
class _Point:
    x: int


@pytest.mark.filterwarnings("ignore")
def test_types_on_the_allowlist_of_the_serializer_are_read(sealer):
    from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

    plain = JsonPlusSerializer().dumps_typed(_Point(1))
    allowing = JsonPlusSerializer(allowed_msgpack_modules=[(__name__, "_Point")])
    for options, found in (({"allowlist_from": allowing}, _Point(1)), ({}, {"x": 1})):
        admission = Admission(sealer, plaintext=True, **options)
        assert admission.loads(JsonPlusSerializer(), admission.admit(*plain)) == found


def test_what_is_opened_to_look_at_it_is_not_counted(sealer, caplog):
    admission = _all(sealer)
    with caplog.at_level(logging.WARNING):
        for value in (("msgpack", b"\x01"), _unbound(sealer), _legacy()):
            assert admission.open(*value).plaintext == b"\x01"
    assert not admission.admitted
    assert not caplog.records


def test_what_was_counted_since_is_counted_back_and_its_kind_is_not_logged_again(sealer, caplog):
    admission = _all(sealer)
    admission.admit("msgpack", b"\x01")
    before = admission.counts()
    for value in (("msgpack", b"\x01"), ("bytes", b""), ("bytes", b""), _unbound(sealer)):
        admission.admit(*value)
    assert before == ({"plaintext": 1}, {"msgpack": 1})  # a copy
    admission.count_back(before)
    assert (+admission.admitted, +admission.plaintext_types) == before
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        admission.admit("bytes", b"")
        admission.admit(*_unbound(sealer))
    assert not caplog.records


def test_its_text_shows_no_plaintext():
    assert "secret" not in repr(Admitted("plaintext", "msgpack", b"secret"))


@pytest.mark.parametrize("legacy_key", [b"short", "text", None])
def test_a_legacy_key_that_cannot_be_one_is_refused_at_construction(sealer, legacy_key):
    with pytest.raises((TypeError, ValueError)):
        Admission(sealer, legacy_keys=[legacy_key])
