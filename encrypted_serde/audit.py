"""The audit trail: one listener is told of everything that is sealed, opened, refused, and of every change to a key.

An event says what happened, under which key and context, and with what outcome; never data. Pass a listener as ``audit=`` to
`EncryptedSerializer`, `EncryptedSaver` and `TenantKeyring`. Without one nothing is called and nothing is asked: `make_sealer`
then gives a plain `Sealer`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol
from weakref import WeakSet

from .core.binding import Binding
from .core.ciphers import DEFAULT
from .core.context import NO_CONTEXT, EncryptionContext, acting, current
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


class AuditedSealer:
    """Stands before a `Sealer` and tells a listener what it did: the same methods, and one for what others refuse.

    Args:
        sealer: Does the work.
        listener: Told after every value.

    Raises:
        TypeError: If ``sealer`` is no `Sealer`, or the listener cannot be called.

    Attributes:
        keys: The sealer's.
        cipher: The sealer's.
        compression: The sealer's.
        required_context: The sealer's.
        may_block: The sealer's.
        accepted_contexts: The sealer's.
        require_context_to_read: The sealer's.
        listener: As given.
    """

    def __init__(self, sealer: Sealer, listener: AuditListener) -> None:
        if not isinstance(sealer, Sealer):
            raise TypeError(f"an AuditedSealer stands before a Sealer, not {type(sealer).__name__}")
        if not callable(listener):
            raise TypeError(f"audit takes a callable, not {type(listener).__name__}")
        self.keys, self.cipher, self.may_block = sealer.keys, sealer.cipher, sealer.may_block
        self.compression, self.required_context = sealer.compression, sealer.required_context
        self.accepted_contexts = sealer.accepted_contexts
        self.require_context_to_read = sealer.require_context_to_read
        self.listener = listener
        self._sealer = sealer
        self._told: WeakSet[EncryptedSerdeError] = WeakSet()  # a surface may hand on a refusal that was told here

    def __copy__(self) -> AuditedSealer:
        return self

    def __deepcopy__(self, memo: object) -> AuditedSealer:
        return self

    def seal(self, inner_type: str, plaintext: bytes, *, context: EncryptionContext | None = None) -> tuple[str, bytes]:
        """Seals a value and tells the listener."""
        with self._sealing(plaintext, context):
            type_tag, blob = self._sealer.seal(inner_type, plaintext, context=context)
        self._tell("seal", Sealed.of_blob(type_tag, blob), len(blob))
        return type_tag, blob

    def open(self, type_tag: str, blob: bytes, *, context: EncryptionContext | None = None) -> tuple[str, bytes]:
        """Opens a value and tells the listener."""
        sealed = _parsed(lambda: Sealed.of_blob(type_tag, blob))
        with self._opening(sealed, type_tag, len(blob)):
            opened = self._sealer.open(type_tag, blob, context=context)
        self._tell("open", sealed, len(blob))
        return opened

    def seal_bound(
        self, inner_type: str, plaintext: bytes, binding: Binding, *, context: EncryptionContext | None = None
    ) -> bytes:
        """Seals a value for a place and tells the listener."""
        with self._sealing(plaintext, context):
            data = self._sealer.seal_bound(inner_type, plaintext, binding, context=context)
        self._tell("seal", Sealed.of_bytes(data), len(data))
        return data

    def open_bound(self, sealed: Sealed | bytes, binding: Binding, *, context: EncryptionContext | None = None) -> Opened:
        """Opens a value in its place and tells the listener."""
        parsed = _parsed(lambda: Sealed.of_bytes(sealed)) if isinstance(sealed, bytes) else sealed
        size = len(sealed) if isinstance(sealed, bytes) else len(sealed.data)
        with self._opening(parsed, None, size):
            opened = self._sealer.open_bound(parsed or sealed, binding, context=context)
        self._tell("open", parsed, size)
        return opened

    def batch(self, count: int, *, context: EncryptionContext | None = None) -> AuditedBatch:
        """Begins a batch. The listener is told of each value that is sealed with it."""
        return AuditedBatch(self, self._sealer.batch(count, context=context))

    def refused(self, error: EncryptedSerdeError, *, cipher: str | None = None, size: int | None = None) -> None:
        """Tells of a refusal that a surface decided: a row without a manifest, a value that is missing. Once for each."""
        if error not in self._told:
            self._told.add(error)
            notify(self.listener, AuditEvent("refuse", cipher=cipher, size=size, outcome=type(error).__name__))

    def _tell(self, action: str, sealed: Sealed | None, size: int, outcome: str = "ok", cipher: str | None = None) -> None:
        head = sealed.head if sealed else None
        key_id, context = (head.key_id, head.context.pairs) if head else (None, None)
        notify(self.listener, AuditEvent(action, key_id, context, head.cipher.NAME if head else cipher, size, outcome))

    @contextmanager
    def _sealing(self, plaintext: bytes, context: EncryptionContext | None) -> Iterator[None]:
        try:
            yield
        except EncryptedSerdeError as error:
            wanted = context or current.get() or NO_CONTEXT
            event = AuditEvent("refuse", None, wanted.pairs, self.cipher, len(plaintext), type(error).__name__)
            self._told.add(error)
            notify(self.listener, event)
            raise

    @contextmanager
    def _opening(self, sealed: Sealed | None, type_tag: str | None, size: int) -> Iterator[None]:
        try:
            yield
        except EncryptedSerdeError as error:
            self._told.add(error)
            self._tell("refuse", sealed, size, type(error).__name__, type_tag.rpartition("+")[2] if type_tag else None)
            raise


class AuditedBatch:
    """Stands before a `Batch`, and tells what it sealed.

    Attributes:
        id: The batch's.
        context: The batch's.
    """

    def __init__(self, sealer: AuditedSealer, batch: Batch) -> None:
        self.id, self.context = batch.id, batch.context
        self._sealer, self._batch = sealer, batch

    def seal(self, inner_type: str, plaintext: bytes, binding: Binding) -> bytes:
        """Seals one value as `Batch.seal` does, and tells."""
        with self._sealer._sealing(plaintext, self.context):
            data = self._batch.seal(inner_type, plaintext, binding)
        self._sealer._tell("seal", Sealed.of_bytes(data), len(data))
        return data


Sealing = Sealer | AuditedSealer
"""What a surface seals and opens with."""

BatchSealing = Batch | AuditedBatch
"""What seals the values of one call."""


def _parsed(parse: Callable[[], Sealed]) -> Sealed | None:
    try:
        return parse()
    except EncryptedSerdeError:
        return None


def make_sealer(
    keys: Key | KeyProvider | Sealing,
    *,
    cipher: str = DEFAULT,
    compression: str | None = None,
    required_context: Iterable[str] = (),
    accept_contexts: Iterable[Mapping[str, str]] = (),
    require_context_to_read: bool = False,
    audit: AuditListener | None = None,
) -> Sealing:
    """Returns what a surface seals with: a `Sealer` around keys, or the one that it was given; with a listener, one that tells.

    Args:
        keys: A `Key`, any `KeyProvider`, or a `Sealer` or `AuditedSealer` that was built already.
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
    if not isinstance(keys, (Sealer, AuditedSealer)):
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


def tell(sealer: Sealing, event: AuditEvent) -> None:
    """Tells the listener of a sealer, if it has one."""
    if isinstance(sealer, AuditedSealer):
        notify(sealer.listener, event)


def tell_refused(sealer: Sealing, error: EncryptedSerdeError) -> None:
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
