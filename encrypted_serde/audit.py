"""The audit trail: one listener is told of everything that is sealed, opened, refused, and of every change to a key.

An event says what happened, under which key and context, and with what outcome; never data. Pass a listener as ``audit=`` to
`EncryptedSerializer`, `EncryptedSaver` and `TenantKeyring`. Without one nothing is called and nothing is asked: `make_sealer`
then gives a plain `Sealer`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Protocol

from .core.context import NO_CONTEXT, EncryptionContext, current
from .core.envelope import Header, Opened, Sealer, parse_header, parse_sealed
from .core.keys import Key, KeyProvider
from .errors import ConfigurationError, EncryptedSerdeError
from .wrapping.legacy import CIPHER as LEGACY_CIPHER


class AuditEvent(NamedTuple):
    """One thing that happened.

    Attributes:
        action: ``seal``, ``open``, ``refuse``, ``key_created``, ``key_rotated``, ``key_rewrapped`` or ``key_erased``.
        key_id: The 32 bytes that name the key; None where none is known.
        context: The encryption context; None where none is known. In a refused value key id and context are those that its
            header claims, which nobody vouches for.
        cipher: What it was sealed with; ``aes`` for values of langgraph's own serializer; None for plaintext and for keys.
        size: Bytes of the stored value; of the plaintext where sealing was refused; None for keys.
        outcome: ``ok``; the name of the error class for ``refuse``; ``plaintext`` for a row that was read unencrypted
            because a switch admits it.
    """

    action: str
    key_id: bytes | None = None
    context: Mapping[str, str] | None = None
    cipher: str | None = None
    size: int | None = None
    outcome: str = "ok"


class AuditListener(Protocol):
    """Anything that can be called with an `AuditEvent`.

    It is called in the thread, and on the event loop, of whoever seals or opens, so it must be quick. An exception that it
    raises reaches the caller: a value that cannot be audited is not handed out. It must not raise KeyError or ValueError,
    which some savers take for something else (see `encrypted_serde.errors`).
    """

    def __call__(self, event: AuditEvent, /) -> None:
        """Takes note of an event."""
        ...


def make_sealer(
    keys: Key | KeyProvider,
    *,
    cipher: str,
    compression: str | None,
    required_context: Iterable[str],
    accept_contexts: Iterable[Mapping[str, str]],
    audit: AuditListener | None,
) -> Sealer:
    """Builds a `Sealer`, one that tells a listener where there is one. The arguments are those of `Sealer`.

    Raises:
        TypeError: If an argument is of the wrong type.
        ConfigurationError: As `Sealer` raises it.
    """
    options: dict[str, Any] = {
        "cipher": cipher,
        "compression": compression,
        "required_context": required_context,
        "accept_contexts": accept_contexts,
    }
    return Sealer(keys, **options) if audit is None else AuditedSealer(keys, audit, **options)


class AuditedSealer(Sealer):
    """A `Sealer` that tells a listener what it did.

    Args:
        keys: As for `Sealer`.
        listener: Told after every value.
        **options: As for `Sealer`.

    Raises:
        TypeError: If the listener cannot be called, and as for `Sealer`.
        ConfigurationError: As for `Sealer`.
    """

    def __init__(self, keys: Key | KeyProvider, listener: AuditListener, **options: Any) -> None:
        if not callable(listener):
            raise TypeError(f"audit takes a callable, not {type(listener).__name__}")
        super().__init__(keys, **options)
        self._listener = listener

    def seal(self, inner_type: str, plaintext: bytes, *, context: EncryptionContext | None = None) -> tuple[str, bytes]:
        """As `Sealer.seal`, and tells."""
        try:
            type_tag, blob = super().seal(inner_type, plaintext, context=context)
        except EncryptedSerdeError as error:
            self._tell_unsealed(error, plaintext, context)
            raise
        self._tell("seal", parse_header(blob), self._cipher.NAME, len(blob))
        return type_tag, blob

    def _seal_bound(
        self,
        inner_type: str,
        plaintext: bytes,
        location: bytes,
        claims: Mapping[str, str],
        context: EncryptionContext | None,
        nonce: bytes,
    ) -> bytes:
        # What `seal_bound` and `Batch.seal` both come to.
        try:
            data = super()._seal_bound(inner_type, plaintext, location, claims, context, nonce)
        except EncryptedSerdeError as error:
            self._tell_unsealed(error, plaintext, context)
            raise
        header, cipher = _claimed(data)
        self._tell("seal", header, cipher, len(data))
        return data

    def open(self, type_tag: str, blob: bytes, *, context: EncryptionContext | None = None) -> tuple[str, bytes]:
        """As `Sealer.open`, and tells."""
        cipher = type_tag.rpartition("+")[2]
        try:
            opened = super().open(type_tag, blob, context=context)
        except EncryptedSerdeError as error:
            # A value of langgraph's own serializer is no concern of a Sealer: the caller may have its key, and tells then.
            if cipher != LEGACY_CIPHER:
                self._tell("refuse", _header(blob, 0), cipher, len(blob), type(error).__name__)
                error.audited = True
            raise
        self._tell("open", parse_header(blob), cipher, len(blob))
        return opened

    def open_bound(
        self, data: bytes, location: bytes, claims: Mapping[str, str], *, context: EncryptionContext | None = None
    ) -> Opened:
        """As `Sealer.open_bound`, and tells."""
        header, cipher = _claimed(data)
        try:
            opened = super().open_bound(data, location, claims, context=context)
        except EncryptedSerdeError as error:
            self._tell("refuse", header, cipher, len(data), type(error).__name__)
            error.audited = True
            raise
        self._tell("open", header, cipher, len(data))
        return opened

    def refused(self, error: EncryptedSerdeError) -> None:
        """Tells of a refusal that was decided outside of this class: a row without a manifest, a value that is missing."""
        if not error.audited:
            self._listener(AuditEvent("refuse", outcome=type(error).__name__))
            error.audited = True

    def admitted(self, kind: str, size: int | None) -> None:
        """Tells of a value that was read because a switch for moving in is on. Of unbound ones `open` has told already."""
        if kind == "legacy":
            self._listener(AuditEvent("open", cipher=LEGACY_CIPHER, size=size))
        elif kind == "plaintext":
            self._listener(AuditEvent("open", size=size, outcome="plaintext"))

    def _tell(self, action: str, header: Header | None, cipher: str | None, size: int, outcome: str = "ok") -> None:
        key_id, context = (header.key_id, header.context.pairs) if header else (None, None)
        self._listener(AuditEvent(action, key_id, context, cipher, size, outcome))

    def _tell_unsealed(self, error: EncryptedSerdeError, plaintext: bytes, context: EncryptionContext | None) -> None:
        wanted = context or current.get() or NO_CONTEXT
        event = AuditEvent("refuse", None, wanted.pairs, self._cipher.NAME, len(plaintext), type(error).__name__)
        self._listener(event)


def _header(data: bytes, start: int) -> Header | None:
    try:
        return parse_header(data, start)
    except EncryptedSerdeError:
        return None


def _claimed(data: bytes) -> tuple[Header | None, str | None]:
    if (parsed := parse_sealed(data)) is None:
        return None, None
    type_tag, start = parsed
    return _header(data, start), type_tag.rpartition("+")[2]


class LogListener:
    """Writes every event to the standard library's `logging`: refusals as warnings, the rest at a level of choice.

    The fields are in the message and, for structured logs, in the record as ``audit_action``, ``audit_key_id``,
    ``audit_context``, ``audit_cipher``, ``audit_size`` and ``audit_outcome``. Context values are logged: they are the tenant.

    Args:
        logger: Where to write; ``encrypted_serde.audit`` by default.
        level: The level of everything that is not a refusal.
    """

    def __init__(self, logger: logging.Logger | None = None, level: int = logging.INFO) -> None:
        self._logger = logging.getLogger(__name__) if logger is None else logger
        self._level = level

    def __call__(self, event: AuditEvent, /) -> None:
        """Writes one record."""
        fields = event._asdict()
        fields["key_id"] = event.key_id.hex() if event.key_id else None
        fields["context"] = dict(event.context) if event.context is not None else None
        level = logging.WARNING if event.action == "refuse" else self._level
        # %r: a context value is somebody's input, and must not forge a line of its own.
        text = " ".join(f"{name}=%r" for name in fields)
        self._logger.log(level, text, *fields.values(), extra={f"audit_{name}": value for name, value in fields.items()})


class OpenTelemetryListener:
    """Counts events with OpenTelemetry. Needs the extra ``otel``.

    ``encrypted_serde.events`` counts, ``encrypted_serde.value.size`` is a histogram in bytes; both have the attributes
    ``action``, ``cipher`` and ``outcome``. Neither has key ids or contexts: every tenant would be a time series of its own.

    Args:
        meter: An OpenTelemetry `Meter`; that of the global provider by default.

    Raises:
        ConfigurationError: If opentelemetry-api is not installed.
    """

    def __init__(self, meter: Any = None) -> None:
        if meter is None:
            try:
                from opentelemetry.metrics import get_meter
            except ImportError:
                raise ConfigurationError("OpenTelemetry is missing: pip install 'encrypted-serde[otel]'") from None
            meter = get_meter("encrypted_serde")
        self._events = meter.create_counter("encrypted_serde.events", unit="{event}", description="Audit events")
        self._sizes = meter.create_histogram("encrypted_serde.value.size", unit="By", description="Bytes of stored values")

    def __call__(self, event: AuditEvent, /) -> None:
        """Counts one event."""
        attributes = {"action": event.action, "cipher": event.cipher or "none", "outcome": event.outcome}
        self._events.add(1, attributes)
        if event.size is not None:
            self._sizes.record(event.size, attributes)
