"""The audit trail: one listener is told of everything that is sealed, opened, refused, and of every change to a key.

An event says what happened, under which key and context, and with what outcome; never data. Pass a listener as ``audit=`` to
`EncryptedSerializer`, `EncryptedSaver` and `TenantKeyring`. Without one nothing is called and nothing is asked: `make_sealer`
then gives a plain `Sealer`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple, Protocol
from weakref import WeakSet

from .core.binding import Binding
from .core.ciphers import DEFAULT
from .core.context import NO_CONTEXT, EncryptionContext, acting, current
from .core.forks import start_anew_in_children
from .core.format import Opened, Sealed
from .core.keys import Key, KeyProvider
from .core.sealer import Batch, Sealer
from .errors import ConfigurationError, EncryptedSerdeError


class AuditEvent(NamedTuple):
    """One thing that happened.

    Attributes:
        action: ``seal``, ``open``, ``refuse``, ``look``, ``key_created``, ``key_rotated``, ``key_rewrapped`` or ``key_erased``.
        key_id: The 32 bytes that name the key; None where none is known.
        context: The encryption context; None where none is known. In a refused value key id and context are those that its
            header claims, which are not authenticated.
        cipher: What it was sealed with; ``aes`` for values of langgraph's own serializer; None for plaintext and for keys.
        size: Bytes of the stored value; of the plaintext where sealing was refused; None for keys.
        outcome: ``ok``; the name of the error class for ``refuse``; ``plaintext`` for a row that was read unencrypted
            because a switch admits it.
        actor: Who was at work, as ``encryption_context(..., actor=)`` said; None where nobody did.
        place: What somebody looked at (`encrypted_serde.view`): ``thread`` and ``checkpoint``, or ``namespace`` and ``key``.
            None in every other event.
        reason: Why somebody looked, in their words; None in every other event.
    """

    action: str
    key_id: bytes | None = None
    context: Mapping[str, str] | None = None
    cipher: str | None = None
    size: int | None = None
    outcome: str = "ok"
    actor: str | None = None
    place: Mapping[str, str] | None = None
    reason: str | None = None


class AuditListener(Protocol):
    """Anything that can be called with an `AuditEvent`.

    It is called in the thread, or on the event loop, that seals or opens, so it must be quick. An exception that it
    raises reaches the caller: a value that cannot be audited is not handed out. It must not raise KeyError or ValueError,
    which some savers take for something else (see `encrypted_serde.errors`).
    """

    def __call__(self, event: AuditEvent, /) -> None:
        """Takes note of an event."""
        ...


def notify(listener: AuditListener, event: AuditEvent) -> None:
    """Tells a listener of an event, and of who is at work."""
    actor = acting.get()
    listener(event if actor is None else event._replace(actor=actor))


class AuditedSealer(Sealer):
    """A `Sealer` that tells a listener what it did, and what others refuse.

    Args:
        sealer: Whose keys, options and caches it has.
        listener: Told after every value.

    Raises:
        TypeError: If ``sealer`` is no `Sealer`, or the listener cannot be called.

    Attributes:
        listener: As given.
    """

    def __init__(self, sealer: Sealer, listener: AuditListener) -> None:
        if not isinstance(sealer, Sealer):
            raise TypeError(f"an AuditedSealer has what a Sealer has, not what a {type(sealer).__name__} has")
        if not callable(listener):
            raise TypeError(f"audit takes a callable, not {type(listener).__name__}")
        vars(self).update(vars(sealer))
        start_anew_in_children(self)
        self.listener = listener
        self._told: WeakSet[EncryptedSerdeError] = WeakSet()  # a surface may hand on a refusal that was told here

    def seal(self, inner_type: str, plaintext: bytes, *, context: EncryptionContext | None = None) -> tuple[str, bytes]:
        """Seals a value and tells the listener."""
        with self._sealing(plaintext, context):
            type_tag, blob = super().seal(inner_type, plaintext, context=context)
        notify(self.listener, _event("seal", Sealed.of_blob(type_tag, blob)))
        return type_tag, blob

    def open(self, type_tag: str, blob: bytes, *, context: EncryptionContext | None = None) -> tuple[str, bytes]:
        """Opens a value and tells the listener."""
        with self._refusing(AuditEvent("open", cipher=type_tag.rpartition("+")[2], size=len(blob))):
            event = _event("open", Sealed.of_blob(type_tag, blob))
        with self._refusing(event):
            opened = super().open(type_tag, blob, context=context)
        notify(self.listener, event)
        return opened

    def seal_bound(
        self, inner_type: str, plaintext: bytes, binding: Binding, *, context: EncryptionContext | None = None
    ) -> bytes:
        """Seals a value for a place and tells the listener."""
        with self._sealing(plaintext, context):
            data = super().seal_bound(inner_type, plaintext, binding, context=context)
        notify(self.listener, _event("seal", Sealed.of_bytes(data)))
        return data

    def open_bound(self, sealed: Sealed | bytes, binding: Binding, *, context: EncryptionContext | None = None) -> Opened:
        """Opens a value in its place and tells the listener."""
        if isinstance(sealed, bytes):
            with self._refusing(AuditEvent("open", size=len(sealed))):
                sealed = Sealed.of_bytes(sealed)
        event = _event("open", sealed)
        with self._refusing(event):
            opened = super().open_bound(sealed, binding, context=context)
        notify(self.listener, event)
        return opened

    def batch(self, count: int, *, context: EncryptionContext | None = None) -> Batch:
        """Begins a batch. The listener is told of each value that is sealed with it."""
        return _AuditedBatch(self, count, context)

    def refused(self, error: EncryptedSerdeError, *, cipher: str | None = None, size: int | None = None) -> None:
        """Tells of a refusal that a surface decided: a row without a manifest, a value that is missing. Once for each."""
        self._refused(error, AuditEvent("refuse", cipher=cipher, size=size))

    def _refused(self, error: EncryptedSerdeError, event: AuditEvent) -> None:
        if error not in self._told:
            self._told.add(error)
            notify(self.listener, event._replace(action="refuse", outcome=type(error).__name__))

    @contextmanager
    def _refusing(self, event: AuditEvent) -> Iterator[None]:
        """Tells that what was to happen in the block was refused, if it is."""
        try:
            yield
        except EncryptedSerdeError as error:
            self._refused(error, event)
            raise

    def _sealing(self, plaintext: bytes, context: EncryptionContext | None) -> AbstractContextManager[None]:
        wanted = context or current.get() or NO_CONTEXT
        return self._refusing(AuditEvent("seal", None, wanted.pairs, self.cipher, len(plaintext)))


class _AuditedBatch(Batch):
    __slots__ = ()
    _sealer: AuditedSealer

    def seal(self, inner_type: str, plaintext: bytes, binding: Binding) -> bytes:
        with self._sealer._sealing(plaintext, self.context):
            data = super().seal(inner_type, plaintext, binding)
        notify(self._sealer.listener, _event("seal", Sealed.of_bytes(data)))
        return data


def _event(action: str, sealed: Sealed) -> AuditEvent:
    head = sealed.head
    return AuditEvent(action, head.key_id, head.context.pairs, head.cipher.NAME, len(sealed.data))


def make_sealer(
    keys: Key | KeyProvider | Sealer,
    *,
    cipher: str = DEFAULT,
    compression: str | None = None,
    required_context: Iterable[str] = (),
    accept_contexts: Iterable[Mapping[str, str]] = (),
    require_context_to_read: bool = False,
    audit: AuditListener | None = None,
) -> Sealer:
    """Returns what a surface seals with: a `Sealer` around keys, or the one that it was given; with a listener, one that tells.

    Args:
        keys: A `Key`, any `KeyProvider`, or a `Sealer` that was built already.
        cipher: As for `Sealer`, as are the next four.
        compression: See above.
        required_context: See above.
        accept_contexts: See above.
        require_context_to_read: See above.
        audit: Told of everything.

    Raises:
        TypeError: If an argument is of the wrong type.
        ConfigurationError: As `Sealer` raises it; and if a sealer comes with options that belong to it.
    """
    if not isinstance(keys, Sealer):
        sealer = Sealer(
            keys,
            cipher=cipher,
            compression=compression,
            required_context=required_context,
            accept_contexts=accept_contexts,
            require_context_to_read=require_context_to_read,
        )
    elif (cipher, compression, [*required_context], [*accept_contexts]) != (DEFAULT, None, [], []) or require_context_to_read:
        raise ConfigurationError("cipher, compression and contexts belong to the Sealer: say them where it is built")
    elif audit is None:
        return keys
    elif isinstance(keys, AuditedSealer):
        raise ConfigurationError("the sealer tells a listener already: leave out audit=")
    else:
        sealer = keys
    return sealer if audit is None else AuditedSealer(sealer, audit)


def tell(sealer: Sealer, event: AuditEvent) -> None:
    """Tells the listener of a sealer, if it has one."""
    if isinstance(sealer, AuditedSealer):
        notify(sealer.listener, event)


def tell_refused(sealer: Sealer, error: EncryptedSerdeError) -> None:
    """Tells the listener of a sealer, if it has one, of a refusal that a surface decided. See `AuditedSealer.refused`."""
    if isinstance(sealer, AuditedSealer):
        sealer.refused(error)


class LogListener:
    """Writes every event to the standard library's `logging`: refusals as warnings, the rest at a level of choice.

    The fields are in the message and, for structured logs, in the record as ``audit_action``, ``audit_key_id``,
    ``audit_context``, ``audit_cipher``, ``audit_size``, ``audit_outcome``, ``audit_actor``, ``audit_place`` and
    ``audit_reason``. Context values are logged: they are the tenant.

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
        for name in ("context", "place"):
            fields[name] = None if fields[name] is None else dict(fields[name])
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
