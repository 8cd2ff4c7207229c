"""What is read although it was not sealed for its place: plaintext, values of langgraph's own serializer, unbound values.

Every wrapper, the server's handlers and re-encryption ask the same `Admission`. Every switch is off by default.
Two rules no switch changes. Nothing that is admitted runs code: ``pickle`` is never read, and msgpack is read by a strict
serializer alone, since its extension objects name whatever callable their writer chose. And a row that carries proof that we
sealed it (a manifest that opens, a bound value) is held to that proof: an unsealed value beside it is tampering, not old data.
"""

from __future__ import annotations

import copy
import logging
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

from langgraph.checkpoint.serde.base import SerializerProtocol

from ..audit import AuditedSealer, AuditEvent, tell
from ..core.context import EncryptionContext
from ..core.format import split_type_tag
from ..core.sealer import Sealer
from ..errors import EncryptedSerdeError, PlaintextRefused, WrongLocation
from .legacy import CIPHER as LEGACY_CIPHER
from .legacy import LegacyReader
from .serialize import loads_unauthenticated
from .upstream import PICKLE

logger = logging.getLogger(__name__)

PLAINTEXT, LEGACY, UNBOUND = "plaintext", "legacy", "unbound"
"""What can be admitted besides values that were sealed for their place."""

NEVER_PLAINTEXT = frozenset({PICKLE})
"""Inner types that are refused unauthenticated under every switch."""

_STRICT = frozenset({"null", "bytes", "bytearray", "json", "msgpack"})
"""Inner types that langgraph's serializer knows, which are read strictly. Any other is the user's serializer's own."""


class Admitted(NamedTuple):
    """A value that a switch lets through.

    Attributes:
        kind: `PLAINTEXT`, `LEGACY` or `UNBOUND`.
        inner_type: Format of the plaintext.
        plaintext: The serialized value.
    """

    kind: str
    inner_type: str
    plaintext: bytes

    def __repr__(self) -> str:  # error reporters show the variables of a frame
        return f"<Admitted {self.kind} {self.inner_type}>"


class Admission:
    """Which values are read although we did not seal them, and how many were.

    Args:
        sealer: Opens unbound values, and has the audit listener.
        plaintext: Values that were never encrypted are admitted, but never ``pickle``.
        unbound: Values that `EncryptedSerializer` sealed are admitted where bound ones belong.
        legacy_keys: Raw AES keys of langgraph's own `EncryptedSerializer`; none of its values are admitted without.
        allowlist_from: A serializer whose msgpack allowlist applies to what is admitted.

    Raises:
        TypeError: If a legacy key is not bytes.
        ConfigurationError: If a legacy key has a wrong length.

    Attributes:
        admitted: How many values of each kind were let through.
        passed_over: How many rows lists left out, by the class of the refusal: ``KeyErased``.
        plaintext_types: How many plaintext values of each inner type.
        legacy: Opens legacy values; falsy without keys.
        plaintext: As given.
        unbound: As given.
    """

    def __init__(
        self,
        sealer: Sealer,
        *,
        plaintext: bool = False,
        unbound: bool = False,
        legacy_keys: Iterable[bytes] = (),
        allowlist_from: object = None,
    ) -> None:
        self._sealer = sealer
        self.plaintext = bool(plaintext)
        self.unbound = bool(unbound)
        self.legacy = LegacyReader(legacy_keys, allowlist_from=allowlist_from)
        self.admitted: Counter[str] = Counter()
        self.passed_over: Counter[str] = Counter()
        self.plaintext_types: Counter[str] = Counter()

    def __bool__(self) -> bool:
        return self.plaintext or self.unbound or bool(self.legacy)

    def with_allowlist(self, extra_allowlist: Iterable[tuple[str, ...] | type]) -> Admission:
        """Returns these switches, and their counts, with more types on the allowlist."""
        clone = copy.copy(self)
        clone.legacy = self.legacy.with_msgpack_allowlist(extra_allowlist)
        return clone

    def admit(
        self, type_tag: str, data: bytes, *, context: EncryptionContext | None = None, is_proven: bool = False
    ) -> Admitted:
        """Lets a stored value through if a switch is on for its kind. Counts it, logs the first of a kind, tells the audit.

        Args:
            type_tag: As stored.
            data: As stored.
            context: The expected encryption context of an unbound value, as for `Sealer.open`.
            is_proven: Whether its row carries proof that we sealed it. Then no switch helps.

        Raises:
            PlaintextRefused: If it was never sealed, its type could run code, or it is stored beside proof.
            WrongLocation: If it is unbound.
            UnsupportedCipher: If it is of langgraph's own serializer, or of nobody we know.
            EncryptedSerdeError: If it is admitted and does not open.
        """
        admitted = self.open(type_tag, data, context=context, is_proven=is_proven)
        self.settle(admitted, len(data), is_proven=is_proven)
        return admitted

    def admit_plain(self, inner_type: str, what: str, *, is_proven: bool) -> None:
        """Lets a value through that a database keeps as it is, without a type, such as JSON.

        Raises:
            PlaintextRefused: If the switch is off, or it is stored beside proof.
        """
        if not self.plaintext:
            raise PlaintextRefused(f"{what} that was never sealed is stored where sealed ones belong")
        self.settle(Admitted(PLAINTEXT, inner_type, b""), None, is_proven=is_proven)

    def open(
        self, type_tag: str, data: bytes, *, context: EncryptionContext | None = None, is_proven: bool = False
    ) -> Admitted:
        """Does what `admit` does, and counts nothing."""
        try:
            if is_proven and "+" not in type_tag:
                raise PlaintextRefused(f"a value of type {type_tag!r} is stored beside values that we sealed: no switch helps")
            return self._open(type_tag, data, context)
        except EncryptedSerdeError as error:
            if isinstance(self._sealer, AuditedSealer):
                self._sealer.refused(error, cipher=type_tag.rpartition("+")[2] if "+" in type_tag else None, size=len(data))
            raise

    def _open(self, type_tag: str, data: bytes, context: EncryptionContext | None) -> Admitted:
        inner_type, plus, cipher = type_tag.rpartition("+")
        if not plus:
            if type_tag in NEVER_PLAINTEXT:
                raise PlaintextRefused(f"an unencrypted value of type {type_tag!r} is never read: it could run any code")
            if not self.plaintext:
                raise PlaintextRefused(
                    f"a value of type {type_tag!r} was never encrypted; pass allow_plaintext=True while you migrate such values"
                )
            return Admitted(PLAINTEXT, type_tag, data)
        if cipher == LEGACY_CIPHER and self.legacy:
            return Admitted(LEGACY, inner_type, self.legacy.open(inner_type, data))
        split_type_tag(type_tag)
        if not self.unbound:
            raise WrongLocation("a value that is not bound to its place is stored where only bound ones belong")
        return Admitted(UNBOUND, *self._sealer.open(type_tag, data, context=context))

    def settle(self, admitted: Admitted, size: int | None, *, is_proven: bool) -> None:
        """Says the last word about what `open` gave, and counts it; the first of its kind is logged, all are audited.

        Raises:
            PlaintextRefused: If it is stored beside proof that its row was sealed.
        """
        kind, inner_type, _ = admitted
        if is_proven:
            raise PlaintextRefused(f"a value that is {kind} is stored beside values that we sealed: no switch helps")
        if kind not in self.admitted or (kind == PLAINTEXT and inner_type not in self.plaintext_types):
            logger.warning("reading %s values (type %r), because a switch for moving in is on", kind, inner_type)
        self.admitted[kind] += 1
        if kind == PLAINTEXT:
            self.plaintext_types[inner_type] += 1
            tell(self._sealer, AuditEvent("open", size=size, outcome=PLAINTEXT))
        elif kind == LEGACY:
            tell(self._sealer, AuditEvent("open", cipher=LEGACY_CIPHER, size=size))

    def counts(self) -> tuple[Counter[str], Counter[str]]:
        """Returns what was counted so far, for `count_back`."""
        return self.admitted.copy(), self.plaintext_types.copy()

    def count_back(self, counts: tuple[Counter[str], Counter[str]]) -> None:
        """Forgets what was counted since: a row was read to try something, or failed. Its kind is not logged again."""
        for counter, before in zip((self.admitted, self.plaintext_types), counts, strict=True):
            counter.update({name: before[name] - number for name, number in counter.items()})

    def loads(self, serde: SerializerProtocol, admitted: Admitted) -> Any:
        """Deserialises what was admitted: strictly, unless an `EncryptedSerializer` of ours sealed it with its type.

        Raises:
            MalformedEnvelope: If it is not what its type says.
        """
        chosen = serde if admitted.kind == UNBOUND or admitted.inner_type not in _STRICT else self.legacy.strict
        return loads_unauthenticated(chosen, admitted.inner_type, admitted.plaintext)
