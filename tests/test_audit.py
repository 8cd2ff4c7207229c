"""The audit trail: what is told, what is never told, and the two listeners that come with the package."""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import Any

import pytest
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer as UpstreamSerializer
from langgraph.store.memory import InMemoryStore
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from encrypted_serde import (
    AuthenticationFailed,
    ConfigurationError,
    EncryptedSerializer,
    Key,
    MalformedEnvelope,
    PlaintextRefused,
    UnsupportedCipher,
    WrongContext,
    encryption_context,
)
from encrypted_serde.audit import AuditEvent, LogListener, OpenTelemetryListener, make_sealer
from encrypted_serde.core.sealer import Sealer
from encrypted_serde.kms.local import LocalKeyWrapper
from encrypted_serde.tenants.keyring import TenantKeyring
from tests.places import at, claiming
from tests.tampering import changed

ACME = {"tenant_id": "acme"}


@pytest.fixture
def events() -> list[AuditEvent]:
    return []


def test_sealing_and_opening_are_told_with_key_context_cipher_and_size(key: Key, events: list[AuditEvent]) -> None:
    serde = EncryptedSerializer(key, audit=events.append)
    with encryption_context(ACME):
        type_tag, blob = serde.dumps_typed("a secret")
        serde.loads_typed((type_tag, blob))
    common = (key.id, ACME, "xaes-256-gcm", len(blob), "ok")
    assert [event[:6] for event in events] == [("seal", *common), ("open", *common)]
    assert "a secret" not in repr(events)


def test_bound_values_are_told_as_well(key: Key, events: list[AuditEvent]) -> None:
    sealer = make_sealer(
        key, cipher="aes-256-gcm", compression=None, required_context=(), accept_contexts=(), audit=events.append
    )
    place, elsewhere = at("value", "1"), at("value", "2")
    data = sealer.seal_bound("bytes", b"x", claiming(place, {"version": "1"}))
    sealer.open_bound(data, place)
    with pytest.raises(AuthenticationFailed):
        sealer.open_bound(data, elsewhere)
    with pytest.raises(MalformedEnvelope):
        sealer.open_bound(b"plaintext", place)
    common = (key.id, {}, "aes-256-gcm", len(data))
    assert [event[:6] for event in events] == [
        ("seal", *common, "ok"),
        ("open", *common, "ok"),
        ("refuse", *common, "AuthenticationFailed"),
        ("refuse", None, None, None, 9, "MalformedEnvelope"),
    ]


def test_every_refusal_is_told_with_the_class_of_its_error(key: Key, events: list[AuditEvent]) -> None:
    serde = EncryptedSerializer(key, required_context=("tenant_id",), audit=events.append)
    with encryption_context(ACME):
        tag, blob = serde.dumps_typed("x")
    events.clear()
    for context, value, error in (
        ({"tenant_id": "globex"}, (tag, blob), WrongContext),
        (ACME, (tag, changed(blob)), AuthenticationFailed),
        (ACME, (tag, blob[:10]), MalformedEnvelope),
        (ACME, ("msgpack", b"\x01"), PlaintextRefused),
        (ACME, ("msgpack+rot13", b"\x01"), UnsupportedCipher),
        (ACME, ("msgpack+aes", bytes(40)), UnsupportedCipher),
    ):
        with encryption_context(context), pytest.raises(error):
            serde.loads_typed(value)
    with pytest.raises(ConfigurationError):
        serde.dumps_typed("secret")
    assert [(event.action, event.outcome) for event in events] == [
        ("refuse", "WrongContext"),
        ("refuse", "AuthenticationFailed"),
        ("refuse", "MalformedEnvelope"),
        ("refuse", "PlaintextRefused"),
        ("refuse", "UnsupportedCipher"),
        ("refuse", "UnsupportedCipher"),
        ("refuse", "ConfigurationError"),
    ]
    assert [event.context for event in events] == [ACME, ACME, None, None, None, None, {}]


def test_rows_that_a_switch_admits_are_told_apart(key: Key, events: list[AuditEvent]) -> None:
    raw = b"0123456789abcdef"
    legacy = UpstreamSerializer.from_pycryptodome_aes(key=raw).dumps_typed("legacy")
    serde = EncryptedSerializer(key, allow_plaintext=True, legacy_keys=[raw], audit=events.append)
    assert serde.loads_typed(legacy) == "legacy"
    assert serde.loads_typed(serde._inner.dumps_typed("plain")) == "plain"
    with pytest.raises(AuthenticationFailed):
        serde.loads_typed((legacy[0], legacy[1][:-1] + bytes([legacy[1][-1] ^ 1])))
    assert [(event.action, event.cipher, event.outcome) for event in events] == [
        ("open", "aes", "ok"),
        ("open", None, "plaintext"),
        ("refuse", "aes", "AuthenticationFailed"),
    ]


def test_the_life_of_a_tenants_keys_is_told(events: list[AuditEvent]) -> None:
    store, wrapper = InMemoryStore(), LocalKeyWrapper(Key.generate())
    keyring = TenantKeyring(store, wrapper, audit=events.append)
    first = keyring.encryption_key(ACME).id
    second = keyring.rotate(ACME)
    keyring.encryption_key(ACME)
    keyring.rewrap()
    keyring.erase(ACME)
    assert {(event.action, event.key_id) for event in events} == {
        ("key_created", first),
        ("key_rotated", second),
        ("key_rewrapped", first),
        ("key_rewrapped", second),
        ("key_erased", first),
        ("key_erased", second),
    }
    assert all(event.context == ACME for event in events)


def test_what_a_listener_raises_stops_the_operation(key: Key) -> None:
    def full(event: AuditEvent) -> None:
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        EncryptedSerializer(key, audit=full).dumps_typed("x")


def test_without_a_listener_a_sealer_is_a_plain_one(key: Key) -> None:
    assert type(EncryptedSerializer(key)._sealer) is Sealer


def test_something_that_cannot_be_called_is_no_listener(key: Key) -> None:
    with pytest.raises(TypeError):
        EncryptedSerializer(key, audit="log")  # type: ignore[arg-type]


def test_the_log_has_every_field_and_one_line_per_event(key: Key, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    serde = EncryptedSerializer(key, audit=LogListener())
    with encryption_context(tenant_id="acme\nforged line"):
        tag, blob = serde.dumps_typed("a secret")
    with encryption_context(ACME), pytest.raises(WrongContext):
        serde.loads_typed((tag, blob))
    seal, refuse = caplog.records
    assert (seal.name, seal.levelno, refuse.levelno) == ("encrypted_serde.audit", logging.INFO, logging.WARNING)
    assert "\n" not in seal.getMessage()
    for part in ("action='seal'", key.id.hex(), "xaes-256-gcm", f"size={len(blob)}", "outcome='ok'"):
        assert part in seal.getMessage()
    fields: Any = refuse
    assert (fields.audit_action, fields.audit_outcome, fields.audit_key_id) == ("refuse", "WrongContext", key.id.hex())
    assert "a secret" not in caplog.text


def test_the_metrics_count_by_action_cipher_and_outcome_and_know_no_tenant(key: Key) -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader])
    serde = EncryptedSerializer(key, audit=OpenTelemetryListener(provider.get_meter("test")))
    with encryption_context(ACME):
        sealed = serde.dumps_typed("x")
        for _ in range(3):
            serde.loads_typed(sealed)
    with encryption_context(tenant_id="globex"), pytest.raises(WrongContext):
        serde.loads_typed(sealed)
    data: Any = reader.get_metrics_data()
    metrics = {metric.name: metric for metric in data.resource_metrics[0].scope_metrics[0].metrics}
    counts = {
        (point.attributes["action"], point.attributes["outcome"]): point.value
        for point in metrics["encrypted_serde.events"].data.data_points
    }
    assert counts == {("seal", "ok"): 1, ("open", "ok"): 3, ("refuse", "WrongContext"): 1}
    sizes = metrics["encrypted_serde.value.size"].data.data_points
    assert sum(point.count for point in sizes) == 5
    assert "acme" not in repr(data)
    provider.shutdown()


def test_the_metrics_count_looks_without_who_and_where() -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader])
    listener = OpenTelemetryListener(provider.get_meter("test"))
    listener(AuditEvent("look", actor="dana", reason="ticket 4711", place={"thread": "support-1008"}))
    data: Any = reader.get_metrics_data()
    (metric,) = data.resource_metrics[0].scope_metrics[0].metrics
    (point,) = metric.data.data_points
    assert (point.value, dict(point.attributes)) == (1, {"action": "look", "cipher": "none", "outcome": "ok"})
    assert not any(word in repr(data) for word in ("dana", "4711", "support-1008"))
    provider.shutdown()


def test_every_event_says_who_was_at_work_and_no_stored_value_does(key: Key) -> None:
    events: list[AuditEvent] = []
    serde = EncryptedSerializer(key, audit=events.append)
    keyring = TenantKeyring(InMemoryStore(), LocalKeyWrapper(key), audit=events.append)
    with encryption_context(tenant_id="acme", actor="alice@acme"):
        sealed = serde.dumps_typed("secret")
        serde.loads_typed(sealed)
        with pytest.raises(AuthenticationFailed):
            serde.loads_typed((sealed[0], changed(sealed[1])))
        keyring.rotate({"tenant_id": "acme"})
    serde.dumps_typed("of nobody")
    assert [(event.action, event.actor) for event in events] == [
        *((action, "alice@acme") for action in ("seal", "open", "refuse", "key_rotated")),
        ("seal", None),
    ]
    assert b"alice" not in sealed[1]


def test_the_metrics_use_the_global_meter_unless_given_one() -> None:
    OpenTelemetryListener()(AuditEvent("seal", size=1))


def test_missing_opentelemetry_is_named() -> None:
    program = """
import sys
sys.modules["opentelemetry"] = None
from encrypted_serde import ConfigurationError
from encrypted_serde.audit import OpenTelemetryListener
try:
    OpenTelemetryListener()
except ConfigurationError as error:
    sys.exit(0 if "encrypted-serde[otel]" in str(error) else str(error))
sys.exit("no error")
"""
    subprocess.run([sys.executable, "-c", program], check=True)
